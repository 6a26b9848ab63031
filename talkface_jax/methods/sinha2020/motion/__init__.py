"""Speech to person-independent landmarks."""
