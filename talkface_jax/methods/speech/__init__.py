"""Small speech recognisers that are trained here, for features.content."""
