"""Training: step, state, sharding, checkpoints and the loop."""
