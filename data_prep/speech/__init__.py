"""Speech with known text, synthesised: training data of the small speech recogniser."""
