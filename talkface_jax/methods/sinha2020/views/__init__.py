"""What each stage takes of a segment."""
