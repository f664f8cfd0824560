"""Threshold sets as people keep them: a YAML or JSON file, e.g. in git.

``streamtag thresholds show --output json`` writes this form, so a file can be fetched, edited and applied::

    base: {revision: 5}        # optional: refuse when somebody has changed the thresholds since
    labels:
      spam: 0.8
      insult: 0.75
    segments:                  # optional
      - when: {lang: de}
        labels: {spam: 0.85}
"""

from dataclasses import dataclass
from typing import Any

from streamtag import strict_yaml
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import RefusedError

__all__ = ["ThresholdFile", "parse_threshold_file"]

_KEYS = ("base", "labels", "segments", "about")


@dataclass(frozen=True)
class ThresholdFile:
    """A threshold set, and the revision it was made from where the file says so."""

    thresholds: ThresholdSet
    base_revision: int | None = None
    base_sha256: str | None = None


def parse_threshold_file(text: str, name: str) -> ThresholdFile:
    """Reads the form above; ``about`` is for people and is not read. Values are checked against the bundle later.

    Raises:
        RefusedError: not of this form; names every problem.
    """
    try:
        raw = strict_yaml.load(text)
    except ValueError as error:
        raise RefusedError(f"{name} is neither YAML nor JSON: {error}") from None
    if not isinstance(raw, dict):
        raise RefusedError(f"{name} must hold a mapping with `labels`")
    found = [f"{key}: unknown; known are {', '.join(_KEYS)}" for key in raw if key not in _KEYS]
    found += _label_problems("labels", raw.get("labels"))
    segments = [] if raw.get("segments") is None else raw["segments"]
    if isinstance(segments, list):
        for i, segment in enumerate(segments):
            found += _segment_problems(f"segments[{i}]", segment)
    else:
        found.append("segments: must be a list")
    base = {} if raw.get("base") is None else raw["base"]
    found += _base_problems(base)
    if found:
        raise RefusedError(f"{name} is not a threshold file", problems=found)
    return ThresholdFile(ThresholdSet.from_dict(raw), base.get("revision"), base.get("sha256"))


def _label_problems(where: str, labels: Any) -> list[str]:
    if not isinstance(labels, dict) or not labels:
        return [f"{where}: must be a mapping of labels to cut-offs"]
    return [f"{where}.{label}: a label must be text" for label in labels if not isinstance(label, str)]


def _segment_problems(where: str, segment: Any) -> list[str]:
    if not isinstance(segment, dict):
        return [f"{where}: must be a mapping with `when` and `labels`"]
    found = [f"{where}.{key}: unknown; known are when, labels" for key in segment if key not in ("when", "labels")]
    if not isinstance(segment.get("when"), dict):
        found.append(f"{where}.when: must be a mapping, e.g. {{lang: de}}")
    return found + _label_problems(f"{where}.labels", segment.get("labels"))


def _base_problems(base: Any) -> list[str]:
    if not isinstance(base, dict):
        return ["base: must be a mapping, e.g. {revision: 5}"]
    found = [f"base.{key}: unknown; known are revision, sha256" for key in base if key not in ("revision", "sha256")]
    revision = base.get("revision")
    if base and (not isinstance(revision, int) or isinstance(revision, bool)):
        found.append("base.revision: must be a whole number")
    if not isinstance(base.get("sha256", ""), str):
        found.append("base.sha256: must be text")
    return found
