"""The forms of a manifest's free records that this version knows how to tell.

Whoever makes a bundle writes into ``training`` and ``evaluation`` what they like. A record is told where it converts;
keys that nothing here names are passed by.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

__all__ = ["UNKNOWN", "Lineage", "Trained", "known", "known_evaluation"]

UNKNOWN = "Recorded in a form that this version does not know."
T = TypeVar("T")
_Number = int | float | None


class _Figure(msgspec.Struct, frozen=True):
    value: _Number
    low: _Number = None
    high: _Number = None


class _OfLabel(msgspec.Struct, frozen=True):
    positives: int
    roc_auc: _Number
    average_precision: _Number
    ece: _Number
    ece_null_95: int | float


class _F1OfLabel(msgspec.Struct, frozen=True):
    f1: _Number = None


class _F1(msgspec.Struct, frozen=True):
    micro: _Figure | None = None
    macro: _Figure | None = None
    labels: dict[str, _F1OfLabel] = {}


class _Evaluated(msgspec.Struct, frozen=True):
    """``evaluation``: figures of all labels and of each; parts beside a baseline are `_Compared`."""

    rows: int = 0
    split: str = ""
    f1: _F1 = _F1()
    mean_roc_auc: _Number = None
    mean_average_precision: _Number = None
    mean_ece: _Number = None
    labels: dict[str, _OfLabel] = {}
    roc_auc_lost: dict[str, _Number] = {}


class _Side(msgspec.Struct, frozen=True):
    micro: _Figure | None
    macro: _Figure | None


class _Counted(_Side, frozen=True):
    rows: int
    groups: int


class _Sides(msgspec.Struct, frozen=True):
    bundle: _Counted
    tfidf: _Side
    above: _Side


class _Rates(msgspec.Struct, frozen=True):
    positives: int | float
    f1: int | float
    precision: int | float
    recall: int | float


class _CountedLabels(_Counted, frozen=True):
    labels: dict[str, _Rates]


class _SideLabels(_Side, frozen=True):
    labels: dict[str, _F1OfLabel]


class _Compared(msgspec.Struct, frozen=True):
    """A part of ``evaluation`` beside a baseline."""

    baseline: str
    bundle: _CountedLabels
    tfidf: _SideLabels
    above: _Side
    sources: dict[str, _Sides] = {}


class Trained(msgspec.Struct, frozen=True):
    """``training``, as far as a card tells it."""

    imported: dict[str, Any] | None = None
    rows: dict[str, int] = {}
    config: dict[str, Any] | None = None
    recipe: dict[str, Any] | None = None
    environment: dict[str, Any] | None = None


class _Set(msgspec.Struct, frozen=True):
    reader: str
    path: str | None = None


class _Sets(msgspec.Struct, frozen=True):
    sets: list[_Set] = []


class _Source(msgspec.Struct, frozen=True):
    name: str
    rows: int


class Lineage(msgspec.Struct, frozen=True):
    """``training``: the files or sets that were read, and the folders of a configuration's sets."""

    data: list[_Source] = []
    config: _Sets | None = None


def known(record: Mapping[str, Any], form: type[T]) -> T | None:
    """The record in this form, or None."""
    try:
        return msgspec.convert(record, form)
    except msgspec.ValidationError:
        return None


def known_evaluation(record: Mapping[str, Any]) -> bool:
    """Whether all that a card tells of ``evaluation`` is in a form known, its parts included."""
    parts = [part for part in record.values() if isinstance(part, Mapping) and "bundle" in part]
    return known(record, _Evaluated) is not None and all(known(part, _Compared) is not None for part in parts)
