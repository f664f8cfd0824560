"""`streamtag model pair|band`: two bundles as two stages of one, and the bands between them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from streamtag import strict_yaml
from streamtag.cli.context import Output, OutputFormat, finite, print_facts, print_json, print_table, say, settings
from streamtag.cli.outcome import read_text
from streamtag.cli.score import read_thresholds
from streamtag.domain.band_proposal import Proposal
from streamtag.domain.scores import MICRO
from streamtag.domain.two_stage import margin_bands
from streamtag.errors import RefusedError, SettingsError
from streamtag.model.admission import load_admitted, read_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.registry import find_bundle
from streamtag.model.stage_scores import Proposed, propose_bands, read_stage_scores
from streamtag.model.two_stages import pair as write_pair

__all__ = ["band", "pair"]

Spec = typer.Argument(help="name, name@version or a path with a /.")


def pair(
    stage1: Annotated[str, typer.Argument(help="Scores every event; a bundle of two stages: its first.")],
    stage2: Annotated[
        str | None, typer.Argument(help="Scores the uncertain ones; default: the second stage that STAGE1 has.")
    ] = None,
    *,
    version: Annotated[str, typer.Option("--version", help="Of the new bundle; a version is never changed.")],
    out: Annotated[Path, typer.Option("--out", help="Directory of bundles to write <name>/<version>/ into.")],
    name: Annotated[str | None, typer.Option("--name", help="Of the new bundle; default: that of STAGE1.")] = None,
    bands: Annotated[
        Path | None,
        typer.Option("--bands", help="YAML or JSON {label: [low, high]}, e.g. of `model band`; none: no bands."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            "--margin",
            min=0,
            callback=finite,
            help="Bands of so many logits to either side of each label's default cut-off.",
        ),
    ] = None,
    sample: Annotated[
        float,
        typer.Option("--sample", min=0, max=1, callback=finite, help="Share of events that go whatever their scores."),
    ] = 0.01,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make one bundle of two: stage 2 scores again what stage 1 is unsure of.

    Both score the same labels in the same order. Without bands only the sample goes to stage 2: a start, from whose
    scores `model band` proposes bands. Another start is a `--margin` around the cut-offs.
    """
    if bands is not None and margin is not None:
        raise SettingsError("--bands and --margin exclude each other", hint="Name one of them, or none.")
    first = _bundle(stage1, load=True)
    second = None if stage2 is None else _bundle(stage2, load=True)
    chosen = {} if bands is None else read_bands(bands)
    if margin:
        chosen = margin_bands(first.default_thresholds.labels, margin)
    written = write_pair(first, second, out, name=name or first.ref.name, version=version, bands=chosen, sample=sample)
    made = _bundle(f"{written.parent.resolve()}/{written.name}")
    assert made.stage2 is not None, "it was given one"
    if output is OutputFormat.JSON:
        print_json({"ref": msgspec.to_builtins(made.ref), "path": str(written), "stage2": _stage2(made)})
        return
    facts = {"bundle": made.ref, "sha256": made.ref.sha256, "path": written, "stage 2": made.stage2.ref}
    print_facts({**facts, "bands": ", ".join(chosen) or "none: only the sample goes to stage 2", "sample": sample})


def band(
    bundle: Annotated[str, typer.Argument(help="Of two stages: name, name@version or a path with a /.")],
    *,
    scores: Annotated[
        list[Path],
        typer.Option("--scores", help="JSON lines: tag events, or output of `streamtag score`; repeatable."),
    ],
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", "-t", help="Cut-offs that decide; default: the bundle's.")
    ] = None,
    miss: Annotated[
        float,
        typer.Option(
            "--miss", min=0.001, max=0.5, callback=finite, help="Largest share of flips that may stay outside."
        ),
    ] = 0.1,
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.9999, callback=finite, help="That no larger share does.")
    ] = 0.95,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Propose bands from what both stages scored: the smallest that miss few of the decisions stage 2 flips.

    Looks at events of the sample alone, as those in a band were chosen by it. A label that flips too seldom is
    undecided and gets no band. Write the bands into a new version: `model band … -o json > bands.json`,
    `model pair BUNDLE --bands bands.json --version …`.
    """
    of = _bundle(bundle)
    cutoffs = of.default_thresholds if thresholds is None else read_thresholds(thresholds, of)
    seen = read_stage_scores(scores, of)
    found = propose_bands(seen, of.labels, cutoffs.labels, miss=miss, confidence=confidence)
    if output is OutputFormat.JSON:
        labels = {label: _figures(one) for label, one in found.labels.items()}
        about = {"bundle": str(of.ref), "miss": miss, "confidence": confidence}
        figures = {"events": len(seen.first), "passed_over": seen.passed_over, "share": found.share, "labels": labels}
        print_json({**about, **figures, "bands": found.bands})
        return
    _show(found, miss, confidence)
    say(
        f"{len(seen.first)} events of the sample, {seen.passed_over} other lines passed over; with these bands "
        f"{found.share:.1%} of the events go to stage 2"
    )


def read_bands(path: Path) -> dict[str, tuple[float, float]]:
    """Label to the ends of its band, from YAML or JSON; what `model band -o json` writes is read, too.

    Raises:
        RefusedError: not of this form; names every problem. Whether the bands are valid the bundle says.
    """
    try:
        raw: Any = strict_yaml.load(read_text(path))
    except ValueError as error:
        raise RefusedError(f"{path} is neither YAML nor JSON: {error}") from None
    if isinstance(raw, Mapping) and isinstance(raw.get("bands"), Mapping):
        raw = raw["bands"]
    if not isinstance(raw, Mapping):
        raise RefusedError(f"{path} must hold a mapping of labels to [low, high]")
    wrong = [
        f"{label}: must be [low, high]"
        for label, ends in raw.items()
        if not (isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends))
    ]
    if wrong:
        raise RefusedError(f"{path} holds no bands", problems=wrong)
    return {str(label): (float(low), float(high)) for label, (low, high) in raw.items()}


def _bundle(which: str, *, load: bool = False) -> Bundle:
    """A bundle that may decide; ``load``: it has passed every gate that a worker runs."""
    model = settings().settings.model
    path = find_bundle(which, model.directories)
    return load_admitted(path, model).bundle if load else read_admitted(path, model)


def _stage2(bundle: Bundle) -> Any:
    return msgspec.to_builtins(bundle.manifest.stage2)


def _figures(one: Proposal) -> dict[str, Any]:
    ends = None if one.low is None or one.high is None else [one.low / MICRO, one.high / MICRO]
    figures = {"flips": one.flips, "outside": one.outside, "share": one.share, "needed": one.needed}
    return {"band": ends, "undecided": one.undecided, **figures}


def _show(found: Proposed, miss: float, confidence: float) -> None:
    rows = []
    for label, one in found.labels.items():
        if one.low is None or one.high is None:
            rows.append((label, one.flips, "", "", "", f"undecided: {one.needed} flips are needed"))
        else:
            ends = (f"{one.low / MICRO:.6f}", f"{one.high / MICRO:.6f}")
            rows.append((label, one.flips, *ends, f"{one.share:.1%}", f"{one.outside} of the flips seen lie outside"))
    title = f"at most {miss:.0%} of the flips missed, {confidence:.0%} confidence"
    print_table(("label", "flips", "low", "high", "events in it", "note"), rows, title=title)
