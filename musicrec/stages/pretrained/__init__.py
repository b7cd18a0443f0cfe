"""Vectors of pretrained models: decode each song, run the model on it, publish the space of its vectors."""
