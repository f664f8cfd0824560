"""The long run: capacity, then an even load below it, and a fault in every period."""

import contextlib
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from faults.campaign import ALL_KINDS, Course, Say, await_commits, deal, strike, wind_up
from faults.fault import Fault
from faults.reading import now_ms
from faults.stage import Stage
from services import wait_until

from streamtag.devstack.server import Server

from .latency import Latencies, LatencyReader
from .retention import Retention
from .sampling import Life, Sampler
from .writer import SteadyUpstream

SETTINGS = {"kafka.producer": "{}"}
"""Over the campaign's: its producer queue is small on purpose."""

_OUTSTANDING = 20_000  # at full speed: about a second of work
_SETTLING = 0.25  # share of that time which does not count
_PROBES = 6  # even loads tried: the capacity is known to a 64th of full speed
_GAP = 0.1  # of the time of each: so long the broker stands still at its beginning
_BEHIND_S = 1.0
_CATCH_UP_S = 180.0
"""At 70 % of its capacity a machine of two cores is busy to 93 %: what a broker's restart holds back takes minutes."""


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        seed: of input, changes and faults.
        minutes: under load.
        every_s: one fault in each such period.
        share: of the capacity.
        calibrate_s: how long full speed lasts; each even load that is tried lasts half of it, a gap in it included.
        rate: records per second, instead of measuring.
        kinds: fault classes to draw from.
    """

    seed: int
    minutes: float
    every_s: float
    share: float
    calibrate_s: float
    rate: float | None = None
    kinds: Sequence[type[Fault]] = ALL_KINDS


@dataclass(frozen=True)
class Strike:
    """One fault, Unix seconds. ``caught_up_s``: from then on no more than a second of work was outstanding."""

    name: str
    hurts: str
    seat: int
    from_s: float
    healed_s: float
    caught_up_s: float


@dataclass
class Result:
    """What happened; Unix seconds. ``full_speed`` and ``capacity``: records per second, None where not measured."""

    full_speed: float | None
    capacity: float | None
    rate: float
    course: Course
    from_s: float = 0.0
    to_s: float = 0.0
    strikes: list[Strike] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    latencies: Latencies = field(default_factory=lambda: Latencies(0))
    peak_disk_mib: float = 0.0


def schedule(stage: Stage, plan: Plan) -> Iterator[tuple[float, Fault]]:
    """Seconds from the start, and the fault: a function of the seed alone.

    The first seat is spared by all faults that end a worker: its worker lives as long as the run.
    """
    choose = random.Random(plan.seed)
    dealt = deal([kind for kind in plan.kinds if kind.possible(stage)], choose)
    for period in range(int(plan.minutes * 60 / plan.every_s)):
        fault = next(dealt)(stage, choose)
        other = choose.choice(stage.working[1:])
        if fault.ends_worker and fault.seat is stage.working[0]:
            fault.seat = other
        yield (period + choose.uniform(0.2, 0.5)) * plan.every_s, fault


def run(stage: Stage, plan: Plan, say: Say) -> Result:
    """The whole run; violations are in ``stage.findings``."""
    upstream = stage.upstream
    assert isinstance(upstream, SteadyUpstream)
    retention = Retention(stage)
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(TemporaryDirectory(prefix="streamtag-soak-")))
        topics = stage.topics
        reader = stack.enter_context(
            LatencyReader(topics.bootstrap, topics.tags, topics.partitions, directory / "latencies.npz")
        )
        others = {
            "checker": os.getpid,
            "writer": lambda: upstream.pid,
            "latency reader": lambda: reader.pid,
            "proxy": lambda: stage.services.proxies.pid,
            "kafka": lambda: _pid(stage.services.cluster.brokers[0]),
            "redis": lambda: _pid(stage.services.redis),
        }
        with Sampler(stage.seats, others, retention.step, stage.findings) as sampler:
            upstream.until(_OUTSTANDING)
            await_commits(stage, now_ms(), "all partitions commit for the first time")
            full_speed, capacity, rate = None, None, plan.rate
            if rate is None:
                full_speed = _full_speed(stage, upstream, plan.calibrate_s)
                say(f"at full speed {full_speed:,.0f} records/s")
                capacity = _capacity(stage, upstream, full_speed, plan.calibrate_s / 2, say)
                rate = plan.share * capacity
            result = Result(full_speed, capacity, rate, Course(), lives=sampler.lives)
            _work_off(stage, upstream)
            say(f"load {rate:,.0f} records/s")
            _hurt(stage, upstream, reader, plan, result, say)
            result.to_s = time.time()
        wind_up(stage, result.course, say)
        result.latencies = reader.finish()
    result.peak_disk_mib = retention.peak_disk_mib
    return result


def _full_speed(stage: Stage, upstream: SteadyUpstream, seconds: float) -> float:
    """Records per second that come out verified while there is always enough to do."""
    begun = time.monotonic()
    settled: tuple[float, int] | None = None
    while (now := time.monotonic()) < begun + seconds:
        verified = sum(stage.checker.verified_to())
        upstream.until(verified + _OUTSTANDING)
        if settled is None and now > begun + seconds * _SETTLING:
            settled = now, verified
        time.sleep(0.02)  # the pace of the loop: some hundreds of records
    assert settled is not None, "some time remains"
    return (sum(stage.checker.verified_to()) - settled[1]) / (time.monotonic() - settled[0])


def _capacity(stage: Stage, upstream: SteadyUpstream, full_speed: float, seconds: float, say: Say) -> float:
    """The most records per second that come evenly, and are level again soon after a gap, by bisection.

    Less than at full speed: there everything comes in batches as large as they may be, which cost less a record. Load
    that comes evenly makes more and smaller ones, of writer, broker and worker. And less than what stays level as long
    as nothing happens: what an outage holds back is not spread evenly over partitions, and those that are level take
    their share of the processors in small batches while the others catch up.
    """
    broker = stage.services.cluster.brokers[0]
    level, too_much = 0.0, full_speed
    for _ in range(_PROBES):
        _work_off(stage, upstream)
        rate = (level + too_much) / 2
        upstream.pace(rate)
        broker.pause()
        time.sleep(seconds * _GAP)
        broker.resume()
        time.sleep(seconds * (1 - _GAP))  # the load itself
        outstanding = _outstanding(stage, upstream)
        say(f"an even load of {rate:,.0f} records/s leaves {outstanding / rate:.2f} s of work after a gap")
        level, too_much = (rate, too_much) if outstanding <= _BEHIND_S * rate else (level, rate)
    return level


def _work_off(stage: Stage, upstream: SteadyUpstream) -> None:
    """Until everything that is due has been verified, and nothing new is."""
    upstream.until(upstream.due())
    wait_until(lambda: _outstanding(stage, upstream) == 0, 120, "everything written is verified")


def _outstanding(stage: Stage, upstream: SteadyUpstream) -> int:
    """Records that are due and not verified."""
    return upstream.due() - sum(stage.checker.verified_to())


def _level(stage: Stage, upstream: SteadyUpstream) -> bool:
    return _outstanding(stage, upstream) <= _BEHIND_S * upstream.rate


def _hurt(stage: Stage, upstream: SteadyUpstream, reader: LatencyReader, plan: Plan, result: Result, say: Say) -> None:
    begun = time.monotonic()
    result.from_s = time.time()
    upstream.pace(result.rate)
    for at_s, fault in schedule(stage, plan):
        time.sleep(max(0.0, begun + at_s - time.monotonic()))  # the moment of a fault is random: nothing waits for it
        reader.check()
        from_s = time.time()
        strike(stage, [fault], result.course, say)
        healed_s = time.time()
        try:
            wait_until(lambda: _level(stage, upstream), _CATCH_UP_S, f"level after {fault.name}", every_s=0.1)
        except AssertionError as late:
            stage.findings.add("behind", str(late))
        result.strikes.append(Strike(fault.name, fault.hurts, fault.seat.index, from_s, healed_s, time.time()))
    time.sleep(max(0.0, begun + plan.minutes * 60 - time.monotonic()))


def _pid(server: Server) -> int | None:
    try:
        return server.pid
    except RuntimeError:  # being restarted
        return None
