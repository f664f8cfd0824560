"""What a run of the demo came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from streamtag.devstack.demo.trial_words import how_far, moved
from streamtag.devstack.demo.trials import TrialState
from streamtag.devstack.demo.windows import WindowState

__all__ = ["OwnChange", "Summary"]


@dataclass(frozen=True)
class OwnChange:
    """The change that the demo made by itself, and the label's alert rates.

    Attributes:
        label: id.
        before, after: its cut-offs.
        rate_usual: under the first one, before the spike.
        rate_before, rate_after: in the spike, under either.
    """

    label: str
    before: float
    after: float
    rate_usual: float | None
    rate_before: float | None
    rate_after: float | None


@dataclass(frozen=True)
class Summary:
    """Figures of a run; latencies in milliseconds, from a record's timestamp to its tag event being read.

    Attributes:
        events: content events that the broker acknowledged.
        tagged: those with at least one tag.
        clean: those without.
        dead_lettered: those that could not be decoded.
        again: outcomes that were read more than once (at-least-once delivery).
        first_tag_s: from the start of the command to the first tag; None where there was none.
        live_ms: from commit to live on every worker, of the last threshold change that became live everywhere.
        seen_ms: from commit to the first tag event decided by it, of the same change.
        change: the change the demo made by itself, if it did.
        trials: the experiments, as they ended.
        windows: what the windows hold in the end; None where there never was one.
        seconds: from the first event to the end of them.
        p50_ms, p99_ms: end to end, of the whole run.
        kafka: ``mock`` or ``real``.
        redis: which Redis.
        delivery: guarantee of the run.
        workers: how many.
    """

    events: int
    tagged: int
    clean: int
    dead_lettered: int
    again: int
    first_tag_s: float | None
    live_ms: float | None
    seen_ms: float | None
    change: OwnChange | None
    trials: tuple[TrialState, ...]
    windows: WindowState | None
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    kafka: str
    redis: str
    delivery: str
    workers: int

    @property
    def missing(self) -> int:
        """Events without an outcome: none, after a run that was allowed to end."""
        return self.events - self.tagged - self.clean - self.dead_lettered

    @property
    def per_s(self) -> float:
        """Events with an outcome per second."""
        return (self.events - self.missing) / self.seconds if self.seconds else 0.0

    def document(self) -> Mapping[str, Any]:
        """The JSON form."""
        change = self.change
        return {
            "events": self.events,
            "tagged": self.tagged,
            "clean": self.clean,
            "dead_lettered": self.dead_lettered,
            "missing": self.missing,
            "read_again": self.again,
            "first_tag_s": _rounded(self.first_tag_s, 2),
            "threshold_change_live_ms": _rounded(self.live_ms, 1),
            "threshold_change_seen_ms": _rounded(self.seen_ms, 1),
            "threshold_change": change
            and {
                "label": change.label,
                "before": change.before,
                "after": change.after,
                "rate_usual": _rounded(change.rate_usual, 4),
                "rate_before": _rounded(change.rate_before, 4),
                "rate_after": _rounded(change.rate_after, 4),
            },
            "experiments": [_experiment(trial) for trial in self.trials],
            "windows": self.windows and {"events": self.windows.all_events, "exact": self.windows.exact},
            "seconds": _rounded(self.seconds, 2),
            "events_per_s": _rounded(self.per_s, 1),
            "latency_p50_ms": self.p50_ms,
            "latency_p99_ms": self.p99_ms,
            "kafka": self.kafka,
            "redis": self.redis,
            "delivery": self.delivery,
            "workers": self.workers,
        }

    def words(self) -> list[str]:
        """For people."""
        outcomes = f"{self.tagged:,} tagged, {self.clean:,} clean, {self.dead_lettered:,} dead letters"
        missing = f"{self.missing:,} MISSING" if self.missing else "none missing"
        again = f", {self.again:,} read again" if self.again else ""
        latency = f"end to end {_ms(self.p50_ms)} (median), {_ms(self.p99_ms)} (99 %)"
        found = [
            f"{self.events:,} events in {self.seconds:.0f} s: {outcomes}; {missing}{again}",
            f"{self.per_s:.0f} events/s on {self.workers} workers; {latency}",
        ]
        if self.first_tag_s is not None:
            found.append(f"first tag {self.first_tag_s:.1f} s after the command was started")
        if self.live_ms is not None:
            found.append(
                f"threshold change: live on every worker after {_ms(self.live_ms)}, "
                f"in tag events after {_ms(self.seen_ms)}"
            )
        if self.change is not None and self.change.rate_before is not None and self.change.rate_after is not None:
            found.append(
                f"{self.change.label}: alert rate {_percent(self.change.rate_usual)} at {self.change.before:g}, "
                f"{self.change.rate_before:.1%} in the spike, {self.change.rate_after:.1%} at {self.change.after:g}"
            )
        for trial in self.trials:
            found.append(f"experiment {trial.number}: {how_far(trial)}, {trial.units:,} events")
            found += [f"  {reason}" for reason in trial.reasons]
            if trial.units:
                found.append("  " + ", ".join(map(moved, trial.labels)))
        if self.windows is not None:
            exact = "exact" if self.windows.exact else "not exact"
            decided = self.tagged + self.clean
            found.append(f"windows hold {self.windows.all_events:,} of {decided:,} decided events, {exact}")
        return [*found, f"Kafka: {self.kafka}, Redis: {self.redis}, delivery: {self.delivery}"]


def _experiment(trial: TrialState) -> Mapping[str, Any]:
    return {
        "experiment": trial.number,
        "expected": trial.challenger.kind,
        "what": trial.challenger.what,
        "state": trial.state,
        "reasons": trial.reasons,
        "events": trial.units,
        "after_s": _rounded(trial.after_s, 1),
        "labels": {
            label.label: {
                "control_rate": _rounded(label.control_rate, 4),
                "candidate_rate": _rounded(label.candidate_rate, 4),
                "so": label.so,
            }
            for label in trial.labels
        },
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def _ms(value: float | None) -> str:
    return "an unknown time" if value is None else f"{value:.0f} ms"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"
