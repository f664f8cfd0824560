"""Scoring of files: what the stream would decide, for millions of documents at once."""
