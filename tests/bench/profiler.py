"""Where a worker's CPU time goes while it works off a backlog: by component, by symbol, by function of ours.

`perf` says what is on a processor, kernel included, but knows no Python function; `py-spy` knows them, but stops the
process to look and counts threads that only wait, so it is asked about the processing thread alone, which does nine
tenths of the work. Each is used where it is installed.
"""

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path

from streamtag.errors import StreamtagError, UnavailableError

from . import report
from .downstream import Downstream
from .stack import running
from .taggers import Pipeline
from .upstream import Ahead, Counters, Upstream

_WINDOW_EVENTS = 20_000
_WARM_UP_S = 5.0
_TOP = 10
_ENDLESS = 1_000_000_000
# A piece of a shared object's name to what it is; the first that fits.
_COMPONENTS = {
    "_multiarray": "numpy",
    "onnxruntime": "onnxruntime",
    "librdkafka": "librdkafka",
    "cimpl": "confluent-kafka (binding)",
    "_core.": "msgspec",
    "libc.so": "C library",
    "kernel": "kernel",
    "libpython": "interpreter",
    "python3": "interpreter",  # one that is linked into its program
}
_PROCESSING = "(streamtag/stream/processing.py:"
_WAITS = ("Condition.wait", "Thread.join", "Event.wait")

Shares = dict[str, float]


def component(shared_object: str) -> str:
    """What a shared object belongs to."""
    return next((name for piece, name in _COMPONENTS.items() if piece in shared_object), "other")


def by_perf(pid: int, seconds: float, directory: Path) -> dict[str, Shares]:
    """Shares of the process's CPU time by component, and of the dearest symbols."""
    data = directory / "perf.data"
    _run("perf", "record", "-F", "499", "-o", str(data), "-p", str(pid), "--", "sleep", str(seconds))
    listed = _run(*("perf", "report", "-i", str(data), "--stdio", "--no-children"), "-F", "overhead,dso,sym", "-t", ";")
    components: Counter[str] = Counter()
    symbols: Counter[str] = Counter()
    for line in listed.splitlines():
        overhead, *where = (part.strip() for part in line.split(";"))
        if len(where) >= 2 and overhead.endswith("%"):
            share = float(overhead[:-1]) / 100
            components[component(where[0])] += share  # type: ignore[assignment] # a Counter of floats
            # Symbols of what has none are addresses.
            if "0x0" not in where[1]:
                symbols[f"{component(where[0])}: {where[1].removeprefix('[.] ').removeprefix('[k] ')}"] += share  # type: ignore[assignment]
    return {"components": _rounded(components.most_common()), "symbols": _rounded(symbols.most_common(_TOP))}


def by_spy(program: str, pid: int, seconds: float, directory: Path) -> dict[str, Shares]:
    """Shares of the processing thread's time, waiting left out, by function of ours; what it calls counts as its."""
    raw = directory / "spy.txt"
    _run(program, "record", "-F", "-r", "100", "-d", str(int(seconds)), "-f", "raw", "-o", str(raw), "-p", str(pid))
    return {"functions": functions(raw.read_text(encoding="utf-8").splitlines())}


def functions(stacks: Iterable[str]) -> Shares:
    """From py-spy's raw form, ``frame;frame;frame count``."""
    found: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if _PROCESSING in stack and not frames[-1].startswith(_WAITS):
            own = next(frame for frame in reversed(frames) if "(streamtag/" in frame)
            found[re.sub(r":\d+\)", ")", own)] += int(count)
    total = sum(found.values())
    return _rounded((name, count / total) for name, count in found.most_common(_TOP))


def run(bundle: Path, *, seconds: float) -> Mapping[str, object]:
    """The whole measurement; the section ``profile`` of ``reports/bench.json``.

    Raises:
        UnavailableError: neither tool is installed.
    """
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None and shutil.which("perf") is None:
        raise UnavailableError("no profiler", hint="Install perf (Debian: linux-perf) or py-spy (pip install py-spy).")
    counters = Counters()
    found: dict[str, Shares] = {}
    with ExitStack() as exits:
        stack = exits.enter_context(running())
        pipeline = exits.enter_context(Pipeline(stack, bundle))
        upstream = exits.enter_context(closing(Upstream(stack.bootstrap, pipeline.topics["input"], counters)))
        exits.enter_context(
            closing(Downstream(stack.bootstrap, pipeline.topics["tags"], pipeline.partitions, counters))
        )
        worker = pipeline.start()
        pipeline.wait_shared(worker)
        upstream.begin(Ahead(_ENDLESS, _WINDOW_EVENTS))
        time.sleep(_WARM_UP_S)
        if shutil.which("perf"):
            found |= by_perf(worker.pid, seconds, stack.directory)
        if spy is not None:
            found |= by_spy(spy, worker.pid, seconds, stack.directory)
        worker.check_alive()
        return {**found, "events": counters.read, "seconds": seconds, **stack.services}


def show(found: Mapping[str, object]) -> None:
    """The tables."""
    titles = {
        "components": "CPU time by component (perf)",
        "symbols": "dearest symbols (perf)",
        "functions": "processing thread by function, with what it calls (py-spy)",
    }
    for name, title in titles.items():
        shares: Mapping[str, float] = found.get(name, {})  # type: ignore[assignment]
        if shares:
            report.table(title, ("", "share"), [(what, f"{share:.1%}") for what, share in shares.items()])


def _rounded(shares: Iterable[tuple[str, float]]) -> Shares:
    return {name: round(share, 4) for name, share in shares}


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise StreamtagError(f"{argv[0]} ended with {done.returncode}", hint=done.stderr[-500:])
    return done.stdout
