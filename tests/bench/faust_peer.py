"""The same tagger as one would write it with Faust, event by event, with the same bundle and cut-offs."""

import sys
import tempfile
from typing import Any

import faust
from faust.types import StreamT

from .event_tagger import EventTagger
from .job import Job, given


def build(job: Job) -> faust.App:
    """The app: one agent, JSON in and out, one send per event."""
    tagger = EventTagger(job)
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
            message = event.message
            tagged = tagger.tag(
                event.value,
                topic=message.topic,
                partition=message.partition,
                offset=message.offset,
                timestamp_ms=int(message.timestamp * 1000),
            )
            await tags.send(key=message.key, value=tagged)

    return app


if __name__ == "__main__":
    app = build(given())
    sys.argv[1:] = []  # Faust reads options of its own there
    faust.Worker(app, loglevel="WARNING", quiet=True).execute_from_commandline()
