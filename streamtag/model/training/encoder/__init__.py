"""A pretrained transformer beside the n-grams: read, cut down, fine-tuned, and made part of the graph."""
