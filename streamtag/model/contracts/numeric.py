"""``numeric/1``: declared numbers of ``event.features``, with ranges and defaults."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.events.content import FeatureValue
from streamtag.model.contracts.preprocessor import Documents, FeatureRow, Inputs, InputSpec, Preprocessor, Unfit

KIND: Literal["numeric/1"] = "numeric/1"
_LARGEST = float(np.finfo(np.float32).max)
_TYPES: Mapping[str, str] = {"float32": "tensor(float)", "float64": "tensor(double)"}


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number that the model reads.

    Attributes:
        name: its key in ``event.features``.
        minimum, maximum: the range it was trained on; None: no bound.
        default: stands in for a value that is missing, null, NaN or infinite; None: such an event is refused.
        outside: what becomes of a value outside of the range: the event is refused, or the nearest bound stands in.
    """

    name: str
    minimum: float | None = None
    maximum: float | None = None
    default: float | None = None
    outside: Literal["reject", "clip"] = "reject"


class NumericContract(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag=KIND):
    """What the graph is given.

    Attributes:
        features: in the order of the columns.
        layout: ``matrix``: one input [n, features], named ``input``; ``columns``: an input [n, 1] for each feature, by
            its name.
        input: name of the matrix.
        dtype: of the inputs.
    """

    features: list[Feature]
    layout: Literal["matrix", "columns"] = "matrix"
    input: str = "features"
    dtype: Literal["float32", "float64"] = "float32"

    @property
    def kind(self) -> str:
        """Name of the contract."""
        return KIND


class Numeric(Preprocessor):
    """Features to numbers. Numbers are taken as they are, true and false as 1 and 0; a word is never a number."""

    reads_features = True

    def __init__(self, contract: NumericContract, contents: Mapping[str, bytes]) -> None:
        super().__init__()
        self.contract = contract
        self._names = [feature.name for feature in contract.features]
        self._low = _bounds((feature.minimum for feature in contract.features), -_LARGEST)
        self._high = _bounds((feature.maximum for feature in contract.features), _LARGEST)
        self._default = _bounds((feature.default for feature in contract.features), math.nan)
        self._clips = np.array([feature.outside == "clip" for feature in contract.features])

    @staticmethod
    def problems(contract: NumericContract, contents: Mapping[str, bytes]) -> list[str]:
        """There are no files that could contradict it."""
        return []

    @property
    def signature(self) -> Mapping[str, InputSpec]:
        """As of the base."""
        kind = _TYPES[self.contract.dtype]
        if self.contract.layout == "columns":
            return dict.fromkeys(self._names, InputSpec(kind, (None, 1)))
        return {self.contract.input: InputSpec(kind, (None, len(self._names)))}

    def read(self, texts: Sequence[str], features: Sequence[FeatureRow | None] | None) -> Documents:
        """Rows are float64 [n, features], complete; what was filled is counted."""
        matrix = self._matrix([None] * len(texts) if features is None else features)
        filled, refused, counts = self._filled(matrix)
        self.filled.update(counts)
        return Documents(len(matrix), filled, np.flatnonzero(refused).tolist())

    def inputs(self, documents: Documents, run: NDArray[np.intp], *, wider: int = 0) -> Inputs:
        """As of the base; nothing is padded."""
        numbers = documents.rows[run].astype(self.contract.dtype)
        if self.contract.layout == "columns":
            return {name: np.ascontiguousarray(numbers[:, i : i + 1]) for i, name in enumerate(self._names)}
        return {self.contract.input: numbers}

    def unfit(self, text: str | None, features: FeatureRow | None) -> Unfit | None:
        """Names the first feature that is amiss, and says what is wrong with each that is."""
        wrong = [
            (feature.name, why)
            for feature, value in zip(self.contract.features, self._matrix([features])[0].tolist(), strict=True)
            if (why := _why_refused(feature, value, features))
        ]
        if not wrong:
            return None
        escaped = wrong[0][0].replace("~", "~0").replace("/", "~1")
        return Unfit(f"/features/{escaped}", "; ".join(f"feature {name} {why}" for name, why in wrong[:5]))

    def _matrix(self, features: Sequence[FeatureRow | None]) -> NDArray[np.float64]:
        """Values as given; NaN where there is no finite number, infinite where 32 bits cannot hold it."""
        rows = [
            [math.nan] * len(self._names) if not one else [_number(one.get(name)) for name in self._names]
            for one in features
        ]
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(self._names))

    def _filled(
        self, matrix: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_], Counter[tuple[str, str]]]:
        """Complete rows; which of them are refused, bool [n]; and what was done to the others, counted."""
        missing = np.isnan(matrix)
        outside = (matrix < self._low) | (matrix > self._high)  # NaN is neither
        refused = ((missing & np.isnan(self._default)) | (outside & ~self._clips)).any(axis=1)
        counts: Counter[tuple[str, str]] = Counter()
        if not (missing.any() or outside.any()):
            return matrix, refused, counts
        for why, cells in (("missing", missing), ("outside", outside)):
            for name, n in zip(self._names, cells[~refused].sum(axis=0).tolist(), strict=True):
                if n:
                    counts[name, why] = n
        filled = np.where(missing, np.nan_to_num(self._default), matrix)
        return filled.clip(self._low, self._high), refused, counts


def contract_problems(contract: NumericContract) -> list[str]:
    """Every contradiction within the contract."""
    names = [feature.name for feature in contract.features]
    found = [] if names else ["features is empty"]
    found += [f"feature {name!r} stands twice" for name in sorted({n for n in names if names.count(n) > 1})]
    for feature in contract.features:
        where = f"feature {feature.name!r}:"
        low, high, default = feature.minimum, feature.maximum, feature.default
        if any(value is not None and not abs(value) <= _LARGEST for value in (low, high, default)):
            found.append(f"{where} minimum, maximum and default must be finite, and fit 32 bits")
        elif low is not None and high is not None and low > high:
            found.append(f"{where} minimum {low:g} is above maximum {high:g}")
        elif default is not None and not _within(default, low, high):
            found.append(f"{where} default {default:g} is outside of its range")
        if not feature.name:
            found.append(f"{where} the name is empty")
    return found


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _number(value: FeatureValue) -> float:
    """The value; NaN where it is no finite number; infinite, so outside of any range, where 32 bits cannot hold it."""
    if value is None or isinstance(value, str):
        return math.nan
    try:
        number = float(value)
    except OverflowError:  # an integer beyond all floats
        return math.inf if value > 0 else -math.inf
    if not math.isfinite(number):
        return math.nan
    return number if abs(number) <= _LARGEST else math.copysign(math.inf, number)


def _why_refused(feature: Feature, value: float, features: FeatureRow | None) -> str:
    """Why the event is refused for this feature; empty when it is not."""
    if math.isnan(value):
        if feature.default is not None:
            return ""
        given = (features or {}).get(feature.name)
        return f"is {'missing' if given is None else 'not a number'}, and has no default"
    if feature.outside == "reject" and not _within(value, feature.minimum, feature.maximum):
        low = "-∞" if feature.minimum is None else f"{feature.minimum:g}"
        high = "∞" if feature.maximum is None else f"{feature.maximum:g}"
        return f"is outside {low} … {high}"
    if feature.outside == "reject" and math.isinf(value):
        return "is beyond what 32 bits hold"
    return ""


def _bounds(values: Iterable[float | None], absent: float) -> NDArray[np.float64]:
    return np.array([absent if value is None else value for value in values], dtype=np.float64)
