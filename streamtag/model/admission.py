"""What the settings ask of a bundle before it may decide anything: a trusted signature, and labels that are known.

Whoever loads a bundle by the settings loads it here; `read_bundle` and `load_scorer` alone ask neither.
"""

from pathlib import Path

from streamtag.domain.taxonomy import Taxonomy, bundle_problems
from streamtag.errors import BundleError
from streamtag.model.bundle import Bundle, read_bundle
from streamtag.model.loading import load_scorer
from streamtag.model.scorer import Scorer
from streamtag.model.taxonomy_file import read_taxonomy
from streamtag.settings import ModelSettings

__all__ = ["configured_taxonomy", "load_admitted", "read_admitted"]


def read_admitted(path: Path, model: ModelSettings) -> Bundle:
    """The bundle at ``path``, verified.

    Raises:
        BundleError: it does not verify, no trusted key has signed it, or the taxonomy lacks a label of it.
        RefusedError: the taxonomy cannot be read.
    """
    bundle = read_bundle(path, trusted=model.trusted_keys)
    _refuse_unknown(bundle, model)
    return bundle


def load_admitted(path: Path, model: ModelSettings) -> Scorer:
    """A scorer for the bundle at ``path`` that passed these and every other gate; errors as of `read_admitted`."""
    scorer = load_scorer(path, batch=model.batch, trusted=model.trusted_keys)
    _refuse_unknown(scorer.bundle, model)
    return scorer


def configured_taxonomy(model: ModelSettings) -> Taxonomy | None:
    """The taxonomy that the settings name, read anew; None where they name none.

    Raises:
        RefusedError: it cannot be read, or contradicts itself.
    """
    return None if model.taxonomy is None else read_taxonomy(model.taxonomy)


def _refuse_unknown(bundle: Bundle, model: ModelSettings) -> None:
    taxonomy = configured_taxonomy(model)
    found = [] if taxonomy is None else bundle_problems(taxonomy, bundle.labels)
    if found:
        raise BundleError(
            f"bundle {bundle.ref} scores labels that the taxonomy {model.taxonomy} lacks",
            problems=found,
            hint="Add them to a new version of the taxonomy, with an owner, or take a bundle without them.",
        )
