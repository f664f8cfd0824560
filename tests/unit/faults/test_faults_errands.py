"""What runs beside a campaign does not end in silence."""

import threading

import pytest
from faults.errands import Errand
from faults.findings import Findings


def test_what_ends_as_it_should_is_no_finding() -> None:
    found, done = Findings(), threading.Event()
    errand = Errand(done.set, "watch", found)
    errand.start()
    errand.finish(10)
    assert done.is_set()
    assert found.violations() == {}


def test_what_fails_is_found() -> None:
    def fail() -> None:
        raise OSError("no disk")

    found = Findings()
    with pytest.raises(OSError, match="no disk"):
        Errand(fail, "watch", found).run()
    assert found.violations() == {"harness": 1}
    assert found.examples() == ["harness: watch: OSError: no disk"]


def test_what_does_not_end_is_found() -> None:
    found, go = Findings(), threading.Event()

    def go_on() -> None:
        go.wait(10)

    errand = Errand(go_on, "watch", found)
    errand.start()
    errand.finish(0.01)
    assert found.violations() == {"harness": 1}
    go.set()
    errand.join(30)
