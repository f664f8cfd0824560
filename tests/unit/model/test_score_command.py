"""`streamtag score`: the stream's decisions without the stream."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from foreign_models import build_numbers_bundle
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from streamtag.cli import context, explanations
from streamtag.cli import score as score_module
from streamtag.cli.score import read_lines, score
from streamtag.domain.scores import from_micro, to_micro
from streamtag.errors import NotFoundError, RefusedError, SettingsError
from streamtag.model.explain import Span
from streamtag.model.loading import load_scorer
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer

FRIENDLY, RUDE = "Thank you, see you on Tuesday.", "Shut up, you are a pathetic idiot."
SCORER: Scorer = load_scorer(find_bundle("moderation", []), batch=64)


class Run:
    """One run of the command, and what it left."""

    def __init__(self, *arguments: str, stdin: bytes = b"") -> None:
        app = typer.Typer()
        app.command()(score)
        found = CliRunner().invoke(app, list(arguments), input=stdin)
        if found.exception is not None and not isinstance(found.exception, SystemExit):
            raise found.exception
        self.exit_code = found.exit_code
        self.complaints = found.stderr.splitlines()
        self.lines: list[dict[str, Any]] = [json.loads(line) for line in found.stdout.splitlines()]


@pytest.fixture
def thresholds(tmp_path: Path) -> Path:
    """Cut-offs that tag nothing, but everything German as toxic."""
    path = tmp_path / "thresholds.yaml"
    labels = "".join(f"  {label}: 1.0\n" for label in SCORER.labels)
    path.write_text(f"labels:\n{labels}segments:\n  - when: {{lang: de}}\n    labels: {{toxic: 0.0}}\n")
    return path


def as_lines(*events: dict[str, Any] | str) -> bytes:
    return b"".join((e if isinstance(e, str) else json.dumps(e)).encode() + b"\n" for e in events)


def test_a_line_gets_the_scores_and_tags_it_gets_in_the_stream() -> None:
    run = Run(stdin=as_lines(FRIENDLY, RUDE))
    assert run.exit_code == 0
    assert [(line["line"], line["id"]) for line in run.lines] == [(1, "stdin:1"), (2, "stdin:2")]
    cutoffs = SCORER.bundle.default_thresholds.labels
    for line, scores in zip(run.lines, from_micro(to_micro(SCORER.score([FRIENDLY, RUDE]))), strict=True):
        assert line["scores"] == dict(zip(SCORER.labels, scores.tolist(), strict=True))
        assert line["tags"] == [
            {"label": label, "score": value, "threshold": cutoffs[label], "action": "tag"}
            for label, value in line["scores"].items()
            if value >= cutoffs[label]
        ]
    assert run.lines[0]["tags"] == []
    assert "toxic" in [tag["label"] for tag in run.lines[1]["tags"]]


def test_events_keep_their_ids_and_their_segment_decides(thresholds: Path) -> None:
    events = as_lines(
        {"id": "a", "text": FRIENDLY}, "", {"id": "b", "text": FRIENDLY, "lang": "de", "channel": "forum"}
    )
    run = Run("--format", "json", "--thresholds", str(thresholds), stdin=events)
    assert run.exit_code == 0
    one, other = run.lines
    assert (one["line"], one["id"], one["tags"]) == (1, "a", [])
    assert "segment" not in one
    assert (other["line"], other["id"], other["segment"]) == (3, "b", {"lang": "de", "channel": "forum"})
    assert [(tag["label"], tag["threshold"]) for tag in other["tags"]] == [("toxic", 0.0)]


def test_bad_lines_are_named_and_counted_and_their_neighbours_are_scored() -> None:
    events = as_lines(
        {"id": "a", "text": FRIENDLY},
        "not json",
        {"id": "", "text": FRIENDLY},
        {"id": "only features", "features": {"x": 1}},
        {"id": "b", "text": RUDE},
    )
    run = Run("--format", "json", stdin=events)
    assert run.exit_code == 1
    assert [line["id"] for line in run.lines] == ["a", "b"]
    *named, total = run.complaints
    assert [complaint.split(": ")[:2] for complaint in named] == [
        ["stdin:2", "invalid_json"],
        ["stdin:3", "empty_id at /id"],
        ["stdin:4", "missing_field at /text"],
    ]
    assert total == "3 of 5 lines refused"


def test_no_complaint_quotes_what_was_refused() -> None:
    run = Run("--format", "json", stdin=b'secret words\n{"id": "x", "text": 5, "more": "secret words"}\n')
    assert run.exit_code == 1
    assert len(run.complaints) == 3
    assert "secret" not in "\n".join(run.complaints)


def test_texts_beyond_the_limits_of_the_stream_are_refused_here_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {"events.max_bytes": "100", "events.max_text_chars": "50"}
    monkeypatch.setattr(context, "GLOBALS", context.Globals(overrides=overrides))
    run = Run(stdin=as_lines("x" * 51, "y" * 101, "z" * 50) + b"\xff\n")
    assert [complaint.split(": ")[1] for complaint in run.complaints[:-1]] == [
        "text_too_long",
        "too_large",
        "invalid_utf8",
    ]
    assert [line["line"] for line in run.lines] == [3]


def test_files_are_read_one_after_another_each_with_its_own_line_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo")
    (tmp_path / "b.txt").write_text("three\n")
    run = Run(str(tmp_path / "a.txt"), "-", str(tmp_path / "b.txt"), stdin=b"four\n")
    assert [line["id"].rsplit("/", 1)[-1] for line in run.lines] == [
        "a.txt:1",
        "a.txt:2",
        "a.txt:3",
        "stdin:1",
        "b.txt:1",
    ]
    plain = Run(stdin=b"one\n\ntwo\n")
    assert [line["scores"] for line in run.lines[:3]] == [line["scores"] for line in plain.lines]


def test_what_cannot_be_read_or_does_not_fit_is_said_before_anything_is_scored(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="cannot read"):
        Run(str(tmp_path / "missing.txt"))
    with pytest.raises(NotFoundError, match="no bundle nobody"):
        Run("--bundle", "nobody")
    (tmp_path / "bad.json").write_text('{"labels": {"toxic": 2.0, "unheard_of": 0.5}}')
    with pytest.raises(RefusedError) as caught:
        Run("--thresholds", str(tmp_path / "bad.json"))
    found = "\n".join(caught.value.problems)
    assert "labels.toxic: 2.0 is outside" in found
    assert "labels.unheard_of" in found
    assert "labels.threat: missing" in found


def test_cut_offs_by_ids_of_before_are_read_by_the_taxonomy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = "{{id: {}, name: X, owner: o, since: 1, renamed_from: [{}]}}"
    labels = ", ".join(label.format(name, f"older-{name}") for name in SCORER.labels)
    (tmp_path / "taxonomy.yaml").write_text(f"taxonomy: t\nversion: 1\nlabels: [{labels}]")
    monkeypatch.setenv("STREAMTAG_MODEL__TAXONOMY", str(tmp_path / "taxonomy.yaml"))
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    path = tmp_path / "older.yaml"
    path.write_text("labels:\n" + "".join(f"  older-{name}: 0.0\n" for name in SCORER.labels))
    run = Run("--thresholds", str(path), stdin=as_lines(FRIENDLY))
    assert len(run.lines[0]["tags"]) == len(SCORER.labels)
    assert any("older-toxic: read as toxic" in line for line in run.complaints)


@given(
    st.lists(st.binary(max_size=12).filter(lambda line: b"\n" not in line), max_size=12),
    st.integers(1, 8),
    st.booleans(),
)
def test_lines_are_the_same_however_the_reads_fall(lines: list[bytes], read_bytes: int, ends: bool) -> None:
    content = b"\n".join(lines) + (b"\n" if ends else b"")
    expected = content.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    cut = []
    for i, line in enumerate(expected):
        bare = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf" if i == 0 else b"")
        cut.append((i + 1, bare if len(bare) <= 6 else None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_module, "READ_BYTES", read_bytes)
        found = [line for lines in read_lines(io.BytesIO(content), max_bytes=6) for line in lines]
    assert [(line.number, line.content) for line in found] == cut


def test_a_line_without_an_end_does_not_fill_the_memory() -> None:
    class Endless(io.BytesIO):
        reads = 0

        def read1(self, size: int | None = -1, /) -> bytes:
            self.reads += 1
            return b"x" * 1_000 if self.reads <= 10_000 else b""

    (lines,) = list(read_lines(Endless(), max_bytes=2_000))
    assert [(line.number, line.content) for line in lines] == [(1, None)]


def test_lines_come_out_as_they_come_in() -> None:
    class Pipe(io.BytesIO):
        parts = iter([b"one\ntw", b"o\n", b"three\n"])

        def read1(self, size: int | None = -1, /) -> bytes:
            return next(self.parts, b"")

    assert [[line.content for line in lines] for lines in read_lines(Pipe(), max_bytes=9)] == [
        [b"one"],
        [b"two"],
        [b"three"],
    ]


def test_stdin_may_be_named_twice_and_is_read_once() -> None:
    run = Run("-", "-", stdin=as_lines(FRIENDLY))
    assert (run.exit_code, [line["id"] for line in run.lines]) == (0, ["stdin:1"])


def test_events_are_scored_by_their_features_where_the_bundle_reads_them(tmp_path: Path) -> None:
    bundle = build_numbers_bundle(tmp_path / "bundles", tmp_path / "scratch")
    given = [{"id": "a", "features": {"amount": 3, "age": 40}}, {"id": "b", "features": {"amount": 300}}]
    run = Run("--format", "json", "--bundle", str(bundle), stdin=as_lines(*given))
    scorer = load_scorer(bundle, batch=64)
    wanted = from_micro(to_micro(scorer.score([""], [{"amount": 3, "age": 40}])))[0].tolist()
    assert [line["scores"] for line in run.lines] == [dict(zip(scorer.labels, wanted, strict=True))]
    assert run.exit_code == 1
    assert "stdin:2: invalid_feature at /features/amount: feature amount is outside 0 … 100" in run.complaints


def test_explanations_name_places_and_add_up() -> None:
    run = Run("--explain", "--format", "json", stdin=as_lines({"id": "a", "text": RUDE}))
    (line,) = run.lines
    assert [found["label"] for found in line["explanations"]] == list(SCORER.labels)
    for found in line["explanations"]:
        assert found["bias"] + sum(span["weight"] for span in found["spans"]) == pytest.approx(found["logit"], abs=1e-3)
        assert found["score"] == pytest.approx(line["scores"][found["label"]], abs=1e-6)
    heaviest = max(line["explanations"][0]["spans"], key=lambda span: span["weight"])
    assert RUDE[heaviest["start"] : heaviest["end"]] == "idiot"
    assert "explanations" not in Run(stdin=as_lines(RUDE)).lines[0]


def test_in_colour_what_raises_is_red_what_lowers_is_blue_and_no_sign_controls_the_terminal() -> None:
    shown = explanations.coloured("up\x1b[2J down faint", [Span(0, 2, 2.0), Span(7, 11, -1.0), Span(12, 17, 0.01)])
    assert shown.plain == "up\ufffd[2J down faint"
    styles = {shown.plain[span.start : span.end]: str(span.style) for span in shown.spans}
    assert styles == {"up": "white on rgb(200,40,40)", "down": "white on rgb(20,45,100)"}


def test_in_colour_a_text_is_shown_once_a_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.command()(score)
    with monkeypatch.context() as patch:
        patch.setattr(explanations, "stdout", Console(width=200, no_color=True))
        found = CliRunner().invoke(app, ["--explain", "--output", "table"], input=as_lines(RUDE, FRIENDLY))
    assert found.exit_code == 0
    assert found.stdout.count(FRIENDLY) == 1
    assert found.stdout.count(RUDE) == found.stdout.count("without words") - 1 >= 2
    with pytest.raises(SettingsError, match="goes with --explain"):
        Run("--output", "table")
