"""Harmless documents for the fixtures of a bundle, whatever its contract reads."""

from collections.abc import Sequence

import numpy as np

from streamtag.model.contracts.combined import CombinedContract
from streamtag.model.contracts.numeric import Feature, NumericContract
from streamtag.model.contracts.preprocessor import FeatureRow
from streamtag.model.contracts.registry import Contract
from streamtag.model.parity import PARITY_TEXTS

_SEED = 20_261_128


def fixture_documents(contract: Contract) -> tuple[Sequence[str], list[FeatureRow | None] | None]:
    """Texts, and features where the contract reads any: the ends and the middle of each range, and what is missing."""
    numeric = _numeric(contract)
    if numeric is None:
        return PARITY_TEXTS, None
    random = np.random.default_rng(_SEED)
    rows: list[FeatureRow | None] = []
    for i in range(len(PARITY_TEXTS)):
        row: dict[str, float] = {}
        for feature in numeric.features:
            low, high = _range(feature)
            at = (0.0, 1.0, 0.5)[i] if i < 3 else float(random.random())
            if i % 5 == 4 and feature.default is not None:
                continue
            row[feature.name] = round(low + at * (high - low), 6) if 0 < at < 1 else (low, high)[int(at)]
        rows.append(row)
    return PARITY_TEXTS, rows


def _numeric(contract: Contract) -> NumericContract | None:
    parts = contract.parts if isinstance(contract, CombinedContract) else [contract]
    return next((part for part in parts if isinstance(part, NumericContract)), None)


def _range(feature: Feature) -> tuple[float, float]:
    """Its range; where one end is open, a stretch of it."""
    low, high = feature.minimum, feature.maximum
    if low is None and high is None:
        return -1.0, 1.0
    if low is None:
        assert high is not None
        return high - 1.0, high
    return low, low + 1.0 if high is None else high
