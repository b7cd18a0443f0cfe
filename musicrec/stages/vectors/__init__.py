"""Bring vectors that were made elsewhere into OUT, and find out when their file has changed."""
