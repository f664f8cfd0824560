"""The main run: floors, plain loop, worker and the same tagger on other frameworks, taking turns on one Kafka."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import quix_env, report
from .floors import KAFKA, WITHOUT_KAFKA
from .plain import STEPS
from .stack import running
from .throughput import Figures, Throughput, Work

PEERS = {
    "plain": "plain loop, no Kafka",
    "exactly_once": "streamtag tagger, exactly_once",
    "at_least_once": "streamtag tagger, at_least_once",
    "faust": "Faust, event by event, at least once",
    "quix": "Quix Streams, event by event, exactly once",
    "kstreams": "Kafka Streams on the JVM, exactly once",
}
FLOORS = {
    "decode": "msgspec decode",
    "text": "normalise and encode texts",
    "hash": "hash n-grams, look up, sort (numpy)",
    "weigh": "count and weigh n-grams (numpy)",
    "rectangles": "put n-grams into rectangles (numpy)",
    "graph": "onnxruntime, ready inputs",
    "decide": "round scores, compare with cut-offs (numpy)",
    "objects": "make the structs of tag events",
    "encode": "msgspec encode",
    "consume": "librdkafka consume",
    "produce": "librdkafka produce, in transactions",
}
# What of the plain loop does it.
_STEP_OF = {
    "decode": "decode",
    "text": "featurise",
    "hash": "featurise",
    "weigh": "featurise",
    "rectangles": "featurise",
    "graph": "infer",
    "decide": "decide",
    "objects": "encode",
    "encode": "encode",
}

Round = Mapping[str, Figures]


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        work: for all; Faust and Quix Streams get the first so many of its events, since they take longer.
        rounds: how often each peer has its turn.
        peers: which of `PEERS`, the plain loop among them.
    """

    work: Work
    rounds: int
    peers: Sequence[str] = tuple(PEERS)

    @property
    def faust_events(self) -> int:
        """It commits once a second: fewer than some seconds of work would be no window."""
        return max(5_000, self.work.events // 10)

    @property
    def quix_events(self) -> int:
        """As many as take it some seconds."""
        return max(10_000, self.work.events // 5)


def rounds(plan: Plan, throughput: Throughput) -> Iterator[Round]:
    """The figures of each round."""
    turns: dict[str, Callable[[], Figures]] = {
        "plain": throughput.plain,
        "exactly_once": throughput.worker,
        "at_least_once": lambda: throughput.worker("at_least_once"),
        "faust": lambda: throughput.faust(plan.faust_events),
        "quix": lambda: throughput.quix(plan.quix_events),
        "kstreams": throughput.kstreams,
    }
    for _ in range(plan.rounds):
        found = {"plain": turns["plain"](), "floors": throughput.floors()}
        yield {**found, **{peer: turns[peer]() for peer in plan.peers if peer != "plain"}}


def run(plan: Plan) -> dict[str, object]:
    """The whole comparison: the section of the report.

    Raises:
        RefusedError: a peer's output differs from the others'.
    """
    with running() as stack:
        throughput = Throughput(plan.work, stack)
        done: list[Round] = []
        for one in rounds(plan, throughput):
            done.append(one)
            said = ", ".join(f"{peer} {one[peer][main_figure(peer)]:.1f} µs" for peer in plan.peers)
            report.say(f"round {len(done)} of {plan.rounds}: {said}")
        return {
            "faust_events": plan.faust_events,
            "quix_events": plan.quix_events,
            "quix_versions": quix_env.versions() if "quix" in plan.peers else None,
            **stack.services,
            **throughput.facts(),
            "spread": report.spreads(done),
            "rounds": done,
        }


def main_figure(peer: str) -> str:
    """Which of a peer's figures is its CPU time per event."""
    return "plain_us" if peer == "plain" else "us"


def headline(spreads: report.Spreads) -> dict[str, float]:
    """The medians that matter, and what they are to each other."""
    medians = {peer: figures[main_figure(peer)]["median"] for peer, figures in spreads.items() if peer != "floors"}
    floors = {name: found["median"] for name, found in spreads["floors"].items()}
    without_kafka = sum(floors[name] for name in WITHOUT_KAFKA)
    with_kafka = without_kafka + sum(floors[name] for name in KAFKA)
    worker, plain = medians.pop("exactly_once"), medians["plain"]
    others = {name: us for name, us in medians.items() if name not in ("plain", "at_least_once")}
    at_least_once = medians.get("at_least_once")
    return {
        "plain_us": plain,
        "worker_us": worker,
        **({"worker_at_least_once_us": at_least_once} if at_least_once else {}),
        **{f"{name}_us": us for name, us in others.items()},
        "floors_us": round(without_kafka, 3),
        "floors_with_kafka_us": round(with_kafka, 3),
        "worker_over_plain": round(worker / plain, 3),
        **({"worker_at_least_once_over_plain": round(at_least_once / plain, 3)} if at_least_once else {}),
        "plain_over_floors": round(plain / without_kafka, 3),
        "plain_over_floors_with_kafka": round(plain / with_kafka, 3),
        "worker_over_floors": round(worker / with_kafka, 3),
        **{f"{name}_over_worker": round(us / worker, 2) for name, us in others.items()},
    }


def show(spreads: report.Spreads) -> None:
    """The tables: peers, and floors beside the steps of the plain loop."""
    plain = spreads["plain"]["plain_us"]["median"]
    rows = []
    for peer in (name for name in PEERS if name in spreads):
        figures = spreads[peer]
        main = figures[main_figure(peer)]
        row = [PEERS[peer], _with_spread(main), f"{main['median'] / plain:.2f}"]
        if peer != "plain":
            row += [f"{figures['events_per_s']['median']:,.0f}", f"{figures['broker_us']['median']:.1f}"]
            row += [f"{figures['rss_mib']['median']:.0f}", f"{figures['others_cores']['max']:.2f}"]
        rows.append(row)
    columns = ("", "µs/event", "× plain", "events/s", "broker µs", "RSS MiB", "others, cores")
    report.table("CPU time per event: median of the rounds (least – largest)", columns, rows)
    steps = {step: spreads["plain"][f"{step}_us"] for step in STEPS}
    rows = []
    for floor, words in FLOORS.items():
        us, step = spreads["floors"][floor], _STEP_OF.get(floor)
        over = [step, f"{steps[step]['median']:.2f}"] if step else []
        rows.append([words, _with_spread(us, digits=2), *over])
    report.table(
        "Floors, each alone, and the step of the plain loop that does it", ("", "µs/event", "step", "µs"), rows
    )


def _with_spread(found: Mapping[str, float], *, digits: int = 1) -> str:
    return f"{found['median']:.{digits}f} ({found['min']:.{digits}f} – {found['max']:.{digits}f})"
