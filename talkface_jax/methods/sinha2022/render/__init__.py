"""The flow-guided texture."""
