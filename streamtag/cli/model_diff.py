"""`streamtag model diff`: what changes when one bundle takes the place of another."""

from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, print_json, print_table, say, settings
from streamtag.model.bundle import read_bundle
from streamtag.model.bundle_diff import bundle_differences
from streamtag.model.registry import find_bundle

_SHOWN = 60
_FIGURE = 5
"""Decimals of a figure for people."""


def diff(
    before: Annotated[str, typer.Argument(help="name, name@version, name@alias or a path with a /.")],
    after: Annotated[str, typer.Argument(help="The other one.")],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Compare two bundles: labels, contract, cut-offs, calibration, figures, training, files."""
    model = settings().settings.model
    old, new = (read_bundle(find_bundle(one, model.directories), trusted=model.trusted_keys) for one in (before, after))
    found = bundle_differences(old.manifest, new.manifest)
    if output is OutputFormat.JSON:
        refs = {"before": msgspec.to_builtins(old.ref), "after": msgspec.to_builtins(new.ref)}
        rows = [{"part": d.part, "what": d.what, "before": d.before, "after": d.after} for d in found]
        print_json({**refs, "differences": rows})
    elif found:
        cells = [(d.part, d.what, _cell(d.before), _cell(d.after)) for d in found]
        print_table(("part", "what", str(old.ref), str(new.ref)), cells)
    else:
        say(f"{old.ref} and {new.ref} say the same" + (", and are the same" if old.ref == new.ref else ""))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.{_FIGURE}g}"
    text = "" if value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
