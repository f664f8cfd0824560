"""A replay command that is refused takes over from nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest
from confluent_kafka import TopicPartition

from streamtag.dead_letters import replay as module
from streamtag.dead_letters.plan import ReplaySpec
from streamtag.dead_letters.replay import ReplayRequest, replay
from streamtag.dead_letters.selection import Selection
from streamtag.errors import ConflictError, NotFoundError, RefusedError, StreamtagError
from streamtag.settings import Settings

KEPT = ReplaySpec("dead", Selection(stages=("infer",)))


class Reader:
    """A topic of one partition, with the positions that a replay has kept."""

    topic = "dead"
    topics: ClassVar = {"dead": 1}

    def __init__(self, kept: ReplaySpec | None) -> None:
        self.consumer = self
        self._kept = kept

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        assert timeout > 0
        if self._kept is None:
            return wanted
        return [TopicPartition(p.topic, p.partition, 5, self._kept.encode()) for p in wanted]


@pytest.mark.parametrize(
    ("kept", "request_", "error"),
    [
        (KEPT, ReplayRequest(ReplaySpec("dead", Selection()), id="x"), ConflictError),
        (None, ReplayRequest(None, id="x"), NotFoundError),
        (None, ReplayRequest(ReplaySpec("dead", Selection(), "dead"), id="x"), RefusedError),
    ],
)
def test_a_refused_command_makes_no_writer(
    monkeypatch: pytest.MonkeyPatch, kept: ReplaySpec | None, request_: ReplayRequest, error: type[StreamtagError]
) -> None:
    @contextmanager
    def opened(_settings: Settings, *, group: str) -> Iterator[Reader]:
        assert group.endswith("-x")
        yield Reader(kept)

    def writer(*_arguments: Any) -> Any:
        pytest.fail("a writer was made: it takes over from a running replay")

    monkeypatch.setattr(module, "DeadLetterReader", opened)
    monkeypatch.setattr(module, "TransactionWriter", writer)
    with pytest.raises(error):
        replay(Settings(), request_)
