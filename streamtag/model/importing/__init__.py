"""Bring your own: from an ONNX file, its labels and its tokenizer to a bundle that has passed every gate."""
