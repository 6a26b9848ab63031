"""Landmark schemes, crop boxes, alignment and measures; NumPy only."""
