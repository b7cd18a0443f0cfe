"""Train, tune and cross-validate models."""
