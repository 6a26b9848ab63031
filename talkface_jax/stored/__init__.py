"""Checkpoints as they lie on disk: readable from every layer that trains, chains or converts."""
