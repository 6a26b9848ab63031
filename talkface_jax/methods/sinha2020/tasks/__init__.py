"""The trainable stages, one module each."""
