"""A small, seeded version of `make simulate`, and that what it simulates with is what decides."""

import math
from dataclasses import replace

import numpy as np
import pytest
from simulations import copies, looks, nulls, power
from simulations.worlds import World, paired_runs, split_runs

from streamtag.domain import evalues
from streamtag.domain.evalues import PairedCounts, SplitCounts

RUNS = 200
SMALL = {case.name: replace(case, world=replace(case.world, looks=30, units=600)) for case in nulls.cases()}


@pytest.mark.parametrize("name", ["shadow, no difference", "shadow, 1.2 times", "split with ramp, 1.2 times"])
def test_looking_at_every_pane_keeps_every_error_within_its_bound(name: str) -> None:
    case = replace(SMALL[name], world=replace(SMALL[name].world, rates=(0.05, 0.1, 0.2)))
    found = nulls.run(case, RUNS, np.random.default_rng(5))
    bounds = {figure: alpha for figure in found if (alpha := nulls.allowed(figure)) is not None}
    assert len(bounds) >= 5
    assert [figure for figure, alpha in bounds.items() if nulls.exceeds(found[figure], alpha, RUNS)] == []
    assert found["z at every look, a label"] > 0.15


def test_a_shift_beyond_the_bound_is_found_so_the_bounds_above_can_be_broken() -> None:
    case = SMALL["split, no difference"]
    found = nulls.run(replace(case, world=replace(case.world, ratio=1.5)), 50, np.random.default_rng(5))
    assert found["FAIL"] == 1


def test_the_tables_that_are_simulated_are_those_that_decide() -> None:
    rng, world = np.random.default_rng(3), World(looks=4, units=500, rates=(0.02, 0.2), shares=(0.1, 0.5), late=0.2)
    units, alerts = split_runs(world, 5, rng)
    for at in np.ndindex(alerts.shape[:3]):
        phases = [
            SplitCounts(row[0], row[1], share) for row, share in zip(alerts[at].tolist(), world.shares, strict=True)
        ]
        for bound in (0.8, 1.0, 1.25):
            assert looks.ratio_above(alerts, world.shares, bound)[at] == pytest.approx(
                evalues.log_e_ratio_above(phases, bound), abs=1e-9
            )
            assert looks.ratio_below(alerts, world.shares, bound)[at] == pytest.approx(
                evalues.log_e_ratio_below(phases, bound), abs=1e-9
            )
    sample_ratio = looks.shares_evidence(units, world.shares, 1.0, 100.0)
    for at in np.ndindex(units.shape[:2]):
        expected = sum(
            evalues.log_e_shares(row, (1 - share, share), 100.0)
            for row, share in zip(units[at].tolist(), world.shares, strict=True)
        )
        assert sample_ratio[at] == pytest.approx(expected, abs=1e-6)
    pairs = paired_runs(world, 5, rng).counts
    for at in np.ndindex(pairs.shape[:3]):
        only, missed, both, neither = pairs[at].tolist()
        counts = PairedCounts(only, missed, both, only + missed + both + neither)
        for name, bound in (("difference", -0.01), ("difference", 0.02), ("paired_ratio", 0.8), ("paired_ratio", 1.2)):
            for side in ("above", "below"):
                simulated = getattr(looks, f"{name}_{side}")(pairs, bound)[at]
                assert simulated == pytest.approx(getattr(evalues, f"log_e_{name}_{side}")(counts, bound), abs=1e-9)


def test_late_units_are_seen_later_in_the_phase_they_arose_in_and_once() -> None:
    world = World(looks=40, units=100, rates=(0.5,), shares=(0.2, 0.5), late=0.5, delay=5)
    units = split_runs(world, 3, np.random.default_rng(1)).units.sum(axis=-1)
    assert (np.diff(units, axis=1) >= 0).all()
    assert (units[:, -5:, 0] == 2_000).all()
    assert (units[:, 20, 0] < 2_000).all()


def test_copies_that_are_counted_make_a_harmless_candidate_fail_and_units_that_count_once_do_not() -> None:
    copied, once = (copies.failures(12, 5, count_once=how, rng=np.random.default_rng(2)) for how in (False, True))
    assert copied > 0.5
    assert once <= 1 / 12


def test_a_ramp_over_falling_rates_fools_the_pooled_test_and_not_the_composed_one() -> None:
    harmless, doubled = (copies.ramp(100, ratio, np.random.default_rng(2)) for ratio in (1.0, 2.0))
    assert harmless["z pooled: lower"] > 0.9
    assert harmless["lower"] <= 0.12
    assert doubled["higher"] > 0.95


def test_units_to_a_verdict_are_as_few_as_the_table_says() -> None:
    for case in power.cases():
        if case.name in {"split, 2 times", "shadow, 1 point more, 2 % differ"}:
            assert power.worse(case, power.run(case, 100, np.random.default_rng(4)), 100) == []


def test_no_evidence_is_found_where_nothing_was_seen() -> None:
    assert looks.log_e(np.zeros((1, 2), np.int64), evalues.ratio_growth(0.5, 1.2))[0] == pytest.approx(0)
    assert math.isinf(looks.first(np.zeros((1, 3), np.bool_), 10)[0])
