"""`streamtag batch` as a command: options to a job, a report to people and machines."""

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from batch_files import documents, read_parts, write_jsonl
from control_plane import new_changes, new_store
from tiny_bundle import build_tiny_bundle
from typer.testing import CliRunner

from streamtag.batch import run as runs
from streamtag.batch.places import Output
from streamtag.batch.pool import Ended
from streamtag.batch.unit_scoring import UnitScorer
from streamtag.cli import batch as command
from streamtag.cli import context
from streamtag.control.breakers import BreakerLog
from streamtag.control.proposal import Who
from streamtag.errors import ConflictError, NotFoundError, RefusedError, SettingsError
from streamtag.model.bundle import read_bundle


class Command:
    """The command, in a directory with documents; units are worked off in this process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bundle = read_bundle(build_tiny_bundle(root / "bundles"))
        self.source = write_jsonl(root / "in.jsonl", documents(20))

    def __call__(self, *arguments: str, code: int = 0, out: str = "out") -> str:
        app = typer.Typer()
        app.command()(command.batch)
        found = CliRunner().invoke(app, [str(self.source), str(self.root / out), *arguments])
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        assert found.exit_code == code, found.output
        return found.stdout


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    found = Command(tmp_path)
    overrides = {"model.directories": json.dumps([str(tmp_path / "bundles")]), "model.bundle": "tiny"}
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))

    def in_this_process(job: Any, units: Any, _processes: int) -> Any:
        yield from map(UnitScorer(job).run, units)
        yield Ended(cpu_s=7.2, peak_rss_bytes=50 * 2**20)

    monkeypatch.setattr(runs, "work_off", in_this_process)
    return found


def test_the_report_says_what_a_million_documents_cost(run: Command) -> None:
    report = json.loads(run("--output", "json", "--cpu-hour-price", "0.5"))
    assert (report["scored"], report["rejected"], report["units"]) == (20, 0, 1)
    assert report["cpu_s"] == pytest.approx(7.2, abs=5)
    assert report["cpu_s_per_million"] == pytest.approx(report["cpu_s"] / 20 * 1e6, rel=0.01)
    assert report["cost_per_million"] == pytest.approx(report["cpu_s_per_million"] / 3600 * 0.5, rel=0.01)
    shown = run()
    assert "nothing was left to do" in shown
    assert "20 scored, 0 refused" in shown
    again = run(out="other")
    assert "at most 50 MiB a process" in again


def test_rows_carry_the_bundle_or_file_that_the_cutoffs_come_from(run: Command) -> None:
    run()
    (row, *_) = read_parts(run.root / "out")
    assert (row["bundle"], row["thresholds"], row["release"]) == ("tiny@1", "bundle", None)
    cuts = run.root / "cuts.yaml"
    cuts.write_text("labels: {spam: 0.0, greeting: 1.0}\n")
    run("--thresholds", str(cuts), out="cut")
    rows = read_parts(run.root / "cut")
    assert {tuple(row["tags"]) for row in rows} == {("spam",)}
    assert (rows[0]["thresholds"], rows[0]["thresholds_sha256"] == row["thresholds_sha256"]) == ("cuts.yaml", False)
    cuts.write_text("labels: {spam: 2}\n")
    with pytest.raises(RefusedError):
        run("--thresholds", str(cuts), out="refused")


def test_the_release_that_decides_now_decides_here(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store()
    monkeypatch.setattr(command, "ControlStore", lambda settings: store)
    with pytest.raises(NotFoundError, match="Redis holds no release"):
        run("--release")
    changes = new_changes(store)
    changes.seed(run.bundle.ref, run.bundle.labels, run.bundle.default_thresholds)
    changes.set_thresholds({"spam": 0.0}, Who("anna", "all of it"), force=True)
    run("--release")
    current = store.current()
    assert current is not None
    (row, *_) = read_parts(run.root / "out")
    assert "spam" in row["tags"]
    assert (row["release"], row["thresholds"]) == (current.id.number, f"revision {current.ref.revision}")
    assert row["thresholds_sha256"] == current.ref.revision_sha256


def test_tags_ask_for_what_the_breakers_said_when_the_job_began(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    store = new_store()
    monkeypatch.setattr(command, "ControlStore", lambda settings: store)
    changes = new_changes(store)
    changes.seed(run.bundle.ref, run.bundle.labels, run.bundle.default_thresholds)
    changes.set_thresholds(dict.fromkeys(run.bundle.labels, 0.0), Who("anna", "all of it"), force=True)
    breakers, rule, (label, *others) = BreakerLog(store), Who("streamtag (breaker)", "a test"), run.bundle.labels
    run("--release", out="closed")
    assert {(*row["review"], row["breakers"]) for row in read_parts(run.root / "closed")} == {(None,)}
    breakers.open(label, rule, events=1, alerts=1)
    run("--release")
    rows = read_parts(run.root / "out")
    assert {(*row["review"], row["breakers"]) for row in rows} == {(label, 1)}
    assert {tuple(row["tags"]) for row in rows} == {tuple(run.bundle.labels)}, "they are tagged as ever"
    run("--release", "--to", "jsonl", out="lines")
    lines = [json.loads(line) for line in (run.root / "lines" / "part-000000.jsonl").read_text().splitlines()]
    asked = {label: "review", **dict.fromkeys(others, "tag")}
    assert all({tag["label"]: tag["action"] for tag in line["tags"]} == asked for line in lines)
    assert {line["breakers"] for line in lines} == {1}
    # It is closed before the rest is done: the job is of one piece all the same.
    breakers.close(label, Who("anna", "a test"))
    [done] = (run.root / "out" / "_done").iterdir()
    done.unlink()
    (run.root / "out" / "_SUCCESS").unlink()
    run("--release")
    assert read_parts(run.root / "out") == rows
    run("--release", "--restart")
    assert {(*row["review"], row["breakers"]) for row in read_parts(run.root / "out")} == {(None,)}


def test_without_redis_rows_say_nothing_of_breakers(run: Command) -> None:
    run()
    assert not {"review", "breakers"} & read_parts(run.root / "out")[0].keys()


def test_contradictions_are_refused_before_anything_is_written(run: Command) -> None:
    with pytest.raises(SettingsError, match="--release names"):
        run("--release", "--bundle", "tiny")
    with pytest.raises(SettingsError, match="--column body: no such field"):
        run("--column", "body=text")
    assert not (run.root / "out").exists()


def test_a_job_at_work_is_left_alone_by_a_restart(run: Command) -> None:
    run()
    out = run.root / "out"
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with Output(str(out)).locked(), pytest.raises(ConflictError, match="another run is at work"):
        run("--restart")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_rows_that_are_refused_make_the_exit_code_1(run: Command) -> None:
    with run.source.open("a") as file:
        file.write("not JSON\n")
    assert json.loads(run("--output", "json", code=1))["rejected"] == 1
