"""Metrics, with their conventions stated."""
