"""Recommendations for many listeners at once, from the songs that each of them likes."""
