"""A real S3-compatible server for the tests, and a proxy that breaks a share of what passes through it."""
