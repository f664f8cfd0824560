"""The looks at experiments in Redis, for people: beside the evidence, but kept for long after an experiment has ended.

What stands here is written by whoever judges, and never read by them: while an experiment runs they have it from the
panes, or from what they have saved for a restart.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from streamtag.control.connection import guarded
from streamtag.control.experiment_documents import ExperimentId
from streamtag.control.store import ControlStore
from streamtag.domain.looks import Looks

__all__ = ["KEEP_S", "LookStore"]

KEEP_S = 90 * 86_400
"""How long looks are kept after the last one."""


class LookStore:
    """The looks at experiments of one namespace. Raises `UnavailableError` when Redis does not answer in time.

    Args:
        store: the control plane, whose Redis and namespace it shares.
    """

    def __init__(self, store: ControlStore) -> None:
        self._store = store

    def write(self, found: Mapping[ExperimentId, Looks]) -> None:
        """Stores the looks at each experiment, in the place of those before; none: one round trip less."""
        if not found:
            return
        with guarded(self._store.where, "write the looks at experiments"):
            pipeline = self._store.client.pipeline(transaction=False)
            for wanted, looks in found.items():
                pipeline.set(self._key(wanted), zlib.compress(msgspec.msgpack.encode(looks), 1), ex=KEEP_S)
            pipeline.execute()

    def read(self, wanted: ExperimentId) -> Looks:
        """The looks that are kept; none where nobody has looked, since looks are kept or for `KEEP_S`."""
        with guarded(self._store.where, "read the looks at an experiment"):
            raw: Any = self._store.client.get(self._key(wanted))
        try:
            return Looks() if raw is None else msgspec.msgpack.decode(zlib.decompress(raw), type=Looks)
        except (zlib.error, msgspec.DecodeError):
            return Looks()  # of another version; whoever judges writes them anew

    def _key(self, wanted: ExperimentId) -> str:
        return f"{self._store.keys.prefix}evidence:{wanted}:looks"
