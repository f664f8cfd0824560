"""The schemas in `topics/` and the structs in the code say the same."""

from typing import Any

import jsonschema
import msgspec
import pytest

from streamtag.events import content, dead_letters, panes, summary, tags
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.events.topics import read_declarations

DECLARATIONS = read_declarations()
SHA = "0" * 64

TAG_EVENT = tags.TagEvent(
    id="e1",
    source=tags.Source("content", 3, 42, 1_700_000_000_000),
    tags=[tags.Tag("spam", 0.75, 0.5)],
    scores={"spam": 0.75, "ad": 0.0},
    thresholds=msgspec.Raw(b'{"spam":0.5,"ad":1}'),
    release={
        "number": 7,
        "sha256": SHA,
        "bundle": {"name": "moderation", "version": "1", "sha256": SHA},
        "thresholds": {"revision": 9, "sha256": SHA},
    },
    processed_at="2026-11-23T03:00:00.123Z",
    stage="2",
    segment=tags.SegmentValues(lang="en", tenant="a"),
    arm="candidate",
    experiment="x1",
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    time_flag="arrival",
)
SUMMARY = summary.CommitSummary(
    version=summary.VERSION,
    topic="content",
    partition=3,
    from_offset=40,
    to_offset=45,
    in_=4,
    tagged=1,
    clean=1,
    dead=1,
    skipped=1,
    pane_ms=10_000,
    writer="host-0",
    delivery="exactly_once",
    committed_at_ms=1_700_000_000_000,
    panes=[
        summary.PaneCounts(
            start_ms=1_700_000_000_000,
            release=7,
            release_sha256=SHA,
            bundle="moderation@1",
            bundle_sha256=SHA,
            revision=9,
            revision_sha256=SHA,
            arm="control",
            events=2,
            by_arrival=1,
            labels={"spam": summary.LabelCounts(1, 750_001, [0, 768], [1, 1])},
            segments={"lang": {"en": summary.SegmentCounts(1, {"spam": 1}), "other": summary.SegmentCounts(1, {})}},
            experiments=[
                summary.ExperimentRows(
                    "3-0123456789ab", 0, "shadow", ["spam"], summary.UnitRows(b"8 bytes.", b"\x01", b"\x00")
                )
            ],
            pairs={"ad": {"spam": 1}},
            shadow=True,
        )
    ],
)
COUNTS = SUMMARY.panes[0]
PANE = panes.Pane(
    version=panes.VERSION,
    shard=3,
    start_ms=COUNTS.start_ms,
    pane_ms=10_000,
    n=8,
    addendum=False,
    exact=True,
    positions={"content/3": (40, 45)},
    cells=[
        panes.Cell(
            **{name: getattr(COUNTS, name) for name in panes.Cell.__struct_fields__ if name != "experiments"},
            experiments=[
                panes.PlacedRows(
                    "3-0123456789ab", 0, "shadow", ["spam"], summary.UnitRows(b"8 bytes.", b"\x01", b"\x00"), offset=7
                )
            ],
        )
    ],
)
EVENT = content.ContentEvent("e1", "hello", {"age": 3, "vip": True, "x": None}, lang="en", key="k")
EXAMPLES = [("tags", TAG_EVENT), ("stats", SUMMARY), ("panes", PANE), ("content", EVENT)]


def schema(role: str) -> dict[str, Any]:
    found = DECLARATIONS[role].value_schema
    assert found is not None
    return found


def plain(value: object) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize(("role", "example"), EXAMPLES)
def test_what_the_code_writes_is_valid(role: str, example: msgspec.Struct) -> None:
    jsonschema.validate(plain(example), schema(role), cls=jsonschema.Draft202012Validator)


def test_a_tag_event_of_defaults_only_is_valid() -> None:
    needed = ("id", "source", "tags", "scores", "thresholds", "release", "processed_at")
    event = tags.TagEvent(**{name: getattr(TAG_EVENT, name) for name in needed})
    assert set(plain(event)) == set(needed)
    jsonschema.validate(plain(event), schema("tags"), cls=jsonschema.Draft202012Validator)


STRUCTS = [
    ("tags", (), tags.TagEvent),
    ("tags", ("properties", "source"), tags.Source),
    ("tags", ("properties", "tags", "items"), tags.Tag),
    ("stats", (), summary.CommitSummary),
    ("stats", ("$defs", "pane"), summary.PaneCounts),
    ("stats", ("$defs", "experiment"), summary.ExperimentRows),
    ("stats", ("$defs", "experiment", "properties", "units"), summary.UnitRows),
    ("stats", ("$defs", "label"), summary.LabelCounts),
    ("stats", ("$defs", "segment"), summary.SegmentCounts),
    ("panes", (), panes.Pane),
    ("panes", ("$defs", "cell"), panes.Cell),
    ("panes", ("$defs", "experiment"), panes.PlacedRows),
    ("content", (), content.ContentEvent),
]


@pytest.mark.parametrize(("role", "path", "struct"), STRUCTS)
def test_schema_and_struct_have_the_same_fields(role: str, path: tuple[str, ...], struct: type[msgspec.Struct]) -> None:
    node = schema(role)
    for part in path:
        node = node[part]
    fields = msgspec.structs.fields(struct)
    assert set(node["properties"]) == {field.encode_name for field in fields}
    # a struct that omits defaults, and the input, may lack what has one; the others write every field that is set
    may_omit = struct in (tags.TagEvent, content.ContentEvent)
    written = {f.encode_name for f in fields if f.required or not (may_omit or f.default is msgspec.UNSET)}
    assert set(node["required"]) == written


def test_a_pane_counts_in_the_words_of_the_summaries() -> None:
    shared = schema("panes")["$defs"].keys() & schema("stats")["$defs"].keys() - {"experiment"}
    assert shared == {"count", "sha256", "experiment_id", "base64", "label", "segment"}
    for name in shared:
        assert schema("panes")["$defs"][name] == schema("stats")["$defs"][name]
    cell, counts = panes.Cell.__struct_fields__, summary.PaneCounts.__struct_fields__
    assert cell == counts[1:], "a cell has the fields of a summary's pane but the start"


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [p for k, v in value.items() for p in ((*here, k), *paths(v, (*here, k)))]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in ((*here, i), *paths(v, (*here, i)))]
    return []


@pytest.mark.parametrize(("role", "example"), EXAMPLES)
def test_a_value_of_another_type_is_invalid_wherever_it_stands(role: str, example: msgspec.Struct) -> None:
    validator = jsonschema.Draft202012Validator(schema(role))
    for path in paths(plain(example)):
        document = plain(example)
        node = document
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = [[]]  # no field of any of them is a list of lists
        assert not validator.is_valid(document), f"{path} may be anything"


@pytest.mark.parametrize("event", [{"id": "e"}, {"text": "t"}, {"id": "", "text": "t"}, {"id": "e", "text": None}])
def test_a_content_event_without_id_or_anything_to_score_is_invalid(event: dict[str, Any]) -> None:
    assert not jsonschema.Draft202012Validator(schema("content")).is_valid(event)


def dead_letter(max_bytes: int) -> set[str]:
    _, _, headers = dead_letters.build(
        topic="content",
        partition=0,
        offset=1,
        timestamp_ms=2,
        key=b"k" * 4_000,
        value=b"v" * 8_000,
        headers=[("a", b"1"), ("b", b"2" * 4_000)],
        rejected=Rejected(ErrorClass.INVALID_JSON, stage="decode"),
        release="1",
        worker="w",
        now_ms=3,
        max_bytes=max_bytes,
    )
    return {name for name, _ in headers if name.startswith(dead_letters.PREFIX)}


def test_the_headers_of_dead_letters_are_the_declared_ones() -> None:
    declared = DECLARATIONS["dead-letters"].headers
    assert dead_letter(100_000) == {header.name for header in declared if header.required}
    assert dead_letter(6_000) == {header.name for header in declared}


def test_the_headers_of_replayed_records_are_declared() -> None:
    declared = {header.name for header in DECLARATIONS["content"].headers}
    assert {dead_letters.REPLAY_OF, dead_letters.REPLAY_ID, dead_letters.REPLAY_COUNT} <= declared
