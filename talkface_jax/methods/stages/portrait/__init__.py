"""One picture of a person, moved by landmarks: what methods that draw so share."""
