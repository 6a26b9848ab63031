"""Prepared data sets: the record, shards and their index, the manifest, the Grain pipeline."""
