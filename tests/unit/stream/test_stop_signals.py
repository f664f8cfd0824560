"""Signals that ask for the end: kept until there is something to end, and safe however they interrupt one another."""

import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest
from fake_broker import FakeBroker
from loop import Loop

from streamtag.stream.worker import StopSignals

NUMBERS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [(number, signal.getsignal(number)) for number in (*NUMBERS, signal.SIGALRM)]
    yield
    signal.alarm(0)
    for number, handler in before:
        signal.signal(number, handler)


def interrupted_at_every_line(work: Callable[[], object]) -> None:
    """Each line of ``work``, and of what serves the signals, is interrupted by a signal; gives up after 5 s."""

    def trace(_frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal left
        if event == "line" and left:
            left -= 1
            signal.raise_signal(NUMBERS[left % 2])
        return trace

    def too_late(*_: object) -> None:
        raise TimeoutError

    left = 40
    signal.signal(signal.SIGALRM, too_late)
    signal.alarm(5)
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(None)


def test_a_signal_before_there_is_anything_to_stop_is_kept() -> None:
    signals = StopSignals()
    signal.raise_signal(signal.SIGTERM)
    stopped: list[bool] = []
    signals.forward(lambda: stopped.append(True))
    assert stopped == [True]


def test_signals_that_interrupt_one_another_are_kept() -> None:
    signals = StopSignals()
    interrupted_at_every_line(lambda: signal.raise_signal(signal.SIGTERM))
    stopped: list[bool] = []
    signals.forward(lambda: stopped.append(True))
    assert stopped == [True]


def test_signals_that_interrupt_one_another_stop_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = Loop(monkeypatch, FakeBroker(content=1), {}).start()
    StopSignals().forward(loop.runner.stop)
    interrupted_at_every_line(lambda: signal.raise_signal(signal.SIGTERM))
    loop.wait_end()
    assert loop.failure is None
