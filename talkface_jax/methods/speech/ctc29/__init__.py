"""The recogniser behind the speech feature `ctc29`."""
