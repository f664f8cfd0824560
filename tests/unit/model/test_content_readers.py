"""Readers of content sets: what two raters say counts, what nobody said is unknown, and broken files are named."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.ngrams import NgramContract
from streamtag.model.training.backbone import count_all
from streamtag.model.training.config import SplitConfig
from streamtag.model.training.divide import divide, joined
from streamtag.model.training.readers.content import (
    JIGSAW,
    concatenate,
    read_convabuse,
    read_edos,
    read_goemotions,
    read_hatemoji,
    read_jigsaw,
    read_mlma,
    read_told,
    read_toxic_spans,
)
from streamtag.model.training.taxonomy_map import onto


def test_toxic_spans_count_raters_and_leave_one_vote_unknown(tmp_path: Path) -> None:
    (tmp_path / "comments.csv").write_text('comment_id,comment_text\n1,"one, two"\n2,calm\n3,split\n')
    (tmp_path / "annotations.csv").write_text(
        "annotation,comment_id,not toxic\na,1,False\nb,1,False\nc,1,False\nd,2,True\ne,2,True\nf,3,False\ng,3,True\n"
    )
    (tmp_path / "spans.csv").write_text("annotation,type\na,Insult\na,Threat\nb,Insult\nf,Insult\nf,\n")
    rows = read_toxic_spans(tmp_path)
    found = {
        name: dict(zip(rows.labels, row, strict=True))
        for name, row in zip(rows.ids, rows.targets.tolist(), strict=True)
    }
    assert found["toxic_spans:1"] == {
        "toxic": 1, "insult": 1, "obscene": 0, "identity_attack": 0, "threat": -1, "other": 0,
    }  # fmt: skip
    assert set(found["toxic_spans:2"].values()) == {0}
    assert set(found["toxic_spans:3"].values()) == {-1}


def test_edos_goemotions_and_hatemoji_keep_their_splits(tmp_path: Path) -> None:
    (tmp_path / "edos_labelled_aggregated.csv").write_text(
        "rewire_id,text,label_sexist,label_category,split\na,x,sexist,2. derogation,test\nb,y,not sexist,none,train\n"
    )
    rows = read_edos(tmp_path)
    assert rows.targets.tolist() == [[1, 0, 1, 0, 0], [0, 0, 0, 0, 0]]
    assert rows.split == ("test", "train")
    (tmp_path / "labels.txt").write_text("joy\nfear\n")
    for part in ("train", "dev", "test"):
        (tmp_path / f"{part}.tsv").write_text(f'a "quote in {part}\t0,1\tid1\n')
    rows = read_goemotions(tmp_path)
    assert rows.texts[0] == 'a "quote in train'
    assert rows.targets.tolist() == [[1, 1]] * 3
    assert rows.split == ("train", "dev", "test")
    (tmp_path / "dev.tsv").write_text("x\t2\tid\n")
    with pytest.raises(RefusedError, match=r"dev\.tsv, line 1: labels must be numbers of 0 … 1"):
        read_goemotions(tmp_path)
    for part in ("train", "validation", "test"):
        (tmp_path / f"HatemojiBuild_{part}.csv").write_text(
            f"entry_id,text,type,label_gold,split,matched_id,set\n{part}1,x,derogation,1,{part},{part}2,o\n"
            f"{part}2,x,none,0,{part},{part}1,p\n"
        )
    rows = read_hatemoji(tmp_path)
    assert rows.targets[:2].tolist() == [[1, 1, 0, 0, 0], [0] * 5]
    assert rows.group is not None
    assert rows.group[0] == rows.group[1] != rows.group[2]


def test_votes_of_told_and_convabuse_and_languages_of_mlma(tmp_path: Path) -> None:
    (tmp_path / "ToLD-BR.csv").write_text(
        "text,homophobia,obscene,insult,racism,misogyny,xenophobia\nx,0,1,2.0,3,0,0\n"
    )
    assert read_told(tmp_path).targets.tolist() == [[0, -1, 1, 1, 0, 0]]
    kinds = ["ableism", "homophobic", "intellectual", "racist", "sexist", "sex_harassment", "transphobic"]
    header = ",".join(["example_no", "user", *(f"is_abuse.-{d}" for d in (1, 2, 3)), *(f"type.{k}" for k in kinds)])
    lines = ["7,x,0,1,0,0,0,1,0,0,0,0", "7,x,1,0,0,0,0,0,0,0,0,0", "7,x,0,0,0,0,0,1,0,0,0,0"]
    (tmp_path / "ConvAbuseEMNLPfull.csv").write_text("\n".join([header, *lines]))
    assert read_convabuse(tmp_path).targets.tolist() == [[1, 0, 0, 1, 0, 0, 0, 0]]
    with zipfile.ZipFile(tmp_path / "hate_speech_mlma.zip", "w") as archive:
        for name in ("en_dataset_with_stop_words", "fr_dataset", "ar_dataset"):
            archive.writestr(f"hate_speech_mlma/{name}.csv", "HITId,tweet,sentiment\n1,x,offensive_hateful\n")
    rows = read_mlma(tmp_path)
    assert rows.language == ("en", "fr", "ar")
    assert rows.targets[0].tolist() == [1, 1, 0, 0, 0, 0]


def test_broken_files_are_named_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="jigsaw"):
        read_jigsaw(tmp_path)
    file = tmp_path / "jigsaw.csv.gz"
    file.write_bytes(b"no gzip")
    with pytest.raises(RefusedError, match="cannot be read"):
        read_jigsaw(tmp_path)
    import gzip

    header = ",".join(["id", "comment_text", *JIGSAW])
    file.write_bytes(gzip.compress(f"{header}\na,hi,0,0,0,0,0,0\nb,ho,1,0,x,0,0,0\n".encode()))
    with pytest.raises(RefusedError) as refused:
        read_jigsaw(tmp_path)
    assert refused.value.problems == ("record 2, obscene: not a number",)
    file.write_bytes(gzip.compress(f"{header}\na,hi,0,0,7,0,0,0\n".encode()))
    with pytest.raises(RefusedError) as refused:
        read_jigsaw(tmp_path)
    assert refused.value.problems[0].startswith("record 1: a label is none of")
    file.write_bytes(gzip.compress(b"id,comment_text\n"))
    with pytest.raises(RefusedError, match="no column toxic, severe_toxic"):
        read_jigsaw(tmp_path)


def test_labels_are_mapped_and_what_is_not_said_is_unknown(tmp_path: Path) -> None:
    header = ",".join(["id", "comment_text", *JIGSAW])
    import gzip

    (tmp_path / "jigsaw.csv.gz").write_bytes(
        gzip.compress(f"{header}\na,hi,0,0,1,0,0,0\nb,ho,0,0,0,0,0,0\nc,ha,-1,-1,-1,-1,-1,-1\n".encode())
    )
    rows = read_jigsaw(tmp_path)
    assert rows.ids == ("jigsaw:a", "jigsaw:b")
    mapped = onto(rows, ("rude", "spam", "coarse"), {"rude": ["insult", "obscene"], "coarse": ["obscene"]}, ["coarse"])
    assert mapped.targets.tolist() == [[1, -1, 1], [0, -1, -1]]
    with pytest.raises(RefusedError) as refused:
        onto(rows, ("rude",), {"rude": ["nothing"], "kind": ["insult"]})
    assert len(refused.value.problems) == 2


def test_groups_of_sets_and_near_duplicates_hold_together() -> None:
    groups = np.array([0, 0, 1, 2, 3], dtype=np.int32)
    found = joined(groups, ("a", "b", "b", "c", "d"))
    assert found[0] == found[1] == found[2]
    assert len(set(found.tolist())) == 3


def test_a_sets_own_test_rows_and_their_likes_are_never_trained_on(tmp_path: Path) -> None:
    lines = [f"r{i},text number {i} of {i * i} walks by the {i}th river,not sexist,none,train" for i in range(60)]
    lines[7] = "r7,a very particular sentence about the ferry,sexist,1. threats,test"
    lines[9] = "r9,a very particular sentence about the ferry!,sexist,1. threats,train"
    header = "rewire_id,text,label_sexist,label_category,split"
    (tmp_path / "edos_labelled_aggregated.csv").write_text("\n".join([header, *lines]))
    rows = concatenate([read_edos(tmp_path)])
    present = count_all(NgramContract(bits=12), list(rows.texts))
    for method in ("fixed", "stratified", "hash"):
        split = divide(rows, present, SplitConfig(method=method, share=0.3))
        assert not split.train[7]
        assert not split.train[9]
        assert not set(split.groups[split.train].tolist()) & set(split.groups[split.test].tolist())
