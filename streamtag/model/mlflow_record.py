"""What MLflow is told of a training: parameters, figures and tags, all from the manifest of the bundle it made."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from streamtag.model.bundle import Bundle
from streamtag.model.card_forms import Trained, known

__all__ = ["metrics", "parameters", "tags"]

_FOREIGN = re.compile(r"[^A-Za-z0-9_\-. /:]")
"""What MLflow does not take in the name of a parameter or a metric."""
_LONGEST = 500
"""Characters of a parameter that any MLflow server takes."""


def parameters(bundle: Bundle) -> dict[str, str]:
    """Every choice of the training by its dotted name; lists as text. None where it is recorded in no form known."""
    trained = known(bundle.manifest.training, Trained) or Trained()
    choices = trained.config or trained.recipe or {}
    rows = {f"rows.{name}": n for name, n in trained.rows.items()}
    found = {**dict(_leaves(choices)), **rows}
    return {_named(name): str(value)[:_LONGEST] for name, value in found.items()}


def metrics(bundle: Bundle) -> dict[str, float]:
    """Every figure on the rows held out: overall by its name, of a label as ``figure/label``."""
    evaluation = bundle.manifest.evaluation
    found: dict[str, float] = {}
    for name, value in _leaves(evaluation):
        *path, figure = name.split(".")
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            continue
        if "labels" in path:
            at = path.index("labels")
            found["/".join([*path[:at], figure, ".".join(path[at + 1 :])])] = float(value)
        else:
            found["/".join([*path, figure])] = float(value)
    return {_named(name): value for name, value in found.items()}


def tags(bundle: Bundle) -> dict[str, str]:
    """What it was made from, and which bundle came of it."""
    training = bundle.manifest.training
    trained = known(training, Trained) or Trained()
    environment = {f"environment.{name}": str(value) for name, value in (trained.environment or {}).items()}
    config = {"config_sha256": training["config_sha256"]} if "config_sha256" in training else {}
    return {"streamtag.bundle": str(bundle.ref), "streamtag.sha256": bundle.ref.sha256, **config, **environment}


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, node


def _named(name: str) -> str:
    return _FOREIGN.sub("_", name)
