"""Peer C: the same tagger as one would write it with Faust, event by event, with the same bundle and cut-offs."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import faust
from faust.types import StreamT

from streamtag.domain.scores import from_micro, to_micro
from streamtag.domain.thresholds import Compiled
from streamtag.model.loading import load_scorer
from streamtag.settings import load_settings

from .job import Job, given


def build(job: Job) -> faust.App:
    """The app: one agent, JSON in and out, one send per event."""
    scorer = load_scorer(Path(job.bundle), batch=load_settings(environ={}).settings.model.batch)
    bundle = scorer.bundle.ref
    cutoffs = Compiled(job.threshold_set, scorer.labels).matrix[0].tolist()
    thresholds = dict(zip(scorer.labels, cutoffs, strict=True))
    release = {
        "number": 1,
        "sha256": "0" * 64,
        "bundle": {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256},
        "thresholds": {"revision": 1, "sha256": "0" * 64},
    }
    app = faust.App(
        job.group,
        broker=f"kafka://{job.bootstrap}",
        datadir=tempfile.mkdtemp(prefix="faust-"),
        store="memory://",
        consumer_auto_offset_reset="earliest",
        # 2.8 s by default: too coarse for where a window of half a minute begins and ends.
        broker_commit_interval=1.0,
        # It consumes no topic of its own making, so it needs no leader topic, no web, and nothing declared.
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_replication_factor=1,
        web_enabled=False,
    )
    source = app.topic(job.input, key_type=bytes, value_serializer="json")
    tags = app.topic(job.output, key_type=bytes, value_serializer="json")

    @app.agent(source)
    async def tag(stream: StreamT[Any]) -> None:
        async for event in stream.events():
            content: dict[str, Any] = event.value
            message = event.message
            scores = from_micro(to_micro(scorer.score([content["text"]])[0])).tolist()
            tagged = [
                {"label": label, "score": score, "threshold": cutoff, "action": "tag"}
                for label, score, cutoff in zip(scorer.labels, scores, cutoffs, strict=True)
                if score >= cutoff
            ]
            await tags.send(
                key=message.key,
                value={
                    "id": content["id"],
                    "source": {
                        "topic": message.topic,
                        "partition": message.partition,
                        "offset": message.offset,
                        "timestamp_ms": int(message.timestamp * 1000),
                    },
                    "tags": tagged,
                    "scores": dict(zip(scorer.labels, scores, strict=True)),
                    "thresholds": thresholds,
                    "release": release,
                    "processed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                    "segment": {"lang": content["lang"]},
                },
            )

    return app


if __name__ == "__main__":
    app = build(given())
    sys.argv[1:] = []  # Faust reads options of its own there
    faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()
