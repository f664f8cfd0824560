"""Experiment plans as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamtag.control.experiment_file import load_plan, merge, parse_policy, request_of
from streamtag.control.experiment_request import Request
from streamtag.domain.experiment import ExperimentPlan, LabelPolicy, Tolerance
from streamtag.errors import RefusedError

PLAN = """
mode: split
share: 0.1
unit: author
labels:
  spam: ±20%, critical
  insult: "+-25%, decrease, weight 2.5"
others: muted
base_rates: {insult: 0.03}
alpha: 0.01
max_units: 1e6
max_hours: 48
on_worse: warn
"""


def test_a_plan_is_read_as_it_stands() -> None:
    found = request_of(load_plan(PLAN, "plan.yaml"))
    spam = LabelPolicy(Tolerance("relative", 0.2), critical=True)
    insult = LabelPolicy(Tolerance("relative", 0.25), "decrease", 2.5)
    plan = ExperimentPlan(
        "split", {"spam": spam, "insult": insult}, alpha=0.01, max_units=1_000_000, max_hours=48, on_worse="warn"
    )
    assert found == Request(plan, 0.1, "author", LabelPolicy(muted=True), {"insult": 0.03})
    assert isinstance(found.plan.max_units, int)


def test_nothing_said_is_a_shadow_of_all_events_that_judges_every_label() -> None:
    assert request_of({}) == Request(ExperimentPlan("shadow"), 1.0)


def test_a_split_must_say_its_share() -> None:
    with pytest.raises(RefusedError) as refused:
        request_of({"mode": "split"})
    assert refused.value.problems[0].startswith("share: missing")


@pytest.mark.parametrize(
    ("words", "policy"),
    [
        ("", LabelPolicy()),
        ("±0.005", LabelPolicy(Tolerance("absolute", 0.005))),
        ("20%", LabelPolicy(Tolerance("relative", 0.2))),
        ("+/- 7.5 %", LabelPolicy(Tolerance("relative", 0.075))),
        ("increase , muted", LabelPolicy(direction="increase", muted=True)),
        ("either,critical,weight 3", LabelPolicy(critical=True, weight=3.0)),
    ],
)
def test_words_say_what_is_asked_of_a_label(words: str, policy: LabelPolicy) -> None:
    assert parse_policy(words) == policy


@pytest.mark.parametrize("word", ["more", "±", "±x%", "-5%", "weight", "1e-3", "nan", "±5%%", "critical muted"])
def test_a_word_that_is_none_is_named(word: str) -> None:
    with pytest.raises(ValueError, match="is not understood; known are ±20%"):
        parse_policy(word)


@given(
    size=st.decimals(0, 100, places=3),
    percent=st.booleans(),
    direction=st.sampled_from(["increase", "decrease", "either"]),
    flags=st.sets(st.sampled_from(["critical", "muted"])),
)
def test_the_order_of_words_does_not_matter(size: object, percent: bool, direction: str, flags: set[str]) -> None:
    words = [f"±{size}{'%' if percent else ''}", direction, *flags]
    assert parse_policy(",".join(words)) == parse_policy(", ".join(reversed(words)))


def test_everything_wrong_in_a_plan_is_named() -> None:
    raw = {
        "modes": 1,
        "mode": "canary",
        "on_worse": "stop",
        "unit": 7,
        "share": "half",
        "alpha": True,
        "max_units": 0.5,
        "labels": {"spam": "sometimes", "insult": 0.1},
        "others": None,
        "base_rates": {"spam": "rare"},
    }
    with pytest.raises(RefusedError, match="not an experiment plan") as refused:
        request_of(raw)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "modes",
        "mode",
        "on_worse",
        "unit",
        "share",
        "alpha",
        "max_units",
        "labels.spam",
        "labels.insult",
        "others",
        "base_rates.spam",
    ]


@pytest.mark.parametrize("raw", [{"labels": ["spam"]}, {"labels": {7: "muted"}}, {"base_rates": 0.1}])
def test_labels_are_a_mapping(raw: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as refused:
        request_of(raw)
    assert [problem.partition(":")[2] for problem in refused.value.problems] == [" must be a mapping of labels"]


@pytest.mark.parametrize("value", ["1.5", "1e-3"])
def test_a_number_of_units_is_a_whole_one(value: str) -> None:
    with pytest.raises(RefusedError) as refused:
        request_of(load_plan(f"max_units: {value}", "plan.yaml"))
    assert refused.value.problems == ("max_units: must be a whole number",)


@pytest.mark.parametrize(("text", "message"), [("a: [", "neither YAML nor JSON"), ("7", "mapping"), ("", "mapping")])
def test_a_file_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(RefusedError, match=f"plan.yaml .*{message}"):
        load_plan(text, "plan.yaml")


def test_what_is_given_beside_a_file_wins_label_by_label() -> None:
    raw = {"mode": "split", "share": 0.5, "labels": {"spam": "critical", "insult": "muted"}, "base_rates": 7}
    given = {"share": 0.0, "labels": {"spam": "muted"}, "base_rates": {"spam": 0.1}, "others": "muted"}
    assert merge(raw, given) == {
        "mode": "split",
        "share": 0.0,
        "labels": {"spam": "muted", "insult": "muted"},
        "base_rates": 7,
        "others": "muted",
    }
    assert merge({}, {"labels": {}}) == {"labels": {}}


@pytest.mark.parametrize("number", [10**400, 1e300, float("nan"), float("inf"), -(10**30)])
def test_a_number_beyond_all_measure_is_refused(number: float) -> None:
    with pytest.raises(RefusedError) as caught:
        request_of({"max_units": number})
    assert caught.value.problems[0].startswith("max_units: must be a number")
    assert len(caught.value.problems[0]) < 120
