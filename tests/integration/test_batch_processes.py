"""`streamtag batch`, with processes of its own: whole after a kill, bounded in memory."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from batch_files import documents, read_parts, write_jsonl, write_parquet
from tiny_bundle import build_tiny_bundle


def command(tmp_path: Path, *arguments: str | Path) -> list[str]:
    options = ["--set", f"model.directories={json.dumps([str(tmp_path / 'bundles')])}"]
    return [sys.executable, "-m", "streamtag", *options, "batch", *map(str, arguments)]


def run(tmp_path: Path, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    found = subprocess.run(command(tmp_path, *arguments, "-o", "json"), capture_output=True, text=True, check=False)
    assert found.returncode == code, found.stderr
    return json.loads(found.stdout) if found.stdout else {"error": found.stderr}


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    build_tiny_bundle(tmp_path / "bundles")
    return "tiny"


def test_no_row_is_doubled_or_missing_after_a_restart_is_refused_and_a_kill(tmp_path: Path, bundle: str) -> None:
    rows = documents(30_000)
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    arguments = (source, out, "-b", bundle, "--processes", "2")
    first = subprocess.Popen(command(tmp_path, *arguments), stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 60
    while not list((out / "_done").glob("*.json")):
        assert first.poll() is None, first.communicate()[1].decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(first.pid, signal.SIGSTOP)  # it is at work, and waits for us
    there = {path for path in out.rglob("*") if not path.name.startswith(".")}
    assert "another run is at work" in run(tmp_path, *arguments, "--restart", code=5)["error"]
    assert there <= set(out.rglob("*"))
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    done = len(list((out / "_done").glob("*.json")))
    assert not (out / "_SUCCESS").exists()
    report = run(tmp_path, *arguments, "--cpu-hour-price", "0.05")
    assert 0 < done < report["units"]
    assert report["scored"] == 30_000 > report["run_documents"]
    assert [row["id"] for row in read_parts(out)] == [row["id"] for row in rows]
    assert 0 < report["peak_rss_bytes"] < 500 * 2**20
    assert report["cost_per_million"] == pytest.approx(report["cpu_s_per_million"] / 3600 * 0.05, rel=1e-3)


def test_processes_end_with_the_one_that_started_them(tmp_path: Path, bundle: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(60_000))
    first = subprocess.Popen(command(tmp_path, source, tmp_path / "out", "-b", bundle, "-p", "2"))
    deadline = time.monotonic() + 60
    while len(children := _children(first.pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    first.kill()
    first.wait()
    while any(_alive(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_rejects_are_counted_and_the_exit_code_says_so(tmp_path: Path, bundle: str) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [*documents(3), {"id": "", "text": "x"}])
    report = run(tmp_path, source, tmp_path / "out", "-b", bundle, "--to", "csv", code=1)
    assert (report["scored"], report["rejected"]) == (3, 1)


def test_contradictions_are_refused(tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in.parquet", documents(3))
    assert "--release names" in run(tmp_path, source, tmp_path / "out", "--release", "-b", "tiny", code=2)["error"]
    assert "no such field" in run(tmp_path, source, tmp_path / "out", "--column", "body=text", code=2)["error"]
    assert not (tmp_path / "out").exists()


def _children(pid: int) -> list[int]:
    """Processes that multiprocessing started for work (its resource tracker is none)."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == pid and b"spawn_main" in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
