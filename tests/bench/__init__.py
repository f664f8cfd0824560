"""Benchmarks on a real Kafka and Redis: ``python -m tests.bench`` and ``python -m tests.bench propagation``."""

import sys
from pathlib import Path

# As pytest's setting `pythonpath` does for the tests: `from services import …`.
sys.path.insert(0, str(Path(__file__).parents[1]))
