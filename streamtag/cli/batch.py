"""`streamtag batch`: files of documents to files of decisions, by all cores, without Kafka."""

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from streamtag.cli.context import (
    Output,
    OutputFormat,
    finite,
    optional_module,
    parse_assignments,
    print_facts,
    print_json,
    settings,
    stderr,
    warn,
)
from streamtag.cli.score import read_thresholds
from streamtag.control.breakers import ActiveBreakers, BreakerLog
from streamtag.control.store import ControlStore
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import NotFoundError, SettingsError
from streamtag.model.admission import read_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.registry import find_bundle, find_exact
from streamtag.settings import Settings

if TYPE_CHECKING:
    from streamtag.batch.run import Report


class PartFormat(StrEnum):
    """Formats of files; the same as `streamtag.batch.places.FileFormat`, which needs the extra."""

    PARQUET = "parquet"
    JSONL = "jsonl"
    CSV = "csv"


@dataclass(frozen=True)
class _Deciding:
    """What shall decide: a bundle and cut-offs that fit it, by the names that parts carry; breakers, from Redis."""

    bundle: Bundle
    thresholds: ThresholdSet
    origin: str
    sha256: str
    release: int | None = None
    breakers: ActiveBreakers | None = None


def batch(
    inputs: Annotated[list[str], typer.Argument(help="Files, directories, globs; local or URLs that fsspec knows.")],
    out: Annotated[str, typer.Argument(help="Directory for the parts; local or a URL.")],
    *,
    input_format: Annotated[
        PartFormat | None, typer.Option("--format", "-f", help="What all inputs hold; default: by their names.")
    ] = None,
    to: Annotated[PartFormat, typer.Option("--to", help="What the parts hold.")] = PartFormat.PARQUET,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", help="In Parquet and CSV, which column is a field: text=body. Default: its own name."),
    ] = None,
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="name, name@version or a path; default: model.bundle.")
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", "-t", help="Cut-offs (YAML or JSON, as `thresholds apply` reads)."),
    ] = None,
    release: Annotated[
        bool,
        typer.Option("--release", help="Decide as the stream does now: bundle, cut-offs and breakers from Redis."),
    ] = False,
    processes: Annotated[
        int | None, typer.Option("--processes", "-p", min=1, help="Default: as many as this process may use cores.")
    ] = None,
    cpu_hour_price: Annotated[
        float | None,
        typer.Option("--cpu-hour-price", min=0, callback=finite, help="Of one core for an hour, for the cost shown."),
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Remove an earlier job's parts, and begin anew.")] = False,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Score files of documents: scores and tags as the stream would give them, in a directory of parts.

    Run again after a kill, it goes on after what is done. Rows that cannot be scored are in _rejects.jsonl, with
    place and reason; exit code 1 when there was any.
    """
    loaded = settings().settings
    places, runs, jobs = (_room(name) for name in ("places", "run", "unit_scoring"))
    columns = _columns(parse_assignments(column or [], "--column"), _room("rows").FIELDS)
    deciding = _deciding(loaded, bundle, thresholds, release)
    identity = _room("parts").Identity(
        str(deciding.bundle.ref), deciding.bundle.ref.sha256, deciding.origin, deciding.sha256, deciding.release
    )
    target = places.Output(out)
    sources = places.find_sources(inputs, input_format and places.FileFormat(input_format), output=target)
    decides = {
        "decided by": msgspec.to_builtins(identity),
        "columns": columns,
        "events": loaded.events.model_dump(mode="json"),
        "parts": to.value,
    }
    with runs.prepared(target, sources, columns, decides, breakers=deciding.breakers, restart=restart) as plan:
        if plan.breakers is not None and plan.breakers.labels:
            warn(f"since this job began, tags ask for review only: {', '.join(sorted(plan.breakers.labels))}")
        job = jobs.Job(
            bundle=deciding.bundle.path,
            batch=loaded.model.batch,
            thresholds=deciding.thresholds,
            identity=identity,
            limits=loaded.events,
            columns=columns,
            sources=plan.sources,
            output=out,
            output_format=places.FileFormat(to),
            breakers=plan.breakers,
        )
        report = _worked_off(job, plan, processes or _cores(), cpu_hour_price)
    _show(report, output)
    if report.rejected:
        warn(f"{report.rejected} of {report.rejected + report.scored} documents refused: {out}/{runs.ALL_REJECTS}")
        raise typer.Exit(1)


def _worked_off(job: Any, plan: Any, processes: int, cpu_hour_price: float | None) -> "Report":
    """Does what is left of a job, while people see how far it is."""
    runs = _room("run")
    with _Bar() as bar:
        try:
            watch = runs.Watch(bar.start, bar.rows, bar.unit)
            report: Report = runs.run(job, plan, processes=processes, cpu_hour_price=cpu_hour_price, watch=watch)
        except KeyboardInterrupt:
            warn("interrupted: the same command goes on after what is done")
            raise
    return report


def _room(module: str) -> Any:
    return optional_module(f"streamtag.batch.{module}", "batch scoring", "batch")


def _columns(given: dict[str, str], fields: Sequence[str]) -> dict[str, str]:
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise SettingsError(f"--column {', '.join(unknown)}: no such field; there are {', '.join(fields)}")
    return {field: given.get(field, field) for field in fields}


def _deciding(loaded: Settings, bundle: str | None, thresholds: Path | None, release: bool) -> _Deciding:
    directories = loaded.model.directories
    if not release:
        found = read_admitted(find_bundle(bundle or loaded.model.bundle, directories), loaded.model)
        if thresholds is None:
            return _Deciding(found, found.default_thresholds, "bundle", _sha256(found.default_thresholds))
        cutoffs = read_thresholds(thresholds, found)
        return _Deciding(found, cutoffs, thresholds.name, _sha256(cutoffs))
    if bundle is not None or thresholds is not None:
        raise SettingsError("--release names bundle and cut-offs: give neither --bundle nor --thresholds with it")
    store = ControlStore(loaded.redis)
    try:
        current, breakers = store.current(), BreakerLog(store).active()
    finally:
        store.close()
    if current is None:
        raise NotFoundError("Redis holds no release", hint="The first worker to start seeds it.")
    ref = current.ref
    path = find_exact(ref.bundle, directories, trusted=loaded.model.trusted_keys)
    found = read_admitted(path, loaded.model, ref=ref.bundle)
    return _Deciding(found, current.thresholds, f"revision {ref.revision}", ref.revision_sha256, ref.number, breakers)


def _sha256(thresholds: ThresholdSet) -> str:
    return hashlib.sha256(msgspec.json.encode(thresholds.to_dict(), order="sorted")).hexdigest()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Bar:
    """Progress on stderr, for people: share of the bytes, documents, rate, time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("scoring"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[documents]:,} documents"),
            TextColumn("{task.fields[rate]:,.0f}/s"),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=stderr,
            disable=not stderr.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, documents=0, rate=0.0)
        self._before = self._documents = 0
        self._started = time.monotonic()

    def __enter__(self) -> "_Bar":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def start(self, weight: int, done: int, documents: int) -> None:
        """The job begins, or goes on."""
        self._before = self._documents = documents
        self._started = time.monotonic()
        self._progress.update(self._task, total=weight, completed=done, documents=documents)

    def rows(self, rows: int) -> None:
        """Documents of a unit that is not done yet."""
        self._documents += rows
        rate = (self._documents - self._before) / max(time.monotonic() - self._started, 1e-3)
        self._progress.update(self._task, documents=self._documents, rate=rate)

    def unit(self, weight: int) -> None:
        """A unit is done."""
        self._progress.update(self._task, advance=weight)


def _show(report: "Report", output: OutputFormat) -> None:
    if output is OutputFormat.JSON:
        print_json(report)
        return
    facts: dict[str, object] = {
        "output": f"{report.output}: {report.units} parts",
        "documents": f"{report.scored:,} scored, {report.rejected:,} refused",
    }
    if report.second:
        share = report.second / report.scored
        facts["stage 2"] = f"{report.second:,} documents ({share:.1%}); stage 1 settled the others"
    if report.run_documents:
        facts |= {
            "this run": f"{report.run_documents:,} documents in {report.wall_s:.1f} s: {report.documents_per_s:,.0f}/s",
            "memory": f"at most {report.peak_rss_bytes / 2**20:.0f} MiB a process",
            "per million": f"{report.cpu_s_per_million:.1f} s of processor time",
        }
    else:
        facts["this run"] = "nothing was left to do"
    if report.cost_per_million is not None:
        facts["cost"] = f"{report.cost_per_million:.4f} per million documents"
    print_facts(facts)
