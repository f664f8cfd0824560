"""Examinations: side by side, in order within, and never longer than their deadline."""

import threading
import time
from collections.abc import Iterator

import pytest

from streamtag.doctor import findings as room
from streamtag.doctor.findings import Blocked, Examination, Finding, examine
from streamtag.errors import UnavailableError


def _ok(name: str) -> Iterator[Finding]:
    yield Finding(name, "ok", "fine")


def _blocks(name: str) -> Iterator[Finding]:
    yield Finding(name, "fail", "away", "Start it.")
    raise Blocked


def _statuses(found: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.status) for finding in found]


def test_findings_come_in_the_order_of_the_examinations_whoever_is_first() -> None:
    gate = threading.Event()

    def waits() -> Iterator[Finding]:
        gate.wait(5)
        yield from _ok("slow")

    def opens() -> Iterator[Finding]:
        gate.set()
        yield from _ok("fast")

    found = examine([Examination([("slow", waits)], 5), Examination([("fast", opens)], 5)])
    assert _statuses(found) == [("slow", "ok"), ("fast", "ok")]


def test_what_needs_a_check_that_failed_is_named_as_not_checked() -> None:
    checks = [("broker", lambda: _blocks("broker")), ("topics", lambda: _ok("topics"))]
    found = examine([Examination(checks, 5)])
    assert _statuses(found) == [("broker", "fail"), ("topics", "warn")]
    assert found[1].action == "Mend broker first."


def test_a_check_that_hangs_ends_at_its_deadline_and_keeps_what_was_found() -> None:
    release = threading.Event()

    def hangs() -> Iterator[Finding]:
        yield Finding("first", "ok", "fine")
        release.wait(30)

    start = time.monotonic()
    found = examine([Examination([("hanging", hangs), ("next", lambda: _ok("next"))], 0.2)])
    assert time.monotonic() - start < 20
    assert _statuses(found) == [("first", "ok"), ("hanging", "fail"), ("next", "fail")]
    assert "no answer within 0.2 s" in found[1].finding
    release.set()


def test_an_examination_that_would_take_longer_is_cut_short_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WITHIN_S", 0.2)
    release = threading.Event()

    def hangs() -> Iterator[Finding]:
        release.wait(20)
        yield from _ok("too late")

    [finding] = examine([Examination([("hanging", hangs)], 600.0)])
    assert (finding.status, finding.finding) == ("fail", "no answer within 0.2 s")
    release.set()


def test_errors_become_findings_and_the_others_go_on() -> None:
    def refuses() -> Iterator[Finding]:
        raise UnavailableError("Redis is away", hint="Start Redis.")
        yield

    def breaks() -> Iterator[Finding]:
        raise ZeroDivisionError("one by nought")
        yield

    def silent() -> Iterator[Finding]:
        raise TimeoutError
        yield

    checks = [("a", refuses), ("b", breaks), ("c", silent), ("d", lambda: _ok("d"))]
    found = examine([Examination(checks, 5)])
    assert _statuses(found) == [("a", "fail"), ("b", "fail"), ("c", "fail"), ("d", "ok")]
    assert found[2].finding == "no answer in time"
    assert (found[0].finding, found[0].action) == ("Redis is away", "Start Redis.")
    assert "ZeroDivisionError" in found[1].finding
