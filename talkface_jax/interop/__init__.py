"""Weights of other people: where they come from and how they are read."""
