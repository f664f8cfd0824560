"""Settings of the stream: Kafka, topics, events, the loops of the workers and what they count."""

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from streamtag.kafka_options import refusals
from streamtag.settings.section import HomePath, Name, Section


class KafkaSettings(Section):
    """How to reach Kafka. The three mappings go to librdkafka as they are (TLS, SASL, tuning)."""

    bootstrap_servers: str = Field("127.0.0.1:9092", description="Brokers, host:port[,host:port]")
    client: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        description="librdkafka settings of every client, e.g. security.protocol, sasl.*, ssl.*",
    )
    consumer: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="librdkafka settings of consumers only"
    )
    producer: dict[str, str | int | float | bool] = Field(
        default_factory=dict, description="librdkafka settings of producers only"
    )

    @model_validator(mode="after")
    def _guarantees_stand(self) -> Self:
        mappings = {"client": self.client, "consumer": self.consumer, "producer": self.producer}
        found = [refusal for name, options in mappings.items() for refusal in refusals(name, options)]
        if found:
            raise ValueError("; ".join(found))
        return self


class TopicsSettings(Section):
    """The topics that are read and written."""

    input: list[Name] = Field(["content"], min_length=1, description="Topics with content events")
    tags: Name = Field("tags", description="Topic of tag events")
    stats: Name = Field("stats", description="Topic of commit summaries")
    dead_letters: Name = Field("dead-letters", description="Topic of dead letters: carries raw content")
    panes: Name = Field("panes", description="Topic of panes: what the windower makes of commit summaries")
    declarations: HomePath | None = Field(
        None, description="Directory of topic declarations of your own (a copy of topics/); null: the shipped ones"
    )


class EventsSettings(Section):
    """How a record becomes a content event, and what one record may cost."""

    mapping: HomePath | None = Field(
        None, description="YAML mapping of foreign records; a shipped name (osprey, ecs, ocsf, log, raw) or a path"
    )
    max_bytes: int = Field(1_048_576, ge=1, description="Largest record value, bytes")
    max_depth: int = Field(32, ge=1, le=500, description="Deepest nesting of JSON objects and arrays")
    max_values: int = Field(
        10_000, ge=1, description="Most values in one record: objects, arrays and commas of its JSON"
    )
    max_text_chars: int = Field(20_000, ge=1, description="Longest text, Unicode code points")
    max_field_chars: int = Field(
        1_024, ge=1, description="Longest id, time, lang, author, channel, tenant, key; a record key: 4 x as many bytes"
    )


class DeadLetterSettings(Section):
    """When a stream of dead letters stops the worker instead of draining the topic."""

    max_consecutive: int = Field(500, ge=1, description="Stop after this many dead letters in a row, per partition")
    max_ratio: float = Field(
        0.2, gt=0, le=1, description="Stop when more than this share of the window is dead letters"
    )
    window: int = Field(2_000, ge=10, description="Records the ratio is taken over, per worker")
    min_records: int = Field(500, ge=1, description="Records in the window before the ratio counts")
    max_bytes: int = Field(
        4_194_304,
        ge=4_096,
        description="Largest dead letter; above it the head, the hash and the position are kept",
    )

    @model_validator(mode="after")
    def _window_holds_minimum(self) -> Self:
        if self.min_records > self.window:
            raise ValueError(
                f"min_records ({self.min_records}) is above window ({self.window}): the ratio could never count"
            )
        return self


class LoopSettings(Section):
    """A consume-process-produce loop, whatever it processes."""

    group: Name = Field(description="Kafka consumer group")
    start: str = Field(
        "earliest",
        description="First position of a group without commits: earliest, latest, or an RFC 3339 time",
    )
    commit_interval_ms: int = Field(100, ge=5, le=60_000, description="One transaction (or commit) per interval")
    batch_size: int = Field(512, ge=1, le=100_000, description="Records handed over at once")
    batch_wait_ms: int = Field(
        5, ge=0, le=10_000, description="Longest wait for a batch to fill, from its first record"
    )
    queue_batches: int = Field(
        1, ge=1, le=1_000, description="Batches waiting between the polling and the processing thread"
    )
    pause_after_ms: int = Field(1_000, ge=0, description="Back pressure this long before partitions are paused")
    session_timeout_ms: int = Field(6_000, ge=1_000, description="Member is out after this silence (classic protocol)")
    max_poll_interval_ms: int = Field(300_000, ge=1_000, description="Longest time between two polls")
    revoke_budget_ms: int = Field(
        5_000, ge=100, description="Longest work inside a revoke before the transaction is aborted"
    )
    drain_timeout_s: float = Field(20.0, gt=0, description="Longest drain after SIGTERM")
    stuck_after_s: float = Field(
        60.0, gt=0, description="No progress for this long with work at hand: stacks are logged, not live"
    )
    group_protocol: Literal["classic", "consumer"] = Field("classic", description="consumer = KIP-848")
    group_instance_id: str | None = Field(None, description="Static membership: a stable name of this worker")
    slot: str | None = Field(
        None, description="Fixed slot (e.g. the StatefulSet ordinal) instead of one taken by file lock"
    )

    def for_runner(self) -> dict[str, Any]:
        """What `streamtag.stream.options.StreamOptions` takes of these settings, by the names that it has, too."""
        return self.model_dump(include=LoopSettings.model_fields.keys() - {"slot", "stuck_after_s"})

    @model_validator(mode="after")
    def _loop_fits(self) -> Self:
        if self.session_timeout_ms > self.max_poll_interval_ms:
            raise ValueError(
                f"session_timeout_ms ({self.session_timeout_ms}) must not exceed "
                f"max_poll_interval_ms ({self.max_poll_interval_ms})"
            )
        if self.revoke_budget_ms * 2 > self.max_poll_interval_ms:
            raise ValueError(
                f"revoke_budget_ms ({self.revoke_budget_ms}) must be at most half of "
                f"max_poll_interval_ms ({self.max_poll_interval_ms})"
            )
        if self.start not in ("earliest", "latest"):
            try:
                parsed = datetime.fromisoformat(self.start)
            except ValueError:
                raise ValueError(f"start must be earliest, latest or an RFC 3339 time, not {self.start!r}") from None
            if parsed.tzinfo is None:
                raise ValueError(f"start {self.start!r} needs a time zone, e.g. 2026-11-23T03:00:00Z")
        return self


class TaggerSettings(LoopSettings):
    """The loop of the tagger: content events in, tag events out."""

    group: Name = Field("streamtag-tagger", description="Kafka consumer group")
    delivery: Literal["exactly_once", "at_least_once"] = Field("exactly_once", description="Delivery guarantee")
    transaction_timeout_ms: int = Field(
        5_000, ge=1_000, le=900_000, description="Broker aborts a silent transaction after this"
    )
    emit: Literal["all", "tagged"] = Field(
        "all", description="Publish a tag event for every event, or only for tagged ones"
    )
    scores: bool = Field(True, description="Tag events carry all scores, not only those of their tags")
    stage2_share: float = Field(
        0.2, ge=0, le=1, description="Bundles of two stages: largest share of events that go to stage 2"
    )
    stage2_per_s: float | None = Field(
        None, gt=0, description="Most events a second that go to stage 2, per worker; none = no such limit"
    )
    stage2_per_batch: int = Field(64, ge=1, le=100_000, description="Most events of one batch that go to stage 2")
    stage2_time_share: float = Field(
        0.5, gt=0, le=1, description="Largest share of its time that a worker spends in stage 2; 1 = no such limit"
    )

    @model_validator(mode="after")
    def _transactions_fit(self) -> Self:
        if self.commit_interval_ms * 2 > self.transaction_timeout_ms:
            raise ValueError(
                f"commit_interval_ms ({self.commit_interval_ms}) must be at most half of transaction_timeout_ms "
                f"({self.transaction_timeout_ms}), or the broker aborts transactions under load"
            )
        return self


class WindowsSettings(LoopSettings):
    """The loop of the windower, commit summaries in and panes out, and when a pane closes."""

    group: Name = Field("streamtag-windows", description="Kafka consumer group")
    commit_interval_ms: int = Field(
        500, ge=5, le=60_000, description="Closed panes that have changed are published, and positions committed"
    )
    batch_size: int = Field(64, ge=1, le=100_000, description="Records handed over at once; they can be large")
    idle_ms: int = Field(
        2_000, ge=100, le=600_000, description="A source partition silent for longer does not hold panes open"
    )
    lateness_ms: int = Field(
        20_000,
        ge=1_000,
        le=3_600_000,
        description="Counts up to this late correct a pane, later ones are addenda; a restart reads as much again",
    )
    max_open: int = Field(
        360, ge=2, le=100_000, description="Panes kept open per partition of the stats topic; the earliest become final"
    )
    max_bytes: int = Field(
        8_000_000, ge=100_000, description="Largest pane; the topic's max.message.bytes must be above it"
    )


class StatsSettings(Section):
    """What the commit summaries count."""

    pane_s: int = Field(
        10, ge=1, le=60, description="Width of a pane, seconds of record timestamp; a minute must be a multiple of it"
    )
    segments: dict[Literal["lang", "channel", "tenant"], list[str]] = Field(
        default_factory=dict,
        description="Values counted on their own per dimension; the rest count as 'other'",
    )
    max_future_s: int = Field(
        60, ge=0, le=3_600, description="Timestamps later than now + this are placed by arrival and flagged"
    )
    max_age_s: int = Field(604_800, ge=60, description="Timestamps older than this are placed by arrival and flagged")
    group: Name = Field("streamtag-stats", description="Consumer group (Faust app) of `streamtag stats`")
    session_timeout_s: int = Field(
        6, ge=1, le=3_600, description="Another `streamtag stats` takes over after this silence of the active one"
    )
    web_host: str = Field("127.0.0.1", description="Address of the web views of `streamtag stats`")
    web_port: int | None = Field(6066, ge=1, le=65_535, description="Their port; none = no views")

    @model_validator(mode="after")
    def _windows_are_whole_panes(self) -> Self:
        if 60 % self.pane_s:
            raise ValueError(f"pane_s: a minute is no multiple of {self.pane_s} s; panes would straddle windows")
        return self
