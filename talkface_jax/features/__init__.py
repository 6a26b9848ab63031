"""Audio features, each with a version and a cache key."""
