"""Bundles: what synthesis needs of a trained method, written and loaded."""
