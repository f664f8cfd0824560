"""What readers may rely on: the records of a working tagger follow the schemas in `topics/`, to the last field.

Records of version 1 that were written once are kept here as they were: they must be readable for ever, and mean the
same.
"""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import msgspec
import pytest
from confluent_kafka import Message
from stages import NeverStopped

from streamtag.control.breakers import ActiveBreakers
from streamtag.control.watcher import ActiveRelease
from streamtag.domain.release import BundleRef, ReleaseRef
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.domain.two_stage import Bands
from streamtag.events import summary, tags
from streamtag.events.topics import read_declarations
from streamtag.settings import load_settings
from streamtag.stream.processor import Output, Range
from streamtag.tagger.tagger import Tagger
from streamtag.telemetry.metrics import Metrics
from streamtag.telemetry.tracing import BatchTracer

DECLARATIONS = read_declarations()
NOW = 1_700_000_012_345
PARENT = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
THRESHOLDS = ThresholdSet({"spam": 0.5, "insult": 1}, (Override({"lang": "de"}, {"spam": 0.0}),))


class Scorer:
    """Two labels; the length of a text is its score in tenths."""

    labels = ("spam", "insult")
    reads_text, reads_features = True, False
    second: "Scorer | None" = None
    bands: Bands | None = None

    def take_filled(self) -> dict[tuple[str, str], int]:
        return {}

    def score(self, texts: list[str], features: None) -> Any:
        import numpy as np

        return np.array([[len(text) / 10, 1.0] for text in texts], dtype=np.float32)


class TwoStages(Scorer):
    """Another one says the same of everything that is not quite sure to be spam."""

    second = Scorer()
    bands = Bands.of(("spam", "insult"), {"spam": (0.0, 0.9)}, 0.0)


def schema(role: str) -> dict[str, Any]:
    found = DECLARATIONS[role].value_schema
    assert found is not None
    return found


def records() -> list[Message]:
    """Every kind of record: with and without segment, trace, believable timestamp, key, text."""
    everything = {"id": "a", "text": "12345678", "lang": "de", "channel": "c", "tenant": "other"}
    given: list[tuple[Any, list[tuple[str, str | bytes | None]], int]] = [
        (everything, [("traceparent", PARENT), ("tracestate", b"a=1")], NOW),
        ({"id": "b", "text": ""}, [], NOW - 10_000),
        ({"id": "c", "text": "1234567890"}, [], NOW + 10**9),
        ({"id": "d", "text": "123"}, [], -1),
        ({"text": "no id"}, [], NOW),
        (None, [], NOW),
    ]
    return [
        Message(
            topic="content",
            partition=offset % 2,
            offset=offset,
            key=b"k" if offset else None,
            value=None if event is None else json.dumps(event).encode(),
            headers=headers,
            timestamp=(1, at_ms) if at_ms >= 0 else (0, -1),
        )
        for offset, (event, headers, at_ms) in enumerate(given)
    ]


def run(*, scorer: type[Scorer] = Scorer, **overrides: str) -> list[Output]:
    """All outputs of one transaction that spans a change of the release."""
    names = {
        "stats.segments": "{lang: [de], tenant: [a, b]}",
        **{k.replace("__", "."): v for k, v in overrides.items()},
    }
    settings = load_settings(environ={}, overrides=names).settings
    bundle = BundleRef("tiny", "1", "b" * 64)
    releases = iter(
        ActiveRelease(ReleaseRef(n, f"{n:064x}", bundle, n, f"{n:064x}"), THRESHOLDS, scorer(), "redis")  # type: ignore[arg-type]
        for n in range(1, 100)
    )
    tagger = Tagger(
        settings,
        worker="host-0",
        release=lambda: next(releases),
        stop=NeverStopped(),  # type: ignore[arg-type]
        metrics=Metrics.in_memory(),
        tracer=BatchTracer(),
        breakers=lambda: ActiveBreakers(3, frozenset(THRESHOLDS.labels)),
        clock_ms=lambda: NOW,
    )
    outputs = [*tagger.process(records()[:3]), *tagger.process(records()[3:])]
    return [*outputs, *tagger.close({("content", 0): Range(0, 5), ("content", 1): Range(1, 6)})]


def documents(role: str, **overrides: Any) -> list[dict[str, Any]]:
    found = [json.loads(o.value) for o in run(**overrides) if o.topic == role and o.value is not None]
    assert found
    return found


VARIANTS: list[dict[str, Any]] = [
    {},
    {"tagger__emit": "tagged", "tagger__scores": "false", "stats__segments": "{}"},
    {"tagger__delivery": "at_least_once", "stats__pane_s": "1"},
    {"scorer": TwoStages, "tagger__stage2_share": "1"},
]


@pytest.mark.parametrize("role", ["tags", "stats"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_record_a_tagger_writes_is_valid_and_holds_nothing_undeclared(role: str, variant: dict[str, Any]) -> None:
    closed = _closed(schema(role))
    for document in documents(role, **variant):
        jsonschema.validate(document, closed, cls=jsonschema.Draft202012Validator)


def test_the_variants_write_every_declared_field() -> None:
    """Fields of experiments are the only ones that no record has here."""
    rows = "/panes/*/experiments"
    for role, later in (("tags", {"/arm", "/experiment"}), ("stats", {"/panes/*/shadow", rows})):
        root = schema(role)
        made = [document for variant in VARIANTS for document in documents(role, **variant)]
        seen = {path for document in made for path in _paths(document, root, root)}
        declared = {path for path, _ in _fields(root, root) if not path.startswith(f"{rows}/")}
        assert declared - seen == later, role


@pytest.mark.parametrize("role", ["content", "tags", "stats"])
def test_every_field_is_described(role: str) -> None:
    for path, field in _fields(schema(role), schema(role)):
        assert field.get("description"), f"{role}: {path} has no description"


def test_summaries_keep_the_names_that_readers_know_and_add_up() -> None:
    """``from``, ``to`` and ``in`` are what readers know; the code calls them otherwise, as they are Python's."""
    for document in documents("stats"):
        assert {"from", "to", "in"} <= document.keys()
        assert not [name for name in document if name.endswith("_")]
        assert document["in"] == document["tagged"] + document["clean"] + document["dead"] + document["skipped"]


def test_the_keys_are_the_declared_ones() -> None:
    outputs = run()
    assert [o.key for o in outputs if o.topic == "stats"] == [b"content/0", b"content/1"]
    assert {o.key for o in outputs if o.topic == "tags"} == {None, b"k"}


# -- records of version 1, as they were written ------------------------------------------------------------------------

TAG_V1 = b"""{"id":"e1","source":{"topic":"content","partition":3,"offset":42,"timestamp_ms":1700000012345},
"tags":[{"label":"spam","score":0.750001,"threshold":0.5,"action":"tag"}],"scores":{"spam":0.750001,"insult":0.0},
"thresholds":{"spam":0.5,"insult":1.0},"release":{"number":7,"sha256":"%(sha)s",
"bundle":{"name":"moderation","version":"1","sha256":"%(sha)s"},"thresholds":{"revision":9,"sha256":"%(sha)s"}},
"processed_at":"2023-11-14T22:13:32.345Z","segment":{"lang":"de"},
"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01","time_flag":"arrival"}""" % {b"sha": b"0" * 64}

SUMMARY_V1 = b"""{"version":1,"topic":"content","partition":3,"from":40,"to":47,"in":4,"tagged":1,"clean":1,"dead":1,
"skipped":1,"pane_ms":10000,"writer":"group-host-0","delivery":"exactly_once","committed_at_ms":1700000012345,
"panes":[{"start_ms":1700000010000,"release":7,"release_sha256":"%(sha)s","bundle":"moderation@1",
"bundle_sha256":"%(sha)s","revision":9,"revision_sha256":"%(sha)s","arm":"control","events":2,"by_arrival":1,
"labels":{"spam":{"alerts":1,"sum_micro":750001,"bins":[0,768],"counts":[1,1]}},
"segments":{"lang":{"de":{"events":1,"alerts":{"spam":1}},"other":{"events":1,"alerts":{}}}}}]}""" % {b"sha": b"0" * 64}


@pytest.mark.parametrize(("role", "written"), [("tags", TAG_V1), ("stats", SUMMARY_V1)])
def test_a_record_of_version_1_is_still_valid(role: str, written: bytes) -> None:
    jsonschema.validate(json.loads(written), schema(role), cls=jsonschema.Draft202012Validator)


def test_a_summary_of_version_1_is_still_read_and_means_the_same() -> None:
    found = summary.decode(SUMMARY_V1)
    assert (found.topic, found.partition, found.from_offset, found.to_offset, found.in_) == ("content", 3, 40, 47, 4)
    [pane] = found.panes
    assert pane.labels["spam"] == summary.LabelCounts(1, 750_001, [0, 768], [1, 1])
    assert pane.segments["lang"]["de"] == summary.SegmentCounts(1, {"spam": 1})
    assert json.loads(summary.encode(found)) == json.loads(SUMMARY_V1)


def test_a_tag_event_of_version_1_is_still_read() -> None:
    found = msgspec.json.decode(TAG_V1, type=tags.TagEvent)
    assert (found.source.offset, found.tags[0].label, found.stage, found.arm) == (42, "spam", "1", "control")


def test_a_reader_of_today_is_not_stopped_by_a_field_of_tomorrow() -> None:
    for role, written in (("tags", TAG_V1), ("stats", SUMMARY_V1)):
        newer = {**json.loads(written), "added_later": [1, 2]}
        jsonschema.validate(newer, schema(role), cls=jsonschema.Draft202012Validator)
    assert summary.decode(json.dumps({**json.loads(SUMMARY_V1), "added_later": 1}).encode()).in_ == 4


# -- walking a schema --------------------------------------------------------------------------------------------------


def _resolved(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    target = root
    for part in node["$ref"].split("/")[1:]:
        target = target[part]
    return {**target, **{name: value for name, value in node.items() if name != "$ref"}}


def _fields(node: dict[str, Any], root: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Path and definition of every named field, at any depth; ``*`` stands for a list or map of them."""
    node = _resolved(node, root)
    for name, field in node.get("properties", {}).items():
        yield f"{at}/{name}", _resolved(field, root)
        yield from _fields(field, root, f"{at}/{name}")
    for inner in (node.get("items"), node.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from _fields(inner, root, f"{at}/*")


def _closed(node: Any) -> Any:
    """The schema, refusing every field that it does not name."""
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: _closed(value) for name, value in node.items()}
    if node.get("type") == "object" and "properties" in node:
        found["additionalProperties"] = False
    return found


def _paths(document: Any, node: dict[str, Any], root: dict[str, Any], at: str = "") -> Iterator[str]:
    """Those of the paths of `_fields` that are in the document."""
    node = _resolved(node, root)
    if isinstance(document, list):
        for one in document:
            yield from _paths(one, node["items"], root, f"{at}/*")
    elif isinstance(document, dict):
        named = node.get("properties", {})
        for name, value in document.items():
            if name in named:
                yield f"{at}/{name}"
                yield from _paths(value, named[name], root, f"{at}/{name}")
            else:
                yield from _paths(value, node["additionalProperties"], root, f"{at}/*")
