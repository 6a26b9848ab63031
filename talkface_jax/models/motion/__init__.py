"""Networks from speech to landmark motion."""
