"""The tagger as a processor: one release a batch, nothing left over from what was undone, and what it tells others."""

import json
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from foreign_models import build_numbers_bundle
from services import wait_until
from tagging import LABELS, NOW, RAISES, Rig, mark, raw_record, record, release

from streamtag.domain.thresholds import ThresholdSet
from streamtag.model.loading import load_scorer
from streamtag.settings import load_settings
from streamtag.stream.options import StreamOptions
from streamtag.stream.processor import Commit, Hold, Range
from streamtag.stream.start import Start
from streamtag.tagger import worker
from streamtag.tagger.worker import stream_options
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.setup import Telemetry
from streamtag.telemetry.tracing import BatchTracer

ZERO, ONE = ("content", 0), ("content", 1)


def test_without_a_release_nothing_is_processed() -> None:
    rig = Rig()
    rig.active = None
    assert rig.tagger.held() == "no release to decide by yet"
    with pytest.raises(Hold):
        rig.process(record(0, 0.9, 0.1))
    rig.active = release()
    assert rig.tagger.held() is None


def test_a_release_that_goes_away_keeps_deciding() -> None:
    rig = Rig()
    rig.process(record(0, 0.9, 0.1))
    rig.active = None
    assert rig.tagger.held() is None
    assert len(rig.tags(rig.process(record(1, 0.9, 0.1)))) == 1


def test_a_batch_is_decided_by_the_release_that_was_active_as_it_began() -> None:
    rig = Rig(active=release(1, ThresholdSet({"spam": 0.5, "insult": 0.5})))
    outputs = rig.tagger.process([record(0, 0.6, 0.1), record(1, 0.6, 0.1)])
    first = next(iter(outputs))
    rig.active = release(2, ThresholdSet({"spam": 0.9, "insult": 0.5}))
    both = [first, *outputs]
    assert [tag["release"]["number"] for tag in rig.tags(both)] == [1, 1]
    assert all(tag["tags"] for tag in rig.tags(both))
    [after] = rig.tags(rig.process(record(2, 0.6, 0.1)))
    assert (after["release"]["number"], after["tags"]) == (2, [])


def test_a_bundle_with_other_labels_takes_over_between_batches() -> None:
    rig = Rig()
    rig.process(record(0, 0.9, 0.1))
    rig.active = release(2, labels=("threat",))
    [tag] = rig.tags(rig.process(record(1, 0.9)))
    assert tag["scores"] == {"threat": 0.9}
    [one] = rig.close()
    assert [sorted(pane["labels"]) for pane in one["panes"]] == [sorted(LABELS), ["threat"]]


def test_the_end_of_every_range_is_committed() -> None:
    covered = {("content", 0): Range(3, 9), ONE: Range(0, 1)}
    assert Rig().tagger.commits(covered) == {("content", 0): Commit(9), ONE: Commit(1)}


def test_summaries_are_keyed_by_their_source_and_say_who_wrote_them() -> None:
    rig = Rig()
    rig.process(record(5, 0.9, 0.1, partition=ONE))
    [output] = rig.tagger.close({ONE: Range(3, 6)})
    found = json.loads(output.value or b"")
    assert (output.topic, output.key) == ("stats", b"content/1")
    assert (found["from"], found["to"], found["writer"], found["delivery"]) == (3, 6, "g-0", "exactly_once")
    assert (found["committed_at_ms"], found["pane_ms"], found["version"]) == (NOW, 10_000, 1)


# -- metrics count what stands -----------------------------------------------------------------------------------------


def test_outcomes_are_counted_when_they_are_committed_and_once() -> None:
    rig = Rig({"dead_letters.max_bytes": "10000"})
    batch = [
        record(0, 0.9, 0.6),
        record(1, 0.1, 0.1, at_ms=NOW + 10**9),
        raw_record(2, b"{" * 20_000),
        raw_record(3, None),
        record(4, text=RAISES),
    ]
    rig.process(*batch)
    names = ("tagged", "clean", "dead", "skipped")
    assert [rig.metrics.value(f"streamtag.events.{name}") for name in names] == [0, 0, 0, 0]
    rig.tagger.undo()
    rig.process(*batch)
    rig.close()
    assert [rig.metrics.value(f"streamtag.events.{name}") for name in names] == [1, 1, 2, 1]
    assert rig.metrics.value("streamtag.label.alerts", label="insult") == 1
    assert rig.metrics.value("streamtag.timestamps.by_arrival") == 1
    assert rig.metrics.value("streamtag.events.dead", error_class="scorer_error", stage="infer") == 1
    assert rig.metrics.value("streamtag.dead_letters.truncated") == 1
    assert rig.metrics.value("streamtag.batch.bisections") == 4, "counted where it was undone, too"


def test_what_a_bundle_fills_in_is_counted_and_what_it_refuses_is_dead(tmp_path: Path) -> None:
    scorer = load_scorer(build_numbers_bundle(tmp_path / "bundles", tmp_path / "scratch"), batch=64)
    rig = Rig(active=release(labels=scorer.labels, scorer=scorer))
    rig.process(
        raw_record(0, b'{"id": "a", "features": {"amount": 1}}'),
        raw_record(1, b'{"id": "b", "features": {"amount": "one"}}'),
        raw_record(2, b'{"id": "c", "text": "no features"}'),
    )
    rig.close()
    assert rig.metrics.value("streamtag.features.filled", feature="age", why="missing") == 1
    assert rig.metrics.value("streamtag.events.dead", error_class="invalid_feature", stage="infer") == 2


# -- what the fleet is told --------------------------------------------------------------------------------------------


def test_latency_runs_from_the_records_timestamp_to_the_commit() -> None:
    rig = Rig()
    assert rig.tagger.latency() is None
    rig.process(*[record(i, 0.9, 0.1, at_ms=NOW - 5) for i in range(9)], record(9, 0.1, 0.1, at_ms=NOW - 14))
    rig.process(record(10, 0.9, 0.1, at_ms=NOW + 10**9))  # not believed
    rig.now_ms += 3
    assert rig.tagger.latency() is None, "nothing is committed"
    rig.close()
    assert rig.tagger.latency() == (8, 17)
    assert rig.metrics.value("streamtag.end_to_end.latency") == 1


def test_an_undone_transaction_has_no_latency() -> None:
    rig = Rig()
    rig.process(record(0, 0.9, 0.1, at_ms=NOW - 5_000))
    rig.tagger.undo()
    rig.process(record(0, 0.9, 0.1, at_ms=NOW))
    rig.close()
    assert rig.tagger.latency() == (0, 0)
    rig.process(raw_record(1, b"{}"))
    rig.close()
    assert rig.metrics.value("streamtag.end_to_end.latency") == 1, "a dead letter has no tags to wait for"


def test_each_partition_is_told_with_the_first_position_the_release_decided() -> None:
    rig = Rig()
    for partition in range(4):  # a batch usually holds records of one partition only
        rig.process(record(10 + partition, 0.9, 0.1, partition=("content", partition)))
        rig.process(record(20 + partition, 0.9, 0.1, partition=("content", partition)))
        rig.close()
    assert rig.tagger.applied()[2] == {f"content/{p}": 10 + p for p in range(4)}


def test_a_partition_gained_later_is_told_too() -> None:
    rig = Rig()
    rig.process(*[record(1, 0.9, 0.1, partition=("content", p)) for p in range(3)])
    rig.close()
    rig.process(record(7, 0.9, 0.1, partition=("content", 9)))
    rig.close()
    assert rig.tagger.applied()[2]["content/9"] == 7


def test_what_was_undone_was_not_decided() -> None:
    rig = Rig()
    rig.process(record(5, 0.9, 0.1))
    assert rig.tagger.applied()[2] == {}
    rig.tagger.undo()
    rig.active = release(2)
    rig.process(record(5, 0.9, 0.1))
    rig.process(record(6, 0.9, 0.1))
    rig.close()
    active, at_ms, since = rig.tagger.applied()
    assert active is not None
    assert (active.ref.number, at_ms, since) == (2, NOW, {"content/0": 5})


def test_an_idle_worker_applies_a_release_too() -> None:
    rig = Rig()
    rig.tagger.held()
    rig.active, rig.now_ms = release(2), NOW + 500
    rig.tagger.held()
    active, at_ms, _ = rig.tagger.applied()
    assert active is not None
    assert (active.ref.number, at_ms) == (2, NOW + 500)


def test_whoever_asks_while_a_release_is_applied_hears_of_one_release_only() -> None:
    rig = Rig()
    rig.process(record(5, 0.9, 0.1))
    rig.close()
    heard = []

    def clock_ms() -> int:
        active, at_ms, since = rig.tagger.applied()
        heard.append((active.ref.number if active else None, at_ms, since))
        return NOW + 500

    rig.tagger._clock_ms = clock_ms
    rig.active = release(2)
    rig.tagger.held()
    assert heard == [(1, NOW, {"content/0": 5})]
    active, at_ms, since = rig.tagger.applied()
    assert active is not None
    assert (active.ref.number, at_ms, since) == (2, NOW + 500, {})


# -- the stop ----------------------------------------------------------------------------------------------------------


def test_too_many_dead_letters_hold_and_stop_the_group() -> None:
    rig = Rig({"dead_letters.max_consecutive": "3"})
    rig.process(*[raw_record(i, b"{}") for i in range(3)])
    rig.close()
    with pytest.raises(Hold, match="4 dead letters in a row"):
        rig.process(raw_record(3, b"{}"))
    reason = rig.tagger.held() or ""
    assert "4 dead letters in a row on content/0" in reason
    assert "missing_field at decode" in reason


def test_dead_letters_that_were_undone_do_not_add_up() -> None:
    rig = Rig({"dead_letters.max_consecutive": "3"})
    for _ in range(5):
        rig.process(raw_record(0, b"{}"), raw_record(1, b"{}"))
        rig.tagger.undo()
    assert rig.tagger.held() is None


@pytest.mark.parametrize(("position", "stops"), [(3, True), (1_000_000, False)])
def test_dead_letters_in_a_row_are_those_of_one_worker_only(position: int, stops: bool) -> None:
    """Whoever had the partition in between may have tagged a million good records."""
    rig = Rig({"dead_letters.max_consecutive": "3"})
    rig.process(*[raw_record(i, b"{}") for i in range(3)])
    rig.close()
    rig.tagger.released([ZERO])
    rig.tagger.assigned({ZERO: Start(position)})
    with pytest.raises(Hold) if stops else nullcontext():
        rig.process(raw_record(position, b"{}"))
    assert (rig.tagger.held() is not None) == stops


def test_a_worker_tells_its_tagger_of_partitions_that_come_and_go(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[Any] = []

    def runner(_options: StreamOptions, processor: object, _metrics: Metrics, *, keeper: object) -> None:
        made.extend([processor, keeper])

    monkeypatch.setattr(worker, "Runner", runner)
    found = load_settings(environ={}, overrides={"state_dir": str(tmp_path)}).settings
    worker._Worker(found, "slot", cast(Telemetry, SimpleNamespace(metrics=Metrics.in_memory(), tracer=BatchTracer())))
    assert made[0] is made[1]


def test_a_lifted_stop_lets_what_led_to_it_pass() -> None:
    rig = Rig({"dead_letters.max_consecutive": "3"})
    rig.stops.mark = mark()
    rig.stop.start()
    assert rig.tagger.held()
    rig.stops.lift(p0=10)
    wait_until(lambda: rig.tagger.held() is None, 5, "lifted")
    for some in (range(1), range(1, 6), range(6, 10)):  # however it falls into transactions
        rig.process(*[raw_record(i, b"{}") for i in some])
        [one] = rig.close()
        assert one["dead"] == len(some)
        assert not rig.tagger._limit._window, "what may pass is not kept, however much it is"
    rig.process(*[raw_record(i, b"{}") for i in range(10, 13)])
    with pytest.raises(Hold):
        rig.process(raw_record(13, b"{}"))  # what was written later counts, from nothing
    rig.stop.close()


def test_a_pardon_holds_where_the_log_has_grown_since_its_end_was_known() -> None:
    """It is told of where reading begins only after the group stood still, perhaps for hours."""
    rig = Rig({"dead_letters.max_consecutive": "3"})
    rig.stops.lift(p0=10)
    rig.stop.start()
    assert rig.tagger.held() is None
    rig.tagger.assigned({ZERO: Start(0, end=4)})
    rig.process(*[raw_record(i, b"{}") for i in range(10)])
    rig.stop.close()


def test_a_pardon_that_was_given_for_another_log_is_void() -> None:
    rig = Rig({"dead_letters.max_consecutive": "3"})
    rig.stops.lift(p0=1_000)
    rig.stop.start()
    assert rig.tagger.held() is None
    rig.tagger.assigned({ZERO: Start(0, rewound=True, end=4)})
    with pytest.raises(Hold):
        rig.process(*[raw_record(i, b"{}") for i in range(4)])
    rig.stop.close()


# -- settings reach the loop -------------------------------------------------------------------------------------------


def test_every_option_of_the_loop_comes_from_a_setting() -> None:
    names = {
        "kafka.bootstrap_servers": "broker:1",
        "tagger.group": "another",
        "topics.input": "[one, two]",
        "tagger.delivery": "at_least_once",
        "tagger.start": "latest",
        "tagger.commit_interval_ms": "101",
        "tagger.batch_size": "102",
        "tagger.batch_wait_ms": "103",
        "tagger.queue_batches": "104",
        "tagger.pause_after_ms": "105",
        "tagger.transaction_timeout_ms": "10601",
        "tagger.session_timeout_ms": "10701",
        "tagger.max_poll_interval_ms": "108000",
        "tagger.revoke_budget_ms": "109",
        "tagger.drain_timeout_s": "11",
        "tagger.group_protocol": "consumer",
        "tagger.group_instance_id": "static",
        "dead_letters.max_bytes": "9000000",
        "kafka.client": "{security.protocol: ssl}",
        "kafka.consumer": "{fetch.min.bytes: 2}",
        "kafka.producer": "{linger.ms: 6}",
    }
    found = stream_options(load_settings(environ={}, overrides=names).settings, "another-0")
    default = stream_options(load_settings(environ={}).settings, "slot")
    for field in fields(StreamOptions):
        if field.name == "read_to":  # a function, and the windower's alone
            continue
        assert getattr(found, field.name) != getattr(default, field.name), f"{field.name} is not taken from settings"
    assert found.transactional_id == "another-0"


@pytest.mark.parametrize("events_bytes", [1_048_576, 20_000_000])
def test_the_producer_takes_the_largest_dead_letter_and_the_largest_event(events_bytes: int) -> None:
    settings = load_settings(environ={}, overrides={"events.max_bytes": str(events_bytes)}).settings
    found = stream_options(settings, "slot")
    assert found.max_message_bytes > max(settings.dead_letters.max_bytes, settings.events.max_bytes)
