"""Synthesis: a bundle, a face and a recording become a talking mp4."""
