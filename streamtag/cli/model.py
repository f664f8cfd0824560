"""`streamtag model`: look at bundles and verify them; its other verbs are in modules of their own."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from streamtag.cli import (
    model_band,
    model_calibrate,
    model_card,
    model_diff,
    model_evaluate,
    model_held_out,
    model_import,
    model_mlflow,
    model_registry,
    model_thresholds,
    model_train,
)
from streamtag.cli.context import (
    Output,
    OutputFormat,
    optional_module,
    print_facts,
    print_json,
    print_table,
    say,
    settings,
    warn,
)
from streamtag.cli.model_labelled import Draws
from streamtag.domain.taxonomy import Taxonomy, bundle_problems, outdated
from streamtag.errors import SettingsError
from streamtag.model.admission import load_admitted
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.card_forms import UNKNOWN, Lineage, known, known_evaluation
from streamtag.model.contracts.registry import files_of
from streamtag.model.listing import listed
from streamtag.model.loading import load_scorer
from streamtag.model.manifest import Manifest
from streamtag.model.registry import find_bundle
from streamtag.model.taxonomy_file import configured_taxonomy

app = typer.Typer(
    help="Model bundles: list, show, verify, compare, publish, promote, import, train, calibrate, evaluate.",
    no_args_is_help=True,
)

Which = Annotated[str | None, typer.Argument(help="name, name@version or a path with a /; default: model.bundle.")]
Data = Annotated[
    Path | None, typer.Option("--data", help="Directory with jigsaw.csv.gz, or with a folder jigsaw_toxic that has it.")
]


app.command()(model_registry.publish)
app.command()(model_registry.promote)
app.command()(model_registry.aliases)
app.command()(model_diff.diff)
app.command("import")(model_import.import_)
app.command()(model_evaluate.compare)
app.command()(model_calibrate.calibrate)
app.command()(model_thresholds.thresholds)
app.command()(model_card.card)
app.command("held-out")(model_held_out.held_out)
app.command()(model_band.pair)
app.command()(model_band.band)
app.add_typer(model_mlflow.app, name="mlflow")


@app.command("list")
def list_(output: Output = OutputFormat.TABLE) -> None:
    """List the bundles in the configured places and in the package.

    Those of this machine are verified; of those at a URL, the manifest is read.
    """
    found = list(listed(settings().settings.model))
    if output is OutputFormat.JSON:
        rows = [{**msgspec.structs.asdict(one), "path": one.path and str(one.path)} for one in found]
        print_json({"bundles": rows})
        return
    columns = ("name", "version", "aliases", "sha256", "labels", "place", "refused because")
    cells = [
        (
            one.name,
            one.version,
            ", ".join(one.aliases),
            one.sha256[:12],
            len(one.labels),
            one.place,
            "; ".join(one.problems),
        )
        for one in found
    ]
    print_table(columns, cells)


@app.command()
def show(which: Which = None, output: Output = OutputFormat.TABLE) -> None:
    """Show a bundle: identity, labels with default cut-offs, where it comes from, how good it is."""
    model = settings().settings.model
    bundle = read_bundle(_find(which), trusted=model.trusted_keys)
    taxonomy = configured_taxonomy(model)
    if output is OutputFormat.JSON:
        about = {"ref": msgspec.to_builtins(bundle.ref), "path": str(bundle.path)}
        print_json({**about, "manifest": msgspec.to_builtins(bundle.manifest)})
        return
    _show_facts(bundle)
    _show_labels(bundle, taxonomy)


@app.command()
def verify(which: Which = None, output: Output = OutputFormat.TABLE) -> None:
    """Run every gate a worker runs: signature, hashes, labels, graph, parity, same bits in any batch, warm-up."""
    bundle = load_admitted(_find(which), settings().settings.model).bundle
    if output is OutputFormat.JSON:
        print_json({"valid": True, "ref": msgspec.to_builtins(bundle.ref), "path": str(bundle.path)})
        return
    say(f"{bundle.ref} passes every gate; sha256 {bundle.ref.sha256}")


app.command()(model_train.train)


@app.command()
def evaluate(
    *,
    data: Data = None,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Labelled documents of your own: JSON lines, or CSV.")
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="name, name@version or a path; default: model.bundle.")
    ] = None,
    thresholds: Annotated[
        Path | None, typer.Option("--thresholds", "-t", help="With --labels: cut-offs instead of the bundle's.")
    ] = None,
    terms: Annotated[
        Path | None, typer.Option("--terms", help="With --labels: identity terms, one a line, for the bias report.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="With --labels: write a report, one page.")] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            "--keep", help="With --labels: keep the report beside the bundle, under this title, for the console."
        ),
    ] = None,
    robustness: Annotated[
        bool, typer.Option("--robustness", help="With --labels: also measure under each kind of disguised spelling.")
    ] = False,
    draws: Draws = 300,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Measure a bundle on rows it never saw: F1, ROC-AUC, average precision and calibration error per label.

    With --labels on documents of your own, with intervals, slices and a report. With --data on the Jigsaw comments: on
    the file it was trained from, these are the held-out rows, found anew by hash; on another file, all of its
    natural-rate rows.
    """
    if labels is not None and data is None:
        wanted: dict[str, Any] = {
            "html": html,
            "keep": keep,
            "robustness": robustness,
            "draws": draws,
            "output": output,
        }
        model_evaluate.evaluate_labelled(bundle, labels, thresholds=thresholds, terms=terms, **wanted)
        return
    given = {"--thresholds": thresholds, "--terms": terms, "--html": html, "--keep": keep, "--robustness": robustness}
    if alone := [name for name, value in given.items() if value]:
        raise SettingsError(f"{', '.join(alone)} need --labels")
    if data is None or labels is not None:
        raise SettingsError("give either --labels or --data", hint="--labels FILE measures on documents of your own.")
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
    as_recorded = None if scorer.bundle.manifest.recalibrations else result.as_recorded
    print_facts({"bundle": scorer.bundle.ref, "rows": result.split, "figures": recorded[as_recorded]})
    _show_figures(msgspec.to_builtins(result.figures))


def _find(which: str | None) -> Path:
    model = settings().settings.model
    return find_bundle(which or model.bundle, model.directories)


def _training(module: str) -> Any:
    return optional_module(f"streamtag.model.training.{module}", "evaluation by training data", "train")


def _report(message: str) -> None:
    warn(message, style="dim")


def _show_facts(bundle: Bundle) -> None:
    manifest = bundle.manifest
    contract = manifest.preprocessing
    sizes = sum(entry.size for entry in manifest.files.values())
    lineage = known(manifest.training, Lineage)
    print_facts(
        {
            "bundle": bundle.ref,
            "sha256": bundle.ref.sha256,
            "path": bundle.path,
            "description": manifest.description,
            "contract": ", ".join((contract.kind, *files_of(contract))),
            **({} if bundle.stage2 is None else {"stage 2": _stage2(bundle.stage2, manifest)}),
            "size": f"{sizes / 1024:.0f} KiB",
            "data": UNKNOWN if lineage is None else ", ".join(f"{d.name} ({d.rows} rows)" for d in lineage.data),
            "evaluated on": f"{manifest.evaluation.get('rows', 0)} rows: {manifest.evaluation.get('split', 'never')}",
        }
    )


def _stage2(second: Bundle, manifest: Manifest) -> str:
    assert manifest.stage2 is not None, "the bundle has a second stage"
    bands = ", ".join(f"{band.label} {band.low:g} … {band.high:g}" for band in manifest.stage2.bands)
    return f"{second.ref}; bands: {bands or 'none'}; sample: {manifest.stage2.sample:g}"


def _show_labels(bundle: Bundle, taxonomy: Taxonomy | None = None) -> None:
    """Default cut-offs from the manifest; what a label is, from the taxonomy where one is configured."""
    rows = []
    for label in bundle.manifest.labels:
        critical = label.critical if taxonomy is None else taxonomy.critical(label.id)
        notes = [] if taxonomy is None else [*bundle_problems(taxonomy, [label.id]), *outdated(taxonomy, [label.id])]
        rows.append((label.id, f"{label.threshold:g}", "yes" if critical else "", label.description, "; ".join(notes)))
    print_table(("label", "threshold", "critical", "meaning", "taxonomy"), rows)
    if "labels" in bundle.manifest.evaluation:
        if known_evaluation(bundle.manifest.evaluation):
            _show_figures(bundle.manifest.evaluation)
        else:
            warn(f"evaluation: {UNKNOWN}")


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
    means = (_number(figures.get(name)) for name in ("mean_roc_auc", "mean_average_precision", "mean_ece"))
    columns = ("label", "positives", "ROC-AUC", "AP", "ECE", "ECE if perfect")
    print_table(columns, [*rows, ("mean", "", *means, "")], title=f"{figures.get('rows', 0)} rows")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
