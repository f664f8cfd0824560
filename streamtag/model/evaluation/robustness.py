"""What disguised spelling costs: the same documents, each kind of disguise on every one, against their clean text."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.evaluation.labelled import Labelled
from streamtag.model.evaluation.metrics import Measured, paired
from streamtag.model.evaluation.result import Disguise
from streamtag.model.training.obfuscate import KINDS, obfuscate


def robustness(
    data: Labelled,
    clean: NDArray[np.floating],
    cutoffs: NDArray[np.floating],
    score: Callable[[Sequence[str], Sequence[FeatureRow | None]], NDArray[np.floating]],
    *,
    draws: int,
) -> list[Disguise]:
    """One entry per kind of disguise.

    Args:
        data: labelled documents.
        clean: scores of their texts as they are, [n, labels].
        cutoffs: float [n, labels] or [labels].
        score: texts and features to scores [n, labels].
        draws: of the bootstrap over groups.
    """
    before = Measured(clean, data.targets, cutoffs)
    found = []
    for kind in KINDS:
        disguised = score([obfuscate(text, kind, seed="evaluate") for text in data.texts], data.features)
        lost = paired(before, Measured(disguised, data.targets, cutoffs), data.group, draws=draws)
        found.append(Disguise(kind, lost["mean_roc_auc"][0], lost["macro_f1"][0]))
    return found
