"""One thing varied at a time: commit interval, length of the texts, number of labels; each beside a plain loop."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from . import report
from .bundles import build_standin
from .stack import Stack, running
from .throughput import Figures, Throughput, Work

LABELS = 16
COMMIT_INTERVALS_MS = (20, 50, 100, 250, 1_000)
# Mean length of the texts to the share of the events that takes about as long as all of the usual length.
CHARS = {60: 1.0, 180: 1.0, 1_000: 0.2, 8_000: 0.1}
LABEL_COUNTS = (8, 16, 50)

Turn = Mapping[str, Figures]
"""``plain`` and ``worker`` on the same work, one after the other."""
Round = Mapping[str, Turn]
"""What was varied, in words, to the figures of its turn."""


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        events: of the usual length, each turn.
        rounds: turns of each.
    """

    events: int = 100_000
    rounds: int = 2


def commit_intervals(plan: Plan) -> dict[str, object]:
    """The worker, exactly once, by commit interval; one plain loop a round."""
    # At the longest interval, fewer events would be fewer than a handful of commits.
    work = Work(build_standin(LABELS), 2 * plan.events)

    def rounds(stack: Stack) -> Iterator[Round]:
        throughput = Throughput(work, stack)
        for _ in range(plan.rounds):
            plain = throughput.plain()
            yield {
                f"{interval} ms": {"plain": plain, "worker": throughput.worker(commit_interval_ms=interval)}
                for interval in COMMIT_INTERVALS_MS
            }

    with running() as stack:
        return _document(list(rounds(stack)), stack)


def text_lengths(plan: Plan) -> dict[str, object]:
    """Plain loop and worker by length of the texts."""
    bundle = build_standin(LABELS)
    works = {f"{chars} characters": Work(bundle, int(plan.events * share), chars) for chars, share in CHARS.items()}
    return _in_turns(plan, works)


def label_counts(plan: Plan) -> dict[str, object]:
    """Plain loop and worker by number of labels."""
    return _in_turns(plan, {f"{n} labels": Work(build_standin(n), plan.events) for n in LABEL_COUNTS})


def show(title: str, found: Mapping[str, object]) -> None:
    """The table of one of the above."""
    spreads: Mapping[str, report.Spreads] = found["spread"]  # type: ignore[assignment]
    rows = []
    for name, turn in spreads.items():
        plain, worker = turn["plain"]["plain_us"], turn["worker"]["us"]
        row = [name, f"{plain['median']:.1f}", f"{worker['median']:.1f}", f"{worker['min']:.1f} – {worker['max']:.1f}"]
        row += [f"{worker['median'] / plain['median']:.2f}", f"{turn['worker']['events_per_s']['median']:,.0f}"]
        rows.append([*row, f"{turn['worker']['broker_us']['median']:.1f}"])
    columns = ("", "plain, µs/event", "worker, µs/event", "least – largest", "worker / plain", "events/s", "broker µs")
    report.table(title, columns, rows)


def _in_turns(plan: Plan, works: Mapping[str, Work]) -> dict[str, object]:
    with running() as stack:
        throughputs = {name: Throughput(work, stack) for name, work in works.items()}
        rounds = [
            {name: {"plain": one.plain(), "worker": one.worker()} for name, one in throughputs.items()}
            for _ in range(plan.rounds)
        ]
        return {**_document(rounds, stack), "facts": {name: one.facts() for name, one in throughputs.items()}}


def _document(rounds: Sequence[Round], stack: Stack) -> dict[str, object]:
    spreads = {name: report.spreads([one[name] for one in rounds]) for name in rounds[0]}
    over_plain = {
        name: round(turn["worker"]["us"]["median"] / turn["plain"]["plain_us"]["median"], 3)
        for name, turn in spreads.items()
    }
    return {"worker_over_plain": over_plain, "spread": spreads, **stack.services, "rounds": rounds}
