"""Hostile inputs through the path that decides: decode, infer, decide, emit, close. `make hostile` runs it."""
