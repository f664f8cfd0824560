"""A run after a run finds the memory that the first one freed."""

import gc
import resource
import subprocess
import sys
import weakref

import pytest

from streamtag.tagger.memory import EVERY_S, FreedMemory

# In a process of its own: what this one has freed so far decides what the C library does.
_ALLOCATE = """
import resource, sys
import numpy as np
from streamtag.tagger.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
def run():
    return [np.ones(200_000) for _ in range(3)]
run()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(50):
    run()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", _ALLOCATE, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_a_run_freed_costs_the_next_one_no_page_faults() -> None:
    pages = 3 * 200_000 * 8 // resource.getpagesize()
    assert faults("keep") < 2 * pages
    assert faults("as it is") > 10 * pages


_THREADS = """
import threading
from streamtag.tagger.memory import keep_freed_memory

keep_freed_memory()
turns = [threading.Event() for _ in range(25)]
done = threading.Event()
def live(turn, after):
    turn.wait()
    kept = [bytes(1_000) for _ in range(15_000)]  # too large for Python's own allocator
    del kept
    after.set()
    done.wait()
last = threading.Event()
for turn, after in zip(turns, [*turns[1:], last]):
    threading.Thread(target=live, args=(turn, after), daemon=True).start()
turns[0].set()
last.wait()
print(int(open("/proc/self/statm").read().split()[1]) * 4_096 // 2**20)
done.set()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_what_is_kept_does_not_grow_with_the_threads_there_ever_were() -> None:
    run = subprocess.run([sys.executable, "-c", _THREADS], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 150, "MiB; with an arena a thread it would be 250 or more"


_HOLES = """
from streamtag.tagger.memory import EVERY_S, FreedMemory, keep_freed_memory

def rss():
    return int(open("/proc/self/statm").read().split()[1]) * 4_096 // 2**20

now = 0.0
freed = FreedMemory(lambda: now)
keep_freed_memory()
kept = [bytes(1_000) for _ in range(200_000)]
last = kept[-1]  # keeps the end of the heap in use
del kept
before = rss()
assert not freed.give_back()
assert before - rss() < 1
now = EVERY_S
assert freed.give_back()
print(before - rss())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_now_and_then_what_is_free_is_given_back_wherever_it_stands() -> None:
    run = subprocess.run([sys.executable, "-c", _HOLES], capture_output=True, text=True, check=True)
    assert int(run.stdout) > 100


def test_now_and_then_what_cycles_hold_is_freed() -> None:
    class Held:
        def __init__(self) -> None:
            self.itself = self

    now = 0.0
    freed = FreedMemory(lambda: now)
    gc.disable()
    try:
        held = Held()
        gone = weakref.ref(held)
        del held
        freed.give_back()
        assert gone() is not None
        now = EVERY_S
        freed.give_back()
        assert gone() is None
    finally:
        gc.enable()
