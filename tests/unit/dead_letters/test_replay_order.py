"""A replay command that is refused takes over from nobody; one that goes on ends what a killed run has left open."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamtag.dead_letters import replay as module
from streamtag.dead_letters.plan import ReplaySpec
from streamtag.dead_letters.replay import ReplayRequest, replay
from streamtag.dead_letters.selection import Selection
from streamtag.errors import ConflictError, NotFoundError, RefusedError, StreamtagError, UnavailableError
from streamtag.settings import Settings, load_settings

KEPT = ReplaySpec("dead", Selection(stages=("infer",)))


class Reader:
    """An empty topic of one partition, with what a replay has kept; ``trouble`` holds the first answers."""

    topic = "dead"
    topics: ClassVar = {"dead": 1}

    def __init__(self, kept: ReplaySpec | None) -> None:
        self.consumer = self
        self.trouble: list[Any] = []
        self.happened: list[str] = []
        self._kept = kept

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[Any]:
        assert timeout > 0
        self.happened.append("look")
        if self.trouble:
            answer = self.trouble.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return [answer]
        if self._kept is None:
            return wanted
        return [TopicPartition(p.topic, p.partition, 5, self._kept.encode()) for p in wanted]

    def consumer_group_metadata(self) -> None:
        return None

    def ranges(self, _selection: Selection) -> dict[int, tuple[int, int]]:
        return {}

    def batches(self, _ranges: object, **_: object) -> Iterator[Any]:
        return iter(())


def look_at(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    """Replays find this reader."""

    @contextmanager
    def opened(_settings: Settings, *, group: str) -> Iterator[Reader]:
        assert group.endswith("-x")
        yield reader

    monkeypatch.setattr(module, "DeadLetterReader", opened)


def refuse_writers(monkeypatch: pytest.MonkeyPatch) -> None:
    def writer(*_arguments: Any) -> Any:
        pytest.fail("a writer was made: it takes over from a running replay")

    monkeypatch.setattr(module, "TransactionWriter", writer)


def failed(code: int) -> Any:
    """A position that could not be read."""
    return SimpleNamespace(partition=0, offset=-1001, metadata=None, error=KafkaError(code))


@pytest.mark.parametrize(
    ("kept", "request_", "error"),
    [
        (KEPT, ReplayRequest(ReplaySpec("dead", Selection()), id="x"), ConflictError),
        (None, ReplayRequest(None, id="x"), NotFoundError),
        (None, ReplayRequest(ReplaySpec("dead", Selection(), "dead"), id="x"), RefusedError),
        (None, ReplayRequest(ReplaySpec("dead", Selection(), "stats"), id="x"), RefusedError),
        (ReplaySpec("dead", Selection(), "tags"), ReplayRequest(None, id="x"), RefusedError),
    ],
)
def test_a_refused_command_makes_no_writer(
    monkeypatch: pytest.MonkeyPatch, kept: ReplaySpec | None, request_: ReplayRequest, error: type[StreamtagError]
) -> None:
    look_at(monkeypatch, Reader(kept))
    refuse_writers(monkeypatch)
    with pytest.raises(error):
        replay(Settings(), request_)


UNSETTLED = [
    pytest.param(KafkaException(KafkaError(KafkaError._TIMED_OUT)), id="no answer in time"),
    pytest.param(failed(KafkaError.UNSTABLE_OFFSET_COMMIT), id="told of the partition"),
]


@pytest.mark.parametrize("answer", UNSETTLED)
@pytest.mark.parametrize("spec", [KEPT, None], ids=["the same command", "resumed by its id"])
def test_an_open_transaction_is_ended_and_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, answer: Any, spec: ReplaySpec | None
) -> None:
    reader = Reader(KEPT)
    reader.trouble.append(answer)

    class Writer:
        def __init__(self, *_: object) -> None:
            reader.happened.append("writer")

        def close(self) -> None:
            reader.happened.append("closed")

    look_at(monkeypatch, reader)
    monkeypatch.setattr(module, "TransactionWriter", Writer)
    result = replay(Settings(), ReplayRequest(spec, id="x"))
    assert (result.resumed, result.spec) == (True, KEPT)
    assert reader.happened == ["look", "writer", "look", "closed"]


@pytest.mark.parametrize("answer", UNSETTLED)
def test_a_dry_run_ends_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    reader = Reader(KEPT)
    reader.trouble += [answer, answer]
    look_at(monkeypatch, reader)
    refuse_writers(monkeypatch)
    with pytest.raises(UnavailableError) as refused:
        replay(Settings(), ReplayRequest(KEPT, id="x", dry_run=True))
    assert "transaction open" in refused.value.hint


def test_progress_that_cannot_be_read_is_not_taken_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The replay would start from the beginning, and double everything."""
    reader = Reader(KEPT)
    reader.trouble.append(failed(KafkaError.GROUP_AUTHORIZATION_FAILED))
    look_at(monkeypatch, reader)
    refuse_writers(monkeypatch)
    with pytest.raises(UnavailableError):
        replay(Settings(), ReplayRequest(KEPT, id="x"))


def test_a_replay_has_the_name_of_its_team() -> None:
    settings = load_settings(environ={}, overrides={"tagger.group": "team-a"}).settings
    assert module._name(settings, "x") == "team-a-dlq-replay-x"
