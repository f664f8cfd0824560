"""The candidate's process: right answers, and what a crash, a hang or a broken bundle means for whoever asks."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import numpy as np
import pytest
from foreign_models import build_numbers_bundle
from services import wait_until
from stalling_bundle import DELAYS, HANGS, build_stalling_bundle
from tiny_bundle import build_tiny_bundle

from streamtag.domain.scores import to_micro
from streamtag.events.content import ContentEvent, FeatureValue
from streamtag.model.bundle import peek_ref, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.two_stages import pair
from streamtag.tagger import candidate as module
from streamtag.tagger.candidate import Candidate, read_frame, write_frame
from streamtag.tagger.rerank import Limits, infer_stages

TEXTS = ["see you at noon", "", "schöne Grüße \ud800", "a" * 5_000]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path)


def sha256(path: Path) -> str:
    return peek_ref(path).sha256


@pytest.fixture
def candidate(bundle: Path) -> Iterator[Candidate]:
    found = Candidate(bundle, sha256(bundle), 2, 64)
    yield found
    found.close()


def asked(candidate: Candidate) -> int:
    """A question that was taken; it has come up by then."""
    found: list[int | None] = []

    def taken() -> bool:
        found.append(candidate.ask(TEXTS))
        return found[-1] is not None

    wait_until(taken, 60, "the candidate takes a question")
    assert found[-1] is not None
    return found[-1]


def pid_of(candidate: Candidate) -> int:
    process = candidate._process
    assert process is not None
    return process.pid


def test_scores_are_those_of_the_bundle_bit_for_bit(bundle: Path, candidate: Candidate) -> None:
    assert not candidate.ready
    ticket = asked(candidate)
    assert candidate.ready
    answer = candidate.answer(ticket, 30)
    assert answer is not None
    assert np.array_equal(answer, load_scorer(bundle, batch=64).score(TEXTS))
    assert candidate.why_not(ticket) == "shed"


def test_an_event_without_the_text_that_the_bundle_reads_has_no_scores(bundle: Path, candidate: Candidate) -> None:
    """Nor would it have any if the candidate were the champion: it would be set aside."""
    before = asked(candidate)
    assert candidate.answer(before, 30) is not None
    ticket = candidate.ask(["see you at noon", None, ""])
    assert ticket is not None
    answer = candidate.answer(ticket, 30)
    assert answer is not None
    assert np.isnan(answer).all(axis=1).tolist() == [False, True, False]
    scores = load_scorer(bundle, batch=64).score(["see you at noon", ""])
    assert np.array_equal(answer[[0, 2]], scores)


def test_everybody_else_goes_first_within_its_session_and_among_sessions(candidate: Candidate) -> None:
    asked(candidate)
    pid = pid_of(candidate)
    assert os.getpriority(os.PRIO_PROCESS, pid) == 19
    assert os.getsid(pid) == pid
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        assert group.read_text(encoding="ascii").split()[1:] in (["nice", "19"], [])


def test_a_candidate_of_two_stages_answers_by_both_and_says_which(tmp_path: Path) -> None:
    parts = build_tiny_bundle(tmp_path), build_tiny_bundle(tmp_path, name="slow", weights_seed=3)
    bands = {"spam": (0.3, 0.7)}
    first, second = map(read_bundle, parts)
    path = pair(first, second, tmp_path, name="tiny", version="2", bands=bands, sample=0.2)
    texts, ids = [*(f"item {i} of {i * i}" for i in range(50)), None], [f"e{i}" for i in range(51)]
    found = Candidate(path, sha256(path), 2, 64, Limits(1.0, None, 1_000))
    try:
        wait_until(lambda: found.ask(texts, None, ids) is not None, 60, "the candidate takes a question")
        answer = found.answer(0, 30)
    finally:
        found.close()
    assert answer is not None
    events = [ContentEvent(name, text) for name, text in zip(ids, texts, strict=True)]
    wanted = infer_stages(events, load_scorer(path, batch=64))
    assert wanted.stages is not None
    assert list(wanted.refused) == [50]
    assert np.isnan(answer[50]).all()
    scored = answer[:50]
    assert (to_micro(scored[:, :2]) == wanted.micro[:50]).all()
    assert (to_micro(scored[:, 2:4]) == wanted.stages.first[:50]).all()
    assert scored[:, 4].tolist() == wanted.stages.route[:50].tolist()
    assert {0, 1, 2} == set(wanted.stages.route[:50].tolist())


def test_features_reach_the_other_process_whatever_they_are(tmp_path: Path) -> None:
    path = build_numbers_bundle(tmp_path / "bundles", tmp_path / "scratch")
    features: list[Mapping[str, FeatureValue] | None] = [
        {"amount": 3, "age": 40.5, "lone \ud83d": "\ud83d"},
        {"amount": math.nan},
        {"amount": 10**400},
        {"amount": True, "age": None},
        None,
    ]
    texts = [None] * len(features)
    found = Candidate(path, sha256(path), 3, 64)
    try:
        wait_until(lambda: found.ask(texts, features) is not None, 60, "the candidate takes a question")
        answer = found.answer(0, 30)
    finally:
        found.close()
    assert answer is not None
    assert np.array_equal(answer, load_scorer(path, batch=64).score([""] * len(texts), features), equal_nan=True)
    assert np.isnan(answer).all(axis=1).tolist() == [False, True, True, False, True]


def test_a_process_that_dies_fails_what_was_asked_and_comes_back(candidate: Candidate) -> None:
    before = asked(candidate)
    assert candidate.answer(before, 30) is not None
    os.kill(pid_of(candidate), signal.SIGSTOP)
    ticket = candidate.ask(TEXTS)
    assert ticket is not None
    wait_until(lambda: candidate._working == ticket, 10, "it works on it")
    assert candidate.answer(ticket, 0) is None
    assert candidate.why_not(ticket) == "shed"
    os.kill(pid_of(candidate), signal.SIGKILL)
    assert candidate.answer(ticket, 30) is None
    assert candidate.why_not(ticket) == "failures"
    assert candidate.answer(asked(candidate), 30) is not None


def test_nobody_waits_while_it_works_on_what_was_given_up(candidate: Candidate) -> None:
    assert candidate.answer(asked(candidate), 30) is not None
    os.kill(pid_of(candidate), signal.SIGSTOP)
    late = candidate.ask(TEXTS)
    assert late is not None
    wait_until(lambda: candidate._working == late, 10, "it works on it")
    assert candidate.answer(late, 0) is None
    assert not candidate.ready
    queued = candidate.ask(TEXTS)
    assert queued is not None
    began = time.monotonic()
    assert candidate.answer(queued, 30) is None
    assert time.monotonic() - began < 15  # it did not wait for 30 s
    assert candidate.why_not(queued) == "shed"
    os.kill(pid_of(candidate), signal.SIGCONT)
    wait_until(lambda: candidate._working is None, 30, "it is done with it")
    assert candidate.answer(asked(candidate), 30) is not None
    assert candidate.ready


@pytest.mark.parametrize("end", [signal.SIGCONT, signal.SIGKILL])
def test_how_long_it_was_busy_is_known_of_answers_that_came_too_late_and_of_those_that_never_came(
    candidate: Candidate, end: signal.Signals
) -> None:
    """Else a candidate that is always late would seem as fast as the few answers that were not."""
    assert candidate.answer(asked(candidate), 30) is not None
    assert len(candidate.times_since(0)) == 1
    os.kill(pid_of(candidate), signal.SIGSTOP)
    late = candidate.ask(TEXTS)
    assert late is not None
    wait_until(lambda: candidate._working == late, 10, "it works on it")
    stopped = time.monotonic()
    assert candidate.answer(late, 0.2) is None
    waited = time.monotonic() - stopped
    os.kill(pid_of(candidate), end)
    wait_until(lambda: len(candidate.times_since(0)) == 2, 30, "it is busy with it no more")
    assert candidate.times_since(stopped) == [candidate.times_since(0)[1]]
    assert candidate.times_since(stopped)[0] >= waited >= 0.2
    assert candidate.times_since(time.monotonic()) == []


def test_a_process_that_hangs_is_killed(candidate: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert candidate.answer(asked(candidate), 30) is not None
    monkeypatch.setattr(module, "_HANGS_S", 0.2)
    hung = pid_of(candidate)
    os.kill(hung, signal.SIGSTOP)
    ticket = candidate.ask(TEXTS)
    assert ticket is not None
    assert candidate.answer(ticket, 30) is None
    assert candidate.why_not(ticket) == "failures"
    wait_until(lambda: candidate.ask(TEXTS) is not None, 60, "another takes questions")
    assert pid_of(candidate) != hung


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the system does not say who waits")
def test_a_process_that_others_leave_no_processor_does_not_hang(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = build_stalling_bundle(tmp_path / "bundle", tmp_path / "scratch", [])
    candidate = Candidate(slow, sha256(slow), 2, 1)
    one = {min(os.sched_getaffinity(0))}
    spinning = f"import os\nos.sched_setaffinity(0, {one})\nprint(flush=True)\nwhile True: pass"
    others: list[subprocess.Popen[bytes]] = []
    try:
        assert candidate.answer(asked(candidate), 30) is not None
        monkeypatch.setattr(module, "_HANGS_S", 2.0)
        served_by = pid_of(candidate)
        for thread in Path(f"/proc/{served_by}/task").iterdir():
            os.sched_setaffinity(int(thread.name), one)
        command = [sys.executable, "-c", spinning]
        others.extend(subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) for _ in range(2))
        for other in others:
            assert other.stdout is not None
            assert other.stdout.readline() == b"\n"
        began, ticket = time.monotonic(), candidate.ask([DELAYS] * 5)
        assert ticket is not None
        while time.monotonic() < began + 4:  # a quarter of a second of work, and two who do not step back
            assert candidate.answer(ticket, 0.1) is None
        for other in others:
            other.kill()
        wait_until(lambda: candidate._working is None, 60, "it has answered")
        assert candidate.times_since(began)[-1] > 4
        assert pid_of(candidate) == served_by
        assert candidate.ask(TEXTS) is not None, "it did not have to be loaded anew"
    finally:
        candidate.close()
        for other in others:
            other.kill()
            other.wait()


def test_more_questions_than_can_wait_are_refused(candidate: Candidate) -> None:
    assert candidate.answer(asked(candidate), 30) is not None
    os.kill(pid_of(candidate), signal.SIGSTOP)
    taken = [candidate.ask(TEXTS) for _ in range(20)]
    assert None in taken
    os.kill(pid_of(candidate), signal.SIGCONT)
    last = max(ticket for ticket in taken if ticket is not None)
    assert candidate.answer(last, 30) is not None


def test_a_bundle_that_cannot_be_loaded_takes_no_question(tmp_path: Path) -> None:
    broken = Candidate(tmp_path / "nothing", "", 2, 64)
    try:
        assert broken.why_not(None) == "loading"
        wait_until(lambda: broken.why_not(None) == "failures", 60, "it has ended")
        assert broken.ask(TEXTS) is None
    finally:
        broken.close()


def test_a_bundle_that_has_become_another_one_takes_no_question(bundle: Path) -> None:
    other = Candidate(bundle, "f" * 64, 2, 64)
    try:
        wait_until(lambda: other.why_not(None) == "failures", 60, "it has ended")
    finally:
        other.close()


def test_closing_ends_the_process_and_leaves_it_to_another_thread_to_wait_for_that(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Candidate(bundle, sha256(bundle), 2, 64)
    asked(found)
    process = found._process
    assert process is not None
    reap, by = process.wait, list[str]()

    def wait() -> int:
        by.append(threading.current_thread().name)
        return reap()

    monkeypatch.setattr(process, "wait", wait)
    found.close()
    wait_until(lambda: process.returncode is not None, 10, "it is no zombie")  # nothing here asks what became of it
    wait_until(lambda: not found._thread.is_alive(), 10, "nobody waits any more")
    assert by == ["candidate"]


def test_a_process_that_is_killed_as_it_hangs_leaves_no_zombie(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert candidate.answer(asked(candidate), 30) is not None
    monkeypatch.setattr(module, "_HANGS_S", 0.2)
    hung = candidate._process
    assert hung is not None
    os.kill(hung.pid, signal.SIGSTOP)
    assert candidate.ask(TEXTS) is not None
    wait_until(lambda: hung.returncode == -signal.SIGKILL, 30, "it is killed, and no zombie")


def test_answers_that_nobody_will_ask_for_are_not_kept(candidate: Candidate) -> None:
    forgotten = asked(candidate)
    wait_until(lambda: candidate._answers, 30, "it has answered")
    candidate.forget()
    assert candidate._answers == {}
    os.kill(pid_of(candidate), signal.SIGSTOP)
    waiting, given_up, wanted = (candidate.ask(TEXTS) for _ in range(3))
    assert waiting is not None
    assert given_up is not None
    assert wanted is not None
    wait_until(lambda: candidate._working == waiting, 10, "it works on the first")
    assert candidate.answer(given_up, 0) is None
    os.kill(pid_of(candidate), signal.SIGCONT)
    wait_until(lambda: wanted in candidate._answers, 30, "it has come to the last one")
    assert list(candidate._answers) == [wanted]
    assert candidate.answer(wanted, 30) is not None
    assert candidate.answer(forgotten, 0) is None


def test_a_process_that_starts_while_it_is_closed_ends_at_once(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would load its bundle first, and if it hung there, nobody would look after it any more."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*_: object, **pipes: int) -> subprocess.Popen[bytes]:
        monkeypatch.undo()
        closed.wait(10)
        started.append(subprocess.Popen(["sleep", "60"], stdin=pipes["stdin"], stdout=pipes["stdout"]))
        return started[0]

    closed = threading.Event()
    monkeypatch.setattr("subprocess.Popen", start)
    Candidate(bundle, sha256(bundle), 2, 64).close()
    closed.set()
    wait_until(lambda: started and started[0].poll() is not None, 5, "it has ended")


def test_the_process_ends_with_the_tagger_even_while_its_model_hangs(tmp_path: Path) -> None:
    stalling = build_stalling_bundle(tmp_path / "bundle", tmp_path / "scratch", [])
    command = [sys.executable, "-m", "streamtag.tagger.candidate_process", str(stalling), sha256(stalling), "64"]
    # A session of its own, or it would make that of all tests nice.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert read_frame(process.stdout) == b"ready"
            write_frame(process.stdin, msgspec.msgpack.encode(([HANGS.encode()], None, None)))
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            process.stdin.close()
            assert process.wait(30) == 0
        finally:
            process.kill()
