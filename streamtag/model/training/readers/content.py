"""Readers of public sets of comments and posts. Each gives the labels its annotators used, under the set's own names.

What a label of a set means in the taxonomy of a bundle is the configuration's business, not a reader's.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from streamtag.errors import RefusedError
from streamtag.model.training.readers.delimited import Record, numbers, read_delimited
from streamtag.model.training.rows import Rows

JIGSAW = ("toxic", "severe_toxic", "obscene", "threat", "insult", "identity_hate")
_SPAN_TYPES = {
    "Insult": "insult",
    "Profane/Obscene": "obscene",
    "Identity based Attack": "identity_attack",
    "Threat": "threat",
    "Other Toxicity": "other",
}
_EDOS_KINDS = {"1": "threats", "2": "derogation", "3": "animosity", "4": "prejudiced"}
_EMOJI_KINDS = ("derogation", "animosity", "dehumanizinglanguage", "threateninglanguage")
_MLMA = ("offensive", "hateful", "disrespectful", "abusive", "fearful", "normal")
_TOLD = ("homophobia", "obscene", "insult", "racism", "misogyny", "xenophobia")
_CONVABUSE = ("ableism", "homophobic", "intellectual", "racist", "sexist", "sex_harassment", "transphobic")


def read_jigsaw(directory: Path) -> Rows:
    """Jigsaw "Toxic Comment Classification": comments on Wikipedia talk pages, six labels.

    ``in_random_draw`` marks rows of the natural rates; without that column all are. Rows labelled -1 (in the
    competition's test file) are left out.
    """
    file = directory / "jigsaw.csv.gz"
    records = read_delimited(file, ("id", "comment_text", *JIGSAW))
    columns = np.array([numbers(file, records, label) for label in JIGSAW]).T.reshape(-1, len(JIGSAW))
    _refuse_other_than(file, columns, (-1, 0, 1))
    kept = np.flatnonzero((columns >= 0).all(axis=1)).tolist()
    records = [records[i] for i in kept]
    natural = [record.get("in_random_draw", "1") == "1" for record in records]
    return _rows(
        "jigsaw", JIGSAW, [r["id"] for r in records], [r["comment_text"] for r in records], columns[kept], natural
    )


def read_toxic_spans(directory: Path) -> Rows:
    """Toxic Spans (Pavlopoulos et al., 2021): comments on news; a label holds where two raters marked such a span.

    ``toxic`` holds with any two marks; a comment without a mark that two raters ticked as not toxic has none of the
    labels. Marks of one rater are unknown.
    """
    comments = read_delimited(directory / "comments.csv", ("comment_id", "comment_text"))
    annotations = read_delimited(directory / "annotations.csv", ("annotation", "comment_id", "not toxic"))
    spans = read_delimited(directory / "spans.csv", ("annotation", "type"))
    labels = ("toxic", *_SPAN_TYPES.values())
    marks: dict[str, set[str]] = defaultdict(set)
    for span in spans:
        if span["type"] in _SPAN_TYPES:
            marks[span["annotation"]].add(_SPAN_TYPES[span["type"]])
    raters: dict[str, NDArray[np.intp]] = defaultdict(lambda: np.zeros(len(labels) + 1, dtype=np.intp))
    for annotation in annotations:
        marked = marks.get(annotation["annotation"], set())
        votes = [bool(marked), *(name in marked for name in labels[1:])]
        raters[annotation["comment_id"]] += [*votes, not marked and annotation["not toxic"] == "True"]
    votes_of = np.array([raters[comment["comment_id"]] for comment in comments]).reshape(-1, len(labels) + 1)
    innocent = (votes_of[:, -1] >= 2) & (votes_of[:, 0] == 0)
    targets = np.full((len(comments), len(labels)), -1)
    targets[innocent] = 0
    targets[votes_of[:, :-1] >= 2] = 1
    # Who marked a comment at all chose among the kinds: one that nobody marked is known to be absent.
    targets[(votes_of[:, :-1] == 0) & (votes_of[:, :1] >= 2)] = 0
    ids, texts = [c["comment_id"] for c in comments], [c["comment_text"] for c in comments]
    return _rows("toxic_spans", labels, ids, texts, targets, None)


def read_edos(directory: Path) -> Rows:
    """EDOS (SemEval 2023, task 10): sexism in posts, and its four kinds; with the official split."""
    file = directory / "edos_labelled_aggregated.csv"
    records = read_delimited(file, ("rewire_id", "text", "label_sexist", "label_category", "split"))
    labels = ("sexist", *_EDOS_KINDS.values())
    targets = np.array(
        [
            [r["label_sexist"] == "sexist", *(r["label_category"].startswith(f"{digit}.") for digit in _EDOS_KINDS)]
            for r in records
        ]
    )
    ids, texts = [r["rewire_id"] for r in records], [r["text"] for r in records]
    return _rows("edos", labels, ids, texts, targets, True, split=[r["split"] for r in records])


def read_davidson(directory: Path) -> Rows:
    """Davidson et al. (2017): tweets; a label holds by the majority of the votes. Offensive includes hateful."""
    file = directory / "labeled_data.csv"
    votes = ("count", "hate_speech", "offensive_language")
    records = read_delimited(file, ("", "tweet", *votes))
    count, hate, offensive = (np.array(numbers(file, records, name)) for name in votes)
    targets = np.stack([2 * hate > count, 2 * (hate + offensive) > count], axis=1)
    texts = [r["tweet"] for r in records]
    return _rows("davidson", ("hate", "offensive"), [r[""] for r in records], texts, targets, None)


def read_hatemoji(directory: Path) -> Rows:
    """HatemojiBuild (Kirk et al., 2022): adversarial posts with emoji, and minimally changed twins, kept together."""
    found: list[Record] = []
    for part in ("train", "validation", "test"):
        wanted = ("entry_id", "text", "type", "label_gold", "split", "matched_id", "set")
        found += read_delimited(directory / f"HatemojiBuild_{part}.csv", wanted)
    targets = np.array([[r["label_gold"] == "1", *(r["type"] == kind for kind in _EMOJI_KINDS)] for r in found])
    twins = ["-".join(sorted((r["entry_id"], r["matched_id"] or r["entry_id"]))) for r in found]
    ids, texts = [r["entry_id"] for r in found], [r["text"] for r in found]
    split = [r["split"] for r in found]
    return _rows("hatemoji", ("hate", *_EMOJI_KINDS), ids, texts, targets, None, split=split, group=twins)


def read_mlma(directory: Path) -> Rows:
    """MLMA (Ousidhoum et al., 2019): tweets in English, French and Arabic, six labels."""
    parts = []
    for language, name in (("en", "en_dataset_with_stop_words"), ("fr", "fr_dataset"), ("ar", "ar_dataset")):
        member = f"hate_speech_mlma/{name}.csv"
        records = read_delimited(directory / "hate_speech_mlma.zip", ("HITId", "tweet", "sentiment"), member=member)
        targets = np.array([[label in r["sentiment"].split("_") for label in _MLMA] for r in records])
        # One HIT number can stand for several tweets.
        ids = [f"{language}/{number}" for number in range(len(records))]
        parts.append(_rows("mlma", _MLMA, ids, [r["tweet"] for r in records], targets, None, language=language))
    return concatenate(parts)


def read_convabuse(directory: Path) -> Rows:
    """ConvAbuse (Cercas Curry et al., 2021): what users say to chat bots; labels by the majority of annotators."""
    file = directory / "ConvAbuseEMNLPfull.csv"
    names = [f"type.{name}" for name in _CONVABUSE]
    degrees = [f"is_abuse.{degree}" for degree in (-1, -2, -3)]
    records = read_delimited(file, ("example_no", "user", *names, *degrees))
    abusive = np.array([numbers(file, records, name) for name in degrees]).max(axis=0)
    kinds = np.array([numbers(file, records, name) for name in names])
    votes = np.nan_to_num(np.stack([abusive, *kinds], axis=1))
    examples: dict[str, list[int]] = defaultdict(list)
    for place, record in enumerate(records):
        examples[record["example_no"]].append(place)
    targets = np.array([votes[places].mean(axis=0) > 0.5 for places in examples.values()])
    texts = [records[places[0]]["user"] for places in examples.values()]
    return _rows("convabuse", ("abusive", *_CONVABUSE), list(examples), texts, targets, None)


def read_told(directory: Path) -> Rows:
    """ToLD-Br (Leite et al., 2020): Brazilian tweets; a label holds with two of three votes, one vote is unknown."""
    file = directory / "ToLD-BR.csv"
    records = read_delimited(file, ("text", *_TOLD))
    votes = np.array([numbers(file, records, name) for name in _TOLD]).T
    targets = np.where(votes >= 2, 1, np.where(votes == 0, 0, -1))
    ids, texts = [str(number) for number in range(len(records))], [r["text"] for r in records]
    return _rows("told_br_pt", _TOLD, ids, texts, targets, None, language="pt")


def read_goemotions(directory: Path) -> Rows:
    """GoEmotions (Demszky et al., 2020): comments on Reddit, 27 emotions and neutral; with the official split."""
    file = directory / "labels.txt"
    labels = tuple(r["label"] for r in read_delimited(file, ("label",), header=("label",)))
    ids, texts, columns, split = [], [], [], []
    for part in ("train", "dev", "test"):
        file = directory / f"{part}.tsv"
        for line, record in enumerate(read_delimited(file, ("text", "ids", "id"), header=("text", "ids", "id")), 1):
            try:
                chosen = {int(number) for number in record["ids"].split(",")}
            except ValueError:
                chosen = {-1}
            if not chosen <= set(range(len(labels))):
                raise RefusedError(f"{file}, line {line}: labels must be numbers of 0 … {len(labels) - 1}")
            ids.append(f"{record['id']}/{part}")
            texts.append(record["text"])
            columns.append([j in chosen for j in range(len(labels))])
            split.append(part)
    return _rows("goemotions", labels, ids, texts, np.array(columns), True, split=split)


READERS: Mapping[str, Callable[[Path], Rows]] = {
    "convabuse": read_convabuse,
    "davidson": read_davidson,
    "edos": read_edos,
    "goemotions": read_goemotions,
    "hatemoji": read_hatemoji,
    "jigsaw": read_jigsaw,
    "mlma": read_mlma,
    "told_br_pt": read_told,
    "toxic_spans": read_toxic_spans,
}
"""Name in a configuration → reader of the set's folder."""


def concatenate(parts: Sequence[Rows]) -> Rows:
    """Rows of several sets with the same labels, one after the other."""
    (labels,) = {part.labels for part in parts}
    grouped = any(part.group is not None for part in parts)
    return Rows(
        labels=labels,
        ids=tuple(name for part in parts for name in part.ids),
        texts=tuple(text for part in parts for text in part.texts),
        targets=np.concatenate([part.targets for part in parts]),
        natural=np.concatenate([part.natural for part in parts]),
        source=tuple(name for part in parts for name in part.source),
        language=tuple(name for part in parts for name in part.language),
        split=tuple(name for part in parts for name in part.split),
        group=tuple(name for part in parts for name in part.group or part.ids) if grouped else None,
    )


def _rows(
    name: str,
    labels: Sequence[str],
    ids: Sequence[str],
    texts: Sequence[str],
    targets: NDArray[np.generic],
    natural: Sequence[bool] | bool | None,
    *,
    language: str = "en",
    split: Sequence[str] | None = None,
    group: Sequence[str] | None = None,
) -> Rows:
    n = len(ids)
    if len(set(ids)) < n:
        raise RefusedError(f"set {name}: ids stand twice")
    return Rows(
        labels=tuple(labels),
        ids=tuple(f"{name}:{each}" for each in ids),
        texts=tuple(texts),
        targets=targets.astype(np.int8).reshape(n, len(labels)),
        natural=np.full(n, bool(natural)) if natural is None or isinstance(natural, bool) else np.array(natural),
        source=(name,) * n,
        language=(language,) * n,
        split=tuple(split) if split is not None else ("",) * n,
        group=tuple(f"{name}:{each}" for each in group) if group is not None else None,
    )


def _refuse_other_than(file: Path, columns: NDArray[np.float64], allowed: Sequence[int]) -> None:
    wrong = np.flatnonzero(~np.isin(columns, allowed).all(axis=1))
    if len(wrong):
        raise RefusedError(
            f"{file} cannot be used",
            problems=[f"record {i + 1}: a label is none of {', '.join(map(str, allowed))}" for i in wrong[:5].tolist()],
        )
