"""Whether the parts of a bundle are of the form they must have, and agree with each other."""

import os
import re
from pathlib import Path

import msgspec

from streamtag import strict_json
from streamtag.domain.thresholds import ThresholdSet, problems
from streamtag.domain.two_stage import band_problems
from streamtag.model.contracts.registry import contract_problems, files_of
from streamtag.model.manifest import MANIFEST, PARITY, REQUIRED, STAGE2, Manifest, Parity, Stage2

PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
MAX_ROWS = 4_096
MAX_TOLERANCE = 0.01


def leads_outside(directory: Path, name: str) -> bool:
    """Whether the file ``name`` of a bundle is a link to what does not lie in it; `OSError` where there is none."""
    # not Path.resolve: before Python 3.13 it raises RuntimeError for a circle of links
    return not Path(os.path.realpath(directory / name, strict=True)).is_relative_to(directory.resolve())


def manifest_problems(manifest: Manifest) -> list[str]:
    """Every contradiction within a manifest."""
    required = (*REQUIRED, *files_of(manifest.preprocessing))
    found = [f"{MANIFEST}: {name} missing from files" for name in required if name not in manifest.files]
    for what, value in (("name", manifest.name), ("version", manifest.version)):
        if not PLAIN_NAME.fullmatch(value):
            found.append(f"{MANIFEST}: {what} {value!r} must be letters, digits, dot, dash or underscore")
    ids = [label.id for label in manifest.labels]
    if not ids:
        found.append(f"{MANIFEST}: labels is empty")
    found += [f"{MANIFEST}: label {name!r} stands twice" for name in sorted({n for n in ids if ids.count(n) > 1})]
    thresholds = ThresholdSet({label.id: label.threshold for label in manifest.labels})
    found += [f"{MANIFEST}: default thresholds: {problem}" for problem in problems(thresholds, ids)]
    if manifest.calibration and [entry.label for entry in manifest.calibration] != ids:
        found.append(f"{MANIFEST}: calibration must have one entry per label, in the order of the labels, or none")
    for i, step in enumerate(manifest.recalibrations):
        if [curve.label for curve in step.curves] != ids:
            found.append(f"{MANIFEST}: recalibrations[{i}] must have one curve per label, in the order of the labels")
    batching = manifest.batching
    if batching is not None and not 1 <= batching.min_rows <= (batching.max_rows or MAX_ROWS) <= MAX_ROWS:
        found.append(f"{MANIFEST}: batching must have 1 ≤ min_rows ≤ max_rows ≤ {MAX_ROWS}")
    if manifest.stage2 is not None:
        bands = [(band.label, band.low, band.high) for band in manifest.stage2.bands]
        found += [f"{MANIFEST}: stage2: {problem}" for problem in band_problems(ids, bands, manifest.stage2.sample)]
        if STAGE2 + MANIFEST not in manifest.files:
            found.append(f"{MANIFEST}: {STAGE2 + MANIFEST} missing from files")
    return found + [f"{MANIFEST}: preprocessing: {problem}" for problem in contract_problems(manifest.preprocessing)]


def second_problems(manifest: Manifest, stage2: Stage2, second: Manifest, sha256: str) -> list[str]:
    """What keeps a bundle from being the second stage of another one.

    Args:
        manifest: of the whole.
        stage2: what it says of the second stage.
        second: manifest of the second stage.
        sha256: of its bytes.
    """
    found = manifest_problems(second)
    named = stage2.bundle
    if (second.name, second.version, sha256) != (named.name, named.version, named.sha256):
        text = f"{MANIFEST}: is {second.name}@{second.version} ({sha256[:12]}…), not "
        found.append(f"{text}{named.name}@{named.version} ({named.sha256[:12]}…)")
    if [label.id for label in second.labels] != [label.id for label in manifest.labels]:
        found.append(f"{MANIFEST}: labels must be those of stage 1, in the same order")
    if second.stage2 is not None:
        found.append(f"{MANIFEST}: has two stages itself; there are two at most")
    return found


def pickled(content: bytes) -> bool:
    """Whether this is a pickle (protocol 2 or later), or an archive of them such as PyTorch's."""
    return content.startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04"))


def decode_parity(content: bytes, labels: list[str], found: list[str]) -> Parity | None:
    """The fixtures; None, or a problem in ``found``, when they are something else."""
    try:
        parity = strict_json.decode(content, Parity)
    except msgspec.DecodeError as error:
        found.append(f"{PARITY}: {error}")
        return None
    if not parity.fixtures:
        found.append(f"{PARITY}: no fixtures")
    if not 0 <= parity.tolerance <= MAX_TOLERANCE:
        found.append(f"{PARITY}: tolerance {parity.tolerance} is outside 0 … {MAX_TOLERANCE}")
    for i, fixture in enumerate(parity.fixtures):
        if len(fixture.scores) != len(labels):
            found.append(f"{PARITY}: fixture {i} has {len(fixture.scores)} scores for {len(labels)} labels")
        outside = [score for score in fixture.scores if not 0 <= score <= 1]
        if outside:
            found.append(f"{PARITY}: fixture {i} has the score {outside[0]:g}; must be a probability, 0 … 1")
    if parity.labels is not None and parity.labels != labels:
        found.append(
            f"{PARITY}: its scores are those of {', '.join(parity.labels)}, in this order; {MANIFEST} says "
            f"{', '.join(labels)}"
        )
    return parity
