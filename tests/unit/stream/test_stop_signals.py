"""Signals that ask for the end: kept until there is something to end, and safe however they interrupt one another."""

import signal
from collections.abc import Iterator

import pytest
from fake_broker import FakeBroker
from interrupting import STOP_SIGNALS, interrupted
from loop import Loop

from streamtag.stream.worker import StopSignals

often = pytest.mark.parametrize("every", [1, 2, 3])


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = [(number, signal.getsignal(number)) for number in STOP_SIGNALS]
    yield
    for number, handler in before:
        signal.signal(number, handler)


def test_a_signal_before_there_is_anything_to_stop_is_kept() -> None:
    signals = StopSignals()
    signal.raise_signal(signal.SIGTERM)
    stopped: list[bool] = []
    signals.forward(lambda: stopped.append(True))
    assert stopped == [True]


@often
def test_signals_that_interrupt_one_another_are_kept(every: int) -> None:
    signals = StopSignals()
    interrupted(lambda: signal.raise_signal(signal.SIGTERM), every=every)
    stopped: list[bool] = []
    signals.forward(lambda: stopped.append(True))
    assert stopped == [True]


@often
def test_signals_that_interrupt_one_another_stop_the_loop(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    loop = Loop(monkeypatch, FakeBroker(content=1), {}).start()
    StopSignals().forward(loop.runner.stop)
    interrupted(lambda: signal.raise_signal(signal.SIGTERM), every=every)
    loop.wait_end()
    assert loop.failure is None
