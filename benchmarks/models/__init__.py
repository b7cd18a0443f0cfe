"""Training and embedding beside plain Keras, and our figures beside those of the reference systems."""
