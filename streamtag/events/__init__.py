"""Wire types and their codecs."""
