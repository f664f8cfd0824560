"""Cut-offs by goal, against published bounds and against trying every cut-off."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest  # type: ignore[attr-defined]

from streamtag.errors import RefusedError
from streamtag.model.goals import Choice, choose, choose_by, interval, lower_bound, parse_goal

GOALS = ("recall | precision >= 0.6", "precision|recall>=0.5", "fbeta(2)")
rows = st.lists(st.tuples(st.integers(0, 20), st.integers(-1, 1)), min_size=1, max_size=60)


def chosen(goal: str, pairs: list[tuple[int, int]], least: int = 1, events: float | None = None) -> Choice:
    scores, targets = np.array([p[0] / 20 for p in pairs]), np.array([p[1] for p in pairs], dtype=np.int8)
    return choose(parse_goal(goal), scores, targets, min_positives=least, confidence=0.8, events_per_hour=events)


@pytest.mark.parametrize("hits", [0, 1, 7, 10])
def test_bounds_are_those_of_clopper_and_pearson(hits: int) -> None:
    exact = binomtest(hits, 10).proportion_ci(0.95, method="exact")
    found = interval(hits, 10, 0.95)
    assert found is not None
    assert found == pytest.approx((exact.low, hits / 10, exact.high))
    one_sided = binomtest(hits, 10, alternative="greater").proportion_ci(0.95, method="exact").low
    assert lower_bound(np.array([hits]), np.array([10]), 0.95)[0] == pytest.approx(one_sided)
    assert interval(0, 0, 0.95) is None


def test_ten_of_ten_do_not_show_a_precision_of_nine_tenths() -> None:
    few = [(20, 1)] * 10 + [(0, 0)] * 10
    assert chosen("recall | precision >= 0.9", few).undecided.startswith("no cut-off shows precision >= 0.9")
    assert chosen("recall | precision >= 0.9", few * 10).cutoff == 1.0


def known_of(pairs: list[tuple[int, int]]) -> tuple[list[tuple[float, int]], int]:
    """Score and target of those whose label is known, and how many are positive."""
    known = [(score / 20, target) for score, target in pairs if target >= 0]
    return known, sum(target for _, target in known)


def alerts_at(cutoff: float, known: list[tuple[float, int]]) -> list[int]:
    """Targets of what a cut-off alerts on."""
    return [target for score, target in known if score >= cutoff]


@pytest.mark.parametrize("goal", GOALS)
@settings(max_examples=25)
@given(pairs=rows)
def test_no_other_cutoff_is_better(goal: str, pairs: list[tuple[int, int]]) -> None:
    found, (known, positives) = chosen(goal, pairs), known_of(pairs)
    if not 0 < positives < len(known):
        assert found.cutoff is None
        return

    def worth(cutoff: float) -> float:
        alerts = alerts_at(cutoff, known)
        hits = sum(alerts)
        if goal.startswith("fbeta"):
            return 5 * hits / (4 * positives + len(alerts))
        of, bound = (len(alerts), 0.6) if goal.startswith("recall") else (positives, 0.5)
        low = binomtest(hits, of, alternative="greater").proportion_ci(0.8, method="exact").low
        if low < bound:
            return -np.inf
        return hits / (positives if goal.startswith("recall") else len(alerts))

    best = max(worth(score) for score, _ in known)
    assert (found.cutoff is None) == (best == -np.inf)
    if found.cutoff is not None:
        assert worth(found.cutoff) == pytest.approx(best)


@pytest.mark.parametrize(("miss", "false_alarm"), [(5, 1), (1, 1), (1, 5)])
@settings(max_examples=50)
@given(pairs=rows)
def test_no_other_cutoff_costs_less_nor_does_no_alert_at_all(
    miss: int, false_alarm: int, pairs: list[tuple[int, int]]
) -> None:
    found, (known, positives) = chosen(f"cost(miss={miss}, false_alarm={false_alarm})", pairs), known_of(pairs)
    if not 0 < positives < len(known):
        assert found.cutoff is None
        return

    def cost(cutoff: float) -> int:
        alerts = alerts_at(cutoff, known)
        return miss * (positives - sum(alerts)) + false_alarm * (len(alerts) - sum(alerts))

    scores = [score for score, _ in known]
    seen, never = min(map(cost, scores)), miss * positives
    if never < seen and max(scores) == 1:
        assert (found.cutoff, found.undecided.split(",")[0]) == (None, "never alerting is cheapest")
    else:
        assert found.cutoff is not None
        assert cost(found.cutoff) == min(seen, never)
        assert found.alerts == sum(score >= found.cutoff for score in scores)
        assert (found.precision is None) == (found.alerts == 0)


def test_never_alerting_is_chosen_where_every_alert_costs_more() -> None:
    pairs = [(18, 1)] * 90 + [(18, 0)] * 210 + [(2, 1)] * 20 + [(2, 0)] * 680
    found = chosen("cost(miss=1, false_alarm=10)", pairs)
    assert (found.cutoff, found.undecided, found.rows, found.positives) == (0.900001, "", 1_000, 110)
    assert (found.alerts, found.hits, found.precision) == (0, 0, None)
    assert found.recall is not None
    assert found.recall[:2] == (0, 0)
    assert chosen("cost(miss=10, false_alarm=1)", pairs).cutoff == 0.9
    assert chosen("cost(miss=7, false_alarm=3)", pairs).cutoff == 0.9  # both cost 770: alerts find something
    certain = chosen("cost(miss=1, false_alarm=10)", [*pairs, (20, 0)])
    assert certain.undecided == "never alerting is cheapest, and no cut-off is above the highest score"
    assert (certain.cutoff, certain.rows, certain.positives) == (None, 1_001, 110)


def test_alerts_stay_within_the_budget_or_the_label_is_undecided() -> None:
    pairs = [(20, 1)] * 2 + [(10, 1), (10, 0)] + [(0, 0)] * 16
    assert chosen("alerts_per_hour <= 10", pairs, events=100).cutoff == 1.0
    assert chosen("alerts_per_hour <= 20", pairs, events=100).cutoff == 0.5
    assert chosen("alerts_per_hour <= 9", pairs, events=100).cutoff is None
    with pytest.raises(RefusedError, match="traffic"):
        chosen("alerts_per_hour <= 9", pairs)


def chosen_by(
    goal: str, rows: list[tuple[int, int, str]], least: int, events: float
) -> tuple[Choice, dict[str, Choice], int]:
    """The base, the choices of the segments, and on how many documents they alert together."""
    scores = np.array([row[0] / 20 for row in rows])
    targets, segments = np.array([row[1] for row in rows], dtype=np.int8), np.array([row[2] for row in rows])
    goals = parse_goal(goal)
    base, found = choose_by(goals, scores, targets, segments, min_positives=least, events_per_hour=events)
    cutoffs = [base.cutoff if (own := found.get(row[2])) is None or own.cutoff is None else own.cutoff for row in rows]
    alerts = sum(
        cutoff is not None and row[1] >= 0 and row[0] / 20 >= cutoff for row, cutoff in zip(rows, cutoffs, strict=True)
    )
    return base, found, alerts


def segment(name: str, positives: int) -> list[tuple[int, int, str]]:
    """1,000 documents, of each score below 1 as many; the highest are positive."""
    return [(i // 50, int(i >= 1_000 - positives), name) for i in range(1_000)]


def test_segments_share_a_budget_of_alerts_with_all_that_has_no_cutoff_of_its_own() -> None:
    # de scores lower, so the cut-off of all spends the whole budget on fr
    many = [(max(0, score - 2), target, lang) for score, target, lang in segment("de", 200)]
    few = [(i // 50, int(i % 66 == 65), "fr") for i in range(1_000)]
    base, found, alerts = chosen_by("alerts_per_hour <= 100", [*many, *few], 20, 2_000)
    assert alerts <= 100
    assert base.cutoff is not None
    assert found["fr"].undecided == "15 positives, fewer than 20"
    assert found["de"].undecided.startswith("other documents are too few for a cut-off of their own")
    # what is left is enough for a cut-off of its own: each has its half
    more = [*few, *((score, target, "") for score, target, _ in few)]
    base, found, alerts = chosen_by("alerts_per_hour <= 150", [*many, *more], 20, 3_000)
    assert (found["de"].alerts, base.rows, base.positives, base.alerts, alerts) == (50, 2_000, 30, 100, 150)


@settings(max_examples=50)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 20), st.integers(-1, 1), st.sampled_from(["", "de", "en", "fr"])), min_size=1
    ),
    budget=st.integers(1, 100),
    least=st.integers(1, 5),
)
def test_no_division_into_segments_breaks_the_budget(rows: list[tuple[int, int, str]], budget: int, least: int) -> None:
    base, _, alerts = chosen_by(f"alerts_per_hour <= {budget}", rows, least, 100)
    assert base.cutoff is None or alerts / sum(row[1] >= 0 for row in rows) * 100 <= budget * (1 + 1e-9)


def test_segments_keep_their_cutoffs_where_the_whole_reaches_the_goal_with_them() -> None:
    base, found, _ = chosen_by("fbeta(1)", [*segment("de", 200), *segment("fr", 15)], 20, 1)
    assert base.rows == 2_000
    assert (found["de"].hits, found["fr"].cutoff) == (200, None)


def test_labels_with_few_positives_or_negatives_are_undecided() -> None:
    assert chosen("fbeta(1)", [(20, 1)] * 3 + [(0, 0)] * 9, least=4).undecided == "3 positives, fewer than 4"
    assert chosen("fbeta(1)", [(20, 1)] * 9 + [(0, 0)] * 3, least=4).undecided == "3 negatives, fewer than 4"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "recall",
        "precision >= 0.9",
        "recall | precision >= 90",
        "fbeta(0)",
        "cost(miss=1)",
        "fbeta(1e999)",
        "fbeta(1e200)",
    ],
)
def test_other_goals_are_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        parse_goal(text)
