"""The attention texture."""
