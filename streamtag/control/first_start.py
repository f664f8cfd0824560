"""The very first release: what a worker writes into a Redis that never held one."""

import logging
from collections.abc import Callable
from typing import Protocol

from streamtag.control.changes import ReleaseChanges
from streamtag.control.store import ControlStore
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.errors import ConflictError, RefusedError, UnavailableError
from streamtag.settings import Settings

__all__ = ["FirstBundle", "configured_bundle", "seed"]

log = logging.getLogger(__name__)


class FirstBundle(Protocol):
    """What of a bundle seeds an empty Redis; `streamtag.model.bundle.Bundle` is one."""

    @property
    def ref(self) -> BundleRef:
        """Its identity."""

    @property
    def labels(self) -> tuple[str, ...]:
        """What it scores."""

    @property
    def critical(self) -> tuple[str, ...]:
        """Those of which a miss is worse than a false alarm."""

    @property
    def default_thresholds(self) -> ThresholdSet:
        """Its own cut-offs."""


def configured_bundle(settings: Settings) -> FirstBundle:
    """The bundle that the setting ``model.bundle`` names.

    Raises:
        RefusedError: it is refused, or a place with bundles does not answer.
        NotFoundError: there is none.
    """
    from streamtag.model.admission import read_admitted  # noqa: PLC0415 - only for a first start
    from streamtag.model.registry import find_bundle  # noqa: PLC0415

    try:
        path = find_bundle(settings.model.bundle, settings.model.directories)
    except UnavailableError as error:
        # not Redis, which whoever asks takes that for
        raise RefusedError(error.message, hint=error.hint) from None
    return read_admitted(path, settings.model)


def seed(store: ControlStore, first_bundle: Callable[[], FirstBundle], max_step: float, *, trace: str = "") -> None:
    """Makes release 1 of the bundle's defaults; another worker may be first, and that is as good.

    Args:
        store: a control plane that holds nothing.
        first_bundle: where the defaults come from.
        max_step: guard rail of later changes.
        trace: a sign that a release was good here once, e.g. a damaged snapshot: then it is no first start.

    Raises:
        RefusedError: nothing may be seeded, or the defaults do not fit.
    """
    if trace:
        raise RefusedError(
            f"Redis is empty, but this is no first start: {trace}. Bring the release back with another host's "
            "snapshot, or remove that file to begin with the bundle's defaults"
        )
    bundle = first_bundle()
    try:
        ReleaseChanges(store, max_step=max_step).seed(
            bundle.ref, bundle.labels, bundle.default_thresholds, critical=bundle.critical
        )
    except ConflictError:
        log.info("another worker seeded Redis first")
    else:
        log.info("Redis was empty: seeded release 1 with the defaults of bundle %s", bundle.ref)
