"""Reading the settings from all their sources: command line, environment, file, defaults."""

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from streamtag.settings.sources import Sources, explain, read_yaml
from streamtag.settings.tree import Settings, describe

ENV_PREFIX = "STREAMTAG_"
# Short names that people and containers use; both mean the long one.
ENV_SHORTHANDS = {"STREAMTAG_KAFKA": "kafka.bootstrap_servers", "STREAMTAG_REDIS": "redis.url"}
# Set for the process, not for this tree.
ENV_OTHER = {"STREAMTAG_CONFIG"}


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
