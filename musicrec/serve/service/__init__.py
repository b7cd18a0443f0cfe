"""The read-only HTTP service over the published tables."""
