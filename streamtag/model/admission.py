"""What the settings ask of a bundle before it may decide anything: a trusted signature, and labels that are known.

Whoever loads a bundle by the settings loads it here; `read_bundle` and `load_scorer` alone ask neither.
"""

from pathlib import Path

from streamtag.domain.release import BundleRef
from streamtag.domain.taxonomy import bundle_problems
from streamtag.errors import BundleError, RefusedError, UnavailableError
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.registry import find_exact
from streamtag.model.scorer import Scorer
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.settings import ModelSettings

__all__ = ["load_admitted", "read_admitted", "release_bundle"]


def read_admitted(path: Path, model: ModelSettings, *, ref: BundleRef | None = None) -> Bundle:
    """The bundle at ``path``, verified.

    Args:
        path: directory of the bundle.
        model: the settings.
        ref: which one it must be: that of the release it is read for; None where any bundle of that name will do.

    Raises:
        BundleError: it does not verify, is not ``ref``, no trusted key has signed it, or the taxonomy lacks a label of
            it.
        RefusedError: the taxonomy cannot be read.
    """
    bundle = read_bundle(path, trusted=model.trusted_keys)
    _refuse_other(bundle, ref)
    _refuse_unknown(bundle, model)
    return bundle


def load_admitted(path: Path, model: ModelSettings, *, ref: BundleRef | None = None) -> Scorer:
    """A scorer for the bundle at ``path`` that passed these and every other gate; all as of `read_admitted`."""
    scorer = load_scorer(path, batch=model.batch, trusted=model.trusted_keys)
    _refuse_other(scorer.bundle, ref)
    _refuse_unknown(scorer.bundle, model)
    return scorer


def release_bundle(ref: BundleRef, model: ModelSettings) -> Path:
    """The directory of a release's bundle.

    Raises:
        NotFoundError: it is nowhere.
        RefusedError: a place that may have it does not answer. What Redis does not answer is asked again at once, and
            what a store does not, later.
    """
    try:
        return find_exact(ref, model.directories, trusted=model.trusted_keys)
    except UnavailableError as error:
        raise RefusedError(error.message, hint=error.hint) from None


def _refuse_other(bundle: Bundle, ref: BundleRef | None) -> None:
    """It was looked up before it was read, and a directory can be changed in between."""
    if ref is not None and bundle.ref != ref:
        raise BundleError(
            f"{bundle.path} holds bundle {bundle.ref} of sha256 {bundle.ref.sha256[:12]}…, and {ref} of "
            f"{ref.sha256[:12]}… was looked for",
            hint="A version is never changed: find out who did, and publish the one that is meant again.",
        )


def _refuse_unknown(bundle: Bundle, model: ModelSettings) -> None:
    taxonomy = configured_taxonomy(model)
    found = [] if taxonomy is None else bundle_problems(taxonomy, bundle.labels)
    if found:
        raise BundleError(
            f"bundle {bundle.ref} scores labels that the taxonomy {model.taxonomy} lacks",
            problems=found,
            hint="Add them to a new version of the taxonomy, with an owner, or take a bundle without them.",
        )
