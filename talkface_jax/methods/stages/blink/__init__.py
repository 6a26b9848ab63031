"""Noise to blinks."""
