"""The policy of a rollout as people keep it in an experiment plan, see `streamtag.control.experiment_file`.

::

    rollout:
      ramp:                          # after the share that it starts with
        - 25% after 10000 units, 1 h # both must have passed under the share before
        - 50% after 6 h
      on_pass: promote               # or hold (the default): a person promotes
      limits:                        # past any of them the candidate is taken back at once
        failures: 1%                 # of the events it should have scored; also: shed, invalid, dead
        p99_ms: 50                   # for a batch
        lag: 100000                  # records, for a whole minute
        min_events: 500              # fewer say nothing of parts
"""

import re
from collections.abc import Mapping
from typing import Any

from streamtag.domain.rollout import Limits, RampStep, RolloutPolicy

__all__ = ["describe_policy", "parse_step", "policy_of"]

_PARTS = ("failures", "shed", "invalid", "dead")
_WHOLE = ("lag", "min_events")
_LIMITS = (*_PARTS, "p99_ms", *_WHOLE)
_NUMBER = r"[0-9]*\.?[0-9]+"
_SHARE = re.compile(rf"({_NUMBER})\s*(%?)")
_STEP = re.compile(rf"(?P<share>{_NUMBER}\s*%?)\s+after\s+(?P<waits>.+)")
_UNITS = re.compile(r"([0-9]+)\s*units?")
_TIME = re.compile(rf"({_NUMBER})\s*(s|min|h|d)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86_400}


def policy_of(raw: Any, found: list[str]) -> RolloutPolicy:
    """Reads a policy, and adds to ``found`` what is not of the form above."""
    if not isinstance(raw, dict):
        found.append("rollout: must be a mapping, e.g. with `on_pass`")
        return RolloutPolicy()
    known = ("ramp", "on_pass", "limits")
    found += [f"rollout.{key}: unknown; known are {', '.join(known)}" for key in raw if key not in known]
    then = raw.get("on_pass", "hold")
    if then not in ("hold", "promote"):
        found.append(f"rollout.on_pass: {then!r} is unknown; known are hold, promote")
    return RolloutPolicy(_ramp(raw.get("ramp") or [], found), then == "promote", _limits(raw.get("limits"), found))


def parse_step(words: str) -> RampStep:
    """Reads ``25% after 10000 units, 1 h``.

    Raises:
        ValueError: it says something else; names what.
    """
    match = _STEP.fullmatch(words.strip())
    if match is None:
        raise ValueError(f"{words!r} is not of the form: 25% after 10000 units, 1 h")
    units, seconds = 0, 0.0
    for wait in re.split(r"\s*,\s*|\s+and\s+", match["waits"]):
        if count := _UNITS.fullmatch(wait):
            units = int(count[1])
        elif time := _TIME.fullmatch(wait):
            seconds = float(time[1]) * _SECONDS[time[2]]
        else:
            raise ValueError(f"{wait!r} is neither units nor a time such as 90 s, 30 min, 6 h or 1 d")
    return RampStep(_part(match["share"]), units, seconds)


def describe_policy(policy: RolloutPolicy) -> str:
    """In a few words, for people."""
    limits = policy.limits
    parts = [f"{name} {getattr(limits, name):.4g}" for name in _LIMITS if _said(name, limits)]
    ramp = [f"{step.share:g}" for step in policy.ramp]
    words = [
        f"ramp to {', '.join(ramp)}" if ramp else "",
        f"taken back past {', '.join(parts)}" if parts else "",
        "promoted on PASS" if policy.promote else "never promoted",
    ]
    return "; ".join(filter(None, words))


def _said(name: str, limits: Limits) -> bool:
    return name != "min_events" and getattr(limits, name) is not None


def _ramp(raw: Any, found: list[str]) -> tuple[RampStep, ...]:
    if not isinstance(raw, list):
        found.append("rollout.ramp: must be a list of steps, e.g. 25% after 10000 units, 1 h")
        return ()
    steps = []
    for number, words in enumerate(raw, 1):
        try:
            steps.append(parse_step(words if isinstance(words, str) else repr(words)))
        except ValueError as error:
            found.append(f"rollout.ramp step {number}: {error}")
    return tuple(steps)


def _limits(raw: Any, found: list[str]) -> Limits:
    if raw is not None and not isinstance(raw, dict):
        found.append("rollout.limits: must be a mapping, e.g. with `failures`")
        return Limits()
    given: Mapping[Any, Any] = raw or {}
    limits: dict[str, Any] = {}
    for name, value in given.items():
        where = f"rollout.limits.{name}"
        try:
            limits[name] = _limit(name, value)
        except KeyError:
            found.append(f"{where}: unknown; known are {', '.join(_LIMITS)}")
        except ValueError as error:
            found.append(f"{where}: {error}")
    return Limits(**{name: limit for name, limit in limits.items() if name in _LIMITS})


def _limit(name: Any, value: Any) -> float | int:
    if name not in _LIMITS:
        raise KeyError(name)
    if name in _PARTS and isinstance(value, str):
        return _part(value)
    usable = isinstance(value, (int, float, str)) and not isinstance(value, bool)
    try:
        number = float(value if usable else "")
    except ValueError:
        raise ValueError(f"must be a number, not {value!r}") from None
    if name not in _WHOLE:
        return number
    if not number.is_integer():
        raise ValueError(f"must be a whole number, not {value!r}")
    return int(number)


def _part(text: str) -> float:
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no part such as 1% or 0.01")
    return float(match[1]) / 100 if match[2] else float(match[1])
