"""Flax networks: nothing here reads files, knows losses or holds state."""
