"""Speech and emotion to landmarks on a graph."""
