"""What every peer gets told: the same bundle, the same cut-offs, the same events."""

import sys
from pathlib import Path

import msgspec

from streamtag.domain.thresholds import ThresholdSet

from .corpus import MEAN_CHARS


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one peer; given to its process as a JSON file.

    Attributes:
        bundle: directory of the model.
        thresholds: label to cut-off.
        events: how many.
        chars: mean length of their texts.
        output: topic of tag events; for the plain loop the file to write them to, for the floors the file to read.
        bootstrap: Kafka; empty for the plain loop.
        input: topic of content events.
        group: consumer group, new in every run.
        commit_interval_ms: between two commits, for peers that can be told.
    """

    bundle: str
    thresholds: dict[str, float]
    events: int
    output: str
    bootstrap: str = ""
    input: str = ""
    group: str = ""
    chars: int = MEAN_CHARS
    commit_interval_ms: int = 100

    def command(self, module: str, path: Path, *, python: str = sys.executable) -> list[str]:
        """Writes the job to ``path``; returns the command that has ``module`` of this package do it."""
        path.write_bytes(msgspec.json.encode(self))
        return [python, "-m", f"{__package__}.{module}", str(path)]

    @property
    def threshold_set(self) -> ThresholdSet:
        """The cut-offs, without segments."""
        return ThresholdSet(self.thresholds)


def given() -> Job:
    """The job named on the command line of this process."""
    return msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)
