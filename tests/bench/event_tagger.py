"""One event at a time, dicts in and out: what one writes inside a framework that hands over single events."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from streamtag.domain.scores import from_micro, to_micro
from streamtag.domain.thresholds import Compiled
from streamtag.model.loading import load_scorer
from streamtag.settings import load_settings

from .job import Job


class EventTagger:
    """Content event to tag event, with the bundle and the cut-offs of the job."""

    def __init__(self, job: Job) -> None:
        self._scorer = load_scorer(Path(job.bundle), batch=load_settings(environ={}).settings.model.batch)
        self._labels = self._scorer.labels
        self._cutoffs: list[float] = Compiled(job.threshold_set, self._labels).matrix[0].tolist()
        self._thresholds = dict(zip(self._labels, self._cutoffs, strict=True))
        bundle = self._scorer.bundle.ref
        self._release = {
            "number": 1,
            "sha256": "0" * 64,
            "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
            "thresholds": {"revision": 1, "sha256": "0" * 64},
        }

    def tag(
        self, content: Mapping[str, Any], *, topic: str, partition: int, offset: int, timestamp_ms: int
    ) -> dict[str, Any]:
        """The tag event."""
        scores = from_micro(to_micro(self._scorer.score([content["text"]])[0])).tolist()
        tagged = [
            {"label": label, "score": score, "threshold": cutoff, "action": "tag"}
            for label, score, cutoff in zip(self._labels, scores, self._cutoffs, strict=True)
            if score >= cutoff
        ]
        return {
            "id": content["id"],
            "source": {"topic": topic, "partition": partition, "offset": offset, "timestamp_ms": timestamp_ms},
            "tags": tagged,
            "scores": dict(zip(self._labels, scores, strict=True)),
            "thresholds": self._thresholds,
            "release": self._release,
            "processed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "segment": {"lang": content["lang"]},
        }
