"""Talking-face generation from speech, through facial landmarks, in JAX/Flax."""

__version__ = "0.1.0"
