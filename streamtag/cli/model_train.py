"""`streamtag model train`: from a configuration and labelled data to a bundle, or to a comparison of patterns."""

import math
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from streamtag.cli.context import (
    Output,
    OutputFormat,
    optional_module,
    print_facts,
    print_json,
    print_table,
    settings,
    stderr,
)
from streamtag.errors import SettingsError
from streamtag.model.bundle import Bundle
from streamtag.model.loading import load_scorer
from streamtag.model.mlflow_registry import MlflowRegistry

if TYPE_CHECKING:
    from streamtag.model.training.comparison import Comparison
    from streamtag.model.training.config import TrainConfig
    from streamtag.model.training.encoder.pretrained import Encoder


def train(
    *,
    config: Annotated[str, typer.Argument(help="YAML file, or the name of one that ships (docs/howto-train.md).")],
    data: Annotated[Path, typer.Option("--data", help="Directory with a folder per set.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory of bundles to write <name>/<version>/ into.")
    ] = None,
    version: Annotated[str | None, typer.Option("--version", help="Version; default: the configuration's.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Write no bundle; compare all patterns on the same splits.")
    ] = False,
    encoder: Annotated[
        Path | None,
        typer.Option("--encoder", help="Directory of the pretrained encoder that the configuration starts from."),
    ] = None,
    mlflow: Annotated[
        str | None, typer.Option("--mlflow", help="URI of an MLflow server to log parameters, figures and bundle to.")
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Train a bundle from labelled sets, measure it on held-out rows and write it.

    Takes minutes; with an encoder, an hour.
    """
    batch = settings().settings.model.batch  # refused before the minutes of training, not after
    if (out is None) != compare:
        raise SettingsError(
            "--out and --compare exclude each other" if compare else "where to write the bundle is not said",
            hint="Give --out DIR to train a bundle, or --compare to compare patterns.",
        )
    tracker = _tracker(mlflow, compare)
    reader = _training("config")
    chosen, raw = reader.load_config(config)
    if version is not None:
        chosen = chosen.renumbered(version)
    pretrained = _pretrained(chosen, encoder)
    with _Shown() as shown:
        if out is None:
            found = _training("comparison").compare_patterns(chosen, data, shown, pretrained)
        else:
            path = _training("build").train_bundle(chosen, raw, data, out, shown, pretrained)
    if out is None:
        _print_comparison(found, output)
        return
    bundle = load_scorer(path, batch=batch).bundle
    if tracker is not None:
        run = tracker.log_training(bundle)
        stderr.print(f"logged to {mlflow} as run {run}", style="dim", highlight=False, markup=False)
    if output is OutputFormat.JSON:
        evaluation = bundle.manifest.evaluation
        print_json({"ref": msgspec.to_builtins(bundle.ref), "path": str(path), "evaluation": evaluation})
        return
    _print_bundle(bundle, path)


def _tracker(uri: str | None, compare: bool) -> MlflowRegistry | None:
    """The server, if one was named; one that is away is said before the minutes of training."""
    if uri is None:
        return None
    if compare:
        raise SettingsError("--mlflow logs the training of a bundle; --compare writes none")
    tracker = MlflowRegistry(uri)
    tracker.ready()
    return tracker


def _pretrained(config: "TrainConfig", folder: Path | None) -> "Encoder | None":
    """What the configuration's encoder starts from; whatever is amiss is said before the minutes of training."""
    if config.encoder is None:
        if folder is not None:
            raise SettingsError(
                f"--encoder: the configuration {config.name} has no encoder",
                hint="Leave it out, or give the configuration a field `encoder`.",
            )
        return None
    if folder is None:
        raise SettingsError(
            f"the configuration {config.name} starts from a pretrained encoder",
            hint="Name its folder: --encoder DIR. docs/howto-train.md says what such a folder holds.",
        )
    for package in ("torch", "safetensors", "tokenizers"):
        if find_spec(package) is None:
            raise SettingsError(
                f"fine-tuning an encoder needs the package {package}",
                hint="Install the extra: pip install 'streamtag[encoder]'.",
            )
    read: Encoder = _training("encoder.pretrained").read_encoder(folder, config.encoder)
    return read


_MANY = 500
"""Of a stage with so many steps a log tells every tenth; a terminal has a bar."""


class _Shown:
    """Shows stages and steps on stderr."""

    def __init__(self) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(*columns, console=stderr)
        self._task: Any = None

    def stage(self, what: str, steps: int) -> None:
        self._finish()
        self._task = self._progress.add_task(what, total=steps or None)
        self._say(what)

    def step(self) -> None:
        self._progress.advance(self._task)
        task = self._progress.tasks[self._task]
        tenths, more = divmod(10 * task.completed, task.total or math.inf)
        if more < 10 and (task.total or 0) >= _MANY:  # the step that completes a tenth
            self._say(f"{task.description}: {10 * tenths:.0f} %")

    def _say(self, what: str) -> None:
        if not stderr.is_terminal:
            stderr.print(what, style="dim", highlight=False, markup=False)

    def _finish(self) -> None:
        if self._task is not None:
            done = self._progress.tasks[self._task].completed or 1  # fewer steps than at most: it converged
            self._progress.update(self._task, total=done, completed=done)

    def __enter__(self) -> Self:
        if stderr.is_terminal:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()
        if stderr.is_terminal:
            self._progress.stop()


def _training(module: str) -> Any:
    return optional_module(f"streamtag.model.training.{module}", "training", "train")


def _print_comparison(found: "Comparison", output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(msgspec.to_builtins(found))
        return
    rows = [
        (
            kind + (" *" if kind == found.best else ""),
            _interval(each.macro_f1),
            _interval(each.macro_f1_gain),
            _interval(each.micro_f1),
            _interval(each.micro_f1_gain),
            _number(each.mean_roc_auc),
            _number(each.mean_average_precision),
            _number(each.mean_ece),
        )
        for kind, each in found.patterns.items()
    ]
    columns = ("pattern", "macro F1", "gain", "micro F1", "gain", "ROC-AUC", "AP", "ECE")
    print_table(columns, rows, title=f"{found.rows} held-out rows in {found.groups} groups; 95 % intervals")


def _print_bundle(bundle: Bundle, path: Path) -> None:
    evaluation = bundle.manifest.evaluation
    print_facts(
        {
            "bundle": bundle.ref,
            "path": path,
            "held-out rows": evaluation["rows"],
            "macro F1": _interval(msgspec.convert(evaluation["f1"]["macro"], _Interval)),
            "micro F1": _interval(msgspec.convert(evaluation["f1"]["micro"], _Interval)),
            "mean ROC-AUC": _number(evaluation["mean_roc_auc"]),
            "mean ECE": _number(evaluation["mean_ece"]),
            "ROC-AUC lost": ", ".join(f"{kind} {_number(lost)}" for kind, lost in evaluation["roc_auc_lost"].items()),
        }
    )
    thresholds = {label.id: label.threshold for label in bundle.manifest.labels}
    rows = [
        (
            label,
            found["positives"],
            _number(found["roc_auc"]),
            _number(found["average_precision"]),
            _number(evaluation["f1"]["labels"][label]["f1"]),
            _number(found["ece"]),
            f"< {found['ece_null_95']:.4f}",
            f"{thresholds[label]:g}",
        )
        for label, found in evaluation["labels"].items()
    ]
    print_table(("label", "positives", "ROC-AUC", "AP", "F1", "ECE", "ECE if perfect", "cut-off"), rows)


class _Interval(msgspec.Struct, frozen=True):
    value: float
    low: float
    high: float


def _interval(found: Any) -> str:
    return f"{found.value:.4f} [{found.low:.4f}, {found.high:.4f}]"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
