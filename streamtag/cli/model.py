"""`streamtag model`: look at bundles, verify them, train and measure them."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli import model_train
from streamtag.cli.context import Output, OutputFormat, print_facts, print_json, print_table, say, settings, warn
from streamtag.errors import BundleError, StreamtagError
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.registry import find_bundle, list_bundles

app = typer.Typer(help="Model bundles: list, show, verify, train, evaluate.", no_args_is_help=True)

Which = Annotated[str | None, typer.Argument(help="name, name@version or a path with a /; default: model.bundle.")]
Data = Annotated[
    Path, typer.Option("--data", help="Directory with jigsaw.csv.gz, or with a folder jigsaw_toxic that has it.")
]


@app.command("list")
def list_(output: Output = OutputFormat.TABLE) -> None:
    """List the bundles in the configured directories and in the package."""
    found = [_entry(path) for path in list_bundles(settings().settings.model.directories)]
    if output is OutputFormat.JSON:
        print_json({"bundles": found})
        return
    columns = ("name", "version", "sha256", "labels", "path", "refused because")
    print_table(
        columns,
        (
            (b["name"], b["version"], b["sha256"][:12], len(b["labels"]), b["path"], "; ".join(b["problems"]))
            for b in found
        ),
    )


@app.command()
def show(which: Which = None, output: Output = OutputFormat.TABLE) -> None:
    """Show a bundle: identity, labels with default cut-offs, where it comes from, how good it is."""
    bundle = read_bundle(_find(which))
    if output is OutputFormat.JSON:
        about = {"ref": msgspec.to_builtins(bundle.ref), "path": str(bundle.path)}
        print_json({**about, "manifest": msgspec.to_builtins(bundle.manifest)})
        return
    _show_facts(bundle)
    _show_labels(bundle)


@app.command()
def verify(which: Which = None, output: Output = OutputFormat.TABLE) -> None:
    """Run every gate a worker runs: hashes, graph, parity, same bits in any batch, warm-up."""
    bundle = load_scorer(_find(which), batch=settings().settings.model.batch).bundle
    if output is OutputFormat.JSON:
        print_json({"valid": True, "ref": msgspec.to_builtins(bundle.ref), "path": str(bundle.path)})
        return
    say(f"{bundle.ref} passes every gate; sha256 {bundle.ref.sha256}")


app.command()(model_train.train)


@app.command()
def evaluate(
    *,
    data: Data,
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="name, name@version or a path; default: model.bundle.")
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Measure a bundle on rows it never saw: ROC-AUC, average precision and calibration error per label.

    On the file it was trained from, these are the held-out rows, found anew by hash; on another file, all of its
    natural-rate rows.
    """
    moderation, reader = _training("moderation"), _training("data")
    scorer = load_scorer(_find(bundle), batch=settings().settings.model.batch)
    if "config" in scorer.bundle.manifest.training:
        result = _training("build").evaluate_again(scorer, data)
    else:
        result = moderation.evaluate_bundle(scorer, reader.read_jigsaw(data), _report)
    if output is OutputFormat.JSON:
        print_json({"bundle": msgspec.to_builtins(scorer.bundle.ref), **msgspec.to_builtins(result)})
        return
    recorded = {True: "as recorded in the manifest", False: "DIFFERENT from the manifest", None: "not in the manifest"}
    print_facts({"bundle": scorer.bundle.ref, "rows": result.split, "figures": recorded[result.as_recorded]})
    _show_figures(msgspec.to_builtins(result.figures))


def _entry(path: Path) -> dict[str, Any]:
    """One line of the list; a bundle that does not verify is listed with the reasons."""
    try:
        bundle = read_bundle(path)
    except BundleError as error:
        facts: dict[str, Any] = {"name": path.parent.name, "version": path.name, "sha256": "", "labels": []}
        return {**facts, "path": str(path), "problems": list(error.problems)}
    return {
        **msgspec.to_builtins(bundle.ref),
        "labels": list(bundle.labels),
        "path": str(path),
        "problems": [],
    }


def _find(which: str | None) -> Path:
    model = settings().settings.model
    return find_bundle(which or model.bundle, model.directories)


def _training(module: str) -> ModuleType:
    """A module of the training room, or a word on what to install."""
    try:
        return import_module(f"streamtag.model.training.{module}")
    except ModuleNotFoundError as error:
        raise StreamtagError(
            f"training and evaluation need the package {error.name}",
            hint="Install the extra: pip install 'streamtag[train]'.",
        ) from None


def _report(message: str) -> None:
    warn(message, style="dim")


def _show_facts(bundle: Bundle) -> None:
    manifest = bundle.manifest
    contract = manifest.preprocessing
    sizes = sum(entry.size for entry in manifest.files.values())
    print_facts(
        {
            "bundle": bundle.ref,
            "sha256": bundle.ref.sha256,
            "path": bundle.path,
            "description": manifest.description,
            "contract": f"{contract.kind}, {len(bundle.buckets)} buckets of 2**{contract.bits}",
            "size": f"{sizes / 1024:.0f} KiB",
            "data": ", ".join(f"{d['name']} ({d['rows']} rows)" for d in manifest.training.get("data", ())),
            "evaluated on": f"{manifest.evaluation.get('rows', 0)} rows: {manifest.evaluation.get('split', 'never')}",
        }
    )


def _show_labels(bundle: Bundle) -> None:
    labels = bundle.manifest.labels
    rows = ((label.id, f"{label.threshold:g}", "yes" if label.critical else "", label.description) for label in labels)
    print_table(("label", "threshold", "critical", "meaning"), rows)
    if "labels" in bundle.manifest.evaluation:
        _show_figures(bundle.manifest.evaluation)


def _show_figures(figures: dict[str, Any]) -> None:
    rows = [
        (
            label,
            found["positives"],
            _number(found["roc_auc"]),
            _number(found["average_precision"]),
            _number(found["ece"]),
            f"< {found['ece_null_95']:.4f}",
        )
        for label, found in figures["labels"].items()
    ]
    means = (_number(figures[name]) for name in ("mean_roc_auc", "mean_average_precision", "mean_ece"))
    columns = ("label", "positives", "ROC-AUC", "AP", "ECE", "ECE if perfect")
    print_table(columns, [*rows, ("mean", "", *means, "")], title=f"{figures['rows']} rows")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
