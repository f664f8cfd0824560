"""Hostile inputs through the path that decides: decode, infer, decide, emit, close. See docs/limits.md."""
