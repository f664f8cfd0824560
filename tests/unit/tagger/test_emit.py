"""Stage 4: what goes out for each record, in which order and under which key."""

import msgspec
import pytest
from confluent_kafka import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from tagging import LABELS, NOW, RAISES, Rig, raw_record, record, release

from streamtag.control.breakers import ActiveBreakers
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.stream.processor import Output
from streamtag.tagger.decide import scores_type

PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TAGGED, CLEAN = (0.9, 0.1), (0.1, 0.1)


def source_offsets(rig: Rig, outputs: list[Output]) -> list[int]:
    """Offset of the source of each record for the tags topic, in order."""
    found = []
    for output in outputs:
        if output.topic != rig.settings.topics.tags:
            continue
        if output.value is None:
            [(_, source)] = output.headers or ()
            found.append(int((source or b"").rpartition(b"/")[2]))
        else:
            found.append(rig.tags([output])[0]["source"]["offset"])
    return found


@pytest.mark.parametrize("key", [b"entity", None, b"", b"\xff\x00"])
def test_the_key_goes_from_input_to_output_byte_for_byte(key: bytes | None) -> None:
    rig = Rig()
    outputs = rig.process(record(0, *TAGGED, key=key), raw_record(1, None, key=key), raw_record(2, b"{}", key=key))
    assert [output.key for output in outputs] == [key] * 3


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["tagged", "clean", "bad", "tombstone", "raises"]), max_size=15), st.booleans())
def test_order_within_a_partition_is_kept_whatever_comes_between(kinds: list[str], only_tagged: bool) -> None:
    """A tombstone that overtook an event, or was overtaken, would delete the wrong one of a compacted topic."""
    make = {
        "tagged": lambda offset: record(offset, *TAGGED),
        "clean": lambda offset: record(offset, *CLEAN),
        "bad": lambda offset: raw_record(offset, b"{}"),
        "tombstone": lambda offset: raw_record(offset, None),
        "raises": lambda offset: record(offset, text=RAISES),
    }
    records: list[Message] = [make[kind](offset) for offset, kind in enumerate(kinds)]
    if not records:
        return
    rig = Rig({"tagger.emit": "tagged" if only_tagged else "all"})
    outputs = rig.process(*records)
    emitted = {"tagged", "tombstone"} if only_tagged else {"tagged", "clean", "tombstone"}
    assert source_offsets(rig, outputs) == [i for i, kind in enumerate(kinds) if kind in emitted]
    dead = [int(dict(letter.headers or ())["streamtag.dlq.offset"] or 0) for letter in rig.dead(outputs)]
    assert dead == [i for i, kind in enumerate(kinds) if kind in ("bad", "raises")]


def test_a_tag_event_explains_itself() -> None:
    found = ThresholdSet({"spam": 0.5, "insult": 0.25}, (Override({"lang": "de"}, {"insult": 0.75}),))
    rig = Rig(active=release(7, found))
    [tag] = rig.tags(rig.process(record(42, 0.5, 0.7, lang="de", tenant="a", at_ms=NOW - 5, partition=("content", 3))))
    assert tag == {
        "id": "e42",
        "source": {"topic": "content", "partition": 3, "offset": 42, "timestamp_ms": NOW - 5},
        "tags": [{"label": "spam", "score": 0.5, "threshold": 0.5, "action": "tag"}],
        "scores": {"spam": 0.5, "insult": 0.7},
        "thresholds": {"spam": 0.5, "insult": 0.75},
        "release": {
            "number": 7,
            "sha256": f"{7:064x}",
            "bundle": {"name": "tiny", "version": "1", "sha256": "b" * 64},
            "thresholds": {"revision": 7, "sha256": f"{1007:064x}"},
        },
        "processed_at": "2023-11-14T22:13:32.345Z",
        "segment": {"lang": "de", "tenant": "a"},
    }


def test_what_was_not_needed_is_not_in_the_event() -> None:
    rig = Rig()
    [tag] = rig.tags(rig.process(record(0, *CLEAN)))
    assert not {"segment", "arm", "experiment", "traceparent", "time_flag", "stage"} & tag.keys()


def test_only_tagged_events_go_out_where_so_set_and_all_are_counted() -> None:
    rig = Rig({"tagger.emit": "tagged"})
    outputs = rig.process(record(0, *CLEAN), record(1, *TAGGED), record(2, *CLEAN))
    assert source_offsets(rig, outputs) == [1]
    [one] = rig.close()
    assert (one["in"], one["tagged"], one["clean"]) == (3, 1, 2)
    assert one["panes"][0]["labels"]["spam"]["counts"] == [2, 1]


def test_without_scores_tags_still_carry_theirs() -> None:
    rig = Rig({"tagger.scores": "false"})
    [tag] = rig.tags(rig.process(record(0, *TAGGED)))
    assert tag["scores"] == {}
    assert tag["tags"] == [{"label": "spam", "score": 0.9, "threshold": 0.5, "action": "tag"}]
    assert tag["thresholds"] == dict.fromkeys(LABELS, 0.5)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5, unique=True), st.data())
def test_scores_are_published_under_their_labels_whatever_these_are_called(
    labels: list[str], data: st.DataObject
) -> None:
    scores = data.draw(st.tuples(*(st.integers(0, 1_000_000).map(lambda micro: micro / 1_000_000) for _ in labels)))
    made = scores_type(tuple(labels))(*scores)
    assert msgspec.json.encode(made) == msgspec.json.encode(dict(zip(labels, scores, strict=True)))


def test_the_trace_context_is_carried_in_headers_and_event() -> None:
    rig = Rig()
    traced: list[tuple[str, str | bytes | None]] = [("traceparent", PARENT), ("tracestate", b"a=1"), ("other", b"x")]
    broken: list[tuple[str, str | bytes | None]] = [("traceparent", b"00-nonsense")]
    outputs = rig.process(record(0, *TAGGED), record(1, *TAGGED, headers=traced), record(2, *TAGGED, headers=broken))
    assert [output.headers for output in outputs] == [None, [("traceparent", PARENT), ("tracestate", b"a=1")], None]
    assert [tag.get("traceparent") for tag in rig.tags(outputs)] == [None, PARENT.decode(), None]
    assert rig.metrics.value("streamtag.trace.invalid") == 1


def test_a_trace_context_stays_with_its_event_when_neighbours_are_refused() -> None:
    rig = Rig()
    outputs = rig.process(
        record(0, text=RAISES),
        record(1, *TAGGED, headers=[("traceparent", PARENT)]),
        raw_record(2, b"{}"),
        record(3, *TAGGED),
    )
    found = {tag["source"]["offset"]: tag.get("traceparent") for tag in rig.tags(outputs)}
    assert found == {1: PARENT.decode(), 3: None}


def test_a_timestamp_nobody_believes_is_flagged_in_the_event() -> None:
    rig = Rig()
    outputs = rig.process(
        record(0, *CLEAN), record(1, *CLEAN, at_ms=NOW + 10**9), record(2, *CLEAN), record(3, *CLEAN, at_ms=-1)
    )
    assert [tag.get("time_flag") for tag in rig.tags(outputs)] == [None, "arrival", None, "arrival"]
    assert rig.tags(outputs)[3]["source"]["timestamp_ms"] < 0


def test_a_dead_letter_names_release_and_worker_and_keeps_the_record() -> None:
    rig = Rig(active=release(7))
    [letter] = rig.process(raw_record(5, b'{"id": 1}', key=b"k", headers=[("app", b"kept")]))
    headers = dict(letter.headers or ())
    assert (letter.topic, letter.key, letter.value) == ("dead-letters", b"k", b'{"id": 1}')
    assert headers["app"] == b"kept"
    assert headers["streamtag.dlq.release"] == b"7"
    assert headers["streamtag.dlq.worker"] == b"g-0"
    assert headers["streamtag.dlq.at_ms"] == str(NOW).encode()


def test_tags_of_a_label_with_an_open_breaker_ask_for_review_and_nothing_else_differs() -> None:
    rig = Rig()
    before = rig.tags(rig.process(record(0, 0.9, 0.9)))
    rig.breakers = ActiveBreakers(3, frozenset({"insult"}))
    [during] = rig.tags(rig.process(record(0, 0.9, 0.9)))
    assert [(tag["label"], tag["action"]) for tag in during["tags"]] == [("spam", "tag"), ("insult", "review")]
    assert during.pop("breakers") == 3
    for tag in during["tags"]:
        tag["action"] = "tag"
    assert [during] == before
    assert rig.close()[0]["panes"][0]["labels"]["insult"]["alerts"] == 2, "statistics count it as ever"
    rig.breakers = ActiveBreakers(4)
    assert rig.tags(rig.process(record(1, 0.9, 0.9)))[0].keys() == before[0].keys()
