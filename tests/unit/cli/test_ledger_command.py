"""`streamtag ledger` and its audit: what is wrong is named, and only then the exit code is 1."""

import json
from typing import Any

import pytest
from fake_topics import BEGUN_MS, FakeTopics, decide, pipeline, summarise
from summary_factory import make
from typer.testing import CliRunner, Result

from streamtag.cli import context
from streamtag.cli import ledger as command
from streamtag.cli.dlq_views import time_of
from streamtag.errors import NotFoundError, RefusedError, SettingsError
from streamtag.stats import auditor
from streamtag.stats.auditor import CLOCKS_MS
from streamtag.stream.processor import Partition


@pytest.fixture
def topics() -> FakeTopics:
    return pipeline()


@pytest.fixture(autouse=True)
def no_kafka(monkeypatch: pytest.MonkeyPatch, topics: FakeTopics) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    monkeypatch.setattr(command, "TopicReader", lambda _: topics)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command.app, arguments, catch_exceptions=True)


def answer(*arguments: str, expect: int = 0) -> Any:
    result = run(*arguments, "--output", "json")
    assert result.exit_code == expect, result.exception
    found = json.loads(result.stdout)
    assert found["ok"] is (expect == 0)
    return found


def found(document: Any) -> list[tuple[str, list[int]]]:
    return [(finding["kind"], finding["positions"]) for finding in document["findings"]]


# -- ledger ----------------------------------------------------------------------------------------------------------


def test_a_ledger_that_is_whole_says_so_with_its_sums() -> None:
    [row] = answer()["partitions"]
    latest_ms = row.pop("latest_ms")
    assert latest_ms == BEGUN_MS
    assert row == {
        "topic": "content",
        "partition": 0,
        "from": 0,
        "to": 40,
        "committed": 40,
        "summaries": 4,
        "in": 40,
        "tagged": 12,
        "clean": 20,
        "dead": 4,
        "skipped": 4,
        "missing": 0,
        "doubled": 0,
    }
    table = run()
    assert table.exit_code == 0
    assert "Nothing is missing or doubled: 40 records in 4 summaries" in table.stdout


def test_gap_overlap_imbalance_and_what_cannot_be_read_are_named(topics: FakeTopics) -> None:
    gap = summarise(topics, make(45, 50))
    overlap = summarise(topics, make(48, 60, delivery="at_least_once"))
    imbalance = summarise(topics, make(60, 70, dead=1))
    unknown = summarise(topics, make(70, 80, version=9))
    topics.commits["content", 0] = 70
    document = answer(expect=1)
    assert document["counts"] == {"gap": 1, "overlap": 1, "imbalance": 1, "unreadable": 1}
    assert found(document) == [("gap", [40, 45]), ("overlap", [48, 50]), ("imbalance", [60, 70])]
    first, second, third = document["findings"]
    assert (first["before"], first["after"]) == ({"shard": 0, "offset": 3}, {"shard": 0, "offset": gap})
    assert (second["after"]["offset"], second["detail"]) == (overlap, "at_least_once")
    assert third["after"]["offset"] == imbalance
    [aside] = document["unreadable"]
    assert (aside["shard"], aside["offset"]) == (0, unknown)
    assert "version is 9" in aside["reason"]
    table = run()
    assert table.exit_code == 1
    for words in (
        "[40, 45)",
        "stats/0/3 and stats/0/4",
        "in 10 is not",
        "version is 9",
        "1 gap, 1 overlap, 1 imbalance",
    ):
        assert words in " ".join(table.stdout.split()), words


def test_what_is_committed_beyond_the_last_summary_is_a_gap(topics: FakeTopics) -> None:
    topics.commits["content", 0] = 44
    document = answer(expect=1)
    assert found(document) == [("gap", [40, 44])]
    assert (document["findings"][0]["after"], document["partitions"][0]["missing"]) == (None, 4)


def test_what_is_committed_while_the_ledger_is_read_has_its_summary(
    topics: FakeTopics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def committed(partitions: list[Partition]) -> dict[Partition, int]:
        summarise(topics, make(40, 44))
        return dict.fromkeys(partitions, 44)

    monkeypatch.setattr(topics, "committed", committed)
    [row] = answer()["partitions"]
    assert (row["to"], row["committed"]) == (44, 44)


def test_nothing_is_said_of_an_end_that_an_open_transaction_hides(topics: FakeTopics) -> None:
    topics.commits["content", 0] = 44
    topics.unsettled["stats", 0] = 4
    assert answer()["unsettled"] == ["stats/0"]
    assert "hides the end of stats/0" in run().stdout


def test_a_ledger_can_begin_at_a_time(topics: FakeTopics) -> None:
    summarise(topics, make(50, 60), at_ms=BEGUN_MS + 60_000)
    [row] = answer("--since", time_of(BEGUN_MS + 40_000), expect=1)["partitions"]
    assert (row["from"], row["to"]) == (30, 60)


def test_an_empty_stats_topic_is_no_fault(topics: FakeTopics) -> None:
    topics.logs["stats", 0] = []
    assert answer()["partitions"] == []
    assert "stats holds no summaries" in run().stdout


def test_what_a_forger_wrote_cannot_steer_the_terminal(topics: FakeTopics) -> None:
    summarise(topics, make(0, 10, topic="\x1b[31mred"))
    summarise(topics, make(5, 10, topic="\x1b[31mred"))
    assert "\x1b" not in run().stdout


# -- audit -----------------------------------------------------------------------------------------------------------


def test_an_audit_of_a_whole_pipeline_finds_nothing() -> None:
    document = answer("audit", "--from", "0")
    [row] = document["partitions"]
    assert (row["from"], row["to"], row["in"], row["summaries"]) == (0, 40, 40, 4)
    assert (row["tagged"], row["clean"], row["dead"], row["skipped"]) == (12, 20, 4, 4)
    table = run("audit", "--from", "0")
    assert table.exit_code == 0
    assert "Each of 40 records has exactly one outcome" in table.stdout


def test_what_has_no_outcome_or_two_is_found_and_the_summary_contradicted(topics: FakeTopics) -> None:
    del topics.logs["tags", 0][4]
    decide(topics, 18)
    document = answer("audit", "--from", "0", expect=1)
    assert found(document) == [
        ("lost", [4, 5]),
        ("doubled", [18, 19]),
        ("mismatch", [0, 10]),
        ("mismatch", [10, 20]),
    ]
    assert document["findings"][2]["summary"] == {"shard": 0, "offset": 0}
    assert document["findings"][2]["detail"] == "clean 5, recounted 4"
    table = run("audit", "--from", "0")
    assert table.exit_code == 1
    assert "dead 1, recounted 2" in " ".join(table.stdout.split())


def test_outcomes_of_positions_that_hold_nothing_are_found(topics: FakeTopics) -> None:
    del topics.logs["content", 0][12]
    assert ("invented", [12, 13]) in found(answer("audit", "--from", "0", expect=1))


def test_records_that_no_summary_covers_are_found(topics: FakeTopics) -> None:
    del topics.logs["stats", 0][1]
    assert found(answer("audit", "--from", "0", expect=1)) == [("uncovered", [10, 20])]


@pytest.mark.parametrize(
    ("arguments", "span"),
    [
        (["--from", "5", "--to", "25"], (5, 25)),
        (["--from", "5", "--to", "999"], (5, 40)),
        (["--from", time_of(BEGUN_MS + 20_000), "--to", time_of(BEGUN_MS + 30_000)], (20, 30)),
        (["--from", "10", "--partition", "content/0"], (10, 40)),
    ],
)
def test_a_range_is_given_by_positions_or_times(arguments: list[str], span: tuple[int, int]) -> None:
    [row] = answer("audit", *arguments)["partitions"]
    assert (row["from"], row["to"]) == span


@pytest.mark.parametrize("to", [[], ["--to", "999"]])
def test_what_is_not_committed_yet_is_not_lost(topics: FakeTopics, to: list[str]) -> None:
    topics.write("content", 0, b"{}")
    [row] = answer("audit", "--from", "35", *to)["partitions"]
    assert (row["to"], row["summaries_partly"]) == (40, 1)


def test_an_audit_ends_with_the_log_where_more_is_committed(topics: FakeTopics) -> None:
    topics.commits["content", 0] = 99
    assert answer("audit", "--from", "0")["partitions"][0]["to"] == 40


def test_what_the_input_no_longer_holds_is_counted(topics: FakeTopics) -> None:
    topics.lows["content", 0] = 10
    del topics.logs["content", 0][:10]
    [row] = answer("audit", "--from", "4")["partitions"]
    assert (row["from"], row["expired"]) == (10, 6)


def test_outputs_that_are_no_longer_whole_are_named(topics: FakeTopics) -> None:
    topics.lows["tags", 0] = 3
    del topics.logs["tags", 0][:3]
    document = answer("audit", "--from", "0", expect=1)
    assert document["truncated"] == ["tags/0"]
    assert "looks lost" in run("audit", "--from", "0").stdout


def test_records_of_others_are_passed_over_and_counted(topics: FakeTopics) -> None:
    topics.write("tags", 0, b"hello")
    topics.write("dead-letters", 0, b"hello")
    assert answer("audit", "--from", "0")["foreign"] == {"tags": 1, "dead-letters": 1}


@pytest.mark.parametrize(
    ("ahead_ms", "committed_ms"), [(CLOCKS_MS // 2, BEGUN_MS + CLOCKS_MS // 2), (10 * CLOCKS_MS, BEGUN_MS)]
)
def test_outcomes_are_found_where_the_clock_of_the_input_is_ahead(
    topics: FakeTopics, ahead_ms: int, committed_ms: int
) -> None:
    for at in range(40, 50):
        topics.write("content", 0, None if at == 49 else b"{}", at_ms=BEGUN_MS + ahead_ms)
        decide(topics, at)
    one = make(40, 50, tagged=3, clean=5, dead=1, skipped=1, committed_at_ms=committed_ms)
    summarise(topics, one, at_ms=BEGUN_MS + ahead_ms)
    topics.commits["content", 0] = 50
    assert answer("audit", "--from", "40")["partitions"][0]["in"] == 10


@pytest.mark.parametrize(
    ("arguments", "error", "saying"),
    [
        (["--from", "yesterday"], SettingsError, "--from 'yesterday' is no time"),
        (["--from", "0", "--to", "-1"], SettingsError, "--to"),
        (["--from", "0", "--partition", "content"], SettingsError, "topic/partition"),
        (["--from", "40"], NotFoundError, "has committed nothing that the range holds"),
        (["--from", "20", "--to", "20"], NotFoundError, "has committed nothing"),
        (["--from", "0", "--partition", "content/7"], NotFoundError, "has committed nothing"),
        (["--from", "0", "--partition", "nowhere/0"], NotFoundError, "nowhere"),
    ],
)
def test_a_range_that_is_none_is_refused(arguments: list[str], error: type[Exception], saying: str) -> None:
    result = run("audit", *arguments)
    assert isinstance(result.exception, error)
    assert saying in str(result.exception)


def test_a_range_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "MAX_POSITIONS", 39)
    result = run("audit", "--from", "0")
    assert isinstance(result.exception, RefusedError)
    assert answer("audit", "--from", "1")["partitions"][0]["in"] == 39
