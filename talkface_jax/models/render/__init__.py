"""Networks from landmarks to frames."""
