"""Experiment plans as people keep them: a YAML or JSON file, e.g. in git; and the words for what is asked of a label.

::

    mode: shadow               # or split
    share: 0.5                 # of the units
    unit: author               # optional: event (default), author, channel, tenant, key
    labels:                    # words, separated by commas
      spam: ±20%, critical
      insult: ±0.005, decrease, weight 2
    others: muted              # every other label; without it, ±20%
    base_rates: {insult: 0.03} # what an absolute tolerance is checked against
    alpha: 0.05                # these are optional, too: alpha_assignment, max_conflicts, max_units, max_hours
    on_worse: fail             # or warn
    rollout: {on_pass: promote} # what happens by itself; see `streamtag.control.rollout_file`
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from streamtag import strict_yaml
from streamtag.control.experiment_request import Request
from streamtag.control.rollout_file import policy_of
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.errors import RefusedError

__all__ = ["load_plan", "merge", "parse_policy", "request_of"]

_NUMBERS = ("share", "alpha", "alpha_assignment", "max_conflicts", "max_units", "max_hours")
_KEYS = ("mode", "unit", "labels", "others", "base_rates", "on_worse", "rollout", *_NUMBERS)
_TOLERANCE = re.compile(r"(?:±|\+-|\+/-)?\s*(?P<size>[0-9]*\.?[0-9]+)\s*(?P<percent>%?)")
_WEIGHT = re.compile(r"weight\s+(?P<weight>[0-9]*\.?[0-9]+)")
_LARGEST = 1e15
_WORDS = "±20%, ±0.005, increase, decrease, either, critical, muted, weight 2"


def load_plan(text: str, name: str) -> dict[str, Any]:
    """The mapping in a plan file, as `request_of` reads it.

    Raises:
        RefusedError: neither YAML nor JSON, or no mapping.
    """
    try:
        raw = strict_yaml.load(text)
    except ValueError as error:
        raise RefusedError(f"{name} is neither YAML nor JSON: {error}") from None
    if not isinstance(raw, dict):
        raise RefusedError(f"{name} must hold a mapping, e.g. with `mode` and `labels`")
    return raw


def merge(raw: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``raw`` with what was ``given`` beside it, mappings key by key; what is wrong in ``raw`` stays as it is."""
    merged = dict(raw)
    for key, value in given.items():
        before = merged.get(key)
        if not isinstance(value, Mapping):
            merged[key] = value
        elif before is None or isinstance(before, dict):
            merged[key] = merge(before or {}, value)
    return merged


def request_of(raw: Mapping[str, Any]) -> Request:
    """Reads a plan; whether it can be started is looked at later, against the releases.

    Raises:
        RefusedError: not of the form above; names every problem.
    """
    found = [f"{key}: unknown; known are {', '.join(_KEYS)}" for key in raw if key not in _KEYS]
    mode = _choice(raw, "mode", ("shadow", "split"), found)
    on_worse = _choice(raw, "on_worse", ("fail", "warn"), found)
    unit = raw.get("unit", "event")
    if not isinstance(unit, str):
        found.append("unit: must be text")
    if mode == "split" and "share" not in raw:
        found.append("share: missing; say what part of the units the candidate decides, e.g. 0.1")
    numbers = {key: raw[key] for key in _NUMBERS if key in raw and _is_number(key, raw[key], found)}
    share = numbers.pop("share", 1.0)
    if "max_units" in numbers and not float(numbers["max_units"]).is_integer():
        found.append("max_units: must be a whole number")
    labels = {name: _policy(f"labels.{name}", words, found) for name, words in _mapping(raw, "labels", found).items()}
    others = _policy("others", raw.get("others", ""), found)
    rates = _mapping(raw, "base_rates", found)
    rates = {name: rate for name, rate in rates.items() if _is_number(f"base_rates.{name}", rate, found)}
    rollout = policy_of(raw.get("rollout") or {}, found)
    if found:
        raise RefusedError("this is not an experiment plan", problems=found)
    if "max_units" in numbers:
        numbers["max_units"] = int(numbers["max_units"])
    plan = ExperimentPlan(mode=mode, labels=labels, on_worse=on_worse, **numbers)
    return Request(plan, float(share), unit, others, rates, rollout)


def parse_policy(words: str) -> LabelPolicy:
    """Reads ``±20%, critical``; what is not said keeps its default.

    Raises:
        ValueError: a word that is none; names it.
    """
    policy = LabelPolicy()
    for word in filter(None, (part.strip() for part in words.split(","))):
        policy = _with(policy, word)
    return policy


def _with(policy: LabelPolicy, word: str) -> LabelPolicy:
    if word in ("increase", "decrease", "either"):
        return replace(policy, direction=word)  # type: ignore[arg-type]  # one of the three
    if word in ("critical", "muted"):
        return replace(policy, **{word: True})  # type: ignore[arg-type]  # both are bools
    if match := _WEIGHT.fullmatch(word):
        return replace(policy, weight=float(match["weight"]))
    if match := _TOLERANCE.fullmatch(word):
        size = float(match["size"])
        return replace(
            policy, tolerance=Tolerance("relative", size / 100) if match["percent"] else Tolerance("absolute", size)
        )
    raise ValueError(f"{word!r} is not understood; known are {_WORDS}")


def _policy(where: str, words: Any, found: list[str]) -> LabelPolicy:
    if not isinstance(words, str):
        found.append(f"{where}: must be text, e.g. ±20%, critical")
        return LabelPolicy()
    try:
        return parse_policy(words)
    except ValueError as error:
        found.append(f"{where}: {error}")
        return LabelPolicy()


def _choice(raw: Mapping[str, Any], key: str, known: tuple[str, str], found: list[str]) -> Any:
    """The first of ``known`` unless ``raw`` says another."""
    value = raw.get(key, known[0])
    if value not in known:
        found.append(f"{key}: {value!r} is unknown; known are {', '.join(known)}")
    return value


def _mapping(raw: Mapping[str, Any], key: str, found: list[str]) -> dict[str, Any]:
    value = raw.get(key) or {}
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return value
    found.append(f"{key}: must be a mapping of labels")
    return {}


def _is_number(where: str, value: Any, found: list[str]) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        found.append(f"{where}: must be a number, not {value!r}")
        return False
    if not abs(value) <= _LARGEST:
        found.append(f"{where}: must be a number up to {_LARGEST:g}")
        return False
    return True
