"""Lookups in the published table beside other ways to read it."""
