"""The model card of a bundle, from its manifest: what it is, how good, for what, and what not (Mitchell et al. 2019).

`facts` is the card as data, `card` as Markdown. What a manifest says is shown as it says it; what nobody recorded is
called so.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from streamtag.model import card_figures
from streamtag.model.bundle import Bundle
from streamtag.model.card_forms import UNKNOWN, Trained, known
from streamtag.model.card_notes import Measured, datasets, notes, sets_of
from streamtag.model.card_tables import number, table

__all__ = ["card", "facts"]


def facts(bundle: Bundle, measured: Sequence[Measured] = ()) -> dict[str, Any]:
    """The card as plain data.

    Args:
        bundle: verified.
        measured: figures beside those that its manifest records; of two with one title the later is shown.
    """
    manifest, known = bundle.manifest, datasets()
    return {
        "bundle": msgspec.to_builtins(bundle.ref),
        "description": manifest.description,
        "contract": manifest.preprocessing.kind,
        "size_bytes": sum(entry.size for entry in manifest.files.values()),
        "notes": msgspec.to_builtins(notes(bundle)),
        "labels": msgspec.to_builtins(manifest.labels),
        "data": [
            {"set": name, "rows": rows, **(msgspec.to_builtins(known[name]) if name in known else {})}
            for name, rows in sets_of(manifest).items()
        ],
        "training": manifest.training,
        "evaluation": manifest.evaluation,
        "measured": msgspec.to_builtins(list({one.title: one for one in measured}.values())),
        "calibration": msgspec.to_builtins(manifest.calibration),
        "recalibrations": msgspec.to_builtins(manifest.recalibrations),
    }


def card(bundle: Bundle, measured: Sequence[Measured] = ()) -> str:
    """The card as Markdown; arguments as of `facts`."""
    found = facts(bundle, measured)
    ref = found["bundle"]
    parts = [
        f"# Model card: `{ref['name']}@{ref['version']}`",
        found["notes"]["summary"] if found["notes"] else found["description"] or "Its maker has not described it.",
        _identity(found),
        *_use(found["notes"]),
        "## Labels",
        _labels(found["labels"]),
        *_data(found),
        *_training(found["training"]),
        "## How good it is",
        *card_figures.recorded(found["evaluation"], found["labels"], elsewhere=bool(found["measured"])),
        *(part for one in found["measured"] for part in card_figures.measured(one["title"], one["figures"])),
        *_calibration(found),
        *_limits(found["notes"]),
        *_cost(found["notes"]),
    ]
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _identity(found: dict[str, Any]) -> str:
    ref = found["bundle"]
    rows = [
        ("sha256 of the manifest", f"`{ref['sha256']}`"),
        ("reads", f"`{found['contract']}`"),
        ("labels", len(found["labels"])),
        ("size", f"{found['size_bytes'] / 1024 / 1024:.1f} MiB"),
    ]
    return table(("what", "this bundle"), rows)


def _use(said: dict[str, Any] | None) -> Iterable[str]:
    yield "## What it is for, and what it must not be used for"
    if said is None:
        yield (
            "Nobody has recorded what it is for. Do not let it decide about people on its own; measure it on documents "
            "of your own first (`streamtag model evaluate --labels`)."
        )
        return
    yield said["use"]
    yield "**It must not be used for:**"
    yield _bullets(said["not_for"])


def _labels(labels: list[dict[str, Any]]) -> str:
    rows = [
        (f"`{one['id']}`", one["description"], f"{one['threshold']:g}", "yes" if one.get("critical") else "")
        for one in labels
    ]
    return table(("label", "means", "default cut-off", "critical"), rows)


def _data(found: dict[str, Any]) -> Iterable[str]:
    yield "## Where the data come from"
    if not found["data"]:
        yield UNKNOWN if found["training"].get("data") else "Not recorded: the model was made elsewhere."
        return
    rows = [
        (one.get("title", f"`{one['set']}`"), one.get("gives", "not recorded"), f"{one['rows']:,}",
         one.get("licence", "not recorded"))
        for one in found["data"]
    ]  # fmt: skip
    yield table(("set", "gives", "rows read", "licence"), rows)
    yield "What a set does not annotate is unknown, and no part of a figure. Only weights and figures ship, no texts."


def _training(training: dict[str, Any]) -> Iterable[str]:
    yield "## How it was trained"
    record = known(training, Trained)
    if record is None:
        yield UNKNOWN
        return
    if imported := record.imported:
        yield f"Made elsewhere, and imported: {_inline(imported)}."
    rows = record.rows
    if rows:
        yield "Rows: " + ", ".join(f"{name.replace('_', ', ')} {n:,}" for name, n in rows.items()) + "."
    choices = record.config or record.recipe
    if choices:
        leaves = {name: value for name, value in choices.items() if not isinstance(value, dict | list)}
        leaves |= {
            f"{name}.{inner}": value
            for name, group in choices.items()
            if isinstance(group, dict) and name not in ("sets", "measured", "contract")
            for inner, value in group.items()
            if not isinstance(value, dict | list)
        }
        told = {name: value for name, value in leaves.items() if name not in ("name", "version", "description")}
        yield table(("choice", "value"), [(f"`{name}`", f"`{value}`") for name, value in told.items()])
    if rule := training.get("threshold_rule"):
        yield f"Default cut-offs: {rule}."
    if environment := record.environment:
        yield f"The same data, choices and libraries give the same bundle: {_inline(environment)}."
    if not (imported or rows or choices):
        yield "Not recorded."


def _calibration(found: dict[str, Any]) -> Iterable[str]:
    yield "## Calibration"
    entries, steps = found["calibration"], found["recalibrations"]
    if entries:
        fitted = [(f"`{one['label']}`", one["method"], f"{one['rows']:,}", f"{one['positives']:,}") for one in entries]
        yield "Scores are probabilities, fitted on rows that the model was not fitted on."
        yield table(("label", "method", "rows", "positives"), fitted)
    for step in steps:
        yield (
            f"Recalibrated from `{step['name']}@{step['version']}` (`{step['sha256'][:12]}…`) on {step['rows']:,} "
            f"labelled documents (`{step['labels_sha256'][:12]}…`). Cut-offs and figures above are of the new scores."
        )
        rows = [
            (f"`{one['label']}`", one["method"], f"{one['rows']:,}", f"{one['positives']:,}", one.get("why", ""))
            for one in step["curves"]
        ]
        yield table(("label", "method", "known", "positives", "kept because"), rows)
    if not entries and not steps:
        yield (
            "None recorded: the scores are the graph's own, and may be no probabilities. `streamtag model calibrate` "
            "mends that."
        )


def _cost(said: dict[str, Any] | None) -> Iterable[str]:
    if said is not None and said["cost"]:
        yield "## What it costs"
        yield said["cost"]


def _limits(said: dict[str, Any] | None) -> Iterable[str]:
    yield "## Limits"
    general = [
        "A figure is of its data. Before it decides, measure on documents of your own, drawn as the stream draws them.",
        "Scores of rare labels are uncertain even where they are calibrated.",
    ]
    yield _bullets([*(said["limits"] if said else []), *general])


def _bullets(lines: Sequence[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _inline(values: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number(value)}" for name, value in values.items() if not isinstance(value, dict | list))
