"""Packaged data of the synthetic head; see NOTICE.md."""
