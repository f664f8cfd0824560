"""The measurement of a second stage: its bands, its F1, and what it prints."""

from pathlib import Path

import numpy as np
import pytest
from bench.two_stages import POOL, HeldOut, bands_of, macro_f1, measure, plot, table
from tiny_bundle import build_tiny_bundle

from streamtag.domain.scores import MICRO
from streamtag.model.loading import load_scorer


def test_a_margin_is_as_wide_in_logits_to_either_side_of_the_cutoff(tmp_path: Path) -> None:
    scorer = load_scorer(build_tiny_bundle(tmp_path, threshold=0.2), batch=64)
    bands = bands_of(scorer, 0.5)
    ends = [(low / MICRO, high / MICRO) for low, high in zip(bands.low, bands.high, strict=True)]
    for low, high in ends:
        for end, side in ((low, -1), (high, 1)):
            assert np.log(end / (1 - end)) - np.log(0.25) == pytest.approx(side * 0.5, abs=1e-4)
    everything, nothing = bands_of(scorer, np.inf), bands_of(scorer, 0.0)
    micro = np.array([[0, MICRO], [200_000, 200_000]])
    assert everything.hold(micro).all()
    assert not nothing.hold(micro).any()


def test_macro_f1_leaves_out_what_is_unknown() -> None:
    tagged = np.array([[True, True], [False, True], [True, False]])
    yes = np.array([[True, False], [True, True], [False, True]])
    known = np.array([[True, True], [True, True], [True, False]])
    assert macro_f1(tagged, yes, known) == pytest.approx((0.5 + 2 / 3) / 2)


def test_from_no_event_to_every_event_at_stage_2(tmp_path: Path) -> None:
    scorer = load_scorer(build_tiny_bundle(tmp_path), batch=64)
    scorer.second = load_scorer(build_tiny_bundle(tmp_path, name="b", weights_seed=3), batch=64)
    texts = [f"item {i} of {i * i}" for i in range(POOL + 10)]
    truth = (scorer.second.score(texts) >= 0.5).astype(np.int8)
    found = measure(scorer, HeldOut(texts, truth), 1)
    shares = [row.share for row in found]
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert shares == sorted(shares)
    assert found[-1].by_band["macro_f1"] == 1.0  # stage 2 is always right here
    assert found[0].by_band["macro_f1"] < 0.9
    assert len(table(found).splitlines()) == len(found) + 2
    assert plot(found).startswith("<svg")
