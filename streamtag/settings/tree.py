"""The whole tree of settings, what its sections may not contradict each other in, and its description."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo

from streamtag.settings.pipeline import (
    DeadLetterSettings,
    EventsSettings,
    KafkaSettings,
    StatsSettings,
    TaggerSettings,
    TopicsSettings,
    WindowsSettings,
)
from streamtag.settings.section import HomePath, Section
from streamtag.settings.services import (
    ApiSettings,
    BreakerSettings,
    ChangeSettings,
    ExperimentSettings,
    ModelSettings,
    OidcSettings,
    RedisSettings,
    TelemetrySettings,
    ThresholdSettings,
)


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
    changes: ChangeSettings = ChangeSettings()  # type: ignore[call-arg]
    breakers: BreakerSettings = BreakerSettings()  # type: ignore[call-arg]
    experiments: ExperimentSettings = ExperimentSettings()  # type: ignore[call-arg]
    api: ApiSettings = ApiSettings()  # type: ignore[call-arg]
    oidc: OidcSettings = OidcSettings()  # type: ignore[call-arg]
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
        named = {role: getattr(self, role).group for role in ("tagger", "windows", "stats")}
        for group in sorted(set(named.values())):
            settings = [f"{role}.group" for role, name in named.items() if name == group]
            if len(settings) > 1:
                raise ValueError(f"{' and '.join(settings)} name the same group {group}")
        return self


def describe() -> Iterator[tuple[str, FieldInfo]]:
    """All settings as (dotted name, pydantic field), in the order of the tree; for docs and ``config show``."""
    for section, field in Settings.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Section):
            for name, inner in annotation.model_fields.items():
                yield f"{section}.{name}", inner
        else:
            yield section, field
