"""Every setting of every role, in one tree: type, default, bounds and meaning.

Sources, strongest first: ``--set a.b=value`` on the command line, the environment
(``STREAMTAG_TAGGER__GROUP=…``), the YAML file (``--config`` or ``STREAMTAG_CONFIG``), the defaults.
An unknown or contradictory setting is refused with its full name before anything starts.

A new section is a class in `pipeline` or `services`, a field of `Settings` in `tree`, and a name here.
"""

from streamtag.settings.loading import Loaded, load_settings
from streamtag.settings.pipeline import (
    DeadLetterSettings,
    EventsSettings,
    KafkaSettings,
    LoopSettings,
    StatsSettings,
    TaggerSettings,
    TopicsSettings,
    WindowsSettings,
)
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
from streamtag.settings.tree import Settings, describe

__all__ = [
    "ApiSettings",
    "BreakerSettings",
    "ChangeSettings",
    "DeadLetterSettings",
    "EventsSettings",
    "ExperimentSettings",
    "KafkaSettings",
    "Loaded",
    "LoopSettings",
    "ModelSettings",
    "OidcSettings",
    "RedisSettings",
    "Settings",
    "StatsSettings",
    "TaggerSettings",
    "TelemetrySettings",
    "ThresholdSettings",
    "TopicsSettings",
    "WindowsSettings",
    "describe",
    "load_settings",
]
