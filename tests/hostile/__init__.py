"""Hostile inputs through the path that decides: decode, infer, decide, emit, close. See docs/limits.md."""

import sys
from pathlib import Path

# As pytest's setting `pythonpath` does for the tests: `from tiny_bundle import …`.
sys.path.insert(0, str(Path(__file__).parents[1]))
