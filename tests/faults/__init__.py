"""The fault campaign: real Kafka and Redis, workers that are hurt at random, every outcome checked while it runs.

``python -m tests.faults --minutes 5 --seed 7``; ``python -m tests.faults mutations`` proves that it can fail.
``python -m tests.faults statistics`` is the campaign of the read side: windowers, Faust apps, windows, verdicts.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The checkout: working directory of the campaign's own processes."""

# As pytest's setting `pythonpath` does for the tests: `from services import …`.
sys.path.insert(0, str(Path(__file__).parents[1]))
