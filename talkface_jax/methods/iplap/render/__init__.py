"""IP-LAP's renderer."""
