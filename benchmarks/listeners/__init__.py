"""Recommendations for listeners: how good they are, and how fast."""
