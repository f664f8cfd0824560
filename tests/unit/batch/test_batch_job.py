"""Jobs: from files to parts, with the stream's own decisions, each row once."""

import errno
import gzip
import json
import math
from pathlib import Path
from typing import Any

import fsspec
import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_files import documents, read_parts, read_rejects, write_csv, write_jsonl, write_parquet
from tiny_bundle import build_tiny_bundle

from streamtag.batch import plan as plans
from streamtag.batch import run as runs
from streamtag.batch.parts import Identity
from streamtag.batch.places import FileFormat, Output, Source, find_sources
from streamtag.batch.reading import Reader
from streamtag.batch.rows import FIELDS
from streamtag.batch.run import Report, prepared
from streamtag.batch.unit_scoring import Job, UnitScorer
from streamtag.domain.scores import from_micro
from streamtag.domain.thresholds import Override, ThresholdSet
from streamtag.errors import BundleError, ConflictError, NotFoundError, RefusedError, StreamtagError
from streamtag.events.content import ContentEvent
from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.model.two_stages import pair
from streamtag.settings import EventsSettings
from streamtag.tagger.infer import infer
from streamtag.tagger.rerank import infer_stages

LABELS = ("spam", "greeting")
CUTOFFS = ThresholdSet({"spam": 0.5, "greeting": 0.4}, (Override({"lang": "de"}, {"spam": 0.7}),))
COLUMNS = dict(zip(FIELDS, FIELDS, strict=True))


class Fixture:
    """A bundle, and jobs run by it in this process."""

    def __init__(self, root: Path) -> None:
        self.bundle = build_tiny_bundle(root / "bundles")
        self.scorer = load_scorer(self.bundle, batch=8)
        self.root = root

    def job(self, *inputs: Path | str, out: str = "out", to: FileFormat = FileFormat.PARQUET, **changes: Any) -> Job:
        ref = self.scorer.bundle.ref
        fields: dict[str, Any] = {
            "bundle": self.bundle,
            "batch": 8,
            "thresholds": CUTOFFS,
            "identity": Identity(str(ref), ref.sha256, "cuts.yaml", "0" * 64),
            "limits": EventsSettings.model_validate({"max_text_chars": 200, "max_bytes": 2_000}),
            "columns": COLUMNS,
            "sources": tuple(find_sources([str(path) for path in inputs])),
            "output": str(self.root / out),
            "output_format": to,
        }
        return Job(**fields | changes)

    def run(self, *inputs: Path | str, out: str = "out", restart: bool = False, **changes: Any) -> Report:
        job = self.job(*inputs, out=out, **changes)
        decides = {"decided by": msgspec.to_builtins(job.identity), "parts": job.output_format.value}
        with prepared(Output(job.output), job.sources, job.columns, decides, restart=restart) as plan:
            return runs.run(job, plan, processes=1)

    def expected(self, rows: list[dict[str, str | None]]) -> list[tuple[str | None, list[str], list[float]]]:
        """Id, tags and scores as the tagger's stages give them."""
        events = [ContentEvent(id=str(row["id"]), text=row["text"]) for row in rows]
        micro, refused = infer(events, self.scorer)
        assert not refused
        found = []
        for row, scores in zip(rows, from_micro(micro).tolist(), strict=True):
            cutoffs = CUTOFFS.effective((row["lang"], None, None))
            tags = [label for label, score in zip(LABELS, scores, strict=True) if score >= cutoffs[label]]
            found.append((row["id"], tags, scores))
        return found


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Fixture:
    return Fixture(tmp_path_factory.mktemp("batch"))


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch, fixture: Fixture, tmp_path: Path) -> None:
    """Units are small, and no process is started for them; what the processes do is the same."""
    monkeypatch.setattr(plans, "_SMALLEST", 4_000)
    monkeypatch.setattr(runs, "work_off", lambda job, units, _: map(UnitScorer(job).run, units))
    monkeypatch.setattr(fixture, "root", tmp_path)


def decided(out: Path) -> list[tuple[str | None, list[str], list[float]]]:
    return [(r["id"], r["tags"], [r[f"score_{label}"] for label in LABELS]) for r in read_parts(out)]


@pytest.mark.parametrize("write", [write_parquet, write_csv, write_jsonl])
def test_every_row_gets_the_bits_it_gets_in_the_stream(fixture: Fixture, tmp_path: Path, write: Any) -> None:
    rows = documents(500)
    suffix = write.__name__.removeprefix("write_")
    report = fixture.run(write(tmp_path / f"in.{suffix}", rows))
    assert (report.scored, report.rejected) == (500, 0)
    assert report.units > 3
    assert decided(tmp_path / "out") == fixture.expected(rows)
    row = read_parts(tmp_path / "out")[0]
    ref = fixture.scorer.bundle.ref
    assert (row["bundle"], row["bundle_sha256"]) == ("tiny@1", ref.sha256)
    assert (row["thresholds"], row["thresholds_sha256"], row["release"]) == ("cuts.yaml", "0" * 64, None)


def test_stage_2_sees_only_what_stage_1_does_not_settle_and_decides_as_in_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build_tiny_bundle(tmp_path / "bundles", name="first")
    second = build_tiny_bundle(tmp_path / "bundles", name="second", weights_seed=1)
    fixture = Fixture(tmp_path)
    fixture.bundle = pair(
        read_bundle(first),
        read_bundle(second),
        tmp_path,
        name="both",
        version="1",
        bands={"spam": (0.3, 0.7)},
        sample=0,
    )
    fixture.scorer = load_scorer(fixture.bundle, batch=8)
    rows = documents(300)
    expected = infer_stages([ContentEvent(str(row["id"]), row["text"]) for row in rows], fixture.scorer)
    assert expected.stages is not None
    seen = list[str]()

    def score(self: Scorer, texts: list[str], features: Any = None, *, plain: Any = Scorer.score) -> Any:
        if self.bundle.ref.name == "second":
            seen.extend(texts)
        return plain(self, texts, features)

    monkeypatch.setattr(Scorer, "score", score)
    report = fixture.run(write_jsonl(tmp_path / "in.jsonl", rows))
    found = read_parts(tmp_path / "out")
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert [[row["score_spam"], row["score_greeting"]] for row in found] == from_micro(expected.micro).tolist()
    went = expected.stages.second.tolist()
    assert [row["stage"] == "2" for row in found] == went
    assert report.second == sum(went)
    assert 30 < report.second < 270
    unsettled = {row["text"] for row, goes in zip(rows, went, strict=True) if goes}
    assert unsettled <= set(seen)
    assert not set(seen) & ({row["text"] for row in rows} - unsettled)


def test_parts_come_in_three_forms_with_the_same_decisions(fixture: Fixture, tmp_path: Path) -> None:
    rows = documents(60)
    source = write_parquet(tmp_path / "in.parquet", rows)
    expected = fixture.expected(rows)
    fixture.run(source, out="json", to=FileFormat.JSONL)
    lines = [json.loads(s) for p in sorted((tmp_path / "json").glob("part-*")) for s in p.read_text().splitlines()]
    assert [
        (line["id"], [t["label"] for t in line["tags"]], list(line["scores"].values())) for line in lines
    ] == expected
    assert [t["threshold"] for t in lines[0]["tags"]] == [
        CUTOFFS.effective(("de", None, None))[t["label"]] for t in lines[0]["tags"]
    ]
    assert lines[0]["segment"] == {"lang": "de"}
    assert lines[0]["release"]["bundle"] == "tiny@1"
    fixture.run(source, out="csv", to=FileFormat.CSV)
    (part,) = (tmp_path / "csv").glob("part-*.csv")
    head, *body = [line.split(",") for line in part.read_text().splitlines()]
    assert head[:4] == ["id", "tags", "score_spam", "score_greeting"]
    assert [(row[0], row[1].split(), [float(row[2]), float(row[3])]) for row in body] == expected


def test_bad_rows_are_named_by_file_and_line_and_their_neighbours_are_scored(fixture: Fixture, tmp_path: Path) -> None:
    good = documents(3)
    rows: list[dict[str, str | None]] = [*good, {"id": "", "text": "x"}, {"id": "long", "text": "x" * 201}]
    bad = write_jsonl(tmp_path / "bad.jsonl", rows)
    with bad.open("ab") as file:
        file.write(b"secret words\n\n" + b"y" * 3_000 + b"\n")
    table = tmp_path / "bad.csv"
    table.write_bytes(b'id,text\na,one\nb,two,three\nc,"x"y\nd,\xff\ne,"last\none"\n')
    report = fixture.run(bad, table)
    assert [row["id"] for row in read_parts(tmp_path / "out")] == ["doc-0", "doc-1", "doc-2", "a", "e"]
    found = read_rejects(tmp_path / "out")
    assert [(Path(r["file"]).name, r["number"], r["error_class"]) for r in found] == [
        ("bad.jsonl", 4, "empty_id"),
        ("bad.jsonl", 5, "text_too_long"),
        ("bad.jsonl", 6, "invalid_json"),
        ("bad.jsonl", 8, "too_large"),
        ("bad.csv", 3, "invalid_csv"),
        ("bad.csv", 4, "invalid_csv"),
        ("bad.csv", 5, "invalid_utf8"),
    ]
    assert (report.scored, report.rejected) == (5, 7)
    assert "secret" not in (tmp_path / "out" / "_rejects.jsonl").read_text()


@pytest.mark.parametrize(("bad", "refused"), [('a 5" pipe', []), ('"never closed', [4]), ('"a" b"', [4])])
def test_a_quote_too_many_costs_its_own_row_at_most(
    fixture: Fixture, tmp_path: Path, bad: str, refused: list[int]
) -> None:
    rows = [f"{i},text {i}" for i in range(2_000)]
    rows[2] = f"2,{bad}"
    (tmp_path / "in.csv").write_text("\n".join(["id,text", *rows[:1_000], '1000,"a, b"', *rows[1_001:]]) + "\n")
    report = fixture.run(tmp_path / "in.csv", limits=EventsSettings.model_validate({}))
    assert (report.scored, report.rejected) == (2_000 - len(refused), len(refused))
    assert [r["number"] for r in read_rejects(tmp_path / "out")] == refused


@pytest.mark.parametrize(
    ("name", "content", "scored", "rejected"),
    [
        ("in.tsv", b"id\ttext\na\tone\n\t\n\n\r\n\r\r\nb\ttwo\n", 2, [3]),
        ("in.csv", b"id,text\na,one\n,\n\n\r\n \t\nb,two\n", 2, [3, 6]),
        ("one.csv", b"text\none\n\n \n", 2, []),
        ("in.jsonl", b'{"id": "a", "text": "one"}\n \t \n\n\x0b\r\n', 1, []),
    ],
)
def test_no_row_is_taken_for_a_blank_line(
    fixture: Fixture, tmp_path: Path, name: str, content: bytes, scored: int, rejected: list[int]
) -> None:
    (tmp_path / name).write_bytes(content)
    report = fixture.run(tmp_path / name)
    assert (report.scored, report.rejected) == (scored, len(rejected))
    assert [row["number"] for row in read_rejects(tmp_path / "out")] == rejected


def test_a_text_that_breaks_the_model_is_refused_alone(
    fixture: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(type(fixture.scorer)):  # type: ignore[misc]
        def score(self, texts: Any, *more: Any) -> Any:
            if "poison" in texts:
                raise RuntimeError("poison")
            return super().score(texts, *more)

    broken = Broken(fixture.scorer.bundle, batch=8)
    monkeypatch.setattr("streamtag.batch.unit_scoring.load_scorer", lambda path, **_: broken)
    rows: list[dict[str, str | None]] = [*documents(2), {"id": "p", "text": "poison"}, {"id": "q", "text": "fine"}]
    fixture.run(write_jsonl(tmp_path / "in.jsonl", rows))
    assert [row["id"] for row in read_parts(tmp_path / "out")] == ["doc-0", "doc-1", "q"]
    assert [(r["number"], r["error_class"]) for r in read_rejects(tmp_path / "out")] == [(3, "scorer_error")]


def test_a_job_goes_on_after_the_units_that_are_done(
    fixture: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents(500)
    source = write_jsonl(tmp_path / "in.jsonl", rows)
    out = tmp_path / "out"
    write = Output.write

    def fail(self: Output, name: str, content: bytes) -> None:
        if name == "_done/000003.json":  # its part is written already, and is written again
            raise StreamtagError("killed")
        write(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "write", fail)
        with pytest.raises(StreamtagError, match="killed"):
            fixture.run(source)
    assert not (out / "_SUCCESS").exists()
    (out / ".streamtag-batch-x").write_bytes(b"half a part")
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert sorted(before) == [f"part-00000{i}.parquet" for i in range(4)]
    report = fixture.run(source)
    after = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    assert sorted(name for name in before if after[name] == before[name]) == sorted(before)[:3]
    assert 0 < report.run_documents < report.scored == 500
    assert decided(out) == fixture.expected(rows)
    assert (out / "_SUCCESS").exists()
    assert list(out.glob(".*")) == []
    again = fixture.run(source)
    assert (again.scored, again.run_documents, again.documents_per_s) == (500, 0, None)


def test_a_part_that_was_taken_away_is_made_again(fixture: Fixture, tmp_path: Path) -> None:
    rows = documents(200)
    source = write_csv(tmp_path / "in.csv", rows)
    fixture.run(source)
    (tmp_path / "out" / "part-000001.parquet").unlink()
    assert fixture.run(source).run_documents > 0
    assert decided(tmp_path / "out") == fixture.expected(rows)


def test_another_job_does_not_go_on_where_one_was(fixture: Fixture, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(20))
    fixture.run(source)
    write_jsonl(tmp_path / "in.jsonl", documents(21))
    other = write_jsonl(tmp_path / "other.jsonl", documents(5))
    ref = fixture.scorer.bundle.ref
    identity = Identity(str(ref), ref.sha256, "other.yaml", "1" * 64)
    with pytest.raises(ConflictError) as caught:
        fixture.run(source, other, identity=identity)
    for word in ("decided by", "other.yaml", "in.jsonl: changed since", "other.jsonl: new among the inputs"):
        assert word in caught.value.message
    assert len(read_parts(tmp_path / "out")) == 20
    fixture.run(source, other, identity=identity, restart=True)
    assert len(read_parts(tmp_path / "out")) == 26


def test_a_bundle_that_was_put_in_the_place_of_another_does_not_go_on(fixture: Fixture, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(20))
    with pytest.raises(BundleError, match="has become another bundle"):
        fixture.run(source, identity=Identity("tiny@1", "1" * 64, "bundle", "0" * 64))


def test_a_directory_of_something_else_is_left_alone(fixture: Fixture, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(5))
    other = tmp_path / "out" / "part-000000.parquet"
    other.parent.mkdir()
    other.write_text("precious")
    for restart in (False, True):
        with pytest.raises(ConflictError, match="is not empty"):
            fixture.run(source, restart=restart)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [other.name]
    assert other.read_text() == "precious"


@pytest.mark.parametrize("restart", [False, True])
def test_nobody_else_writes_or_removes_anything_while_a_run_is_at_work(
    fixture: Fixture, tmp_path: Path, restart: bool
) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(5))
    fixture.run(source, out="begun")
    for out in ("begun", "new"):
        with Output(str(tmp_path / out)).locked():
            before = sorted((tmp_path / out).rglob("*"))
            with pytest.raises(ConflictError, match="another run is at work"):
                fixture.run(source, out=out, restart=restart)
            assert sorted((tmp_path / out).rglob("*")) == before


def test_an_output_that_is_a_file_is_named(fixture: Fixture, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(5))
    with pytest.raises(StreamtagError, match=r"cannot write to .*in\.jsonl: File exists"):
        fixture.run(source, out=source.name)


def test_one_large_row_group_is_shared_and_small_files_are_put_together(fixture: Fixture, tmp_path: Path) -> None:
    rows = documents(2_000, words=20)
    write_parquet(tmp_path / "in" / "a.parquet", rows[:1_900], group=10_000)
    for i in range(10):
        write_jsonl(tmp_path / "in" / f"b{i}.jsonl", rows[1_900 + 10 * i : 1_910 + 10 * i])
    sources = find_sources([str(tmp_path / "in")])
    plan = plans.make_plan(sources, COLUMNS, {})
    assert max(unit.weight for unit in plan.units) < sum(unit.weight for unit in plan.units) / 5
    assert any(len(unit.slices) > 1 for unit in plan.units)
    fixture.run(tmp_path / "in")
    assert decided(tmp_path / "out") == fixture.expected(rows)


def test_compressed_files_and_rows_without_an_id(fixture: Fixture, tmp_path: Path) -> None:
    rows = documents(50)
    plain = write_csv(tmp_path / "plain.csv", rows)
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(plain.read_bytes().replace(b"id,text", b"nr,text")))
    fixture.run(tmp_path / "in.csv.gz")
    found = read_parts(tmp_path / "out")
    assert [r["score_spam"] for r in found] == [scores[0] for _, _, scores in fixture.expected(rows)]
    # The first text stands on two lines, of which the record begins on line 2.
    assert [Path(r["id"]).name for r in found[:2]] == ["in.csv.gz:2", "in.csv.gz:4"]
    whole = gzip.compress(write_jsonl(tmp_path / "plain.jsonl", rows).read_bytes())
    (tmp_path / "short.jsonl.gz").write_bytes(whole[:-30])
    with pytest.raises(StreamtagError, match=r"short\.jsonl\.gz cannot be read"):
        fixture.run(tmp_path / "short.jsonl.gz", out="short")
    assert list((tmp_path / "short").glob("*part*")) == []


def test_inputs_and_outputs_may_be_urls(fixture: Fixture, tmp_path: Path) -> None:
    rows = documents(300)
    memory = fsspec.filesystem("memory")  # type: ignore[no-untyped-call]
    memory.pipe("/docs/a.jsonl", write_jsonl(tmp_path / "a.jsonl", rows).read_bytes())
    memory.pipe("/docs/_hidden/b.jsonl", b"not JSON\n")
    fixture.run("memory://docs", output="memory://scored")
    assert memory.exists("/scored/_SUCCESS")
    memory.get("/scored/", str(tmp_path / "copy"), recursive=True)
    assert decided(tmp_path / "copy") == fixture.expected(rows)


def test_all_that_is_wrong_with_the_inputs_is_said_before_anything_is_written(fixture: Fixture, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"nothing\.csv, .*none\*"):
        find_sources([str(tmp_path / "nothing.csv"), str(tmp_path / "none*.jsonl")])
    (tmp_path / "what.doc").write_text("x")
    with pytest.raises(RefusedError) as unknown:
        find_sources([str(tmp_path / "what.doc")])
    assert "what.doc" in unknown.value.problems[0]
    (tmp_path / "a.csv").write_text("id,body\n1,x\n")
    (tmp_path / "b.csv").write_text("text,text\nx,y\n")
    (tmp_path / "c.csv").write_text("")
    (tmp_path / "d.parquet").write_text("no such thing")
    write_parquet(tmp_path / "e.parquet", [{"id": "a", "text": None}])
    pq.write_table(pa.table({"id": [1.5], "text": [2]}), tmp_path / "f.parquet")
    with pytest.raises(RefusedError) as caught:
        fixture.run(*(tmp_path / f"{name}" for name in ("a.csv", "b.csv", "c.csv", "d.parquet", "f.parquet")))
    for word in (
        "a.csv has no column text; it has id, body",
        "b.csv: the header has 'text' more than once",
        "c.csv is empty",
        "d.parquet cannot be read as Parquet",
        "f.parquet does not fit: column 'id' is double",
        "f.parquet does not fit: column 'text' is int64",
    ):
        assert any(word in problem for problem in caught.value.problems), word
    assert list((tmp_path / "out").iterdir()) == []


def test_columns_of_other_names_numbers_as_ids_and_text_that_is_no_utf8(fixture: Fixture, tmp_path: Path) -> None:
    broken = pa.array([b"fine", b"\xff\xfe", b"also fine"]).view(pa.string())
    words = pa.array(["a", None, "b"]).dictionary_encode()
    pq.write_table(pa.table({"nr": [7, 8, 9], "body": broken, "lang": words}), tmp_path / "in.parquet")
    fixture.run(tmp_path / "in.parquet", columns=COLUMNS | {"id": "nr", "text": "body"})
    assert [row["id"] for row in read_parts(tmp_path / "out")] == ["7", "9"]
    assert [(r["number"], r["error_class"]) for r in read_rejects(tmp_path / "out")] == [(2, "invalid_utf8")]


def test_one_row_of_features_that_is_no_utf8_is_refused_alone(tmp_path: Path) -> None:
    words = pa.StructArray.from_arrays([pa.array([b"fine", b"\xff", None]).view(pa.string())], ["word"])
    pq.write_table(pa.table({"id": list("abc"), "text": list("xyz"), "features": words}), tmp_path / "in.parquet")
    (source,) = find_sources([str(tmp_path / "in.parquet")])
    plan = plans.make_plan([source], COLUMNS, {})
    (batch,) = Reader(EventsSettings.model_validate({}), COLUMNS).read(source, plan.units[0].slices[0])
    assert [(event.id, event.features) for event in batch.events] == [("a", {"word": "fine"}), ("c", {"word": None})]
    assert [(r.number, r.error_class) for r in batch.rejects] == [(2, "invalid_utf8")]


def test_columns_of_nothing_are_there_and_two_of_one_name_are_not(fixture: Fixture, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a"], "features": pa.nulls(1)}), tmp_path / "null.parquet")
    assert fixture.run(tmp_path / "null.parquet").scored == 1
    twice = pa.table([["a"], ["b"]], names=["text", "text"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(RefusedError) as caught:
        fixture.run(tmp_path / "twice.parquet", out="twice")
    assert "column 'text' is there more than once" in caught.value.problems[0]


@pytest.mark.parametrize("suffix", ["gz", "xz", "zip", "bz2"])
def test_a_damaged_compressed_file_is_named(fixture: Fixture, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"in.jsonl.{suffix}"
    rows = write_jsonl(tmp_path / "plain.jsonl", documents(500)).read_bytes()
    with fsspec.open(str(path), "wb", compression="infer") as stream:  # type: ignore[no-untyped-call]
        stream.write(rows)
    whole = path.read_bytes()
    path.write_bytes(b"PK\3\4nothing" if suffix == "zip" else whole[:200] + b"\xff" * 60 + whole[260:])
    with pytest.raises(StreamtagError, match=rf"in\.jsonl\.{suffix} cannot be read"):
        fixture.run(path)


@pytest.mark.parametrize(
    ("name", "delimiter"), [("A.TSV", "\t"), ("a.tsv.GZ", "\t"), ("my.tsv.csv", ","), ("a.csv", ",")]
)
def test_tabs_part_the_fields_where_the_name_ends_so(name: str, delimiter: str) -> None:
    assert Source(f"/x.tsv/{name}", FileFormat.CSV, 0, "").delimiter == delimiter


def test_an_output_that_is_full_is_named_and_the_job_goes_on(
    fixture: Fixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = documents(50)
    source = write_jsonl(tmp_path / "in.jsonl", rows)

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("tempfile.mkstemp", "os.fsync"):
        with monkeypatch.context() as patch:
            patch.setattr(name, full)
            with pytest.raises(StreamtagError, match=r"cannot write to .*out: No space left on device") as caught:
                fixture.run(source)
        assert "goes on after what is done" in caught.value.hint
    fixture.run(source)
    assert decided(tmp_path / "out") == fixture.expected(rows)


def test_features_come_as_json_could_have_brought_them(tmp_path: Path) -> None:
    features = [{"n": 1.5, "word": "x"}, {"n": math.nan, "word": None}, {"n": math.inf, "word": ""}, None]
    pq.write_table(pa.table({"id": list("abcd"), "text": list("wxyz"), "features": features}), tmp_path / "in.parquet")
    (source,) = find_sources([str(tmp_path / "in.parquet")])
    plan = plans.make_plan([source], COLUMNS, {})
    (batch,) = Reader(EventsSettings.model_validate({}), COLUMNS).read(source, plan.units[0].slices[0])
    assert [event.features for event in batch.events] == [{"n": 1.5, "word": "x"}, {"n": None, "word": None}, None]
    assert [(r.number, r.field) for r in batch.rejects] == [(3, "/features/n")]


def test_a_csv_column_named_features_is_passed_by_and_is_nothing_to_score(fixture: Fixture, tmp_path: Path) -> None:
    table = tmp_path / "in.csv"
    table.write_text("id,text,features\na,one,0.3\nb,two,\n")
    report = fixture.run(table)
    assert (report.scored, report.rejected) == (2, 0)
    table.write_text("id,features\na,0.3\n")
    with pytest.raises(RefusedError) as caught:
        fixture.run(table, out="none")
    assert "has no column text; it has id, features" in caught.value.problems[0]
    table.write_text("id,text,attributes\na,one,0.3\n")
    with pytest.raises(RefusedError) as caught:
        fixture.run(table, out="asked", columns=COLUMNS | {"features": "attributes"})
    assert "is CSV, which has no features" in caught.value.problems[0]


def test_parts_that_lie_among_the_inputs_are_none(fixture: Fixture, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", documents(5))
    fixture.run(source, out="scored")
    output = Output(str(tmp_path / "scored"))
    assert [found.url for found in find_sources([str(tmp_path)], output=output)] == [str(source)]
    assert not Output(str(tmp_path / "sco")).holds(str(tmp_path / "scored" / "x"))


def test_a_damaged_plan_is_named() -> None:
    with pytest.raises(StreamtagError, match="is not a plan of this version"):
        plans.Plan.decode(b"{}", "out/_plan.json")
