"""Every setting of every role, in one tree: type, default, bounds and meaning.

Sources, strongest first: ``--set a.b=value`` on the command line, the environment
(``STREAMTAG_TAGGER__GROUP=…``), the YAML file (``--config`` or ``STREAMTAG_CONFIG``), the defaults below.
An unknown or contradictory setting is refused with its full name before anything starts.
"""

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo

from streamtag.kafka_options import refusals
from streamtag.settings_sources import Sources, explain, read_yaml

ENV_PREFIX = "STREAMTAG_"
# Short names that people and containers use; both mean the long one.
ENV_SHORTHANDS = {"STREAMTAG_KAFKA": "kafka.bootstrap_servers", "STREAMTAG_REDIS": "redis.url"}
# Set for the process, not for this tree.
ENV_OTHER = {"STREAMTAG_CONFIG"}

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


def _expanded(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"{str(path)!r} begins with a home directory that this system does not know") from None


HomePath = Annotated[Path, AfterValidator(_expanded)]


def _place(value: object) -> Path | str:
    if not isinstance(value, str | Path):
        raise ValueError("must be a directory or a URL")  # noqa: TRY004 - pydantic wants a ValueError
    return value if "://" in str(value) else _expanded(Path(value))


# BeforeValidator: as a Path, a URL would lose one of its slashes.
BundlePlace = Annotated[Path | str, BeforeValidator(_place)]
# Of minisign: "Ed", 8 bytes of key id and 32 of the key, as base64.
PublicKey = Annotated[str, Field(pattern=r"^RW[A-Za-z0-9+/]{54}$")]


class Section(BaseModel):
    """A group of settings; refuses names it does not know."""

    # A bare number is a fine name: slot 0, group 42.
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


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

    pane_s: int = Field(10, ge=1, le=3_600, description="Width of a pane, seconds of record timestamp")
    segments: dict[Literal["lang", "channel", "tenant"], list[str]] = Field(
        default_factory=dict,
        description="Values counted on their own per dimension; the rest count as 'other'",
    )
    max_future_s: int = Field(
        60, ge=0, description="Timestamps later than now + this are placed by arrival and flagged"
    )
    max_age_s: int = Field(604_800, ge=60, description="Timestamps older than this are placed by arrival and flagged")
    group: Name = Field("streamtag-stats", description="Consumer group (Faust app) of `streamtag stats`")
    session_timeout_s: int = Field(
        6, ge=1, le=3_600, description="Another `streamtag stats` takes over after this silence of the active one"
    )
    replication_factor: int = Field(1, ge=1, le=16, description="Copies of the topics that the Faust app makes")
    web_host: str = Field("127.0.0.1", description="Address of the web views of `streamtag stats`")
    web_port: int | None = Field(6066, ge=1, le=65_535, description="Their port; none = no views")


class ApiSettings(Section):
    """`streamtag api`: the HTTP API."""

    host: str = Field("127.0.0.1", description="Address to listen on; another one than loopback asks for TLS")
    port: int = Field(8484, ge=0, le=65_535, description="Port to listen on; 0 = any that is free")
    tls_certificate: HomePath | None = Field(None, description="PEM file with the certificate and its chain")
    tls_key: HomePath | None = Field(None, description="PEM file with its key")
    behind_tls: bool = Field(
        False, description="Something before it ends TLS: listening without it beyond loopback is meant"
    )
    max_events: int = Field(1_000, ge=1, le=100_000, description="Texts or events in one request")
    max_waiting: int = Field(8_000, ge=1, description="Events of all requests that wait; more are refused with 429")
    max_body_bytes: int = Field(8_000_000, ge=1_000, description="Largest request")
    deadline_ms: int = Field(1_000, ge=10, description="A scoring request that waits for longer is refused with 429")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        if self.max_events > self.max_waiting:
            raise ValueError(f"max_events ({self.max_events}) must be at most max_waiting ({self.max_waiting})")
        return self


class RedisSettings(Section):
    """Where thresholds, releases, audit and fleet live."""

    url: str = Field("redis://127.0.0.1:6379/0", description="redis://, rediss:// or unix:// URL")
    namespace: Name = Field("default", description="Prefix of every key: one per independent pipeline")
    poll_interval_s: float = Field(2.0, gt=0, le=60, description="Safety net: look for a change this often")
    timeout_s: float = Field(2.0, gt=0, le=60, description="Longest wait for one answer")
    heartbeat_s: float = Field(
        1.0, gt=0, le=60, description="A worker reports to the fleet this often; stale after 5 x"
    )

    @model_validator(mode="after")
    def _url_is_redis(self) -> Self:
        if not self.url.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("url must start with redis://, rediss:// (TLS) or unix:// (socket)")
        try:
            _ = urlsplit(self.url).port
        except ValueError:
            # Its own message could quote a password.
            raise ValueError("url is malformed; in a password, write / as %2F, # as %23, @ as %40") from None
        return self


class ModelSettings(Section):
    """Where bundles are found, and which one seeds an empty Redis."""

    bundle: str = Field("moderation", description="Bundle of the very first release: name, name@version or a path")
    directories: list[BundlePlace] = Field(
        default_factory=list,
        description="Directories and fsspec URLs searched for bundles before the shipped ones; a URL's are kept in "
        "`$XDG_CACHE_HOME/streamtag/bundles`",
    )
    trusted_keys: list[PublicKey] = Field(
        default_factory=list,
        description="minisign public keys (`RW…`): a bundle is loaded only if one of them signed it; empty = any is",
    )
    taxonomy: HomePath | None = Field(
        None, description="YAML file of the taxonomy; a bundle with labels that it does not know is refused"
    )
    batch: int = Field(64, ge=1, le=4_096, description="Texts per model run, cut from a batch by length")


class ExperimentSettings(Section):
    """What experiments may cost the workers that take part."""

    budget_ms: int = Field(
        20,
        ge=0,
        le=1_000,
        description="Longest wait for a candidate with a bundle of its own: per batch (split), or per commit (shadow; "
        "there at most a twentieth of the commit interval)",
    )


class ThresholdSettings(Section):
    """Guard rails of a threshold change."""

    max_step: float = Field(0.25, gt=0, le=1, description="Largest change of one threshold without --force")


class TelemetrySettings(Section):
    """Metrics, traces, logs and health endpoints."""

    host: str = Field("127.0.0.1", description="Address of /metrics, /livez and /readyz")
    port: int | None = Field(None, ge=0, le=65_535, description="Their port: 0 = any free one, none = no endpoint")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP collector, e.g. http://127.0.0.1:4318")
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of batches traced when no sampled parent says so")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least severe level logged")
    log_format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, JSON elsewhere")

    @model_validator(mode="after")
    def _endpoint_is_http(self) -> Self:
        parts = urlsplit(self.otlp_endpoint or "http://none")
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("otlp_endpoint must be an http:// or https:// URL, without /v1/…")
        return self


class Settings(Section):
    """The whole tree."""

    kafka: KafkaSettings = KafkaSettings()  # type: ignore[call-arg]
    topics: TopicsSettings = TopicsSettings()  # type: ignore[call-arg]
    events: EventsSettings = EventsSettings()  # type: ignore[call-arg]
    tagger: TaggerSettings = TaggerSettings()  # type: ignore[call-arg]
    dead_letters: DeadLetterSettings = DeadLetterSettings()  # type: ignore[call-arg]
    stats: StatsSettings = StatsSettings()  # type: ignore[call-arg]
    windows: WindowsSettings = WindowsSettings()  # type: ignore[call-arg]
    redis: RedisSettings = RedisSettings()  # type: ignore[call-arg]
    model: ModelSettings = ModelSettings()  # type: ignore[call-arg]
    thresholds: ThresholdSettings = ThresholdSettings()  # type: ignore[call-arg]
    experiments: ExperimentSettings = ExperimentSettings()  # type: ignore[call-arg]
    api: ApiSettings = ApiSettings()  # type: ignore[call-arg]
    telemetry: TelemetrySettings = TelemetrySettings()  # type: ignore[call-arg]
    state_dir: HomePath = Field(
        default_factory=lambda: Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "streamtag",
        description="Local state of this host: slots, last good release, stop marks",
    )

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        named = [("topics.input", name) for name in self.topics.input]
        named += [(f"topics.{role}", getattr(self.topics, role)) for role in ("tags", "stats", "dead_letters", "panes")]
        for topic in sorted({name for _, name in named}):
            settings = [setting for setting, name in named if name == topic]
            if len(settings) > 1:
                raise ValueError(f"{' and '.join(settings)} name the same topic {topic}")
        return self

    @model_validator(mode="after")
    def _groups_differ(self) -> Self:
        if self.tagger.group == self.windows.group:
            raise ValueError(f"tagger.group and windows.group name the same group {self.tagger.group}")
        return self


class Loaded:
    """Validated settings plus, per dotted name, where the value came from."""

    def __init__(self, settings: Settings, sources: Sources) -> None:
        self.settings = settings
        self._sources = sources

    def origin(self, name: str) -> str:
        """``default``, or the file, variable or option that set ``name`` (or the mapping around it)."""
        return self._sources.origin(name)


def load_settings(
    *,
    config: Path | None = None,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Loaded:
    """Reads all sources and validates the whole.

    Args:
        config: YAML file; ``STREAMTAG_CONFIG`` is used when none is given.
        overrides: dotted name to YAML value, e.g. ``{"tagger.batch_size": "64"}``.
        environ: the environment (defaults to that of the process).

    Raises:
        SettingsError: names every unknown, ill-typed or contradictory setting and its source.
    """
    env = os.environ if environ is None else environ
    sources = Sources(Settings)
    path = config or (Path(env["STREAMTAG_CONFIG"]) if env.get("STREAMTAG_CONFIG") else None)
    if path is not None:
        for name, value in read_yaml(path).items():
            sources.put(str(name), value, f"file {path}")
    for variable, raw in sorted(env.items()):
        # Compose and Helm write an empty variable where nobody gave a value.
        if raw == "" or variable in ENV_OTHER or not variable.startswith(ENV_PREFIX):
            continue
        name = ENV_SHORTHANDS.get(variable) or variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        sources.put_text(name, raw, f"environment {variable}")
    for name, raw in (overrides or {}).items():
        sources.put_text(name, raw, f"option --set {name}")
    try:
        return Loaded(Settings.model_validate(sources.tree), sources)
    except ValidationError as error:
        raise explain(error, sources, [name for name, _ in describe()]) from None


def describe() -> Iterator[tuple[str, FieldInfo]]:
    """All settings as (dotted name, pydantic field), in the order of the tree; for docs and ``config show``."""
    for section, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            for name, inner in annotation.model_fields.items():
                yield f"{section}.{name}", inner
        else:
            yield section, field
