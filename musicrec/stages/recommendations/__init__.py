"""Recommendations for all listeners of the table ``histories``."""
