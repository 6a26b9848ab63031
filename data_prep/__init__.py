"""Preparation: raw data sets become tracked, sharded data sets."""
