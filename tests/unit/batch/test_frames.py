"""The scorer over pandas frames: the stream's bits, one row out for each row in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from batch_files import documents
from tiny_bundle import build_tiny_bundle

from streamtag.batch.frames import FrameScorer, score_frames, spark_schema
from streamtag.batch.table_rows import row_event
from streamtag.domain.scores import from_micro
from streamtag.errors import RefusedError
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.model.loading import load_scorer
from streamtag.settings import EventsSettings
from streamtag.tagger.infer import infer


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bundle(tmp_path_factory.mktemp("frames"))


def test_frames_get_the_bits_of_the_stream_however_rows_are_cut(bundle: Path) -> None:
    rows = documents(200)
    frame = pd.DataFrame(rows)
    cutoffs = {"labels": {"spam": 0.5, "greeting": 0.4}, "segments": [{"when": {"lang": "de"}, "labels": {"spam": 1}}]}
    parts = list(score_frames([frame[:7], frame[7:7], frame[7:]], bundle, thresholds=cutoffs))
    assert [len(part) for part in parts] == [7, 0, 193]
    found = pd.concat(parts)
    scorer = load_scorer(bundle, batch=64)
    micro, _ = infer([ContentEvent(id=str(row["id"]), text=row["text"]) for row in rows], scorer)
    expected = from_micro(micro)
    assert np.array_equal(found[["score_spam", "score_greeting"]].to_numpy(), expected)
    assert found["id"].tolist() == frame["id"].tolist()
    for row, scores, tags in zip(rows, expected, found["tags"], strict=True):
        limits = [1 if row["lang"] == "de" else 0.5, 0.4]
        labels = zip(("spam", "greeting"), scores, limits, strict=True)
        assert tags == [label for label, score, limit in labels if score >= limit]


def test_rows_that_cannot_be_scored_say_why_and_keep_their_place(bundle: Path) -> None:
    frame = pd.DataFrame(
        {"nr": [1, 2, 3, 4], "body": ["fine", None, "x" * 51, "also fine"]}, index=["a", "b", "c", "d"]
    )
    found = FrameScorer(bundle, columns={"text": "body", "id": "nr"}, max_text_chars=50)(frame)
    assert found.index.tolist() == ["a", "b", "c", "d"]
    assert found["id"].tolist() == ["1", "2", "3", "4"]
    assert found["score_spam"].isna().tolist() == [False, True, True, False]
    assert [None if pd.isna(e) else e.split(":")[0] for e in found["error"]] == [
        None,
        "missing_field at /text",
        "text_too_long at /text",
        None,
    ]
    nameless = FrameScorer(bundle)(pd.DataFrame({"text": ["x", 5]}, index=["a", "b"]))
    assert nameless["id"].tolist() == ["a", "b"]
    assert nameless["error"][1:].tolist() == ["wrong_type at /text: text must be text, not int"]


def test_integers_that_a_null_made_floats_are_ids_as_they_were(bundle: Path) -> None:
    score = FrameScorer(bundle, columns={"id": "nr"})
    found = score(pd.DataFrame({"nr": [7, None, -3, 2**53 - 1], "text": list("abcd")}))
    assert [None if pd.isna(i) else i for i in found["id"]] == ["7", None, "-3", "9007199254740991"]
    assert [None if pd.isna(e) else e for e in found["error"]] == [
        None,
        "missing_field at /id: id is missing",
        None,
        None,
    ]
    nullable = score(pd.DataFrame({"nr": pd.array([2**53 + 1, None], dtype="Int64"), "text": ["a", "b"]}))
    assert nullable["id"][0] == "9007199254740993"


@pytest.mark.parametrize("value", [7.5, 2.0**53, -(2.0**60), float("inf")])
def test_floats_that_are_no_exact_whole_number_are_no_ids(bundle: Path, value: float) -> None:
    found = FrameScorer(bundle, columns={"id": "nr"})(pd.DataFrame({"nr": [8, value], "text": ["a", "b"]}))
    assert found["id"].tolist() == ["8", str(value)]
    assert found["score_spam"].isna().tolist() == [False, True]
    assert found["error"][1] == (
        "wrong_type at /id: column nr is of floats, and this one is no exact whole number: make it Int64, or text"
    )


def test_features_that_name_nothing_are_refused_alone(bundle: Path) -> None:
    frame = pd.DataFrame({"text": ["a", "b", "c"], "features": [{"n": 1}, "0.3", 0.3]})
    found = FrameScorer(bundle)(frame)
    assert found["score_spam"].isna().tolist() == [False, True, True]
    assert found["error"][1:].tolist() == [
        "wrong_type at /features: features must be a struct or a map, not str",
        "wrong_type at /features: features must be a struct or a map, not float",
    ]


def test_numbers_of_numpy_are_features(bundle: Path) -> None:
    features = {"a": np.float32(0.5), "b": np.int64(7), "c": np.bool_(True), "d": np.float32("nan")}
    assert row_event({"id": "x", "features": features}, Decoder(EventsSettings.model_validate({})), "").features == {
        "a": 0.5,
        "b": 7,
        "c": True,
        "d": None,
    }


def test_frames_without_a_column_that_is_known_or_with_one_twice_are_refused(bundle: Path) -> None:
    score = FrameScorer(bundle)
    with pytest.raises(RefusedError, match=r"the frame has none of .*text.*; it has nr, body"):
        score(pd.DataFrame({"nr": [1], "body": ["a"]}))
    with pytest.raises(RefusedError, match="the frame has text more than once; its columns are id, text, text"):
        score(pd.DataFrame([["1", "a", "b"]], columns=["id", "text", "text"]))
    assert len(score(pd.DataFrame())) == 0


def test_cutoffs_that_do_not_fit_are_refused(bundle: Path) -> None:
    with pytest.raises(RefusedError) as caught:
        FrameScorer(bundle, thresholds={"labels": {"spam": 2}})
    assert len(caught.value.problems) == 2


def test_spark_is_told_the_columns(bundle: Path) -> None:
    expected = "id string, tags array<string>, `score_spam` double, `score_greeting` double, error string"
    assert spark_schema(bundle) == expected
