"""The YAML file that says how a bundle is trained: labels, sets, features, split, loss, head. Strict."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamtag import strict_yaml
from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.training.obfuscate import KINDS
from streamtag.model.training.readers.content import READERS

CONFIGS = Path(__file__).parent.parent / "configs"
"""Configurations that ship with the package."""

_HINT = "docs/howto-train.md describes every field."
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


def _known(what: str, names: tuple[str, ...]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(names)}")
        return name

    return AfterValidator(check)


class Strict(BaseModel):
    """No field that is not asked for, nothing changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LabelConfig(Strict):
    """One label of the bundle."""

    id: Name
    description: str
    critical: bool = False


class SetConfig(Strict):
    """One labelled set.

    Attributes:
        reader: who reads it.
        path: its folder, below ``--data``; default: the reader's name.
        weight: of its rows in the loss.
        means: label of the bundle → labels of the set; default: those of the same name.
        positives_only: labels for which the set's "no" says nothing.
        only: languages to keep; default: all.
    """

    reader: Annotated[str, _known("reader", tuple(READERS))]
    path: str | None = None
    weight: Positive = 1.0
    means: dict[str, list[str]] | None = None
    positives_only: list[str] = []
    only: list[str] | None = None


class FeatureConfig(Strict):
    """Hashed n-grams.

    Attributes:
        contract: of preprocessing; the second sees through disguised spelling, and knows whole words; the third knows
            how long a text is besides, and what the other labels say (`streamtag.model.training.stacking`).
        bits: of the hash.
        min_documents: buckets in fewer training documents are left out.
        buckets: how many to keep, by importance in a plain model; None: all. Few make a fast bundle.
        select_strength, select_iterations: of that model.
        half: coefficients are kept in float16, at half the size.
    """

    contract: Literal["hashed-ngrams/1", "hashed-ngrams/2", "hashed-ngrams/3"] = "hashed-ngrams/1"
    bits: Annotated[int, Field(ge=8, le=22)] = 18
    min_documents: Annotated[int, Field(ge=1)] = 2
    buckets: Annotated[int, Field(ge=8)] | None = None
    select_strength: Positive = 4.0
    select_iterations: Annotated[int, Field(ge=1)] = 30
    half: bool = False


class SplitConfig(Strict):
    """Which rows are held out; near-duplicates of a test row are not trained on in any case.

    Attributes:
        method: ``fixed``: the sets' own test rows; ``stratified``: iteratively, so that every label has its share;
            ``hash``: by the hash of the group's smallest id, so that a row's side never depends on other rows.
        share: of groups to hold out; not for ``fixed``.
        salt: names the split and the folds.
    """

    method: Literal["fixed", "stratified", "hash"] = "stratified"
    share: Share = 0.2
    salt: str = "1"


class LossConfig(Strict):
    """What is minimised.

    Attributes:
        strength: weight of the data against the L2 penalty.
        smoothing: of the log-count ratios that scale features; None: no scaling.
        class_weight: positives weigh ``negatives / positives`` times as much (``balanced``), its root, or 1.
        focus: γ of focal loss; 0 is log-loss.
        iterations: at most.
    """

    strength: Positive = 1.0
    smoothing: Positive | None = None
    class_weight: Literal["none", "root", "balanced"] = "none"
    focus: Annotated[float, Field(ge=0, le=5)] = 0.0
    iterations: Annotated[int, Field(ge=1)] = 40


class AugmentConfig(Strict):
    """Copies of training rows in disguised spelling.

    Attributes:
        share: of the training rows that get a copy, the kinds in turn.
        kinds: how words are disguised.
        weight: of a copy in the loss.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    kinds: list[Annotated[str, _known("kind", tuple(KINDS))]] = list(KINDS)
    weight: Positive = 1.0


class IdentityConfig(Strict):
    """Rows in addition that name groups of people, half of them harmless, so that a name alone is no offence.

    Attributes:
        share: of harmless training rows that one is made of; as many are made of offending rows.
        weight: of such a row in the loss.
        unknown: labels that are about the named group: an offending row with another name says nothing about them.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.0
    weight: Positive = 1.0
    unknown: list[str] = []


class HeadConfig(Strict):
    """What follows the linear model; see docs/howto-train.md.

    Attributes:
        kind: pattern.
        orders: of the chain, averaged.
        dimensions: of label embeddings.
        members: labels that the first of two stages asks for; None: all.
        penalty: L2 on what couples labels.
    """

    kind: Literal["independent", "chain", "embedding", "pairwise", "two_stage"] = "independent"
    orders: Annotated[int, Field(ge=1, le=32)] = 3
    dimensions: Annotated[int, Field(ge=1, le=64)] = 8
    members: list[str] | None = None
    penalty: Positive = 10.0


class EncoderConfig(Strict):
    """A transformer beside the n-grams, which starts from weights that others have trained; see docs/howto-train.md.

    Attributes:
        sha256: of the ``model.safetensors`` that it starts from.
        layers: how many of its layers are kept, from the first.
        pieces: how many pieces of its vocabulary are kept: special ones and single characters in any case, then those
            most frequent in the training texts; None: all.
        max_tokens: a longer text is cut.
        epochs, rate, batch: of the fine-tuning.
        seed: of its order and its dropout.
    """

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    layers: Annotated[int, Field(ge=1, le=24)] = 3
    pieces: Annotated[int, Field(ge=256)] | None = None
    max_tokens: Annotated[int, Field(ge=16, le=512)] = 128
    epochs: Annotated[int, Field(ge=1, le=50)] = 2
    rate: Positive = 1e-4
    batch: Annotated[int, Field(ge=1, le=1_024)] = 32
    seed: int = 1


class TrainConfig(Strict):
    """All of it.

    Attributes:
        name, version, description: of the bundle.
        labels: in the order of its scores.
        loss, blend: what is minimised; with ``blend``, by several models, whose mean, each measured by the spread of
            its margins, is one linear model again.
        sets: to train on; the first gives the rates that calibration is for, through its natural-rate rows.
        encoder: stands beside the linear model; None: there is none.
        folds: of the training rows; margins of rows that a model did not see carry calibration, cut-offs and heads.
        f1_within: the default cut-off is the lowest with an F1 within this share of the best.
    """

    name: Name
    version: Name
    description: str
    labels: Annotated[list[LabelConfig], Field(min_length=1)]
    sets: Annotated[list[SetConfig], Field(min_length=1)]
    features: FeatureConfig = FeatureConfig()
    split: SplitConfig = SplitConfig()
    loss: LossConfig = LossConfig()
    blend: list[LossConfig] = []
    augment: AugmentConfig = AugmentConfig()
    identity: IdentityConfig = IdentityConfig()
    encoder: EncoderConfig | None = None
    head: HeadConfig = HeadConfig()
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    f1_within: Share = 0.01

    @property
    def label_ids(self) -> tuple[str, ...]:
        """In the order of the scores."""
        return tuple(label.id for label in self.labels)

    def renumbered(self, version: str) -> Self:
        """The same under another version.

        Raises:
            RefusedError: it is no plain name.
        """
        try:
            return type(self).model_validate({**self.model_dump(), "version": version})
        except ValidationError as error:
            raise RefusedError(f"version {version!r}: {error.errors()[0]['msg']}") from None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        ids = self.label_ids
        found = [f"label {name} stands twice" for name in sorted({name for name in ids if ids.count(name) > 1})]
        for place, each in enumerate(self.sets):
            named = {*(each.means or {}), *each.positives_only}
            found += [f"sets.{place}: no label {name}" for name in sorted(named - set(ids))]
        found += [f"head.members: no label {name}" for name in self.head.members or () if name not in ids]
        found += [f"identity.unknown: no label {name}" for name in self.identity.unknown if name not in ids]
        if found:
            raise ValueError("; ".join(found))
        return self


def load_config(which: str) -> tuple[TrainConfig, bytes]:
    """The configuration and the bytes it was read from.

    Args:
        which: a path, or the name of one that ships (``moderation``).

    Raises:
        NotFoundError: no such file.
        RefusedError: names every field that is wrong.
    """
    file = Path(which)
    if not file.is_file() and (CONFIGS / f"{which}.yaml").is_file():
        file = CONFIGS / f"{which}.yaml"
    try:
        raw = file.read_bytes()
    except OSError as error:
        shipped = ", ".join(sorted(path.stem for path in CONFIGS.glob("*.yaml")))
        raise NotFoundError(
            f"no configuration {which}: {error.strerror}", hint=f"Give a path, or one that ships: {shipped}."
        ) from None
    try:
        return TrainConfig.model_validate(strict_yaml.load(raw.decode())), raw
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in error.errors()]
        raise RefusedError(f"{file} is no training configuration", problems=problems, hint=_HINT) from None
    except ValueError as error:
        raise RefusedError(f"{file} is no training configuration", problems=[str(error)], hint=_HINT) from None
