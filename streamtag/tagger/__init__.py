"""The hot path: decode, infer, decide, emit; one stage a file."""
