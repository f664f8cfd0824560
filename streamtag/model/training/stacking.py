"""Margins of all labels, and what a text is besides its n-grams, put together: still one linear model.

``z'_j = Σ_k across_jk z_k + Σ_f more_jf x_f + bias_j``, fitted on margins of rows that the model over n-grams did not
see (Wolpert, "Stacked generalization", 1992). A sum of sums over n-grams is a sum over n-grams: nothing is left of it
but other coefficients. On natural-rate comments of Jigsaw, out of fold, mean ROC-AUC rose from .9856 to .9869: half of
it by what other labels say, half by the length of the text.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.heads import Floats, Targets, fit_logistic
from streamtag.model.training.masked import LinearModel

PENALTY = 1.0
"""L2, on margins and features as they are."""
LEAST = 10
"""Rows of either kind, below which nothing can be said of what a label hangs on."""


@dataclass(frozen=True)
class Stack:
    """A fitted one.

    Attributes:
        across: [labels, labels]; row j is what goes into j.
        more: [labels, features].
        bias: [labels].
    """

    across: Floats
    more: Floats
    bias: Floats

    def apply(self, margins: Floats, more: NDArray[np.float32]) -> Floats:
        """New margins, float64 [n, labels], from margins [n, labels] and features [n, features]."""
        return np.asarray(margins @ self.across.T + more @ self.more.T + self.bias)

    def onto(self, model: LinearModel) -> LinearModel:
        """``model`` and this as one: weights [inputs of the model + features, labels]."""
        weights = np.concatenate([model.weights @ self.across.T, self.more.T])
        return LinearModel(weights.astype(np.float32), self.across @ model.bias + self.bias)


@dataclass(frozen=True)
class Stacking:
    """How one is fitted.

    Attributes:
        silent: bool [labels], of which the others hear nothing. A label that is about groups of people rises with their
            names; what heard of it would, too.
    """

    silent: NDArray[np.bool_]

    def fit(
        self,
        margins: Floats,
        more: NDArray[np.float32],
        targets: Targets,
        weight: NDArray[np.float32],
        fitted: NDArray[np.bool_],
    ) -> Stack:
        """A logistic regression for each label in ``fitted``, on the rows that annotate it; others stay as they are.

        Args:
            margins: float64 [n, labels], out of fold.
            more: float32 [n, features].
            targets: int8 [n, labels].
            weight: float32 [n], of a row in the loss.
            fitted: bool [labels].
        """
        labels = margins.shape[1]
        across, beside, bias = np.eye(labels), np.zeros((labels, more.shape[1])), np.zeros(labels)
        for j in np.flatnonzero(fitted).tolist():
            heard = ~self.silent
            heard[j] = True
            known = targets[:, j] >= 0
            design = np.column_stack([margins[:, heard], more])[known]
            found = fit_logistic(design, targets[known, j], [PENALTY] * design.shape[1], weight[known])
            n = int(heard.sum())
            across[j, heard], beside[j], bias[j] = found[:n], found[n:-1], found[-1]
        return Stack(across, beside, bias)

    def fit_out_of_fold(
        self,
        margins: Floats,
        more: NDArray[np.float32],
        targets: Targets,
        weight: NDArray[np.float32],
        folds: NDArray[np.intp],
        use: NDArray[np.bool_],
    ) -> tuple[Stack, Floats]:
        """The stack, and the margins of each row by one that was fitted on the other folds.

        A label stays as it is where some fold leaves fewer than `LEAST` rows that say yes, or no: all folds treat it
        alike, as calibration will take their margins together.

        Args:
            margins: as of `fit`.
            more: likewise.
            targets: likewise.
            weight: likewise.
            folds: intp [n].
            use: bool [n], rows to fit on.
        """
        others = [use & (folds != k) for k in np.unique(folds)]
        fitted = np.all([_both_kinds(targets[rows]) for rows in others], axis=0)
        unseen = np.empty_like(margins)
        for k, rows in zip(np.unique(folds), others, strict=True):
            mine = folds == k
            stack = self.fit(margins[rows], more[rows], targets[rows], weight[rows], fitted)
            unseen[mine] = stack.apply(margins[mine], more[mine])
        return self.fit(margins[use], more[use], targets[use], weight[use], fitted), unseen


def _both_kinds(targets: Targets) -> NDArray[np.bool_]:
    """Whether enough rows say yes and no of each label, bool [labels]."""
    fewer = np.minimum((targets == 1).sum(axis=0), (targets == 0).sum(axis=0))
    return np.asarray(fewer >= LEAST)
