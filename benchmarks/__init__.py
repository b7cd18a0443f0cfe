"""Benchmarks: each module prints a table beside the peer that it is measured against; see README.md."""
