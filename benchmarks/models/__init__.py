"""Training and embedding beside plain Keras, and the figures of the reference systems."""
