"""Files and frames say which stage scored each row, of a bundle that has two; others have the columns they had."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from tiny_bundle import build_tiny_bundle

from streamtag.batch.frames import FrameScorer, spark_schema
from streamtag.batch.parts import Identity, open_part
from streamtag.batch.places import FileFormat
from streamtag.batch.scoring import EventScorer, Scored
from streamtag.control.breakers import ActiveBreakers
from streamtag.events.content import ContentEvent
from streamtag.model.bundle import read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.two_stages import pair

TEXTS = [f"item {i} of {i * i}" for i in range(60)]
IDENTITY = Identity("tiny@2", "0" * 64, "bundle", "1" * 64)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundles")
    parts = (
        read_bundle(build_tiny_bundle(directory)),
        read_bundle(build_tiny_bundle(directory, name="b", weights_seed=3)),
    )
    return pair(*parts, directory, name="tiny", version="2", bands={"spam": (0.2, 0.8)}, sample=0.2)


def scored(bundle: Path) -> tuple[EventScorer, Scored]:
    scorer = load_scorer(bundle, batch=16)
    of = EventScorer(scorer, scorer.bundle.default_thresholds)
    return of, of.score([ContentEvent(str(i), text) for i, text in enumerate(TEXTS)])


def rows(content: bytes, form: FileFormat) -> list[dict[str, Any]]:
    if form is FileFormat.PARQUET:
        found: list[dict[str, Any]] = pq.read_table(io.BytesIO(content)).to_pylist()
        return found
    if form is FileFormat.JSONL:
        return [json.loads(line) for line in content.splitlines()]
    return list(csv.DictReader(io.StringIO(content.decode())))


@pytest.mark.parametrize("form", list(FileFormat))
def test_every_form_of_a_part_says_the_stage_of_each_row(bundle: Path, form: FileFormat) -> None:
    of, found = scored(bundle)
    stream = io.BytesIO()
    part = open_part(form, stream, of.labels, IDENTITY, two_stages=of.two_stages)
    part.write(found)
    part.close()
    staged = [found.staged(row, of.labels) for row in range(len(TEXTS))]
    written = rows(stream.getvalue(), form)
    assert [(row.get("stage", "1"), row.get("stage2") or None) for row in written] == [one[:2] for one in staged]
    assert {one.stage2 for one in staged} == {None, "band", "sample"}
    assert len({tuple(row) for row in written if form is not FileFormat.JSONL}) <= 1


@pytest.mark.parametrize("form", list(FileFormat))
def test_every_form_of_a_part_says_which_tags_ask_for_review(bundle: Path, form: FileFormat) -> None:
    scorer = load_scorer(bundle, batch=16)
    of = EventScorer(scorer, scorer.bundle.default_thresholds, ActiveBreakers(7, frozenset({"spam"})))
    found = of.score([ContentEvent(str(i), text) for i, text in enumerate(TEXTS)])
    stream = io.BytesIO()
    part = open_part(form, stream, of.labels, IDENTITY, two_stages=True, breakers=True)
    part.write(found)
    part.close()
    spam = [bool(row[of.labels.index("spam")]) for row in found.tagged]
    assert {*spam} == {True, False}
    written = rows(stream.getvalue(), form)
    assert {int(row["breakers"]) for row in written} == {7}
    if form is FileFormat.JSONL:
        asked = [[tag["label"] for tag in row["tags"] if tag["action"] == "review"] for row in written]
    else:
        asked = [row["review"].split() if form is FileFormat.CSV else row["review"] for row in written]
    assert asked == [["spam"] if one else [] for one in spam]


def test_an_id_with_a_carriage_return_forges_no_row_of_another(bundle: Path) -> None:
    of, _ = scored(bundle.parent / "1")
    stream = io.BytesIO()
    part = open_part(FileFormat.CSV, stream, of.labels, IDENTITY)
    part.write(of.score([ContentEvent("junk\rvictim", "a"), ContentEvent("b", "b")]))
    part.close()
    written = csv.DictReader(io.StringIO(stream.getvalue().decode(), newline=""))
    assert [row["id"] for row in written] == ["junk\rvictim", "b"]
    assert b'"junk\rvictim",' in stream.getvalue()


def test_frames_say_the_stage_where_there_are_two(bundle: Path) -> None:
    of, found = scored(bundle)
    frame = pd.DataFrame({"id": [str(i) for i in range(len(TEXTS))], "text": TEXTS})
    result = FrameScorer(bundle)(frame)
    assert result["stage"].tolist() == [found.staged(row, of.labels).stage for row in range(len(TEXTS))]
    assert (result[[f"score_{label}" for label in of.labels]].to_numpy() == found.scores).all()
    assert spark_schema(bundle).endswith("stage string")
    one = bundle.parent / "1"
    assert "stage" not in FrameScorer(one)(frame).columns
    assert "stage" not in spark_schema(one)
