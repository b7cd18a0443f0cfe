"""Pretrained networks as ONNX files: the card that describes one, how it is run, and how it is checked."""
