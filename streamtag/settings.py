"""Every setting of every role, in one tree: type, default, bounds and meaning.

Sources, strongest first: ``--set a.b=value`` on the command line, the environment
(``STREAMTAG_TAGGER__GROUP=…``), the YAML file (``--config`` or ``STREAMTAG_CONFIG``), the defaults below.
An unknown or contradictory setting is refused with its full name before anything starts.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamtag.errors import SettingsError

ENV_PREFIX = "STREAMTAG_"
# Short names that people and containers use; both mean the long one.
ENV_SHORTHANDS = {"STREAMTAG_KAFKA": "kafka.bootstrap_servers", "STREAMTAG_REDIS": "redis.url"}
# Set for the process, not for this tree.
ENV_OTHER = {"STREAMTAG_CONFIG"}

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")]


class Section(BaseModel):
    """A group of settings; refuses names it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class TopicsSettings(Section):
    """The topics the tagger reads and writes."""

    input: list[Name] = Field(["content"], min_length=1, description="Topics with content events")
    tags: Name = Field("tags", description="Topic of tag events")
    stats: Name = Field("stats", description="Topic of commit summaries")
    dead_letters: Name = Field("dead-letters", description="Topic of dead letters: carries raw content")


class EventsSettings(Section):
    """How a record becomes a content event, and what one record may cost."""

    mapping: Path | None = Field(
        None, description="YAML mapping of foreign records; a shipped name (osprey, ecs, ocsf, raw) or a path"
    )
    max_bytes: int = Field(1_048_576, ge=1, description="Largest record value, bytes")
    max_depth: int = Field(32, ge=1, le=500, description="Deepest nesting of JSON objects and arrays")
    max_text_chars: int = Field(20_000, ge=1, description="Longest text, Unicode code points")


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


class TaggerSettings(Section):
    """The consume-process-produce loop of the tagger."""

    group: Name = Field("streamtag-tagger", description="Kafka consumer group")
    delivery: Literal["exactly_once", "at_least_once"] = Field("exactly_once", description="Delivery guarantee")
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
        4, ge=1, le=1_000, description="Batches waiting between the polling and the processing thread"
    )
    pause_after_ms: int = Field(1_000, ge=0, description="Back pressure this long before partitions are paused")
    transaction_timeout_ms: int = Field(
        10_000, ge=1_000, le=900_000, description="Broker aborts a silent transaction after this"
    )
    session_timeout_ms: int = Field(10_000, ge=1_000, description="Member is out after this silence (classic protocol)")
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
    emit: Literal["all", "tagged"] = Field(
        "all", description="Publish a tag event for every event, or only for tagged ones"
    )
    scores: bool = Field(True, description="Tag events carry all scores, not only those of their tags")

    @model_validator(mode="after")
    def _budgets_fit(self) -> Self:
        if self.commit_interval_ms * 2 > self.transaction_timeout_ms:
            raise ValueError(
                f"commit_interval_ms ({self.commit_interval_ms}) must be at most half of transaction_timeout_ms "
                f"({self.transaction_timeout_ms}), or the broker aborts transactions under load"
            )
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
            from datetime import datetime  # noqa: PLC0415 - only for this rare form

            try:
                parsed = datetime.fromisoformat(self.start)
            except ValueError:
                raise ValueError(f"start must be earliest, latest or an RFC 3339 time, not {self.start!r}") from None
            if parsed.tzinfo is None:
                raise ValueError(f"start {self.start!r} needs a time zone, e.g. 2026-11-23T03:00:00Z")
        return self


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


class RedisSettings(Section):
    """Where thresholds, releases, audit and fleet live."""

    url: str = Field("redis://127.0.0.1:6379/0", description="redis://, rediss:// or unix:// URL")
    namespace: Name = Field("default", description="Prefix of every key: one per independent pipeline")
    poll_interval_s: float = Field(2.0, gt=0, le=60, description="Safety net: look for a change this often")
    timeout_s: float = Field(2.0, gt=0, le=60, description="Longest wait for one answer")
    heartbeat_s: float = Field(
        1.0, gt=0, le=60, description="A worker reports to the fleet this often; stale after 5 x"
    )


class ModelSettings(Section):
    """Where bundles are found, and which one seeds an empty Redis."""

    bundle: str = Field("moderation", description="Bundle of the very first release: name, name@version or a path")
    directories: list[Path] = Field(default_factory=list, description="Searched for bundles before the shipped ones")
    batch: int = Field(64, ge=1, le=4_096, description="Texts per model run, cut from a batch by length")


class ThresholdSettings(Section):
    """Guard rails of a threshold change."""

    max_step: float = Field(0.25, gt=0, le=1, description="Largest change of one threshold without --force")


class TelemetrySettings(Section):
    """Metrics, traces, logs and health endpoints."""

    host: str = Field("127.0.0.1", description="Address of /metrics, /livez and /readyz")
    port: int | None = Field(None, ge=0, le=65_535, description="Their port: 0 = any free one, none = no endpoint")
    otlp_endpoint: str | None = Field(None, description="OTLP/HTTP collector, e.g. http://127.0.0.1:4318")
    trace_ratio: float = Field(0.01, ge=0, le=1, description="Share of batches traced when no sampled parent says so")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "text", "json"] = Field("auto", description="auto: text on a terminal, JSON elsewhere")


class Settings(Section):
    """The whole tree."""

    kafka: KafkaSettings = KafkaSettings()  # type: ignore[call-arg]
    topics: TopicsSettings = TopicsSettings()  # type: ignore[call-arg]
    events: EventsSettings = EventsSettings()  # type: ignore[call-arg]
    tagger: TaggerSettings = TaggerSettings()  # type: ignore[call-arg]
    dead_letters: DeadLetterSettings = DeadLetterSettings()  # type: ignore[call-arg]
    stats: StatsSettings = StatsSettings()  # type: ignore[call-arg]
    redis: RedisSettings = RedisSettings()  # type: ignore[call-arg]
    model: ModelSettings = ModelSettings()  # type: ignore[call-arg]
    thresholds: ThresholdSettings = ThresholdSettings()  # type: ignore[call-arg]
    telemetry: TelemetrySettings = TelemetrySettings()  # type: ignore[call-arg]
    state_dir: Path = Field(
        default_factory=lambda: Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "streamtag",
        description="Local state of this host: slots, last good release, stop marks",
    )

    @model_validator(mode="after")
    def _topics_differ(self) -> Self:
        names = [*self.topics.input, self.topics.tags, self.topics.stats, self.topics.dead_letters]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"topics: {', '.join(twice)} stands for more than one topic")
        return self


class Loaded:
    """Validated settings plus, per dotted name, where the value came from."""

    def __init__(self, settings: Settings, origins: Mapping[str, str]) -> None:
        self.settings = settings
        self.origins = dict(origins)

    def origin(self, name: str) -> str:
        """``default``, or the file, variable or option that set ``name`` (or the section around it)."""
        parts = name.split(".")
        for end in range(len(parts), 0, -1):
            found = self.origins.get(".".join(parts[:end]))
            if found:
                return found
        return "default"


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
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    path = config or (Path(env["STREAMTAG_CONFIG"]) if env.get("STREAMTAG_CONFIG") else None)
    if path is not None:
        for name, value in _flatten(_read_yaml(path)):
            _put(tree, origins, name, value, f"file {path}")
    for variable, raw in sorted(env.items()):
        if variable in ENV_SHORTHANDS:
            if raw:
                _put(tree, origins, ENV_SHORTHANDS[variable], raw, f"environment {variable}")
        elif variable.startswith(ENV_PREFIX) and variable not in ENV_OTHER:
            name = variable.removeprefix(ENV_PREFIX).lower().replace("__", ".")
            _put(tree, origins, name, _scalar(raw, name), f"environment {variable}")
    for name, raw in (overrides or {}).items():
        _put(tree, origins, name, _scalar(raw, name), f"option --set {name}")
    try:
        return Loaded(Settings.model_validate(tree), origins)
    except ValidationError as error:
        raise _explain(error, origins) from None


def describe() -> Iterator[tuple[str, Any]]:
    """All settings as (dotted name, pydantic field), in the order of the tree; for docs and ``config show``."""
    for section, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            for name, inner in annotation.model_fields.items():
                yield f"{section}.{name}", inner
        else:
            yield section, field


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read settings file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {path} is not YAML: {' '.join(str(error).split())}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(f"settings file {path} must hold a mapping of sections")
    return loaded


def _flatten(tree: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Top-level sections one level down; deeper values (pass-through mappings) stay whole."""
    for section, content in tree.items():
        if isinstance(content, dict) and str(section) in Settings.model_fields:
            for name, value in content.items():
                yield f"{section}.{name}", value
        else:
            yield str(section), content


def _scalar(raw: str, name: str) -> Any:
    try:
        return yaml.safe_load(raw) if raw != "" else ""
    except yaml.YAMLError:
        raise SettingsError(f"setting {name}: cannot read value {raw!r} (YAML syntax)") from None


def _put(tree: dict[str, Any], origins: dict[str, str], name: str, value: Any, origin: str) -> None:
    *sections, last = name.split(".")
    node = tree
    for part in sections:
        child = node.setdefault(part, {})
        if not isinstance(child, dict):
            raise SettingsError(f"setting {name} ({origin}): {part} is a value, not a section")
        node = child
    node[last] = value
    origins[name] = origin


def _explain(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    lines = []
    for problem in error.errors(include_url=False):
        name = ".".join(str(part) for part in problem["loc"]) or "settings"
        origin = next((o for n, o in origins.items() if n == name or n.startswith(name + ".")), "")
        reason = "unknown setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        lines.append(f"{name}: {reason.removeprefix('Value error, ')}" + (f" ({origin})" if origin else ""))
    return SettingsError("; ".join(lines), hint="`streamtag config show` lists every setting with its default.")
