"""One windower at 50 labels, 2 arms, 100 source partitions and 10 commits a second: CPU, delay, and a restart.

At this load it follows live for a while; its CPU time is taken from the kernel. Then it is ended and started anew, with
an empty state directory, and has to read again all that panes which are not final need. Last, a
backlog says how much it could do.
"""

import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, TopicPartition
from pane_numbers import PaneReader
from services import MIB, create_topics, delete_topics, read_all, wait_until

from streamtag.errors import StreamtagError
from streamtag.stats.shard import Checkpoint
from streamtag.stream.start import unpack

from . import cpu, report
from .propagation import percentile
from .readings import Meter, between
from .stack import PARTITIONS, Stack, running
from .summary_load import ARMS, INTERVAL_MS, Shape, SummaryLoad, bodies
from .taggers import Worker

_DEADLINE_S = 180.0
# A restart reads again what came within the lateness and one pane: as much must be there.
_LEAST_S = 35.0
# Of a backlog: after the start, and before there is nothing left to fetch ahead.
_FROM, _TO = 0.2, 0.95
_decode = msgspec.json.Decoder(Checkpoint).decode


class Group:
    """How far the windowers of a group have read, by what their commits remember; never joins it."""

    def __init__(self, bootstrap: str, group: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False})
        self._partitions = [TopicPartition(topic, p) for p in range(PARTITIONS)]

    def read(self) -> int:
        """Offsets read, over all partitions."""
        found = [unpack(p.metadata)[1] for p in self._consumer.committed(self._partitions, timeout=10)]
        return sum(_decode(metadata).end for metadata in found if metadata)

    def written(self) -> int:
        """Offsets there are; a marker for each transaction and partition among them."""
        return sum(self._consumer.get_watermark_offsets(p, timeout=10)[1] for p in self._partitions)

    def behind(self) -> int:
        """Offsets not read yet."""
        written = self.written()
        return written - self.read()

    def close(self) -> None:
        """Lets go of the client."""
        self._consumer.close()


class Windowers:
    """A topic of summaries, one of panes, and windowers with default settings that come and go."""

    def __init__(self, stack: Stack, shape: Shape) -> None:
        run = uuid.uuid4().hex[:8]
        self.stack, self.shape = stack, shape
        self.topics = {role: f"{role}-{run}" for role in ("stats", "dead_letters", "panes")}
        self.group = f"windows-{run}"
        counts = {"stats": PARTITIONS, "dead_letters": 1, "panes": 1}
        config = {"max.message.bytes": str(8 * MIB)}
        create_topics(stack.bootstrap, [(name, counts[role], config) for role, name in self.topics.items()])
        self._exit = ExitStack()
        self._exit.callback(delete_topics, stack.bootstrap, list(self.topics.values()))
        self.progress = self._exit.enter_context(closing(Group(stack.bootstrap, self.group, self.topics["stats"])))
        self.load = self._exit.enter_context(closing(SummaryLoad(stack.bootstrap, self.topics["stats"], shape)))
        self._started = 0

    def start(self) -> Worker:
        """A windower that knows nothing from before."""
        self._started += 1
        state = self.stack.directory / f"{self.group}-{self._started}"
        mine = {
            "kafka.bootstrap_servers": self.stack.bootstrap,
            "windows.group": self.group,
            "state_dir": str(state),
            **{f"topics.{role}": name for role, name in self.topics.items()},
        }
        argv = [sys.executable, "-m", "streamtag", *(f"--set={k}={v}" for k, v in mine.items()), "windows"]
        worker = Worker(argv, Path(f"{state}.log"))
        self._exit.callback(worker.stop)
        return worker

    def wait_live(self, worker: Worker) -> float:
        """Seconds from its start until it has read on, and no more than a second's summaries are unread.

        While it reads again what its predecessor had read, its commits say how far that one came.
        """
        before = self.progress.read()

        def live() -> bool:
            worker.check_alive()
            return self.progress.read() > before and self.progress.behind() < self.shape.per_s

        wait_until(live, _DEADLINE_S, "the windower follows", every_s=0.1)
        return (time.monotonic_ns() - worker.started_ns) / 1e9

    def __enter__(self) -> "Windowers":
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()


def run(shape: Shape, *, seconds: float) -> Mapping[str, object]:
    """The whole measurement; the section ``windower`` of ``reports/bench.json``."""
    with running() as stack:
        with Windowers(stack, shape) as windowers:
            found = _live(windowers, max(seconds, _LEAST_S))
        with Windowers(stack, shape) as windowers:
            found |= _backlog(windowers, seconds)
        return {"shape": msgspec.to_builtins(shape), **found, **stack.services}


def _live(windowers: Windowers, seconds: float) -> dict[str, object]:
    shape, progress = windowers.shape, windowers.progress
    first = windowers.start()
    windowers.load.begin()
    windowers.wait_live(first)
    meter = Meter([first.pid], windowers.stack.broker_pids, [])
    report.say(f"following {shape.per_s} summaries a second for {seconds:g} s …")
    since_ms, before = time.time() * 1000, meter.read(progress.read())
    time.sleep(seconds)
    behind, until_ms, after = progress.behind(), time.time() * 1000, meter.read(progress.read())
    rss = cpu.peak_rss_mib(first.pid)
    report.say("restarting …")
    first.stop()
    again = windowers.start()
    restart_s = windowers.wait_live(again)
    restart_cpu_s = cpu.process_s(again.pid)
    written = windowers.load.stop()
    events = written * len(ARMS) * shape.events
    reader = PaneReader()

    def counted() -> bool:
        nonlocal reader
        reader = PaneReader()
        for record in read_all(windowers.stack.bootstrap, windowers.topics["panes"]):
            reader.read(record)
        return sum(cell.events for pane in reader.every() for cell in pane.cells) == events

    wait_until(counted, _DEADLINE_S, f"panes hold all {events} events", every_s=1)
    if reader.problems:
        raise StreamtagError(f"panes break their rules: {reader.problems[0]}")
    late = [ms - end for ms, end in reader.first_written() if since_ms < end and ms < until_ms]
    used = between(before, after)
    return {
        "cpu_percent": round(used["worker_cores"] * 100, 1),
        "broker_us": used["broker_us"],
        "others_cores": used["others_cores"],
        "behind": behind,
        "rss_mib": round(rss, 1),
        "restart_s": round(restart_s, 2),
        "restart_cpu_s": round(restart_cpu_s, 2),
        "pane_delay_ms": {"p50": percentile(late, 0.5), "max": max(late)},
        "pane_bytes": max(map(len, reader.written.values())),
        "repeated": reader.repeated,
        "summaries": written,
    }


def _backlog(windowers: Windowers, seconds: float) -> dict[str, object]:
    report.say(f"writing what comes in {seconds:g} s …")
    total = windowers.load.backlog(seconds)
    worker = windowers.start()

    def past(share: float) -> int:
        worker.check_alive()
        read = windowers.progress.read()
        return read if read >= total * share else 0

    wait_until(lambda: past(_FROM), _DEADLINE_S, "the windower begins", every_s=0.02)
    meter = Meter([worker.pid], windowers.stack.broker_pids, [])
    first = meter.read(windowers.progress.read())
    wait_until(lambda: past(_TO), _DEADLINE_S, "the backlog is folded", every_s=0.02)
    used = between(first, meter.read(windowers.progress.read()))
    return {
        "summaries_per_s": used["events_per_s"],
        "us": used["worker_us"],
        "summary_bytes": len(bodies(windowers.shape)[0]),
    }


def show(found: Mapping[str, object]) -> None:
    """A few lines."""
    shape: Mapping[str, int] = found["shape"]  # type: ignore[assignment]
    words = (
        f"{shape['labels']} labels x {len(ARMS)} arms x {shape['sources']} sources x {1_000 // INTERVAL_MS} commits/s"
    )
    report.say(f"{words}: {found['cpu_percent']} % of a core, {found['behind']} of these summaries unread at the end")
    restart = f"{found['restart_s']} s ({found['restart_cpu_s']} s of CPU time)"
    report.say(f"restart to live, nothing on disk: {restart}; pane published after {found['pane_delay_ms']}")
    report.say(f"at most {found['summaries_per_s']} summaries/s, {found['us']} µs each; {found['summary_bytes']} bytes")
