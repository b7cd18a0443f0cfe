"""Networks that others have trained, as ONNX files: what a card says of one, how it is run, and how it is checked."""
