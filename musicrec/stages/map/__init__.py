"""The map of all songs."""
