"""The long run, ``python -m tests.soak --minutes 60``: nothing may grow and nothing may be lost in an hour of faults.

Capacity is measured first; then an open loop keeps the pipeline at a share of it while the fault campaign's faults
come one a minute. The campaign's checker recounts everything. See docs/reliability.md.
"""

import sys
from pathlib import Path

# As pytest's setting `pythonpath` does for the tests: `from faults.stage import …`.
sys.path.insert(0, str(Path(__file__).parents[1]))
