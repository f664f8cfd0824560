"""What the training of `security` rests on: masked labels, groups held out, F1 with intervals. Data are made up."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from streamtag.errors import RefusedError
from streamtag.model.training.f1 import difference, f1_figures
from streamtag.model.training.security.bundle import CONFIG
from streamtag.model.training.security.fit import calibrated, read_config
from streamtag.model.training.security.joint import fit_joint, importance
from streamtag.model.training.stratify import hold_out_groups


def made_up(n: int = 400, features: int = 12) -> tuple[csr_matrix, NDArray[np.int8]]:
    random = np.random.default_rng(3)
    dense = (random.random((n, features)) < 0.3).astype(np.float32)
    truth = random.normal(size=(features, 3)) * 2
    targets = (dense @ truth + random.normal(size=(n, 3)) > [0.0, 1.0, 3.0]).astype(np.int8)
    return csr_matrix(dense), targets  # type: ignore[no-untyped-call]


def test_each_label_is_fitted_as_if_it_were_alone_on_the_rows_that_annotate_it() -> None:
    rows, targets = made_up()
    targets[::3, 1] = -1
    model = fit_joint(rows, targets, strength=2.0, iterations=500)
    for j in range(3):
        known = targets[:, j] >= 0
        plain = LogisticRegression(C=2.0, tol=1e-8, max_iter=2_000)  # type: ignore[no-untyped-call]
        alone = plain.fit(rows[known], targets[known, j])
        assert np.allclose(model.weights[:, j], alone.coef_[0], atol=0.03)
        assert model.bias[j] == pytest.approx(alone.intercept_[0], abs=0.03)
    assert model.margins(rows).shape == targets.shape


def test_a_label_that_nobody_annotates_does_not_disturb_the_others() -> None:
    rows, targets = made_up()
    with_it = np.concatenate([targets, np.full((len(targets), 1), -1, dtype=np.int8)], axis=1)
    one, two = (fit_joint(rows, known, strength=1.0, iterations=100) for known in (targets, with_it))
    assert np.allclose(one.weights, two.weights[:, :3], atol=0.02)
    assert not two.weights[:, 3].any()
    assert np.isfinite(importance(two, rows)).all()


groups_of_rows = st.lists(
    st.tuples(st.sampled_from("abcdefghijklmnopqrst"), st.lists(st.booleans(), min_size=3, max_size=3)), min_size=1
)


@settings(max_examples=50)
@given(groups_of_rows, st.floats(0.1, 0.6))
def test_groups_are_held_out_whole_and_every_label_with_two_groups_has_one(
    rows: list[tuple[str, list[bool]]], share: float
) -> None:
    groups = [group for group, _ in rows]
    targets = np.array([labels for _, labels in rows], dtype=np.int8)
    held = hold_out_groups(groups, targets, share=share, salt="s")
    for group in set(groups):
        assert len({bool(held[i]) for i, name in enumerate(groups) if name == group}) == 1
    rarest = min(
        ({g for g, row in zip(groups, targets[:, j], strict=True) if row} for j in range(3)),
        key=lambda found: len(found) if found else 99,
    )
    if len(rarest) > 1:
        assert any(held[i] for i, name in enumerate(groups) if name in rarest)


def test_f1_is_that_of_scikit_learn_and_its_interval_holds_it() -> None:
    random = np.random.default_rng(5)
    targets = (random.random((300, 4)) < [0.5, 0.2, 0.1, 0.05]).astype(np.int8)
    tagged = (targets > 0) ^ (random.random((300, 4)) < 0.2)
    groups = [str(i // 3) for i in range(300)]
    figures = f1_figures(("a", "b", "c", "d"), tagged, targets, groups)
    assert figures.micro.value == pytest.approx(f1_score(targets, tagged, average="micro"), abs=1e-4)
    assert figures.macro.value == pytest.approx(f1_score(targets, tagged, average="macro"), abs=1e-4)
    assert figures.micro.low < figures.micro.value < figures.micro.high
    assert figures.groups == 100
    same = difference(tagged, tagged, targets, groups)
    assert (same["micro"].value, same["micro"].low, same["micro"].high) == (0, 0, 0)
    better = difference(targets > 0, tagged, targets, groups)
    assert better["macro"].low > 0


def test_unknown_targets_count_nowhere() -> None:
    targets = np.array([[1], [0], [-1]], dtype=np.int8)
    tagged = np.array([[True], [False], [True]])
    assert f1_figures(("a",), tagged, targets, ["x", "y", "z"]).micro.value == 1


def test_a_cut_off_tags_at_most_twice_as_many_as_are_positive() -> None:
    random = np.random.default_rng(1)
    margin = random.normal(size=500)
    target = (random.random(500) < 0.02).astype(np.int8)  # the margin says nothing
    entry, threshold = calibrated("a", margin, target)
    logit = entry.a * margin + entry.hinge * np.maximum(margin, 0) + entry.b
    assert (1 / (1 + np.exp(-logit)) > threshold).sum() <= 2 * target.sum() + 1


def test_the_shipped_configuration_is_read_and_a_faulty_one_refused_at_once(tmp_path: Path) -> None:
    assert read_config(CONFIG).name == "security"
    tree = CONFIG.read_text(encoding="utf-8")
    faulty = tmp_path / "faulty.yaml"
    faulty.write_text(tree.replace("sigma: 1", "sigma: 3").replace("folds: 3", "folds: 1").replace("web:", "net:"))
    with pytest.raises(RefusedError) as refused:
        read_config(faulty)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "measured.net",
        "measured",
        "sets.sigma",
        "folds",
    ]
    faulty.write_text(json.dumps({"name": "x"}))
    with pytest.raises(RefusedError, match="no configuration"):
        read_config(faulty)
