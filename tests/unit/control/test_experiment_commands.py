"""The commands of experiments, against an embedded Redis over TCP."""

import time
from pathlib import Path
from typing import Any

import pytest
from control_plane import ANNA, BUNDLE, DEFAULTS, LABELS, Run, current
from tiny_bundle import build_tiny_bundle

from streamtag.control import experiment_candidate
from streamtag.control.change_content import Composer
from streamtag.control.changes import ReleaseChanges
from streamtag.control.experiment_candidate import Choice, candidate_of
from streamtag.control.experiment_file import request_of
from streamtag.control.experiment_log import ExperimentLog
from streamtag.control.experiment_request import NewCandidate
from streamtag.control.experiments import ExperimentChanges
from streamtag.control.release_documents import ReleaseId
from streamtag.control.store import ControlStore
from streamtag.domain.experiment import LabelPolicy, Tolerance
from streamtag.domain.looks import LabelLook, Look, Looks
from streamtag.errors import BundleError, ConflictError, NotFoundError, RefusedError, SettingsError
from streamtag.events.panes import Cell
from streamtag.events.summary import LabelCounts
from streamtag.model.admission import read_admitted
from streamtag.settings import Settings
from streamtag.stats.look_store import LookStore
from streamtag.stats.read_model import ReadModel
from streamtag.stats.windows import SIZES, VERSION, WindowDocument, start_of

pytest_plugins = ("command_line",)


class Shipped:
    """A bundle on this machine, with one label more than the champion's where it is ``demo@3``."""

    ref = type(BUNDLE)("demo", "2", "b" * 64)
    labels = LABELS
    default_thresholds = type(DEFAULTS)({"spam": 0.4, "insult": 0.4})
    critical: tuple[str, ...] = ()


@pytest.fixture(autouse=True)
def _bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_candidate, "find_bundle", lambda spec, _directories: Path(spec))
    monkeypatch.setattr(experiment_candidate, "read_admitted", lambda _path, _model: Shipped)


@pytest.fixture
def stricter(tmp_path: Path) -> Path:
    path = tmp_path / "stricter.yaml"
    path.write_text("labels: {spam: 0.6, insult: 0.6}")
    return path


@pytest.mark.parametrize(("hours", "told"), [(720, 0), (721, 1)])
def test_who_asks_for_longer_than_panes_are_kept_is_told_so(
    seeded: ControlStore, run: Run, stricter: Path, monkeypatch: pytest.MonkeyPatch, hours: float, told: int
) -> None:
    warnings = list[str]()
    monkeypatch.setattr("streamtag.cli.experiment.warn", warnings.append)
    run("experiment", "start", "--thresholds", stricter, "--max-hours", hours, "-m", "stricter", "--author", "anna")
    assert [line.startswith("max_hours: ") for line in warnings] == [True] * told


def test_start_records_what_was_asked(seeded: ControlStore, run: Run, stricter: Path) -> None:
    found = run(
        *("experiment", "start", "--thresholds", stricter, "--mode", "split", "--share", 0.1, "--unit", "author"),
        *("--label", "spam=±25%,decrease", "--label", "spam=critical", "--others", "muted"),
        *("--alpha", 0.01, "--max-units", 1000, "--max-hours", 48, "-m", "stricter", "--author", "anna", "-o", "json"),
    )
    assert (found["experiment"], found["state"], found["control"]["number"]) == (1, "running", 1)
    (running,) = ExperimentLog(seeded).running()
    document = running.document
    assert found["id"] == str(running.id) == f"1-{running.id.sha256[:12]}"
    assert (document.unit, document.author, document.reason, running.share) == ("author", "anna", "stricter", 0.1)
    plan = document.plan
    assert (plan.mode, plan.alpha, plan.max_units, plan.max_hours) == ("split", 0.01, 1000, 48)
    assert plan.labels == {
        "spam": LabelPolicy(Tolerance("relative", 0.25), "decrease", critical=True),
        "insult": LabelPolicy(muted=True),
    }
    assert current(seeded).id.number == 1


def test_what_the_taxonomy_calls_critical_is_critical_unless_it_is_muted(
    seeded: ControlStore, run: Run, tmp_path: Path, stricter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = ", ".join(f"{{id: {name}, name: X, owner: o, since: 1, critical: true}}" for name in ("spam", "insult"))
    (tmp_path / "taxonomy.yaml").write_text(f"taxonomy: t\nversion: 1\nlabels: [{labels}]")
    monkeypatch.setenv("STREAMTAG_MODEL__TAXONOMY", str(tmp_path / "taxonomy.yaml"))
    options = ("--label", "spam=±25%", "--label", "insult=muted", "-m", "x", "-o", "json")
    labels_of = run("experiment", "start", "--thresholds", stricter, *options)["plan"]["labels"]
    assert (labels_of["spam"]["critical"], labels_of["spam"]["tolerance"]["size"]) == (True, 0.25)
    assert (labels_of["insult"]["critical"], labels_of["insult"]["muted"]) == (False, True)


def test_a_candidate_s_cut_offs_by_older_ids_are_read_for_the_bundle(
    seeded: ControlStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = "{id: %s, name: X, owner: o, since: 1, renamed_from: [%s]}"
    labels = ", ".join((label % ("spam", "advert"), label % ("insult", "rudeness")))
    (tmp_path / "taxonomy.yaml").write_text(f"taxonomy: t\nversion: 1\nlabels: [{labels}]")
    monkeypatch.setenv("STREAMTAG_MODEL__TAXONOMY", str(tmp_path / "taxonomy.yaml"))
    (tmp_path / "older.yaml").write_text("labels: {advert: 0.6, insult: 0.6}")
    run("experiment", "start", "--thresholds", tmp_path / "older.yaml", "-m", "x", "-o", "json")
    (running,) = ExperimentLog(seeded).running()
    candidate = running.document.candidate
    wanted = seeded.load(ReleaseId(candidate.number, candidate.sha256)).thresholds.labels
    assert wanted == {"spam": 0.6, "insult": 0.6}


def test_words_and_rates_of_older_ids_are_those_of_the_labels_they_became(
    seeded: ControlStore, run: Run, tmp_path: Path, stricter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = "{id: %s, name: X, owner: o, since: 1, renamed_from: [%s]}"
    labels = ", ".join((label % ("spam", "advert"), label % ("insult", "rudeness")))
    (tmp_path / "taxonomy.yaml").write_text(f"taxonomy: t\nversion: 1\nlabels: [{labels}]")
    monkeypatch.setenv("STREAMTAG_MODEL__TAXONOMY", str(tmp_path / "taxonomy.yaml"))
    options = ("--label", "advert=±25%", "--label", "insult=±0.01", "--base-rate", "rudeness=0.03", "-m", "x")
    found = run("experiment", "start", "--thresholds", stricter, *options, "-o", "json")
    assert found["plan"]["labels"]["spam"]["tolerance"]["size"] == 0.25
    assert found["base_rates"] == {"insult": 0.03}
    with pytest.raises(RefusedError) as refused:
        run(
            "experiment",
            "start",
            "--thresholds",
            stricter,
            "--label",
            "advert=muted",
            "--label",
            "spam=±25%",
            "-m",
            "x",
        )
    assert refused.value.problems[0].startswith("labels.advert: means spam, which has another value here")


def test_a_plan_comes_from_a_file_and_options_win(
    seeded: ControlStore, run: Run, tmp_path: Path, stricter: Path
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("share: 0.5\nlabels: {spam: critical, insult: ±0.01}\nbase_rates: {insult: 0.02}\nunit: author\n")
    found = run(
        *("experiment", "start", "--plan", file, "--thresholds", stricter, "--share", 0.25),
        *("--label", "spam=muted", "--base-rate", "insult=0.03", "-m", "x", "-o", "json"),
    )
    assert (found["unit"], found["phases"][0]["share"], found["base_rates"]) == ("author", 0.25, {"insult": 0.03})
    labels = found["plan"]["labels"]
    assert (labels["spam"]["muted"], labels["spam"]["critical"]) == (True, False)
    assert labels["insult"]["tolerance"] == {"kind": "absolute", "size": 0.01}


def test_what_happens_by_itself_is_said_by_options_over_the_file(
    seeded: ControlStore, run: Run, tmp_path: Path, stricter: Path
) -> None:
    file = tmp_path / "plan.yaml"
    file.write_text("rollout: {ramp: [20% after 1 h], on_pass: promote, limits: {shed: 5%, p99_ms: 50}}\n")
    found = run(
        *("experiment", "start", "--plan", file, "--thresholds", stricter, "--mode", "split", "--share", 0.1),
        *("--ramp", "30% after 10 units, 2 h", "--ramp", "60% after 1 d", "--limit", "shed=10%", "-m", "x"),
        *("-o", "json"),
    )
    rollout = found["rollout"]
    assert rollout["ramp"] == [
        {"share": 0.3, "after_units": 10, "after_s": 7200},
        {"share": 0.6, "after_units": 0, "after_s": 86_400},
    ]
    assert rollout["promote"] is True
    assert (rollout["limits"]["shed"], rollout["limits"]["p99_ms"]) == (0.1, 50)


def test_a_rollout_that_could_never_happen_is_refused(seeded: ControlStore, run: Run, stricter: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        run(
            *("experiment", "start", "--thresholds", stricter, "--mode", "split", "--share", 0.3, "-m", "x"),
            *("--ramp", "20% after 1 h", "--ramp", "50% after 0 s", "--limit", "dead=100%", "--on-pass", "hold"),
        )
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "rollout.ramp step 1",
        "rollout.ramp step 2",
        "rollout.limits.dead",
    ]


def test_a_bundle_is_a_challenger_with_the_champions_thresholds_or_its_own(seeded: ControlStore, run: Run) -> None:
    kept = run("experiment", "start", "--bundle", "demo@2", "-m", "x", "-o", "json")
    assert (kept["candidate"]["bundle"]["version"], kept["candidate"]["revision"]) == ("2", 1)
    run("experiment", "stop", 1, "-m", "x")
    own = run("experiment", "start", "--bundle", "demo@2", "--thresholds", "defaults", "-m", "x", "-o", "json")
    assert (own["candidate"]["number"], own["candidate"]["revision"]) == (3, 2)


def test_a_release_against_itself_is_said_to_be_that(seeded: ControlStore, run: Run) -> None:
    text = run("experiment", "start", "--challenger", 1, "-m", "does it work?")
    assert text.startswith("started experiment 1 (shadow): release 1 against release 1, share 1, 2 labels judged")
    assert "compares the champion with itself" in text


def counted(events: int, spam: int, **changes: Any) -> Cell:
    """Events of the champion, so many of them tagged spam."""
    bins = [(b, n) for b, n in ((0, events - spam), (1023, spam)) if n]
    labels = {"spam": LabelCounts(spam, 1_000_000 * spam, [b for b, _ in bins], [n for _, n in bins])}
    sha = "0" * 64
    found = Cell(1, sha, "demo@1", sha, 1, sha, "control", events, 0, labels, {})
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def put(store: ControlStore, size: str, ago: int, *cells: Cell) -> None:
    start = start_of(size, int(time.time() * 1000)) - ago * SIZES[size]
    ReadModel(store).put([WindowDocument(VERSION, size, start, 7, True, {}, list(cells))])


ABSOLUTE = ("experiment", "start", "--thresholds", "defaults", "--bundle", "demo@2", "--others", "muted", "-m", "x")


def test_a_base_rate_that_nobody_gave_is_measured_and_said(seeded: ControlStore, run: Run) -> None:
    others = counted(9_000, 9_000, release=2), counted(9_000, 9_000, shadow=True)
    put(seeded, "1h", 1, counted(100_000, 3_000), *others)
    put(seeded, "1d", 0, counted(100_000, 90_000))
    text = run(*ABSOLUTE, "--label", "spam=±0.01")
    assert "base rate of spam: 3 % of 100,000 events, release 1, 1h from" in text
    (running,) = ExperimentLog(seeded).running()
    assert running.document.base_rates == {"spam": 0.03}


def test_a_base_rate_that_was_given_is_taken_and_a_relative_tolerance_needs_none(
    seeded: ControlStore, run: Run
) -> None:
    put(seeded, "1h", 1, counted(100_000, 3_000))
    given = run(*ABSOLUTE, "--label", "spam=±0.01", "--base-rate", "spam=0.5", "-o", "json")
    assert given["base_rates"] == {"spam": 0.5}
    run("experiment", "stop", 1, "-m", "x")
    assert run(*ABSOLUTE, "--label", "spam=±20%", "-o", "json")["base_rates"] == {}


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "no event that release 1 decided was counted since yesterday"),
        ([counted(9_000, 9_000, release=2)], "no event that release 1 decided"),
        ([counted(9_000, 9_000, shadow=True)], "no event that release 1 decided"),
        ([counted(100_000, 900)], "±0.01 is not surely below the label's rate"),
        ([counted(100, 3)], "3 of 100 events, release 1, 1d from"),
        ([counted(9_000, 0)], "0 of 9,000 events"),
        ([counted(9_000, 0, labels={"insult": LabelCounts(0, 0, [0], [9_000])})], "the label is not in release 1, 1d"),
    ],
)
def test_without_enough_measured_an_absolute_tolerance_is_refused_with_the_reason(
    seeded: ControlStore, run: Run, cells: list[Cell], message: str
) -> None:
    put(seeded, "1d", 1, *cells)
    with pytest.raises(RefusedError) as refused:
        run(*ABSOLUTE, "--label", "spam=±0.01")
    (problem,) = refused.value.problems
    assert message in problem
    assert "--base-rate LABEL=RATE" in (refused.value.hint or "")
    assert ExperimentLog(seeded).running() == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to compare"),
        (["--thresholds", "keep"], "nothing to compare"),
        (["--challenger", "1", "--bundle", "demo@2"], "names a whole release"),
        (["--thresholds", "defaults"], "name it with bundle"),
        (["--challenger", "1", "--label", "spam"], "must have the form name=value"),
        (["--challenger", "1", "--base-rate", "spam=often"], "--base-rate: could not convert"),
    ],
)
def test_wrong_usage_is_named(seeded: ControlStore, run: Run, arguments: list[str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        run("experiment", "start", *arguments, "-m", "x")


class OtherLabels(Shipped):
    """One label of the champion's is missing, and one is new."""

    ref = type(BUNDLE)("demo", "3", "c" * 64)
    labels = ("spam", "threat")
    default_thresholds = type(DEFAULTS)({"spam": 0.4, "threat": 0.4})
    critical: tuple[str, ...] = ()


def test_a_challenger_whose_labels_are_not_the_champions_is_refused_with_every_reason(
    seeded: ControlStore, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_candidate, "read_admitted", lambda _path, _model: OtherLabels)
    asked = "experiment", "start", "--bundle", "demo@3", "-m", "x"
    with pytest.raises(RefusedError) as refused:
        run(*asked, "--thresholds", "defaults", "--mode", "split", "--share", 1.5, "--label", "spam=±0%")
    assert refused.value.problems == (
        "labels.insult: the champion scores it, the candidate does not",
        "labels.threat: the candidate scores it, the champion does not",
        "share: 1.5 is outside 0 … 1, both excluded: a split needs units of both arms",
        "labels.spam.tolerance: 0 is outside 0 … 1",
    )
    # With the champion's thresholds it could not even decide.
    with pytest.raises(RefusedError) as refused:
        run(*asked, "--thresholds", "keep")
    assert {problem.split(":")[0] for problem in refused.value.problems} >= {"labels.insult", "labels.threat"}
    assert ExperimentLog(seeded).running() == []
    assert current(seeded).id.number == 1


def test_a_challenger_whose_labels_the_taxonomy_lacks_is_refused_with_each_of_them(
    seeded: ControlStore, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiment_candidate, "read_admitted", read_admitted)
    shipped = build_tiny_bundle(tmp_path, labels=("spam", "threat", "insult", "fraud"))
    labels = ", ".join(f"{{id: {name}, name: X, owner: o, since: 1}}" for name in LABELS)
    (tmp_path / "taxonomy.yaml").write_text(f"taxonomy: t\nversion: 1\nlabels: [{labels}]")
    monkeypatch.setenv("STREAMTAG_MODEL__TAXONOMY", str(tmp_path / "taxonomy.yaml"))
    with pytest.raises(BundleError, match=r"labels that the taxonomy .* lacks") as refused:
        run("experiment", "start", "--bundle", shipped, "-m", "x")
    assert [problem.split(":")[0] for problem in refused.value.problems] == ["label threat", "label fraud"]
    assert ExperimentLog(seeded).running() == []


def test_a_candidate_of_cut_offs_that_somebody_has_changed_since_does_not_start(seeded: ControlStore) -> None:
    """It would carry the cut-offs as they were, and undo the change when it is promoted."""
    changes = ExperimentChanges(ExperimentLog(seeded))
    model = Settings().model
    candidate = candidate_of(Choice(labels={"insult": 0.5}), changes, seeded, model, print)
    assert isinstance(candidate, NewCandidate)
    first = current(seeded)
    content = Composer(first).experiment(request_of({}), candidate)
    ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.9}, ANNA)
    assert (candidate.base, content.base, Composer(current(seeded)).experiment(request_of({}), candidate).base) == (
        first.id,
        first.id,
        first.id,
    )
    with pytest.raises(ConflictError, match=r"it changed spam: 0\.5 -> 0\.9"):
        changes.start(request_of({}), candidate, ANNA)
    whole = candidate_of(Choice(thresholds=DEFAULTS), changes, seeded, model, print)
    assert isinstance(whole, NewCandidate)
    assert whole.base is None, "a whole set rests on nobody's"


def test_a_taxonomy_that_cannot_be_read_keeps_nobody_from_stopping_or_going_back(
    seeded: ControlStore, run: Run, stricter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("experiment", "start", "--thresholds", stricter, "--label", "spam=±90%", "--base-rate", "spam=0.2", "-m", "x")
    run("thresholds", "set", "spam=0.55", "-m", "x", "--wait", 0, "--end-experiments")
    run("change", "open", "spam=0.6", "-m", "x")
    monkeypatch.setenv("STREAMTAG_MODEL__TAXONOMY", "/nowhere/taxonomy.yaml")
    with pytest.raises(RefusedError, match="cannot be read"):
        run("thresholds", "set", "spam=0.6", "-m", "x", "--wait", 0)
    assert run("change", "list", "-o", "json")[0]["owners"] == {"spam": None}
    (obstacle,) = run("change", "show", 1, "-o", "json")["obstacles"]
    assert "taxonomy /nowhere/taxonomy.yaml cannot be read" in obstacle
    assert len(run("experiment", "list", "-o", "json")) == 1
    run("release", "return", "-m", "back", "--wait", 0)
    assert current(seeded).thresholds == DEFAULTS


def test_a_refusal_names_every_reason_and_records_nothing(seeded: ControlStore, run: Run, stricter: Path) -> None:
    with pytest.raises(RefusedError) as refused:
        run(
            *("experiment", "start", "--thresholds", stricter, "--mode", "split", "--share", 0, "--unit", "thread"),
            *("--label", "spam=±0.01", "--label", "spma=muted", "-m", " "),
        )
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "reason",
        "labels.spma",
        "unit",
        "share",
        "labels.spam.tolerance",
    ]
    assert run("experiment", "list", "-o", "json") == []


def test_a_mode_that_is_none_is_refused(seeded: ControlStore, run: Run) -> None:
    with pytest.raises(RefusedError) as refused:
        run("experiment", "start", "--challenger", 1, "--mode", "canary", "-m", "x")
    assert refused.value.problems == ("mode: 'canary' is unknown; known are shadow, split",)


def test_show_prints_plan_and_phases(seeded: ControlStore, run: Run, stricter: Path) -> None:
    arms = ("--thresholds", stricter, "--mode", "split", "--share", 0.1, "--label", "spam=±25%,decrease,critical")
    run("experiment", "start", *arms, "-m", "stricter", "--author", "anna")
    text = run("experiment", "phase", 1, "--share", 0.5, "-m", "looks good")
    assert text == "changed experiment 1 (split): release 2 against release 1, share 0.5, 2 labels judged\n"
    text = run("experiment", "show", 1)
    for expected in (
        "running",
        "release 1: demo@1, threshold revision 1",
        "release 2: demo@1, threshold revision 2",
        "anna",
        "stricter",
        "10,000,000 units or 336 hours",
        "±25%",
        "critical",
        "more or less",
    ):
        assert expected in text, text
    shown = run("experiment", "show", 1, "-o", "json")
    assert [phase["share"] for phase in shown["phases"]] == [0.1, 0.5]
    assert (shown["plan"]["mode"], shown["stopped"], shown["at"][:2]) == ("split", None, "20")
    assert shown["history"] == []
    (running,) = ExperimentLog(seeded).running()
    look = Look(1_795_000_000_000, 9, dict.fromkeys(running.document.plan.judged(), LabelLook(0.5, 0.1, 0.2, 0.3)))
    LookStore(seeded).write({running.id: Looks(items=(look,))})
    (told,) = run("experiment", "show", 1, "-o", "json")["history"]
    assert (told["units"], told["labels"]["spam"]["log_e_worse"]) == (9, 0.5)


def test_an_experiment_is_stale_once_another_release_decides(seeded: ControlStore, run: Run) -> None:
    run("experiment", "start", "--challenger", 1, "-m", "x")
    ReleaseChanges(seeded, max_step=1).set_thresholds({"spam": 0.6}, ANNA)
    assert run("experiment", "show", 1, "-o", "json")["state"] == "stale"
    assert "stale: release 2 decides now; stop it, and start a new one" in run("experiment", "show", 1)


def test_list_shows_all_or_those_that_run(seeded: ControlStore, run: Run) -> None:
    for n in (1, 2, 3):
        run("experiment", "start", "--challenger", 1, "-m", f"try {n}")
        if n < 3:
            run("experiment", "stop", n, "-m", "done", "--author", "boris")
    rows = run("experiment", "list", "-o", "json")
    assert [(row["experiment"], row["state"]) for row in rows] == [(3, "running"), (2, "stopped"), (1, "stopped")]
    assert rows[1]["stopped"].items() >= {"author": "boris", "reason": "done"}.items()
    assert len(run("experiment", "list", "-n", 2, "-o", "json")) == 2
    assert [row["experiment"] for row in run("experiment", "list", "--running", "-o", "json")] == [3]
    text = run("experiment", "list")
    assert all(expected in text for expected in ("try 1", "try 3", "running", "stopped"))
    assert "boris" in run("experiment", "show", 1)


def test_stopping_twice_is_a_conflict_and_an_unknown_number_is_not_found(seeded: ControlStore, run: Run) -> None:
    run("experiment", "start", "--challenger", 1, "-m", "x")
    stopped: dict[str, Any] = run("experiment", "stop", 1, "-m", "enough", "--author", "boris", "-o", "json")
    assert stopped["state"] == "stopped"
    with pytest.raises(ConflictError, match="boris stopped experiment 1"):
        run("experiment", "stop", 1, "-m", "x")
    with pytest.raises(NotFoundError, match="no experiment 5"):
        run("experiment", "show", 5)
