"""IP-LAP's landmark generator."""
