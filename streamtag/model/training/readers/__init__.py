"""Readers of labelled sets, one a file or family."""
