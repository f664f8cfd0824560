"""The recipe on made-up, harmless comments: it learns, holds out whole families, and repeats itself bit for bit."""

import csv
import gzip
from pathlib import Path

import msgspec
import numpy as np
import pytest

from streamtag.errors import NotFoundError, StreamtagError
from streamtag.model.bundle import peek_ref, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.ngrams import IDF_UNIT, MAX_IDF, NgramContract
from streamtag.model.training.data import LABELS, Dataset, read_jigsaw
from streamtag.model.training.logistic import fit_logistic, log_count_ratio
from streamtag.model.training.matrix import count_matrix, inverse_document_frequency
from streamtag.model.training.moderation import evaluate_bundle, train_moderation
from streamtag.model.training.split import duplicate_groups, split_rows, unit_hash
from streamtag.model.training.train import Recipe

CONTRACT = NgramContract(bits=12)
RECIPE = Recipe(contract=CONTRACT, buckets=600, folds=2, strengths=(1.0, 4.0), iterations=15)
# A made-up vocabulary stands in for what each label is about.
TOPICS = dict(zip(LABELS, ("cheese", "volcano", "bicycle", "glacier", "trumpet", "lantern"), strict=True))
FILLER = ["the", "on", "a", "walk", "green", "paper", "seven", "window", "quiet", "river", "then", "made", "of", "old"]


def write_comments(directory: Path, rows: int = 900) -> Path:
    random = np.random.default_rng(5)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "jigsaw.csv.gz"
    with gzip.open(path, "wt", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["id", "comment_text", *LABELS, "in_random_draw"])
        for i in range(rows):
            words = random.choice(FILLER, size=20).tolist()
            chosen = random.random(len(LABELS)) < 0.15
            for label, present in zip(LABELS, chosen, strict=True):
                if present:
                    words.insert(int(random.integers(0, len(words))), TOPICS[label])
            out.writerow([f"{i:04}", " ".join(words), *(int(present) for present in chosen), int(i % 3 > 0)])
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    directory = tmp_path_factory.mktemp("data")
    write_comments(directory / "jigsaw_toxic")
    return read_jigsaw(directory)


@pytest.fixture(scope="module")
def trained(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_moderation(
        data, tmp_path_factory.mktemp("bundles"), version="7", recipe=RECIPE, report=lambda message: None
    )


def test_it_learns_and_records_it(trained: Path) -> None:
    bundle = read_bundle(trained)
    assert (bundle.ref.name, bundle.ref.version) == ("moderation", "7")
    assert bundle.manifest.evaluation["mean_roc_auc"] > 0.95
    scores = load_scorer(trained, batch=8).score(["a quiet volcano on the river", "the old window"])
    volcano = LABELS.index("severe_toxic")
    assert scores[0, volcano] > 0.5 > scores[1, volcano]


def test_training_again_gives_the_same_bits(trained: Path, data: Dataset, tmp_path: Path) -> None:
    again = train_moderation(data, tmp_path, version="7", recipe=RECIPE, report=lambda message: None)
    assert peek_ref(again) == peek_ref(trained)


def test_evaluating_finds_the_held_out_rows_and_figures_again(trained: Path, data: Dataset) -> None:
    scorer = load_scorer(trained, batch=64)
    found = evaluate_bundle(scorer, data, lambda message: None)
    assert found.as_recorded is True
    assert found.figures.rows == scorer.bundle.manifest.training["rows"]["test"]


def test_evaluating_on_another_file_takes_all_its_natural_rows_and_says_so(trained: Path, tmp_path: Path) -> None:
    write_comments(tmp_path, rows=90)
    messages: list[str] = []
    found = evaluate_bundle(load_scorer(trained, batch=64), read_jigsaw(tmp_path), messages.append)
    assert found.as_recorded is None
    assert found.figures.rows == 60
    assert any("is not what" in message for message in messages)


def test_near_duplicates_fall_on_one_side() -> None:
    base = "the committee met on tuesday to discuss the new timetable for the ferry between the two islands"
    texts = [base, base + "!", base.upper(), base.replace("tuesday", "monday"), "something else entirely", ""]
    known = np.arange(1 << CONTRACT.bits, dtype=np.uint32)
    rows = count_matrix(CONTRACT, texts, buckets=known, idf=np.full(len(known), IDF_UNIT, dtype=np.uint16))
    groups = duplicate_groups(rows)
    assert len(set(groups[:4].tolist())) == 1
    assert len(set(groups.tolist())) == 3


def test_no_group_is_split_and_only_natural_rows_are_tested() -> None:
    random = np.random.default_rng(1)
    ids = [f"{i:05}" for i in range(4_000)]
    groups = random.integers(0, 3_000, size=4_000).astype(np.int32)
    natural = random.random(4_000) < 0.5
    split = split_rows(ids, natural, groups, share=0.3, salt="a")
    assert not set(groups[split.train].tolist()) & set(groups[split.test].tolist())
    assert natural[split.test].all()
    assert 0.25 < split.test.sum() / natural.sum() < 0.35
    again = split_rows(ids, natural, groups, share=0.3, salt="a")
    assert (again.test == split.test).all()
    assert (split_rows(ids, natural, groups, share=0.3, salt="b").test != split.test).any()


def test_the_unit_hash_is_what_it_always_was() -> None:
    assert unit_hash(["0000", "0001"], "salt").tolist() == [0.29403027808453785, 0.31971802402781346]


def test_idf_is_smoothed_and_fits_its_type() -> None:
    known = np.arange(1 << CONTRACT.bits, dtype=np.uint32)
    rows = count_matrix(CONTRACT, ["abc"] * 9, buckets=known, idf=np.full(len(known), IDF_UNIT, dtype=np.uint16))
    idf = inverse_document_frequency(rows)
    assert set(idf[rows.indices].tolist()) == {IDF_UNIT}
    assert int(idf.max()) == round((np.log(10) + 1) * IDF_UNIT) <= MAX_IDF


def test_logistic_regression_separates_and_scales_by_the_log_count_ratio() -> None:
    known = np.arange(1 << CONTRACT.bits, dtype=np.uint32)
    texts = ["red apple"] * 20 + ["blue plum"] * 20
    rows = count_matrix(CONTRACT, texts, buckets=known, idf=np.full(len(known), IDF_UNIT, dtype=np.uint16))
    target = np.array([1] * 20 + [0] * 20, dtype=np.int8)
    model = fit_logistic(rows, target, strength=4.0, smoothing=1.0, iterations=50)
    margin = model.margin(rows)
    assert margin[:20].min() > 1 > -1 > margin[20:].max()
    ratio = log_count_ratio(rows, target, 1.0)
    assert (np.sign(model.weights[ratio != 0]) == np.sign(ratio[ratio != 0])).mean() > 0.9


def test_rows_without_a_label_are_left_out_and_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="jigsaw_toxic"):
        read_jigsaw(tmp_path)
    header = ",".join(["id", "comment_text", *LABELS])
    (tmp_path / "train.csv").write_text(f"{header}\na,hello,0,0,0,0,0,0\nb,there,-1,-1,-1,-1,-1,-1\n")
    found = read_jigsaw(tmp_path)
    assert found.ids == ["a"]
    assert found.natural.tolist() == [True]
    (tmp_path / "train.csv").write_text(f"{header}\na,hello,0,0,0,x,0,0\n")
    with pytest.raises(StreamtagError, match="line 2"):
        read_jigsaw(tmp_path)
    (tmp_path / "train.csv").write_text("id,comment_text\na,b\n")
    with pytest.raises(StreamtagError, match="no column toxic, severe_toxic"):
        read_jigsaw(tmp_path)


def test_the_recipe_survives_the_manifest(trained: Path) -> None:
    training = read_bundle(trained).manifest.training
    assert msgspec.convert(training["recipe"], Recipe) == RECIPE
