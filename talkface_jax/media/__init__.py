"""Files to arrays and back, on the host."""
