"""The same tagger as one would write it with Quix Streams, exactly once, with the same bundle and cut-offs.

Runs in an environment of its own (`quix_env`), on the code of this checkout.
"""

from typing import Any

from quixstreams import Application, message_context  # type: ignore[import-not-found]

from .event_tagger import EventTagger
from .job import Job, given


def build(job: Job) -> Application:
    """The application: one dataframe, JSON in and out, one function without state."""
    tagger = EventTagger(job)
    app = Application(
        broker_address=job.bootstrap,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        # 5 s by default: the worker's interval, so that both keep a reader waiting equally long.
        commit_interval=job.commit_interval_ms / 1000,
        auto_create_topics=False,
        loglevel="WARNING",
    )
    source = app.topic(job.input, key_deserializer="bytes", value_deserializer="json")
    tags = app.topic(job.output, key_serializer="bytes", value_serializer="json")

    def tag(content: dict[str, Any], _key: bytes, timestamp_ms: int, _headers: object) -> dict[str, Any]:
        where = message_context()
        return tagger.tag(
            content, topic=where.topic, partition=where.partition, offset=where.offset, timestamp_ms=timestamp_ms
        )

    app.dataframe(source).apply(tag, metadata=True).to_topic(tags)
    return app


if __name__ == "__main__":
    build(given()).run()
