"""From a configuration and data to a calibrated bundle with its figures, the same bits every time.

1. Sets are gathered under one taxonomy; near-duplicates form groups; whole groups are held out for the test.
2. Folds of the training rows give every row a margin from a linear model that saw neither it nor its likes. Where the
   contract has more than n-grams, `stacking` puts them together, fold by fold again. An `encoder` is fine-tuned on all
   folds but one, and mixed with the linear model on that one; what follows is then for its rows alone.
3. On those margins the head is fitted, and, fold by fold again, calibrated and given its cut-offs: on rows of natural
   rates, where a set has them.
4. The linear model is fitted on all training rows, and the graph that will serve is measured on the test.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from streamtag.errors import RefusedError
from streamtag.model.manifest import Calibration, Label
from streamtag.model.ngrams import IDF_UNIT
from streamtag.model.scorer import Scorer
from streamtag.model.training.assemble import Fitted, Records, as_scorer, write_model
from streamtag.model.training.backbone import Backbone, Material, contract_of, count_all, fit_backbone, more_features
from streamtag.model.training.calibrate import calibrate, good_f1_threshold, probability
from streamtag.model.training.config import EncoderConfig, HeadConfig, TrainConfig
from streamtag.model.training.divide import bare_names, divide
from streamtag.model.training.encoder.beside import ASIDE, Beside, Lesson, fit_mix, learn, steps
from streamtag.model.training.encoder.pretrained import Encoder
from streamtag.model.training.gather import Gathered, gather
from streamtag.model.training.heads import (
    Head,
    fit_chain,
    fit_embedding,
    fit_independent,
    fit_pairwise,
    fit_two_stage,
)
from streamtag.model.training.held_out import HELD_OUT, figures_of, masked_figures
from streamtag.model.training.made import make_rows
from streamtag.model.training.masked import LinearModel
from streamtag.model.training.moderation import Evaluation
from streamtag.model.training.split import Split, group_names, unit_hash
from streamtag.model.training.stacking import Stack, Stacking
from streamtag.model.training.train import environment
from streamtag.model.two_stages import final_scores

_LEAST_POSITIVES = 2
OTHER_DATA = "all of other data than it was trained from; natural-rate rows, where there are any"


class Watcher(Protocol):
    """Who is told how far the training is."""

    def stage(self, what: str, steps: int) -> None:
        """A stage begins that takes at most so many steps; 0: unknown."""

    def step(self) -> None:
        """One of them is done."""


@dataclass(frozen=True)
class Prepared:
    """Everything up to the head, shared by all patterns.

    Attributes:
        gathered, split: the data.
        places: intp [train rows], into the gathered rows.
        targets: int8 [train rows, labels].
        folds: intp [train rows], for what comes after the margins.
        margins: float64 [train rows, labels], out of fold, of all that comes before the head; where an encoder is mixed
            in, that of ``natural`` alone.
        natural: bool [train rows], those that calibration, cut-offs and heads are for.
        backbone: fitted on all training rows.
        stack: what follows it, where the contract has more than n-grams.
        beside: an encoder that is mixed in, where the configuration has one.
    """

    gathered: Gathered
    split: Split
    places: NDArray[np.intp]
    targets: NDArray[np.int8]
    folds: NDArray[np.intp]
    margins: NDArray[np.float64]
    natural: NDArray[np.bool_]
    backbone: Backbone
    stack: Stack | None
    beside: Beside | None


class _Drawn(NamedTuple):
    """Training rows, then those made of them.

    Attributes:
        split: of the gathered rows.
        material: of all rows.
        texts: likewise.
        names: of their groups; a made row's is that of the row it was made of.
        folds: intp [rows].
        n_made: how many were made.
    """

    split: Split
    material: Material
    texts: list[str]
    names: list[str]
    folds: NDArray[np.intp]
    n_made: int

    def natural(self, gathered: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Rows of natural rates, bool [rows]; all but the made ones where no set has any.

        Args:
            gathered: bool, of every gathered row.
        """
        found = gathered[self.split.train]
        found = found if found.any() else np.ones_like(found)
        return np.concatenate([found, np.zeros(self.n_made, dtype=np.bool_)])


def prepare(config: TrainConfig, data: Path, watcher: Watcher, pretrained: Encoder | None = None) -> Prepared:
    """Steps 1, 2 and the final linear model.

    Args:
        config: what to do.
        data: folder of the sets' folders.
        watcher: is told how far it is.
        pretrained: what ``config.encoder`` starts from; None where there is none.

    Raises:
        RefusedError: the data do not fit the configuration, or a label has too few training rows.
        ValueError: an encoder is asked for and there is none, or the other way round.
    """
    if (config.encoder is None) != (pretrained is None):
        raise ValueError("a configuration with an encoder needs one, and no other does")
    with threadpool_limits(1):  # sums of several threads have no fixed order
        watcher.stage("read", 0)
        gathered = gather(config, data)
        drawn = _draw(config, gathered, watcher)
        split, material, folds = drawn.split, drawn.material, drawn.folds
        natural = drawn.natural(gathered.rows.natural)
        _refuse_rare(config, drawn, natural)
        losses = [config.loss, *config.blend]
        iterations = sum(loss.iterations for loss in losses)
        iterations += config.features.select_iterations if config.features.buckets else 0
        margins = np.zeros((len(folds), len(config.labels)))
        for k in range(config.folds):
            watcher.stage(f"fold {k + 1} of {config.folds}", iterations)
            fitted = fit_backbone(material, folds != k, config.features, losses, watcher.step)
            margins[folds == k] = fitted.margins(material.counts[folds == k])
        watcher.stage("fit on all training rows", iterations)
        everything = np.ones(len(folds), dtype=np.bool_)
        backbone = fit_backbone(material, everything, config.features, losses, watcher.step)
        stack = None
        if material.more.shape[1]:
            own = material.source == 0  # sets differ in their rates
            silent = np.array([label in config.identity.unknown for label in config.label_ids])
            stack, margins = Stacking(silent).fit_out_of_fold(
                margins, material.more, material.targets, material.weight, folds, own
            )
    beside = None
    if config.encoder is not None and pretrained is not None:
        natural &= folds == ASIDE
        folds = _folds(drawn.names, config, "/aside")
        beside, margins = _listen(config.encoder, pretrained, drawn, margins, folds, watcher)
    places = np.flatnonzero(split.train)
    n = len(places)
    targets = material.targets[:n]
    return Prepared(gathered, split, places, targets, folds[:n], margins[:n], natural[:n], backbone, stack, beside)


def _listen(
    config: EncoderConfig,
    pretrained: Encoder,
    drawn: _Drawn,
    margins: NDArray[np.float64],
    folds: NDArray[np.intp],
    watcher: Watcher,
) -> tuple[Beside, NDArray[np.float64]]:
    """The encoder, and margins of it and the linear model on the rows that it did not see; others keep theirs.

    Each of those margins is by a mix of the other ``folds``.
    """
    material, aside = drawn.material, drawn.folds == ASIDE
    watcher.stage("fine-tune the encoder", steps(config, int((~aside).sum())))
    lesson = Lesson(drawn.texts, material.targets, material.weight, aside)
    beside, logits = learn(config, pretrained, lesson, watcher.step)
    own = material.source[aside] == 0  # sets differ in their rates
    linear, targets, weight, parts = (column[aside] for column in (margins, material.targets, material.weight, folds))
    unseen = linear.copy()
    with threadpool_limits(1):
        for k in np.unique(parts):
            use = own & (parts != k)
            mix = fit_mix(linear[use], logits[use], targets[use], weight[use])
            unseen[parts == k] = mix.apply(linear[parts == k], logits[parts == k])
        mix = fit_mix(linear[own], logits[own], targets[own], weight[own])
    mixed = margins.copy()
    mixed[aside] = unseen
    return replace(beside, mix=mix), mixed


def _folds(names: list[str], config: TrainConfig, purpose: str) -> NDArray[np.intp]:
    """Of groups by name, intp [names]."""
    return np.asarray((unit_hash(names, config.split.salt + purpose) * config.folds).astype(np.intp))


def finish(config: TrainConfig, prepared: Prepared, head_config: HeadConfig) -> Fitted:
    """Step 3 for one pattern."""
    rows = prepared.natural
    margins, targets, folds = prepared.margins[rows], prepared.targets[rows], prepared.folds[rows]
    with threadpool_limits(1):
        unseen = np.zeros_like(margins)
        for k in range(config.folds):
            fitted = fit_head(head_config, config.label_ids, margins[folds != k], targets[folds != k])
            unseen[folds == k] = fitted.apply(margins[folds == k])
        head = fit_head(head_config, config.label_ids, margins, targets)
    labels, calibration = [], []
    for j, label in enumerate(config.labels):
        entry, threshold = _calibrated(label.id, unseen[:, j], targets[:, j], config.f1_within)
        calibration.append(entry)
        labels.append(Label(label.id, label.description, threshold, label.critical))
    backbone, model = prepared.backbone, _unweighted(prepared.backbone)
    if prepared.stack is not None:
        model = prepared.stack.onto(model)
    return Fitted(
        labels=labels,
        contract=contract_of(config.features),
        buckets=backbone.buckets,
        idf=backbone.idf,
        coefficients=model.weights,
        bias=model.bias.astype(np.float32),
        calibration=calibration,
        head=None if head_config.kind == "independent" else head,
        half=config.features.half,
        beside=prepared.beside,
    )


def _unweighted(backbone: Backbone) -> LinearModel:
    """Over log-TF alone: IDF multiplied into the weights."""
    idf = (backbone.idf / np.float32(IDF_UNIT)).astype(np.float32)
    return LinearModel(backbone.model.weights * idf[:, None], backbone.model.bias)


def train_bundle(
    config: TrainConfig, raw: bytes, data: Path, out: Path, watcher: Watcher, pretrained: Encoder | None = None
) -> Path:
    """Trains, measures and writes the bundle below ``out``; returns its path.

    Args:
        config: what to do.
        raw: the file it was read from; its hash is recorded.
        data: folder of the sets' folders.
        out: folder of bundles.
        watcher: is told how far it is.
        pretrained: what ``config.encoder`` starts from; None where there is none.
    """
    prepared = prepare(config, data, watcher, pretrained)
    watcher.stage(f"head: {config.head.kind}", 0)
    fitted = finish(config, prepared, config.head)
    training = _training_record(config, raw, prepared)
    draft = Records(config.name, config.version, config.description, training=training)
    watcher.stage("measure on held-out rows", 0)
    evaluation = figures_of(as_scorer(fitted, draft), prepared.gathered.rows, prepared.split)
    finished = Records(config.name, config.version, config.description, training=training, evaluation=evaluation)
    return write_model(out, fitted, finished)


def fit_head(
    config: HeadConfig, labels: tuple[str, ...], margins: NDArray[np.float64], targets: NDArray[np.int8]
) -> Head:
    """The head that ``config`` names."""
    match config.kind:
        case "independent":
            return fit_independent(margins, targets)
        case "chain":
            return fit_chain(margins, targets, orders=config.orders, penalty=config.penalty)
        case "embedding":
            return fit_embedding(margins, targets, dimensions=config.dimensions, penalty=config.penalty)
        case "pairwise":
            return fit_pairwise(margins, targets, penalty=config.penalty)
        case "two_stage":
            members = [labels.index(name) for name in config.members or labels]
            return fit_two_stage(margins, targets, members=members, penalty=config.penalty)


def _draw(config: TrainConfig, gathered: Gathered, watcher: Watcher) -> _Drawn:
    rows = gathered.rows
    watcher.stage(f"hash {len(rows.ids)} texts", 0)
    contract = contract_of(config.features)
    counts = count_all(contract, list(rows.texts))
    watcher.stage("group near-duplicates", 0)
    split = divide(rows, counts, config.split)
    places = np.flatnonzero(split.train)
    every_name = group_names(bare_names(rows), split.groups)
    names = [every_name[i] for i in places.tolist()]
    ids, texts = ([column[i] for i in places.tolist()] for column in (rows.ids, rows.texts))
    set_of = {each: number for number, each in enumerate(dict.fromkeys(rows.source))}
    source = np.array([set_of[rows.source[i]] for i in places.tolist()], dtype=np.intp)
    targets = rows.targets[places]
    made = make_rows(config, ids, texts, targets)
    counts = counts[places]
    if made.texts:
        counts = vstack([counts, count_all(contract, made.texts)], format="csr")  # type: ignore[no-untyped-call]
    weight = np.array(gathered.weight, dtype=np.float32)[places]
    material = Material(
        counts,
        np.concatenate([targets, made.targets]),
        np.concatenate([weight, weight[made.of] * made.factor]),
        np.concatenate([source, source[made.of]]),
        more_features(contract, [*texts, *made.texts]),
    )
    names += [names[i] for i in made.of.tolist()]
    return _Drawn(split, material, [*texts, *made.texts], names, _folds(names, config, "/folds"), len(made.texts))


def _refuse_rare(config: TrainConfig, drawn: _Drawn, natural: NDArray[np.bool_]) -> None:
    """A label needs training rows of both kinds; else there is nothing to fit, and with an encoder, to calibrate."""
    targets = drawn.material.targets
    problems = _too_few(config, targets[: len(targets) - drawn.n_made], "training rows")
    if config.encoder is not None and not problems:
        what = "rows of the fold that the encoder does not see"
        problems = _too_few(config, targets[natural & (drawn.folds == ASIDE)], what)
    if problems:
        raise RefusedError(
            f"the data do not suffice for {config.name}",
            problems=problems,
            hint="Add a set that annotates the label, hold out a smaller share, or leave the label out.",
        )


def _too_few(config: TrainConfig, targets: NDArray[np.int8], what: str) -> list[str]:
    found = []
    for label, column in zip(config.label_ids, targets.T, strict=True):
        yes, no = int((column == 1).sum()), int((column == 0).sum())
        if min(yes, no) < _LEAST_POSITIVES:
            found.append(f"label {label}: {yes} {what} say yes and {no} say no; each must be 2 or more")
    return found


def _calibrated(
    label: str, margin: NDArray[np.float64], target: NDArray[np.int8], within: float
) -> tuple[Calibration, float]:
    known = target >= 0
    entry = calibrate(label, margin[known], target[known])
    return entry, good_f1_threshold(probability(entry, margin[known]), target[known], within=within)


def _training_record(config: TrainConfig, raw: bytes, prepared: Prepared) -> dict[str, Any]:
    split, natural, beside = prepared.split, prepared.gathered.rows.natural, prepared.beside
    # Without an encoder there is no word of one: bundles from before there were any keep their bytes.
    encoder = {} if beside is None else {"encoder": {"files": dict(beside.encoder.facts)}}
    return {
        "data": prepared.gathered.sources,
        **encoder,
        "config": config.model_dump(mode="json", exclude={"encoder"} if beside is None else None),
        "config_sha256": hashlib.sha256(raw).hexdigest(),
        "rows": {
            "train": int(split.train.sum()),
            "train_natural": int((split.train & natural).sum()),
            "test": int(split.test.sum()),
        },
        "threshold_rule": f"lowest with an F1 within {config.f1_within:.0%} of the best, out of fold",
        "environment": environment(*(() if beside is None else ("torch", "tokenizers"))),
    }


def evaluate_again(scorer: Scorer, data: Path) -> Evaluation:
    """Figures on rows that the bundle never saw: those held out of its own data, found anew, or all of other data.

    Of other data the rows of natural rates are taken, where there are any.

    Raises:
        RefusedError: the data do not have the sets or the labels of its configuration.
    """
    manifest = scorer.bundle.manifest
    config = TrainConfig.model_validate(manifest.training["config"])
    gathered = gather(config, data)
    rows = gathered.rows
    own = gathered.sources == manifest.training["data"]
    if own:
        use = divide(rows, count_all(contract_of(config.features), list(rows.texts)), config.split).test
    else:
        use = rows.natural if rows.natural.any() else np.ones(len(rows.ids), dtype=np.bool_)
    places = np.flatnonzero(use)
    scores = final_scores(scorer, [rows.texts[i] for i in places.tolist()])
    figures = masked_figures(scorer.labels, scores, rows.targets[places])
    if not own:
        return Evaluation(OTHER_DATA, None, figures)
    found = msgspec.to_builtins(figures)
    recorded = {name: manifest.evaluation.get(name) for name in found}
    return Evaluation(HELD_OUT, recorded == found, figures)
