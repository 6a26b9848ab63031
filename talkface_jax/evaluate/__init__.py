"""Evaluation: landmark tables, the video benchmark, intervals and the report."""
