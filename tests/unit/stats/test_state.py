"""What follows from the log of panes is the same through every restart, repeat and gap."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import fakeredis
import msgspec
import numpy as np
import pytest
from control_plane import RecordedMetrics, new_changes, new_store
from hypothesis import given, settings
from hypothesis import strategies as st

from streamtag.control.breakers import BreakerLog
from streamtag.control.experiment_log import Experiment, ExperimentLog
from streamtag.control.experiment_request import NewCandidate, Request
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.proposal import Who
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy
from streamtag.domain.looks import Looks
from streamtag.domain.release import BundleRef
from streamtag.domain.rollout import RampStep, RolloutPolicy
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.verdict import State
from streamtag.errors import ConflictError, RefusedError, UnavailableError
from streamtag.events import panes as wire
from streamtag.events.panes import Cell, Pane, PlacedRows
from streamtag.events.summary import LabelCounts
from streamtag.events.unit_rows import UnitColumns, pack
from streamtag.settings import Settings, load_settings
from streamtag.stats import state as room
from streamtag.stats import windows as windows_wire
from streamtag.stats.lease import Lease
from streamtag.stats.look_store import KEEP_S as KEEP_LOOKS_S
from streamtag.stats.look_store import LookStore
from streamtag.stats.pane_log import PaneLog, UnreadablePaneError, read_pane
from streamtag.stats.read_model import KEEP_S, Checkpoint, ReadModel
from streamtag.stats.recompute import recompute
from streamtag.stats.state import StatsState
from streamtag.stats.windows import SIZES

NOW = 1_795_000_000_000
WHO = Who("anna", "why")
LABELS = ("spam", "insult")
SETTINGS = load_settings(environ={}).settings


@dataclass
class Log:
    """The panes topic in memory; ``low`` is the first position that has not expired.

    Those from ``young`` on were written since the experiment began.
    """

    values: list[bytes | None] = field(default_factory=list)
    low: int = 0
    young: int = 0
    expiring: int = 0  # so many positions are gone once they are read
    starts: list[int] = field(default_factory=list)  # of what was read
    away: list[int] = field(default_factory=list)  # what is asked for at these turns gets no answer, or half of one
    turn: int = 0

    def bounds(self) -> tuple[int, int]:
        self._answer()
        return self.low, len(self.values)

    def position_at(self, at_ms: int) -> int:
        return max(self.low, self.young)

    def read(self, start: int, end: int) -> Iterator[tuple[int, Pane | UnreadablePaneError]]:
        self.low, self.expiring = self.low + self.expiring, 0
        if start < min(self.low, end):
            raise RefusedError(f"positions {start} to {self.low} are missing")
        self.starts.append(start)
        for position in range(start, end):
            self._answer()
            try:
                yield position, read_pane(self.values[position])
            except UnreadablePaneError as error:
                yield position, error

    def _answer(self) -> None:
        self.turn += 1
        if self.turn in self.away:
            raise UnavailableError("Kafka is away")


def cell(alerts: list[bool], rows: list[PlacedRows] | None = None, **changes: Any) -> Cell:
    n, tagged = len(alerts), sum(alerts)
    scores = [[0, 1023][a] for a in sorted(alerts)]
    bins = sorted(set(scores))
    labels = {label: LabelCounts(tagged, 1_000_000 * tagged, bins, [scores.count(b) for b in bins]) for label in LABELS}
    facts = {"release": 1, "revision": 1, "arm": "control", "segments": {}, **changes}
    sha = "0" * 64
    found = Cell(
        release_sha256=sha, bundle="tiny@1", bundle_sha256=sha, revision_sha256=sha, events=n, by_arrival=0,
        labels=labels, **facts,
    )  # fmt: skip
    if rows:
        found.experiments = rows
    return found


def pane(n: int, start_s: int, cells: list[Cell], **changes: Any) -> Pane:
    facts: dict[str, Any] = {"shard": 0, "addendum": False, "exact": True, **changes}
    start_ms = NOW // 60_000 * 60_000 + start_s * 1000
    return Pane(
        wire.VERSION, start_ms=start_ms, pane_ms=10_000, n=n, positions={"content/0": (0, n)}, cells=cells, **facts
    )


def rows(
    experiment: Experiment, offset: int, units: list[int], control: list[bool], candidate: list[bool]
) -> PlacedRows:
    columns = UnitColumns(
        np.array(units, np.uint64),
        np.repeat(np.array(control)[:, None], len(LABELS), axis=1),
        np.repeat(np.array(candidate)[:, None], len(LABELS), axis=1),
    )
    return PlacedRows(str(experiment.id), 0, "shadow", list(LABELS), pack(columns), offset=offset)


class Rig:
    """A control plane with an experiment, a log, and the state that follows it."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()
        self.store = new_store(self.server)
        new_changes(self.store).seed(BundleRef("tiny", "1", "b" * 64), LABELS, ThresholdSet(dict.fromkeys(LABELS, 0.5)))
        self.changes = ExperimentChanges(
            ExperimentLog(self.store), now=lambda: datetime.fromtimestamp(NOW / 1000, UTC) - timedelta(minutes=1)
        )
        self.log = Log()
        self.metrics = RecordedMetrics()
        self.now_ms = NOW
        self.state = self.fresh()

    def start(self, **plan: Any) -> Experiment:
        candidate = NewCandidate(thresholds=ThresholdSet({"spam": 0.4, "insult": 0.5}))
        request = Request(ExperimentPlan("shadow", {"insult": LabelPolicy(muted=True)}, **plan), 1.0)
        return self.changes.start(request, candidate, WHO)

    def fresh(self, of: Settings = SETTINGS) -> StatsState:
        return StatsState(
            of, self.store, cast(PaneLog, self.log), self.metrics, now_ms=lambda: self.now_ms, wait=lambda _: None
        )

    def save(self) -> None:
        """Lets so much time pass that what was counted is saved."""
        self.state.look()
        self.now_ms += 3_600_000
        self.state.look()

    def looks(self, experiment: Experiment) -> Looks:
        """Those that are kept for people, after one more second."""
        self.state.look()
        return LookStore(self.store).read(experiment.id)

    def write(self, *found: Pane) -> None:
        self.log.values += [wire.encode(one) for one in found]

    def documents(self) -> dict[str, bytes]:
        """The windows as stored, without the checkpoint."""
        prefix = self.state.model.prefix
        client: Any = self.store.client
        found = {k.decode(): bytes(client.get(k)) for k in client.scan_iter(prefix + "*")}
        return {k: v for k, v in found.items() if not k.endswith("checkpoint")}


def follow(rig: Rig, *, flush_every: int = 1) -> None:
    """All of the log, as Faust would bring it."""
    rig.state.restore()
    for position, value in enumerate(rig.log.values):
        rig.state.feed(position, value)
        if position % flush_every == 0:
            rig.state.flush()
    rig.state.flush()


LOG = st.lists(
    st.tuples(st.integers(0, 12), st.lists(st.booleans(), min_size=1, max_size=4), st.integers(0, 5)),
    min_size=1,
    max_size=25,
)


def panes_of(experiment: Experiment | None, moves: list[tuple[int, list[bool], int]]) -> list[Pane]:
    """Revisions of some panes, each with all that came before in it; some records come twice."""
    found: list[Pane] = []
    alerts: dict[int, list[bool]] = {}
    held: dict[int, list[PlacedRows]] = {}
    for offset, (place, new, kind) in enumerate(moves):
        alerts.setdefault(place, []).extend(new)
        if experiment is not None:
            units = [offset % 5 * 10 + i for i in range(len(new))]  # some units come again
            held.setdefault(place, []).append(rows(experiment, offset, units, new, [not a for a in new]))
        found.append(pane(offset + 1, place * 10, [cell(list(alerts[place]), list(held.get(place, [])))]))
        if kind == 0:
            found.append(found[offset // 2 if offset // 2 < len(found) else -1])
    return found


@settings(max_examples=30, deadline=None)
@given(LOG, st.data())
def test_a_restart_anywhere_leads_to_the_same_windows_and_evidence(
    moves: list[tuple[int, list[bool], int]], data: st.DataObject
) -> None:
    smooth, rough = Rig(), Rig()
    rough.server, rough.store, rough.changes = smooth.server, smooth.store, smooth.changes
    experiment = smooth.start(alpha=1e-9)
    smooth.write(*panes_of(experiment, moves))
    follow(smooth)
    expected, evidence, looks = smooth.documents(), smooth.state.evidence(), smooth.looks(experiment)
    smooth.state.model.forget()
    LookStore(smooth.store).write({experiment.id: Looks()})

    rough.log = smooth.log
    rough.state = rough.fresh()
    rough.state.restore()
    for position, value in enumerate(rough.log.values):
        what = data.draw(st.sampled_from(["feed", "feed", "feed", "skip", "again", "restart", "flush", "save"]))
        if what == "restart":
            rough.state = rough.fresh()
            rough.state.restore()
        if what != "skip":
            rough.state.feed(position, value)
        if what == "again":
            rough.state.feed(position // 2, rough.log.values[position // 2])
        if what == "flush":
            rough.state.flush()
        if what == "save":
            rough.save()
    rough.state.catch_up(len(rough.log.values))
    rough.state.flush()
    assert rough.documents() == expected
    assert rough.state.evidence() == evidence
    assert rough.looks(experiment) == looks


def test_a_window_is_the_sum_of_the_latest_revisions_and_of_addenda() -> None:
    rig = Rig()
    rig.write(
        pane(1, 0, [cell([True])]),
        pane(3, 0, [cell([True, False, False])]),
        pane(2, 0, [cell([True, True])]),  # of a windower that was restarted
        pane(4, 10, [cell([True], release=2), cell([True], arm="candidate", shadow=True, release=2)]),
        pane(5, 0, [cell([True])], addendum=True),
    )
    follow(rig)
    document = rig.state.model.load("1m", NOW // 60_000 * 60_000)
    assert document is not None
    assert [(c.release, c.arm, c.shadow is True, c.events, c.labels["spam"].alerts) for c in document.cells] == [
        (1, "control", False, 4, 2),
        (2, "candidate", True, 1, 1),
        (2, "control", False, 1, 1),
    ]
    assert document.exact
    assert document.positions == {"content/0": (0, 5)}
    assert document.position == 5


@pytest.mark.parametrize("max_age_s", [60, 604_800, 30 * 86_400, 1_000_000_000])
def test_no_window_expires_while_late_records_may_still_be_placed_in_it(max_age_s: int) -> None:
    rig = Rig()
    late = load_settings(environ={}, overrides={"stats.max_age_s": str(max_age_s)}).settings
    rig.state = StatsState(late, rig.store, cast(PaneLog, rig.log), rig.metrics, now_ms=lambda: NOW)
    rig.write(pane(1, 0, [cell([True])]))
    follow(rig)
    client: Any = rig.store.client
    for size, least_s in KEEP_S.items():
        left_s = client.ttl(f"{rig.state.model.prefix}{size}:{NOW // SIZES[size] * SIZES[size]}")
        assert left_s > max(max_age_s, least_s - 3_600)


def test_an_inexact_pane_makes_its_windows_inexact() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])], exact=False))
    follow(rig)
    document = rig.state.model.load("1h", NOW // 3_600_000 * 3_600_000)
    assert document is not None
    assert not document.exact


def enough(experiment: Experiment, *, worse: bool, n: int = 2_000, exact: bool = True) -> Pane:
    control = [i % 4 == 0 for i in range(n)]
    candidate = [i % 2 == 0 for i in range(n)] if worse else control
    return pane(1, 0, [cell(control, [rows(experiment, 0, list(range(n)), control, candidate)])], exact=exact)


@pytest.mark.parametrize(("worse", "state"), [(True, State.FAIL), (False, State.PASS)])
def test_a_verdict_is_stored_once_and_ends_the_experiment(worse: bool, state: State) -> None:
    rig = Rig()
    experiment = rig.start()
    rig.write(enough(experiment, worse=worse))
    follow(rig)
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.units) == (state, 2_000)
    ended = ExperimentLog(rig.store).find(experiment.id.number)
    stored = ExperimentLog(rig.store).verdict(ended)
    assert stored is not None
    assert stored.document == judged.verdict
    again = recompute(cast(PaneLog, rig.log), ended, stored.document.panes_from, stored.document.panes_to, keep=720)
    assert msgspec.json.encode(again.document()) == stored.raw
    assert rig.state.look() == []
    assert rig.metrics.counts[f"streamtag.experiment.verdicts/{state}"] == 1


def test_no_pass_and_no_fail_rests_on_panes_that_are_not_exact() -> None:
    rig = Rig()
    experiment = rig.start()
    rig.write(enough(experiment, worse=True, exact=False))
    follow(rig)
    [judged] = rig.state.look()
    assert judged.verdict.state is State.INCONCLUSIVE
    assert "counted twice or not at all" in judged.verdict.reasons[0]


@pytest.mark.parametrize(
    ("start_s", "with_rows", "state"),
    [
        (0, True, State.INCONCLUSIVE),
        (-20, False, State.INCONCLUSIVE),  # the pane in which it starts
        (-30, False, State.FAIL),  # before it
        (-30, True, State.INCONCLUSIVE),  # of a worker that read a backlog
    ],
)
def test_no_fail_rests_on_a_pane_that_is_found_inexact_without_new_rows(
    start_s: int, with_rows: bool, state: State
) -> None:
    rig = Rig()
    experiment = rig.start()
    found = [rows(experiment, 0, [9_999], [True], [True])] if with_rows else []
    rig.write(pane(1, start_s, [cell([True], found)]), pane(2, start_s, [cell([True], found)], exact=False))
    bad = enough(experiment, worse=True)
    rig.write(pane(3, 10, [cell([True], [msgspec.structs.replace(rows_of(bad), offset=2)])]))
    follow(rig)
    [judged] = rig.state.look()  # so it was computed again from the panes, and came to the same
    assert judged.verdict.state is state


def rows_of(one: Pane) -> PlacedRows:
    [counted] = one.cells
    assert isinstance(counted.experiments, list)
    return counted.experiments[0]


def test_rows_that_do_not_fit_make_it_invalid() -> None:
    rig = Rig()
    experiment = rig.start()
    other = rows(experiment, 0, [1], [True], [True])
    rig.write(pane(1, 0, [cell([True], [PlacedRows(other.id, 0, "split", other.labels, other.units, offset=0)])]))
    follow(rig)
    [judged] = rig.state.look()
    assert judged.verdict.state is State.INVALID


def test_a_phase_that_nobody_began_makes_it_invalid() -> None:
    rig = Rig()
    experiment = rig.start()
    other = rows(experiment, 0, [1], [True], [True])
    rig.write(pane(1, 0, [cell([True], [PlacedRows(other.id, 7, "shadow", other.labels, other.units, offset=0)])]))
    follow(rig)
    [judged] = rig.state.look()
    assert judged.verdict.state is State.INVALID
    assert "phase" in judged.verdict.reasons[0]


def test_a_verdict_that_the_panes_do_not_confirm_is_not_stored() -> None:
    rig = Rig()
    experiment = rig.start()
    rig.write(enough(experiment, worse=True))
    follow(rig)
    rig.log.values[0] = wire.encode(enough(experiment, worse=False))
    assert rig.state.look() == []
    assert rig.metrics.counts["streamtag.experiment.unconfirmed"] == 1
    assert ExperimentLog(rig.store).running()


def lasting(rig: Rig, *, worse: bool = True, n: int = 2_000, **plan: Any) -> Experiment:
    """An experiment of four panes; the last one decides."""
    experiment = rig.start(**plan)
    decisive = msgspec.structs.replace(rows_of(enough(experiment, worse=worse, n=n)), offset=3)
    for offset in range(3):
        rig.write(pane(offset + 1, 10 * offset, [cell([True], [rows(experiment, offset, [9_000], [True], [True])])]))
    rig.write(pane(4, 30, [cell([True], [decisive])]))
    return experiment


def assert_proven(rig: Rig, experiment: Experiment) -> None:
    """What is stored can be computed again."""
    ended = ExperimentLog(rig.store).find(experiment.id.number)
    stored = ExperimentLog(rig.store).verdict(ended)
    assert stored is not None
    found = stored.document
    log = cast(PaneLog, rig.log)
    again = recompute(log, ended, found.panes_from, found.panes_to, keep=720, expired=found.expired)
    assert msgspec.json.encode(again.document()) == stored.raw


@pytest.mark.parametrize("worse", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
def test_a_verdict_whose_first_panes_have_expired_is_inconclusive(worse: bool, restarted: bool) -> None:
    rig = Rig()
    experiment = lasting(rig, worse=worse)
    follow(rig)
    rig.log.low = 2
    if restarted:
        rig.state = rig.fresh()
        rig.state.restore()
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.expired) == (State.INCONCLUSIVE, True)
    assert (judged.verdict.panes_from, judged.verdict.panes_to) == (2, 4)
    told = judged.verdict.reasons[0]
    assert told.startswith("panes from its beginning have expired")
    assert told.endswith(f"it would have been {'FAIL' if worse else 'PASS'}")
    assert "streamtag.experiment.unconfirmed" not in rig.metrics.counts
    assert_proven(rig, experiment)


def test_what_expired_unread_while_the_app_was_down_makes_it_inconclusive() -> None:
    rig = Rig()
    experiment = half_done(rig)
    rig.write(*(pane(n + 1, 10 * n, [cell([True], [rows(experiment, n, [n], [True], [False])])]) for n in range(4, 8)))
    rig.log.low = 6
    rig.state = rig.fresh()
    rig.state.restore()
    rig.state.catch_up(8)
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.units) == (State.INCONCLUSIVE, 2)
    assert judged.verdict.reasons == (
        "panes from its beginning have expired, and neither PASS nor FAIL can rest on the others",
    )
    assert_proven(rig, experiment)


def test_of_what_was_saved_a_verdict_is_inconclusive_where_the_panes_before_it_are_gone() -> None:
    rig = Rig()
    experiment = half_done(rig)
    rig.log.low = 3
    rig.state = rig.fresh()
    rig.state.restore()
    assert rig.state.look() == []  # it goes on: what is in memory may yet end it
    rig.write(pane(9, 2 * 86_400 * 7, [cell([True])]))  # beyond the horizon
    rig.state.catch_up(5)
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.expired) == (State.INCONCLUSIVE, True)
    assert (judged.verdict.panes_from, judged.verdict.panes_to, judged.verdict.units) == (3, 5, 1)
    assert_proven(rig, experiment)


def test_a_verdict_of_which_all_panes_have_expired_is_inconclusive() -> None:
    rig = Rig()
    experiment = lasting(rig)
    follow(rig)
    rig.write(pane(5, 40, [cell([True])]), pane(6, 50, [cell([True])]))
    rig.log.low = 5
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.units) == (State.INCONCLUSIVE, 0)
    assert judged.verdict.panes_from == judged.verdict.panes_to == 4
    assert_proven(rig, experiment)


def test_panes_that_expire_while_a_verdict_is_computed_again_do_not_break_it() -> None:
    rig = Rig()
    experiment = lasting(rig)
    follow(rig)
    rig.log.expiring = 2
    assert rig.state.look() == []
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.panes_from) == (State.INCONCLUSIVE, 2)
    assert_proven(rig, experiment)


def test_a_broken_assignment_stays_one_where_the_first_panes_have_expired() -> None:
    rig = Rig()
    experiment = rig.start()
    rig.write(pane(1, 0, [cell([True], [rows(experiment, 0, [1], [True], [True])])]))
    other = rows(experiment, 1, [1], [True], [True])
    rig.write(pane(2, 10, [cell([True], [PlacedRows(other.id, 0, "split", other.labels, other.units, offset=1)])]))
    follow(rig)
    rig.log.low = 1
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.expired) == (State.INVALID, True)
    assert_proven(rig, experiment)


@pytest.mark.parametrize("silent", [True, False])
def test_an_experiment_that_begins_where_older_panes_have_expired_is_judged_as_any(silent: bool) -> None:
    rig = Rig()
    rig.write(*(pane(n + 1, 10 * n - 1_000, [cell([True])]) for n in range(3)))
    if silent:  # none is left of before
        rig.now_ms = NOW - 86_400_000
        follow(rig)
        rig.log.low = rig.log.young = 3
    else:
        rig.log.low, rig.log.young = 2, 3
    rig.now_ms = NOW
    experiment = rig.start()
    rig.write(pane(4, 30, [cell([True], [msgspec.structs.replace(rows_of(enough(experiment, worse=True)), offset=3)])]))
    rig.state = rig.fresh()
    rig.state.restore()
    rig.state.catch_up(4)
    [judged] = rig.state.look()
    assert (judged.verdict.state, judged.verdict.expired) == (State.FAIL, False)
    assert_proven(rig, experiment)


def half_done(rig: Rig) -> Experiment:
    """An experiment that has counted four units, and is saved."""
    experiment = rig.start(alpha=1e-9)
    for n in range(4):
        rig.write(pane(n + 1, 10 * n, [cell([True], [rows(experiment, n, [n], [True], [False])])]))
    follow(rig)
    rig.save()
    return experiment


def test_whoever_goes_on_reads_no_more_of_an_experiment_than_came_since() -> None:
    rig = Rig()
    experiment = half_done(rig)
    before = rig.state.evidence()
    rig.log.starts.clear()
    rig.log.low = 3  # nothing but what revisions may replace is needed
    rig.state = rig.fresh()
    rig.state.restore()
    assert rig.state.evidence() == before
    assert min(rig.log.starts) == 3
    rig.write(pane(5, 50, [cell([True], [rows(experiment, 4, [3, 7], [True, True], [False, False])])]))
    rig.state.catch_up(5)
    assert rig.state.evidence()[0]["units"] == 5  # the fourth unit has counted before


@pytest.mark.parametrize("change", [{"version": 1}, {"evidence": b'{"labels":["other"]}'}, {"position": 5}])
def test_what_was_saved_by_others_or_of_another_log_is_not_gone_on_with(change: dict[str, Any]) -> None:
    rig = Rig()
    experiment = half_done(rig)
    before, looks = rig.state.evidence(), rig.looks(experiment)
    saved = rig.state.model.saved_fold(experiment.id)
    assert saved is not None
    rig.state.model.save_fold(experiment.id, msgspec.structs.replace(saved, looks=Looks(), **change))
    rig.state = rig.fresh()
    rig.state.restore()
    assert rig.state.evidence() == before
    assert rig.looks(experiment) == looks


def test_what_was_saved_and_is_wrong_is_found_out_and_dropped() -> None:
    rig = Rig()
    experiment = half_done(rig)
    saved = rig.state.model.saved_fold(experiment.id)
    assert saved is not None
    forged = saved.evidence.replace(b'"units":[4,0]', b'"units":[5,0]')
    assert forged != saved.evidence
    rig.state.model.save_fold(experiment.id, msgspec.structs.replace(saved, evidence=forged))
    rig.state = rig.fresh()
    rig.state.restore()
    rig.write(pane(9, 2 * 86_400 * 7, [cell([True])]))  # beyond the horizon
    rig.state.catch_up(5)
    assert rig.state.look() == []
    assert rig.metrics.counts["streamtag.experiment.unconfirmed"] == 1
    assert rig.state.model.saved_fold(experiment.id) is None
    rig.state = rig.fresh()
    rig.state.restore()
    rig.state.catch_up(5)
    [judged] = rig.state.look()
    assert judged.verdict.state is State.INCONCLUSIVE
    assert rig.state.model.saved_fold(experiment.id) is None


def test_whoever_takes_over_again_trusts_nothing_it_knew_before() -> None:
    rig = Rig()
    experiment = half_done(rig)
    stood_by, other = rig.state, rig.fresh()
    other.restore()
    rig.write(*(pane(n + 1, 10 * n, [cell([True], [rows(experiment, n, [n], [True], [False])])]) for n in range(4, 8)))
    other.catch_up(8)
    other.flush()
    stood_by.restore()
    assert stood_by.latest == {}
    assert stood_by.evidence() == other.evidence()
    assert stood_by.evidence()[0]["units"] == 8
    rig.write(pane(9, 2 * 86_400 * 7, [cell([True])]))  # beyond the horizon
    stood_by.catch_up(9)
    [judged] = stood_by.look()
    assert (judged.verdict.state, judged.verdict.units) == (State.INCONCLUSIVE, 8)
    assert "streamtag.experiment.unconfirmed" not in rig.metrics.counts


def test_the_looks_go_on_behind_a_restart_though_the_panes_before_it_are_gone() -> None:
    rig = Rig()
    experiment = half_done(rig)
    before = rig.looks(experiment).items
    assert [one.units for one in before] == [1, 2, 3, 4]
    rig.log.low = 3
    rig.state = rig.fresh()
    rig.state.restore()
    rig.write(pane(5, 50, [cell([True], [rows(experiment, 4, [7], [True], [False])])]))
    rig.state.catch_up(5)
    *earlier, newest = rig.looks(experiment).items
    assert (tuple(earlier), newest.units) == (before, 5)
    assert newest.at_ms - before[0].at_ms == 50_000


def test_the_look_that_decided_is_kept_for_long_after_the_experiment() -> None:
    rig = Rig()
    experiment = rig.start()
    rig.write(enough(experiment, worse=True))
    follow(rig)
    [judged] = rig.state.look()
    found = rig.looks(experiment)
    assert found.items[-1].units == judged.verdict.units
    assert found.items[-1].labels["spam"].worse == judged.verdict.peaks.to_peaks().worse["spam"]
    client: Any = rig.store.client
    key = f"{rig.store.keys.prefix}evidence:{experiment.id}:looks"
    assert client.ttl(key) > KEEP_LOOKS_S - 60
    client.set(key, b"of another version")
    assert rig.looks(experiment) == Looks()


def test_silence_comes_to_its_horizon_as_inconclusive() -> None:
    rig = Rig()
    rig.start(max_hours=1.0)
    rig.write(pane(1, 0, [cell([True])]), pane(2, 3_600, [cell([True])]))
    follow(rig)
    [judged] = rig.state.look()
    assert judged.verdict.state is State.INCONCLUSIVE
    assert judged.verdict.units == 0


def test_whoever_was_overtaken_writes_nothing() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])]), pane(2, 10, [cell([True])]))
    slow, quick = rig.fresh(), rig.fresh()
    slow.restore()
    quick.restore()
    slow.feed(0, rig.log.values[0])
    quick.feed(1, rig.log.values[1])
    quick.flush()
    rig.state = quick
    before = rig.documents()
    with pytest.raises(ConflictError):
        slow.flush()
    assert rig.documents() == before


def test_redis_that_has_lost_the_windows_gets_them_all_again() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])]), pane(2, 10, [cell([True])]))
    follow(rig)
    before = rig.documents()
    rig.state.model.forget()
    rig.write(pane(3, 10, [cell([True, True])]))
    rig.state.feed(2, rig.log.values[2])
    with pytest.raises(ConflictError):
        rig.state.flush()
    rig.state = rig.fresh()
    follow(rig)
    assert rig.documents().keys() == before.keys()
    document = rig.state.model.load("1m", NOW // 60_000 * 60_000)
    assert document is not None
    assert document.cells[0].events == 3


def test_an_app_that_is_killed_while_it_reads_everything_again_does_not_begin_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "_WRITE_EVERY", 10)
    rig = Rig()
    rig.write(*(pane(n, 10 * (n % 3), [cell([True] * n)]) for n in range(1, 36)))
    follow(rig)
    expected = rig.documents()
    rig.state.model.forget()
    rig.state = rig.fresh()
    rig.state.restore()
    monkeypatch.setattr(rig.state, "_take", _killed_at(27, rig.state._take))
    with pytest.raises(KeyboardInterrupt):
        rig.state.catch_up(35)
    rig.state = rig.fresh()
    rig.state.restore()
    assert rig.state.position == 20
    rig.state.catch_up(35)
    rig.state.flush()
    assert rig.documents() == expected


def _killed_at(position: int, take: Callable[[int, Any], None]) -> Callable[[int, Any], None]:
    def taken(at: int, found: Any) -> None:
        if at == position:
            raise KeyboardInterrupt
        take(at, found)

    return taken


@pytest.mark.parametrize("restarted", [True, False])
def test_a_log_that_was_made_anew_goes_on_counting_in_the_windows_of_today(restarted: bool) -> None:
    rig = Rig()
    rig.write(*(pane(n, 0, [cell([True] * n)]) for n in range(1, 6)))
    follow(rig)
    rig.state.keep_up()
    rig.log.values.clear()
    rig.write(pane(6, 10, [cell([True])]), pane(7, 10, [cell([True, False])]))
    if restarted:
        rig.state = rig.fresh()
        rig.state.restore()
    else:
        rig.state.keep_up()
    assert rig.state.position == 0
    rig.state.catch_up(2)
    rig.state.flush()
    document = rig.state.model.load("1m", NOW // 60_000 * 60_000)
    assert document is not None
    assert [(one.events, one.labels["spam"].alerts) for one in document.cells] == [(7, 6)]
    assert (document.position, document.exact) == (2, False)
    rig.state = rig.fresh()
    follow(rig)  # of this log now: nothing counts twice
    assert rig.state.model.load("1m", NOW // 60_000 * 60_000) == document


def test_no_share_grows_on_evidence_that_has_not_been_read_or_has_ended() -> None:
    rig = Rig()
    rollout = RolloutPolicy((RampStep(0.5, after_s=40),))
    candidate = NewCandidate(thresholds=ThresholdSet({"spam": 0.4, "insult": 0.5}))
    request = Request(ExperimentPlan("shadow", {"insult": LabelPolicy(muted=True)}), 0.1, rollout=rollout)
    started = rig.changes.start(request, candidate, WHO)

    def share() -> float:
        rig.state.look()
        return ExperimentLog(rig.store).find(started.id.number).share

    rig.state.restore()
    assert share() == 0.1, "nothing is known"
    rig.write(pane(1, 0, [cell([True])]))
    rig.state = rig.fresh()
    rig.state.restore()
    assert share() == 0.1, "a pane waits"
    rig.state.catch_up(1)
    rig.now_ms += 600_000
    assert share() == 0.1, "nothing has come for ten minutes"
    rig.write(pane(2, 40, [cell([True, True])]))
    rig.state.catch_up(2)
    assert share() == 0.5


def test_what_is_not_fed_is_read_once_it_has_been_there_for_a_turn() -> None:
    rig = Rig()
    rig.state.restore()
    rig.write(pane(1, 0, [cell([True])]))
    rig.state.keep_up()
    assert rig.state.position == 0, "it may be on its way"
    rig.state.keep_up()
    assert rig.state.position == 1
    assert rig.metrics.counts["streamtag.panes.reread"] == 1


def test_records_that_are_no_panes_are_passed_by_and_counted() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])]))
    rig.log.values += [b"{", None]
    follow(rig)
    assert rig.metrics.counts["streamtag.panes.unreadable"] == 2
    assert rig.state.position == 3


def test_what_expired_before_it_was_read_is_counted() -> None:
    rig = Rig()
    rig.write(*(pane(n + 1, 10 * n, [cell([True])]) for n in range(5)))
    rig.state.restore()
    rig.state.feed(0, rig.log.values[0])
    rig.log.low = 3
    rig.state.feed(4, rig.log.values[4])
    assert rig.metrics.counts["streamtag.panes.expired"] == 2


@pytest.mark.parametrize("feeds", [True, False])
def test_kafka_that_is_away_at_any_moment_is_waited_for(feeds: bool) -> None:
    smooth, rough = Rig(), Rig()
    panes = [pane(n, 10 * (n % 3), [cell([True] * n)]) for n in range(1, 13)]
    smooth.write(*panes)
    rough.write(*panes)
    follow(smooth)
    told: list[str] = []
    for away in range(1, 30):
        rough.store.client.flushall()
        rough.log.turn, rough.log.away = 0, [away, away + 1, away + 3]
        for part in (5, 12):  # goes on from a checkpoint, too
            rough.state = StatsState(
                SETTINGS, rough.store, cast(PaneLog, rough.log), rough.metrics,
                on_wait=told.append, now_ms=lambda: NOW, wait=lambda _: None,
            )  # fmt: skip
            rough.state.restore()
            if feeds:
                rough.state.feed(part - 1, rough.log.values[part - 1])
            else:
                rough.state.keep_up()
                rough.state.catch_up(part)
            rough.state.flush()
            assert rough.state.position == part
        assert rough.documents() == smooth.documents()
    assert set(told) == {"Kafka is away"}


def test_redis_that_is_away_is_waited_for() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])]))
    rig.state.restore()
    load, tries = rig.state._windows._load, []

    def away(size: str, start: int) -> windows_wire.WindowDocument | None:
        tries.append(size)
        if len(tries) < 4:
            raise UnavailableError("Redis is away")
        return load(size, start)

    rig.state._windows._load = away
    rig.state.feed(0, rig.log.values[0])
    rig.state.flush()
    assert rig.metrics.counts["streamtag.panes.waits"] == 3
    assert len(rig.documents()) == 4


def test_an_app_that_stands_by_shows_nothing_that_stands_still_here() -> None:
    rig = Rig()
    bounds = {"breakers.rates": "{spam: 0.5}", "breakers.min_alerts": "3"}
    rig.state = rig.fresh(load_settings(environ={}, overrides=bounds).settings)
    rig.write(pane(1, 0, [cell([True] * 60)]))
    follow(rig)
    rig.state.look()
    gauges = ("streamtag.panes.position", "streamtag.breaker.open")
    assert [rig.metrics.values.get(name) for name in gauges] == [1, 1]
    rig.state.stand_by()
    assert [rig.metrics.values.get(name) for name in gauges] == [None, None]
    assert rig.state.latest == {}
    rig.state.restore()
    rig.state.look()
    assert [rig.metrics.values.get(name) for name in gauges] == [1, 1]


def test_whoever_looks_how_far_another_is_may_not_write_from_there() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])]))
    assert rig.state.kept() == 0
    follow(rig)
    late = rig.state
    rig.state = rig.fresh()
    rig.write(pane(2, 0, [cell([True, True])]))
    follow(rig)
    assert late.kept() == 2
    late.feed(1, rig.log.values[1])
    with pytest.raises(ConflictError):
        late.flush()


def test_other_windows_take_the_place_of_the_live_ones_only_while_these_stand_still() -> None:
    rig = Rig()
    rig.write(pane(1, 0, [cell([True])]))
    follow(rig)
    live, other = rig.state.model, ReadModel(rig.store, "7")
    checkpoint = live.checkpoint()
    assert checkpoint is not None
    assert live.copy_to(other, lambda size, _start: size == "1m") == 1
    assert not live.swap(other, checkpoint), "nobody says that it is being made"
    Lease(other).take()
    assert not live.swap(other, replace_position(checkpoint, 99))
    assert live.swap(other, checkpoint)
    assert ReadModel(rig.store).generation() == "7"
    rig.write(pane(2, 0, [cell([True, True])]))
    rig.state.feed(1, rig.log.values[1])
    with pytest.raises(ConflictError):
        rig.state.flush()


def replace_position(checkpoint: Checkpoint, position: int) -> Checkpoint:
    return msgspec.structs.replace(checkpoint, position=position)


def test_a_label_that_the_newest_window_shows_beyond_its_bound_is_turned_to_review() -> None:
    rig = Rig()
    bounds = {"breakers.rates": "{spam: 0.5}", "breakers.min_alerts": "60"}
    rig.state = rig.fresh(load_settings(environ={}, overrides=bounds).settings)
    rig.write(pane(1, 0, [cell([True] * 59)]))
    follow(rig)
    rig.state.look()
    assert BreakerLog(rig.store).active().labels == frozenset(), "too few"
    rig.write(pane(2, 0, [cell([True] * 60)]))
    rig.state.feed(1, rig.log.values[1])
    rig.state.flush()
    rig.state.look()
    assert BreakerLog(rig.store).active().labels == {"spam"}
