"""Loss functions, and the terms that weigh them."""
