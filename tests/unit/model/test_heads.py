"""Heads learn what couples labels, and the graph gives what numpy gives, with the same bits in any batch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from streamtag.model.loading import load_scorer
from streamtag.model.manifest import Calibration, Label
from streamtag.model.ngrams import IDF_UNIT, NgramContract
from streamtag.model.training.assemble import Fitted, Records, as_scorer, write_model
from streamtag.model.training.calibrate import log_loss
from streamtag.model.training.heads import (
    Head,
    Independent,
    fit_chain,
    fit_embedding,
    fit_independent,
    fit_pairwise,
    fit_two_stage,
)
from streamtag.model.training.matrix import count_matrix

Floats = NDArray[np.float64]
Targets = NDArray[np.int8]
LABELS = 3
FITS: dict[str, Callable[[Floats, Targets], Head]] = {
    "independent": fit_independent,
    "chain": lambda z, y: fit_chain(z, y, orders=2, penalty=1.0),
    "embedding": lambda z, y: fit_embedding(z, y, dimensions=8, penalty=1.0),
    "pairwise": lambda z, y: fit_pairwise(z, y, penalty=1.0),
    "two_stage": lambda z, y: fit_two_stage(z, y, members=[0, 1], penalty=1.0),
}


def coupled(n: int = 1_500) -> tuple[Floats, Targets]:
    """Label 1 follows label 0, which its own margin knows little of; label 2 is free."""
    random = np.random.default_rng(3)
    z = random.normal(0, 2, size=(n, LABELS))
    y = np.empty((n, LABELS), dtype=np.int8)
    y[:, 0] = random.random(n) < expit(2 * z[:, 0])
    y[:, 1] = random.random(n) < expit(0.2 * z[:, 1] + 3 * y[:, 0] - 2)
    y[:, 2] = random.random(n) < expit(z[:, 2])
    return z, y


@pytest.mark.parametrize("kind", [kind for kind in FITS if kind not in {"independent", "two_stage"}])
def test_it_learns_from_the_other_label(kind: str) -> None:
    z, y = coupled()
    head = FITS[kind](z[:1_000], y[:1_000])
    alone = fit_chain(z[:1_000, 1:2], y[:1_000, 1:2], orders=1, penalty=1.0)
    own = log_loss(expit(alone.apply(z[1_000:, 1:2]))[:, 0], y[1_000:, 1])
    assert log_loss(expit(head.apply(z[1_000:]))[:, 1], y[1_000:, 1]) < 0.9 * own


def test_two_stages_learn_that_labels_need_the_first() -> None:
    random = np.random.default_rng(3)
    z = random.normal(0, 2, size=(2_000, 2))
    anything = random.random(2_000) < expit(2 * (z[:, 0] + z[:, 1]))
    which = random.random((2_000, 2)) < expit(z)
    y = (anything[:, None] & which).astype(np.int8)
    head = fit_two_stage(z[:1_500], y[:1_500], members=[0, 1], penalty=1.0)
    alone = fit_chain(z[:1_500, :1], y[:1_500, :1], orders=1, penalty=1.0)
    own = log_loss(expit(alone.apply(z[1_500:, :1]))[:, 0], y[1_500:, 0])
    assert log_loss(expit(head.apply(z[1_500:]))[:, 0], y[1_500:, 0]) < own


@pytest.mark.parametrize("kind", list(FITS))
def test_unknown_targets_are_not_learnt_from(kind: str) -> None:
    z, y = coupled()
    y[:1_400, 2] = -1
    head = FITS[kind](z, y)
    assert np.isfinite(head.apply(z)).all()


def test_couplings_of_labels_are_symmetric_and_shrink_under_their_penalty() -> None:
    z, y = coupled()
    free, held = (fit_pairwise(z, y, penalty=penalty).coupling for penalty in (0.1, 1_000.0))
    assert free == pytest.approx(free.T)
    assert not np.diag(free).any()
    assert abs(held).max() < 0.2 < abs(free).max()


@pytest.mark.parametrize("kind", list(FITS))
def test_the_graph_gives_what_numpy_gives_and_passes_every_gate(kind: str, tmp_path: Path) -> None:
    head = FITS[kind](*coupled())
    fitted = linear(None if isinstance(head, Independent) else head)
    texts = ["", "a walk by the river", "green paper", "seven quiet windows " * 9]
    rows = count_matrix(fitted.contract, texts, buckets=fitted.buckets, idf=fitted.idf)
    margins = np.asarray(rows @ fitted.coefficients, dtype=np.float64) + fitted.bias
    found = as_scorer(fitted, Records("made-up", "1", "")).score(texts)
    assert found == pytest.approx(expit(head.apply(margins)), abs=1e-5)
    load_scorer(write_model(tmp_path, fitted, Records("made-up", "1", "for a test")), batch=64)


@pytest.mark.parametrize("kind", list(FITS))
def test_many_labels_have_the_same_bits_in_any_batch(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    z, y = random.normal(0, 2, size=(400, 28)), (random.random((400, 28)) < 0.3).astype(np.int8)
    path = write_model(tmp_path, linear(FITS[kind](z, y), labels=28), Records("made-up", "1", "for a test"))
    load_scorer(path, batch=7)


def linear(head: Head | None, labels: int = LABELS) -> Fitted:
    random = np.random.default_rng(11)
    n = 256
    return Fitted(
        labels=[Label(f"label_{j}", "made up", 0.5) for j in range(labels)],
        contract=NgramContract(bits=8),
        buckets=np.arange(n, dtype=np.uint32),
        idf=np.full(n, IDF_UNIT, dtype=np.uint16),
        coefficients=random.normal(0, 2, size=(n, labels)).astype(np.float32),
        bias=np.linspace(-0.3, 0.3, labels, dtype=np.float32),
        calibration=[Calibration(f"label_{j}", "platt", 1.0, 0.0, 10, 5) for j in range(labels)],
        head=head,
    )
