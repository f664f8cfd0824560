"""Heads over the margins of the linear model: how the answer for one label may depend on the others'.

All are fitted on margins of rows that the linear model did not see (out of fold): on its own training rows it is too
sure, and a head would learn to trust it too much (Wolpert, "Stacked generalization", 1992). Each turns margins into
margins; calibration follows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

_NEWTON_STEPS, _SMALL_STEP, _RIDGE = 25, 1e-5, 1e-6
Floats = NDArray[np.float64]
Targets = NDArray[np.int8]


class Head(Protocol):
    """A fitted head."""

    def apply(self, margins: Floats) -> Floats:
        """Margins of the head, float64 [n, labels], from those of the linear model, float64 [n, labels]."""
        ...


@dataclass(frozen=True)
class Independent:
    """Every label for itself: margins as they are."""

    def apply(self, margins: Floats) -> Floats:
        """The same."""
        return margins


@dataclass(frozen=True)
class Chain:
    """Classifier chains, averaged over orders: a label sees the probabilities of those before it.

    ``s_j = slope_j z_j + bias_j + Σ_k before j coupling_jk sigmoid(s_k)``. Fitted on the chain's own probabilities
    instead of the truth, since it will have no truth when it serves (Senge, del Coz & Hüllermeier, "Rectifying
    classifier chains for multi-label classification", 2013: nested stacking).

    Attributes:
        orders: intp [orders, labels].
        slope, bias: [orders, labels].
        coupling: [orders, labels, labels]; row j is what goes into j.
    """

    orders: NDArray[np.intp]
    slope: Floats
    bias: Floats
    coupling: Floats

    def apply(self, margins: Floats) -> Floats:
        """Mean logit of the orders."""
        return np.asarray(np.mean([self._one(margins, k) for k in range(len(self.orders))], axis=0))

    def _one(self, margins: Floats, k: int) -> Floats:
        own = margins * self.slope[k] + self.bias[k]
        seen, out = np.zeros_like(own), np.empty_like(own)
        for j in self.orders[k].tolist():
            out[:, j] = own[:, j] + seen @ self.coupling[k, j]
            seen[:, j] = expit(out[:, j])
        return np.asarray(out)


@dataclass(frozen=True)
class Embedding:
    """Labels as points, a document as a direction: ``slope z + bias + tanh(sigmoid(z) U) Vᵀ``.

    Attributes:
        slope, bias: [labels].
        inward: U, [labels, dimensions].
        points: V, [labels, dimensions].
    """

    slope: Floats
    bias: Floats
    inward: Floats
    points: Floats

    def apply(self, margins: Floats) -> Floats:
        """Own margin, and what the neighbourhood adds."""
        added = np.tanh(expit(margins) @ self.inward) @ self.points.T
        return np.asarray(margins * self.slope + self.bias + added)


@dataclass(frozen=True)
class Pairwise:
    """An interaction per pair of labels: ``slope z + bias + sigmoid(z) coupling``.

    The joint model is ``p(y | x) ∝ exp(Σ_j (slope_j z_j + bias_j) y_j + Σ_{j<k} coupling_jk y_j y_k)``; this is one
    step of its mean field, from the margins' own probabilities, and fitted as such. Fitted by pseudo-likelihood on the
    truth of the others and iterated, it swings: where nearly every text has exactly one label (GoEmotions), macro F1
    fell from .47 to .21.

    Attributes:
        slope, bias: [labels].
        coupling: [labels, labels], symmetric, zero on the diagonal.
    """

    slope: Floats
    bias: Floats
    coupling: Floats

    def apply(self, margins: Floats) -> Floats:
        """Logits of the marginals after the step."""
        return np.asarray(margins * self.slope + self.bias + expit(margins) @ self.coupling)


@dataclass(frozen=True)
class TwoStage:
    """First whether any of ``members`` holds, then which: ``p_j = sigmoid(gate) sigmoid(s_j)`` for each of them.

    Attributes:
        members: bool [labels]; the others keep their margin.
        inward: [labels], bias_in: of the gate, ``gate = sigmoid(z) inward + bias_in``.
        slope, bias: [labels], of the second stage.
    """

    members: NDArray[np.bool_]
    inward: Floats
    bias_in: float
    slope: Floats
    bias: Floats
    bounds: tuple[float, float] = (1e-12, 1 - 1e-6)
    """Products are kept between: float32 has no logit for those beyond."""

    def apply(self, margins: Floats) -> Floats:
        """Logits of the products."""
        gate = expit(margins) @ self.inward + self.bias_in
        both = np.clip(expit(gate)[:, None] * expit(margins * self.slope + self.bias), *self.bounds)
        return np.where(self.members, np.log(both) - np.log1p(-both), margins)


def fit_independent(margins: Floats, targets: Targets) -> Independent:
    """Nothing to fit."""
    return Independent()


def fit_chain(margins: Floats, targets: Targets, *, orders: int, penalty: float, seed: int = 0) -> Chain:
    """The first order serves frequent labels first, since their probabilities are the surest; the others are drawn."""
    n_labels = margins.shape[1]
    random = np.random.default_rng(seed)
    frequent = np.argsort(-(targets > 0).sum(axis=0), kind="stable")
    chosen = np.array([frequent, *(random.permutation(n_labels) for _ in range(orders - 1))])
    slope, bias = np.ones((orders, n_labels)), np.zeros((orders, n_labels))
    coupling = np.zeros((orders, n_labels, n_labels))
    for k, order in enumerate(chosen.tolist()):
        seen = np.zeros_like(margins)
        for place, j in enumerate(order):
            known = targets[:, j] >= 0
            before = order[:place]
            design = np.column_stack([margins[:, j], seen[:, before]])
            found = fit_logistic(design[known], targets[known, j], [0.0] + [penalty] * place)
            slope[k, j], bias[k, j], coupling[k, j, before] = found[0], found[-1], found[1:-1]
            seen[:, j] = expit(design @ found[:-1] + found[-1])
    return Chain(chosen, slope, bias, coupling)


def fit_embedding(margins: Floats, targets: Targets, *, dimensions: int, penalty: float, seed: int = 0) -> Embedding:
    """By L-BFGS from a small random start."""
    labels = margins.shape[1]
    sign, share = _sides(targets)
    near = expit(margins)
    cells = labels * dimensions
    random = np.random.default_rng(seed)
    start = np.concatenate([np.ones(labels), np.zeros(labels), 0.1 * random.standard_normal(2 * cells)])

    def loss_and_gradient(point: Floats) -> tuple[float, Floats]:
        slope, bias = point[:labels], point[labels : 2 * labels]
        inward = point[2 * labels : 2 * labels + cells].reshape(labels, dimensions)
        points = point[2 * labels + cells :].reshape(labels, dimensions)
        place = np.tanh(near @ inward)
        loss, pull = _log_loss(margins * slope + bias + place @ points.T, sign, share)
        back = (pull @ points) * (1 - np.square(place))
        gradient = [(pull * margins).sum(axis=0), pull.sum(axis=0)]
        gradient += [(near.T @ back + penalty * inward).ravel(), (pull.T @ place + penalty * points).ravel()]
        shrink = 0.5 * penalty * float(np.square(inward).sum() + np.square(points).sum())
        return loss + shrink, np.concatenate(gradient)

    found = _search(loss_and_gradient, start)
    inward = found[2 * labels : 2 * labels + cells].reshape(labels, dimensions)
    points = found[2 * labels + cells :].reshape(labels, dimensions)
    return Embedding(found[:labels], found[labels : 2 * labels], inward, points)


def fit_pairwise(margins: Floats, targets: Targets, *, penalty: float) -> Pairwise:
    """Convex, by L-BFGS: all labels at once, since a pair's coupling serves both of its labels."""
    labels = margins.shape[1]
    sign, share = _sides(targets)
    others = expit(margins)
    upper = np.triu_indices(labels, 1)

    def coupling_of(point: Floats) -> Floats:
        half = np.zeros((labels, labels))
        half[upper] = point[2 * labels :]
        return half + half.T

    def loss_and_gradient(point: Floats) -> tuple[float, Floats]:
        slope, bias, pairs = point[:labels], point[labels : 2 * labels], point[2 * labels :]
        loss, pull = _log_loss(margins * slope + bias + others @ coupling_of(point), sign, share)
        both = others.T @ pull
        couplings = (both + both.T)[upper] + penalty * pairs
        gradient = np.concatenate([(pull * margins).sum(axis=0), pull.sum(axis=0), couplings])
        return loss + 0.5 * penalty * float(pairs @ pairs), gradient

    start = np.concatenate([np.ones(labels), np.zeros(labels + len(upper[0]))])
    found = _search(loss_and_gradient, start)
    return Pairwise(found[:labels], found[labels : 2 * labels], coupling_of(found))


def fit_two_stage(margins: Floats, targets: Targets, *, members: Sequence[int], penalty: float) -> TwoStage:
    """The gate on rows where any member holds or all are known not to; the second stage on rows where one does."""
    labels = margins.shape[1]
    own = targets[:, list(members)]
    any_holds, none_holds = (own == 1).any(axis=1), (own == 0).all(axis=1)
    decided = any_holds | none_holds
    gate = fit_logistic(expit(margins[decided]), any_holds[decided].astype(np.int8), [penalty / 100] * labels)
    slope, bias = np.ones(labels), np.zeros(labels)
    for j in members:
        rows = any_holds & (targets[:, j] >= 0)
        slope[j], bias[j] = fit_logistic(margins[rows, j : j + 1], targets[rows, j], [0.0])
    is_member = np.zeros(labels, dtype=np.bool_)
    is_member[list(members)] = True
    return TwoStage(is_member, gate[:-1], float(gate[-1]), slope, bias)


def _sides(targets: Targets) -> tuple[Floats, Floats]:
    return np.where(targets > 0, 1.0, -1.0), (targets >= 0).astype(np.float64)


def _log_loss(logit: Floats, sign: Floats, share: Floats) -> tuple[float, Floats]:
    signed = sign * logit
    return float((share * np.logaddexp(0, -signed)).sum()), -share * sign * expit(-signed)


def fit_logistic(
    design: Floats, target: Targets, penalties: Sequence[float], weight: NDArray[np.floating[Any]] | None = None
) -> Floats:
    """Weights, then bias, of L2-penalised logistic regression; few columns, many rows.

    By Newton's method, a step halved until the loss falls, on Platt's smoothed targets, which keep the optimum finite
    where the rows can be told apart without error.

    Args:
        design: float64 [n, columns].
        target: int8 [n], 0 or 1.
        penalties: per column; the bias has none.
        weight: [n], of each row in the loss; None: 1.
    """
    columns = np.column_stack([design, np.ones(len(design))])
    shrink = np.array([*penalties, 0.0])
    counts = np.ones(len(target)) if weight is None else weight.astype(np.float64)
    positives = int((target > 0).sum())
    wanted = np.where(target > 0, (positives + 1) / (positives + 2), 1 / (len(target) - positives + 2))

    def loss(point: Floats) -> float:
        logit = columns @ point
        return float(counts @ (np.logaddexp(0, logit) - wanted * logit)) + 0.5 * float(shrink @ np.square(point))

    point = np.zeros(columns.shape[1])
    point[-1] = np.log((positives + 1) / (len(target) - positives + 1))
    now = loss(point)
    for _ in range(_NEWTON_STEPS):
        probability = expit(columns @ point)
        gradient = (counts * (probability - wanted)) @ columns + shrink * point
        curvature = (columns.T * (counts * probability * (1 - probability))) @ columns + np.diag(shrink + _RIDGE)
        step = np.linalg.solve(curvature, gradient)
        while (then := loss(point - step)) > now and np.abs(step).max() > _SMALL_STEP:
            step /= 2
        point, now = point - step, min(then, now)
        if np.abs(step).max() < _SMALL_STEP:
            break
    return point


def _search(loss_and_gradient: Callable[[Floats], tuple[float, Floats]], start: Floats) -> Floats:
    options = {"maxiter": 100, "ftol": 1e-7, "gtol": 1e-3}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=options)  # type: ignore[no-untyped-call]
    return np.asarray(found.x, dtype=np.float64)
