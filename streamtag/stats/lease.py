"""Who makes windows again says so now and then: what a killed maker has left can be told from what is being made."""

from streamtag.control.connection import guarded
from streamtag.control.store import ControlStore
from streamtag.errors import ConflictError
from streamtag.stats.read_model import MAKING, ReadModel

__all__ = ["LEASE_S", "Lease", "forget_abandoned"]

LEASE_S = 300
"""A generation that does not count, and of which nothing was heard for so long, is abandoned."""
_ABANDONED = b"abandoned"


class Lease:
    """Of one generation. Every method raises `UnavailableError` when Redis does not answer in time.

    Args:
        model: of the generation, by name.
    """

    def __init__(self, model: ReadModel) -> None:
        self._store, self._key = model.store, model.lease_key

    def take(self) -> None:
        """Begins.

        Raises:
            ConflictError: somebody makes a generation of this name already.
        """
        with guarded(self._store.where, "begin to make windows"):
            if not self._store.client.set(self._key, MAKING, nx=True, ex=LEASE_S):
                raise ConflictError("somebody else began to make these windows in the same moment; nothing was written")

    def renew(self) -> None:
        """Says that it goes on.

        Raises:
            ConflictError: it was silent for too long, and somebody has removed the generation.
        """
        with guarded(self._store.where, "go on making windows"):
            if self._store.client.getex(self._key, ex=LEASE_S) != MAKING:
                raise ConflictError(
                    f"windows that were being made again were removed: nothing was heard of them for {LEASE_S} s",
                    hint="Nothing was swapped. Try again when Kafka and Redis answer faster.",
                )


def forget_abandoned(store: ControlStore) -> list[str]:
    """Removes generations that do not count and that nobody makes: whoever did was killed. Returns their names.

    Raises:
        UnavailableError: Redis does not answer in time.
    """
    live = ReadModel(store)
    found = [ReadModel(store, name) for name in sorted(live.generations() - {live.generation()})]
    return [one.generation() for one in found if _forget_if_abandoned(one)]


def _forget_if_abandoned(model: ReadModel) -> bool:
    store = model.store
    with guarded(store.where, "remove windows"):
        if not store.client.set(model.lease_key, _ABANDONED, nx=True, ex=LEASE_S):
            return False
    # From here on `ReadModel.swap` refuses it. It may have come first.
    if ReadModel(store).generation() == model.generation():
        with guarded(store.where, "remove windows"):
            store.client.delete(model.lease_key)
        return False
    model.forget()
    return True
