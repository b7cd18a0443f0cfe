"""Decode each song once and store its features."""
