"""Equal work: every event's tags and scores must be the same, whoever tagged it."""

from collections.abc import Iterable

import msgspec

from streamtag.errors import RefusedError

_SHOWN = 5


class _Tag(msgspec.Struct, frozen=True, gc=False):
    label: str
    score: float
    threshold: float


class _TagEvent(msgspec.Struct, frozen=True, gc=False):
    id: str
    tags: list[_Tag]
    scores: dict[str, float]
    thresholds: dict[str, float]


_decode = msgspec.json.Decoder(_TagEvent).decode
_encode = msgspec.json.Encoder(order="sorted").encode


class Reference:
    """The answers that all peers must give: those of the first one, the plain loop.

    Args:
        values: its tag events.
        ids: ids of all events, in the order of the corpus.
    """

    def __init__(self, values: Iterable[bytes], ids: Iterable[str]) -> None:
        self._answers: dict[str, bytes] = dict.fromkeys(ids, b"")
        self.tags = 0
        for value in values:
            event = _decode(value)
            self._answers[event.id] = _answer(event)
            self.tags += len(event.tags)

    def check(self, peer: str, values: Iterable[bytes], events: int) -> None:
        """Compares the outputs of ``peer`` on the first ``events`` events.

        Raises:
            RefusedError: one is missing, there twice, or different: its figures mean nothing.
        """
        missing = dict(zip(self._answers, range(events), strict=False))
        problems: list[str] = []
        for value in values:
            event = _decode(value)
            if missing.pop(event.id, None) is None:
                problems.append(f"{event.id}: there twice, or never asked for")
            elif _answer(event) != self._answers[event.id]:
                problems.append(f"{event.id}: other tags or scores than the plain loop's")
        problems += [f"{name}: missing" for name in missing]
        if problems:
            more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
            raise RefusedError(
                f"{peer}: {len(problems)} of {events} outputs differ; its figures are refused",
                problems=problems[:_SHOWN] + more,
            )


def _answer(event: _TagEvent) -> bytes:
    return _encode((event.tags, event.scores, event.thresholds))
