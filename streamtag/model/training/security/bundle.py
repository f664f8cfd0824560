"""From folders of data to the bundle ``security`` with its figures, and the baseline it is measured against."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from streamtag.domain.release import BundleRef
from streamtag.errors import RefusedError
from streamtag.model.bundle import Bundle, array_bytes, write_bundle
from streamtag.model.contracts.rendered_log import WORDS, WORDS_IDF, RenderedLogContract
from streamtag.model.manifest import MODEL, PARITY, SCHEMA_VERSION, Label, Manifest, OrtOptions, Parity, dump
from streamtag.model.ngrams import IDF_UNIT
from streamtag.model.parity import PARITY_TEXTS, TOLERANCE, make_parity
from streamtag.model.scorer import Scorer
from streamtag.model.training.f1 import difference, f1_figures
from streamtag.model.training.graph import build_graph
from streamtag.model.training.readers import security_requests, security_rules
from streamtag.model.training.readers.security_labels import LABELS, MEANINGS
from streamtag.model.training.rows import Rows
from streamtag.model.training.security.fit import (
    PARTS,
    Report,
    SecurityConfig,
    Trained,
    calibrated,
    measured_rows,
    take_rows,
    train_security,
)
from streamtag.model.training.security.joint import fit_joint
from streamtag.model.training.security.word_matrix import count_words
from streamtag.model.training.split import unit_hash
from streamtag.model.training.train import environment

READERS: Mapping[str, Callable[[Path], Rows]] = {
    "mitre_attack": security_rules.read_mitre_attack,
    "sigma": security_rules.read_sigma,
    "atomic_red_team": security_rules.read_atomic_red_team,
    "panther": security_rules.read_panther,
    "otrf_security_datasets": security_rules.read_otrf,
    "crs_regression": security_requests.read_crs_regression,
    "http_params": security_requests.read_http_params,
    "waf_payloads": security_requests.read_waf_payloads,
}
CONFIG = Path(__file__).with_name("security.yaml")
"""Of the bundle that ships."""
BASELINE_WORDS = 60_000
BASELINE_STRENGTHS = (4.0, 16.0)
BASELINE = (
    "TF-IDF of words and pairs (sublinear, in two texts at least) + logistic regression; the better of C 4 and 16"
)
FIXTURES = (
    '{"process": {"command_line": "cmd /c ec^ho hello", "name": "cmd.exe"}}',
    '{"eventName": "ListBuckets", "eventSource": "s3.amazonaws.com", "userIdentity": {"type": "Role"}}',
    '{"class_uid": 1007, "process": {"cmd_line": "tar -czf notes.tgz notes"}, "actor": {"user": {"name": "bob"}}}',
    '{"method": "GET", "uri": "/find?q=two%20words&lang=en", "headers": {"User-Agent": "test agent"}}',
    '{"EventID": 4688, "Channel": "Security", "NewProcessName": "C:\\\\Windows\\\\System32\\\\notepad.exe"}',
    "powershell -enc VwByAGkAdABlAC0ASABvAHMAdAAgAGgAZQBsAGwAbwA=",
    "GET /caf%C3%A9?menu=today HTTP/1.1",
    "{broken json",
)
"""Harmless, beside those that every bundle has: one of each family, and one of each encoding."""


def read_sets(directory: Path, config: SecurityConfig) -> Rows:
    """All sets of the configuration as one.

    Raises:
        RefusedError: a set has no reader; what a reader refuses.
    """
    unknown = [name for name in config.sets if name not in READERS]
    if unknown:
        problems = [f"sets.{name}: no such reader; there are {', '.join(READERS)}" for name in unknown]
        raise RefusedError("the configuration names sets that cannot be read", problems=problems)
    found = []
    for name, share in config.sets.items():
        rows = READERS[name](directory / name)
        found.append(take_rows(rows, unit_hash(rows.ids, "sample") < share))
    return Rows(
        LABELS,
        tuple(one for rows in found for one in rows.ids),
        tuple(one for rows in found for one in rows.texts),
        np.concatenate([rows.targets for rows in found]),
        np.concatenate([rows.natural for rows in found]),
        tuple(one for rows in found for one in rows.source),
        tuple(one for rows in found for one in rows.language),
        tuple(one for rows in found for one in rows.split),
        group=tuple(one for rows in found for one in rows.group or ()),
    )


def make_security(directory: Path, out: Path, *, version: str, config: SecurityConfig, report: Report) -> Path:
    """Trains, measures on the groups held out, and writes the bundle below ``out``; returns its path."""
    report(f"read {', '.join(config.sets)}")
    rows = read_sets(directory, config)
    contract = RenderedLogContract()
    report(f"render {len(rows.ids)} documents")
    counts = count_words(rows.texts, contract)
    trained = train_security(rows, counts, config, report)
    files = _files(trained)
    manifest = _manifest(config, version, contract, trained, _training(directory, rows, trained, config), {})
    scorer = _draft_scorer(manifest, files)
    report("measure, beside the baseline")
    evaluation = _evaluation(scorer, rows, trained, config, report)
    manifest = msgspec.structs.replace(manifest, evaluation=msgspec.to_builtins(evaluation))
    return write_bundle(out, manifest, {**files, PARITY: dump(make_parity(scorer, (*PARITY_TEXTS, *FIXTURES)))})


def _draft_scorer(manifest: Manifest, files: Mapping[str, bytes]) -> Scorer:
    """The model as it will serve, before it is written: what is evaluated is the graph, not the training code."""
    ref = BundleRef(manifest.name, manifest.version, "0" * 64)
    contents = {name: files[name] for name in (WORDS, WORDS_IDF)}
    return Scorer(Bundle(Path(), ref, manifest, contents, Parity(TOLERANCE, []), files[MODEL]), batch=64)


def _files(trained: Trained) -> dict[str, bytes]:
    coefficients = trained.model.weights * (trained.idf / np.float32(IDF_UNIT)).astype(np.float32)[:, None]
    bias = trained.model.bias.astype(np.float32)
    return {
        MODEL: build_graph(coefficients, bias, trained.calibration, half=True),
        WORDS: array_bytes(trained.words),
        WORDS_IDF: array_bytes(trained.idf),
    }


def _manifest(
    config: SecurityConfig,
    version: str,
    contract: RenderedLogContract,
    trained: Trained,
    training: Mapping[str, Any],
    evaluation: Mapping[str, Any],
) -> Manifest:
    labels = [
        Label(name, MEANINGS[name], threshold) for name, threshold in zip(LABELS, trained.thresholds, strict=True)
    ]
    return Manifest(
        schema_version=SCHEMA_VERSION,
        name=config.name,
        version=version,
        description=config.description,
        labels=labels,
        preprocessing=contract,
        calibration=trained.calibration,
        ort=OrtOptions(),
        files={},
        training=msgspec.to_builtins(dict(training)),
        evaluation=dict(evaluation),
    )


def _training(directory: Path, rows: Rows, trained: Trained, config: SecurityConfig) -> dict[str, Any]:
    data = []
    for name in config.sets:
        files = sorted(file for file in (directory / name).iterdir() if file.suffix in (".gz", ".csv", ".zip"))
        read = sum(source.startswith(f"{name}/") for source in rows.source)
        data += [{"name": f"{name}/{file.name}", "sha256": _sha256(file), "rows": read} for file in files]
    return {
        "data": data,
        "recipe": msgspec.to_builtins(config),
        "rows": {"train": int(trained.train.sum()), "test": int(trained.test.sum())},
        "threshold_rule": "highest F1 out of fold among those that tag at most twice as many rows as are positive",
        "environment": environment(),
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _evaluation(scorer: Scorer, rows: Rows, trained: Trained, config: SecurityConfig, report: Report) -> dict[str, Any]:
    assert rows.group is not None
    scores = scorer.score([text for text, test in zip(rows.texts, trained.test, strict=True) if test])
    tagged = np.zeros(rows.targets.shape, dtype=np.bool_)
    tagged[trained.test] = scores >= np.array(trained.thresholds)
    other = baseline(rows, trained, config, report)
    found: dict[str, Any] = {"split": "rule files and techniques held out", "rows": int(trained.test.sum())}
    for part, labels in PARTS.items():
        own = trained.test & measured_rows(rows, config, part)
        found[part] = {"baseline": BASELINE, **_compared(rows, own, labels, tagged, other)}
        found[part]["sources"] = {
            source: _compared(rows, own & (np.array(rows.source) == source), labels, tagged, other)
            for source in config.measured[part]
        }
    return found


def _compared(
    rows: Rows, use: NDArray[np.bool_], labels: slice, tagged: NDArray[np.bool_], other: NDArray[np.bool_]
) -> dict[str, Any]:
    assert rows.group is not None
    groups = [group for group, test in zip(rows.group, use, strict=True) if test]
    names, truth = LABELS[labels], rows.targets[use, labels]
    return {
        "bundle": f1_figures(names, tagged[use, labels], truth, groups),
        "tfidf": f1_figures(names, other[use, labels], truth, groups),
        "above": difference(tagged[use, labels], other[use, labels], truth, groups),
    }


def baseline(rows: Rows, trained: Trained, config: SecurityConfig, report: Report) -> NDArray[np.bool_]:
    """Tags of the baseline on the test rows, bool [rows, labels], from the same training rows and folds.

    Per part of the labels it has the strength whose micro F1 on the test rows is the better: chosen in its favour.
    """
    assert rows.group is not None
    vectors = TfidfVectorizer(  # type: ignore[no-untyped-call]
        ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=BASELINE_WORDS, dtype=np.float32
    )
    vectors.fit([text for text, train in zip(rows.texts, trained.train, strict=True) if train])
    matrix = vectors.transform(rows.texts).tocsr()  # type: ignore[no-untyped-call]
    fold = (unit_hash(rows.group, config.salt + "/folds") * config.folds).astype(np.intp)
    best: dict[str, tuple[float, NDArray[np.bool_]]] = {}
    with threadpool_limits(1):
        for strength in BASELINE_STRENGTHS:
            report(f"baseline, C {strength:g}")
            margins = np.zeros(rows.targets.shape)
            for k in range(config.folds + 1):  # the last one: all folds, for the test rows
                use, out = (
                    trained.train & (fold != k),
                    trained.test if k == config.folds else trained.train & (fold == k),
                )
                model = fit_joint(matrix[use], rows.targets[use], strength=strength, iterations=config.iterations)
                margins[out] = model.margins(matrix[out])
            for part, labels in PARTS.items():
                own = measured_rows(rows, config, part)
                tagged = _tagged(margins, rows.targets, trained.train & own, labels)
                test = trained.test & own
                groups = [group for group, one in zip(rows.group, test, strict=True) if one]
                figures = f1_figures(LABELS[labels], tagged[test, labels], rows.targets[test, labels], groups)
                if part not in best or figures.micro.value > best[part][0]:
                    best[part] = figures.micro.value, tagged
    out_of = np.zeros(rows.targets.shape, dtype=np.bool_)
    for part, labels in PARTS.items():
        out_of[:, labels] = best[part][1][:, labels]
    return out_of


def _tagged(
    margins: NDArray[np.float64], targets: NDArray[np.int8], use: NDArray[np.bool_], labels: slice
) -> NDArray[np.bool_]:
    """What lies above the cut-offs that the rows in ``use`` give, bool [rows, all labels]."""
    tagged = np.zeros(targets.shape, dtype=np.bool_)
    for j in range(labels.start, labels.stop):
        known = use & (targets[:, j] >= 0)
        entry, threshold = calibrated(LABELS[j], margins[known, j], targets[known, j])
        logit = entry.a * margins[:, j] + entry.hinge * np.maximum(margins[:, j], 0) + entry.b
        tagged[:, j] = 1 / (1 + np.exp(-logit)) >= threshold
    return tagged
