"""`streamtag dlq` against a real Kafka: the command, its output, and what it does."""

import base64
import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from commands import streamtag
from confluent_kafka import Message, Producer
from services import Kafka, MakeTopics, Redis, Topics, delete_topics, make_pipeline_topics, produce, read_all

from streamtag.control.stops import StopMark, StopStore
from streamtag.dead_letters.plan import ReplaySpec
from streamtag.dead_letters.replay import ReplayRequest, replay
from streamtag.dead_letters.transaction import TransactionWriter
from streamtag.events import dead_letters as wire
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.settings import load_settings
from streamtag.stream.options import StreamOptions

pytestmark = pytest.mark.services

Record = tuple[bytes | None, bytes | None, wire.Headers]
ORIGINAL: wire.Headers = [("traceparent", b"00-abc"), ("twice", b"1"), ("twice", b"2"), ("null", None), ("empty", b"")]


def letter(topics: Topics, offset: int, **changes: Any) -> Record:
    facts: dict[str, Any] = {
        "topic": topics.input,
        "partition": offset % topics.partitions,
        "offset": offset,
        "timestamp_ms": 1_700_000_000_000 + offset,
        "key": f"key-{offset}".encode(),
        "value": b"\xff\x00 original %d" % offset,
        "headers": ORIGINAL,
        "rejected": Rejected(ErrorClass.INVALID_UTF8, stage="decode", message="not UTF-8 at byte 0"),
        "release": "moderation@1 r7",
        "worker": "host-0",
        "now_ms": 1_700_000_100_000,
        "max_bytes": 4_194_304,
    }
    return wire.build(**{**facts, **changes})


def command(topics: Topics, *arguments: str) -> list[str]:
    """In a process of its own, to be killed or overtaken."""
    sets = [part for name, value in topics.overrides().items() for part in ("--set", f"{name}={value}")]
    return [sys.executable, "-m", "streamtag", *sets, "dlq", *arguments]


def run(topics: Topics, *arguments: str, expect: int = 0, settings: Mapping[str, str] | None = None) -> Any:
    done = streamtag({**topics.overrides(), **(settings or {})}, "dlq", *arguments, "--output", "json")
    assert done.code == expect, done.err
    return done.json if expect == 0 else " ".join(done.err.split())


def headers_of(message: Message) -> wire.Headers:
    return cast("wire.Headers", message.headers() or [])


def replayed_of(messages: Sequence[Message]) -> Counter[str]:
    return Counter((dict(headers_of(m))[wire.REPLAY_OF] or b"").decode() for m in messages)


def more_than(count: int) -> Callable[[list[Message]], bool]:
    return lambda found: len(found) > count


@pytest.fixture(scope="module")
def shared(kafka: Kafka) -> Iterator[Topics]:
    """Filled, for all tests that write nothing."""
    topics = make_pipeline_topics(kafka.bootstrap)
    fill(topics)
    yield topics
    delete_topics(topics.bootstrap, topics.names)


@pytest.fixture
def filled(topics: Topics) -> Topics:
    """Filled, for this test alone."""
    fill(topics)
    return topics


def fill(topics: Topics) -> None:
    """Twelve dead letters of three kinds, one of them truncated, and a record of somebody else."""
    scorer = Rejected(ErrorClass.SCORER_ERROR, stage="infer", field="/text", message="the model raised")
    records = [letter(topics, n) for n in range(6)]
    records += [letter(topics, n, rejected=scorer) for n in range(6, 11)]
    records += [letter(topics, 11, value=b"x" * 100_000, max_bytes=50_000)]
    records += [(b"k", b"hello", [])]
    produce(topics.bootstrap, topics.dead_letters, records, partition=1)


def test_list_shows_what_why_and_where_and_never_content(shared: Topics) -> None:
    found = run(shared, "list")
    assert (found["matching"], found["foreign"]) == (12, 1)
    first, last = found["letters"][0], found["letters"][-1]
    assert first["position"] == "1/0"
    assert first["source"] == {"topic": shared.input, "partition": 0, "offset": 0, "timestamp_ms": 1_700_000_000_000}
    assert (first["error_class"], first["stage"], first["message"]) == ("invalid_utf8", "decode", "not UTF-8 at byte 0")
    assert (last["truncated"], last["size"]) == (True, 100_000)
    table = subprocess.run(command(shared, "list"), capture_output=True, text=True, timeout=60, check=True).stdout
    for text in (json.dumps(found), table):
        assert "original" not in text
        assert "key-" not in text


def test_list_filters_and_shows_the_latest(shared: Topics) -> None:
    assert run(shared, "list", "--class", "scorer_error", "--stage", "infer")["matching"] == 5
    assert run(shared, "list", "--class", "scorer_error", "--class", "invalid_utf8")["matching"] == 12
    assert run(shared, "list", "--field", "/text", "--topic", "other")["matching"] == 0
    assert [x["position"] for x in run(shared, "list", "-n", "2")["letters"]] == ["1/10", "1/11"]
    assert [x["position"] for x in run(shared, "list", "--at", "1/3", "--at", "1/7")["letters"]] == ["1/3", "1/7"]
    assert run(shared, "list", "--since", "1h")["matching"] == 12
    assert run(shared, "list", "--until", "1h")["matching"] == 0


def test_group_counts_by_what_was_asked(shared: Topics) -> None:
    groups = run(shared, "group", "--by", "class", "--by", "stage")["groups"]
    assert [(g["values"], g["count"], g["truncated"]) for g in groups] == [
        ({"class": "invalid_utf8", "stage": "decode"}, 7, 1),
        ({"class": "scorer_error", "stage": "infer"}, 5, 0),
    ]


def test_show_keeps_content_back_until_it_is_asked_for(filled: Topics) -> None:
    shown = run(filled, "show", "1/4")
    assert shown["headers"][0] == {"name": "traceparent", "value": "00-abc"}
    assert "original" not in json.dumps(shown)
    asked = run(filled, "show", "1/4", "--content")
    assert (asked["key"], base64.b64decode(asked["value_base64"])) == ("key-4", b"\xff\x00 original 4")
    steering = [*ORIGINAL, (wire.REPLAY_ID, b"\x1b]52;c;aGk=\x07")]  # the producer's own header
    produce(filled.bootstrap, filled.dead_letters, [letter(filled, 12, headers=steering)], partition=1)
    table = streamtag(filled.overrides(), "dlq", "show", "1/13").out
    assert "\x1b" not in table
    assert r"\x1b]52" in table
    assert "holds no dead letter of streamtag" in run(filled, "show", "1/12", expect=4)
    assert "holds no (committed) record" in run(filled, "show", "3/0", expect=4)
    assert "partition/offset" in run(filled, "show", "7", expect=2)


def test_letters_of_aborted_transactions_are_not_there_and_ends_are_found(topics: Topics) -> None:
    producer = Producer({"bootstrap.servers": topics.bootstrap, "transactional.id": topics.dead_letters})
    producer.init_transactions(20)
    for offset, commit in ((0, True), (1, False), (2, True), (3, False)):
        producer.begin_transaction()
        key, value, headers = letter(topics, offset)
        producer.produce(topics.dead_letters, key=key, value=value, headers=list(headers), partition=0)
        producer.flush(20)
        producer.commit_transaction(20) if commit else producer.abort_transaction(20)
    assert [x["source"]["offset"] for x in run(topics, "list")["letters"]] == [0, 2]


def test_replay_puts_back_key_headers_and_bytes_where_they_came_from(filled: Topics) -> None:
    result = run(filled, "replay")
    assert (result["replayed"], result["foreign"], result["resumed"]) == (11, 1, False)
    assert result["left"] == {"truncated": {"count": 1, "positions": ["1/11"]}}
    back = read_all(filled.bootstrap, filled.input)
    assert len(back) == 11
    for message in back:
        offset = int((message.key() or b"").rpartition(b"-")[2])
        assert message.value() == b"\xff\x00 original %d" % offset
        assert message.partition() == offset % filled.partitions
        headers = headers_of(message)
        assert headers[: len(ORIGINAL)] == ORIGINAL
        assert dict(headers[len(ORIGINAL) :]) == {
            wire.REPLAY_OF: f"{filled.dead_letters}/1/{offset}".encode(),
            wire.REPLAY_ID: result["id"].encode(),
            wire.REPLAY_COUNT: b"1",
        }


def test_nothing_and_empty_survive_a_replay(topics: Topics) -> None:
    records = [letter(topics, 0, key=None, value=None, headers=[]), letter(topics, 4, key=b"", value=b"", headers=[])]
    produce(topics.bootstrap, topics.dead_letters, records, partition=0)
    assert run(topics, "replay")["replayed"] == 2
    assert [(m.key(), m.value()) for m in read_all(topics.bootstrap, topics.input)] == [(None, None), (b"", b"")]


def test_the_same_replay_again_does_nothing_until_there_are_new_letters(filled: Topics) -> None:
    first = run(filled, "replay", "--class", "scorer_error", "--stage", "infer")
    again = run(filled, "replay", "--stage", "infer", "--class", "scorer_error")
    assert (first["replayed"], again["replayed"]) == (5, 0)
    assert (again["id"], again["resumed"]) == (first["id"], True)
    produce(
        filled.bootstrap,
        filled.dead_letters,
        [letter(filled, 50, rejected=Rejected(ErrorClass.SCORER_ERROR, stage="infer"))],
    )
    assert run(filled, "replay", "--resume", first["id"])["replayed"] == 1
    assert len(read_all(filled.bootstrap, filled.input)) == 6


def test_a_dry_run_writes_nothing_and_keeps_no_progress(filled: Topics) -> None:
    assert run(filled, "replay", "--dry-run")["replayed"] == 11
    assert read_all(filled.bootstrap, filled.input) == []
    assert run(filled, "replay")["replayed"] == 11


def test_a_limited_replay_goes_on_with_the_next(filled: Topics) -> None:
    results = [run(filled, "replay", "-n", "4") for _ in range(4)]
    assert [(r["replayed"], r["limited"]) for r in results] == [(4, True), (4, True), (3, False), (0, False)]
    assert set(replayed_of(read_all(filled.bootstrap, filled.input)).values()) == {1}


def test_an_id_cannot_be_used_for_something_else(filled: Topics) -> None:
    run(filled, "replay", "--id", "tuesday", "--stage", "infer")
    complaint = run(filled, "replay", "--id", "tuesday", "--stage", "decode", expect=5)
    assert "tuesday" in complaint
    assert "no progress of a replay monday" in run(filled, "replay", "--resume", "monday", expect=4)
    assert "leave them away" in run(filled, "replay", "--resume", "tuesday", "--stage", "infer", expect=2)
    assert "when it is run again" in run(filled, "replay", "--since", "2h", expect=2)


def test_another_target_takes_the_letters(filled: Topics) -> None:
    elsewhere = {"topics.tags": f"{filled.tags}-elsewhere"}
    assert run(filled, "replay", "--to", filled.tags, settings=elsewhere)["replayed"] == 11
    assert len(read_all(filled.bootstrap, filled.tags)) == 11
    assert "dead-letter topic itself" in run(filled, "replay", "--to", filled.dead_letters, expect=3)
    assert "is topics.tags" in run(filled, "replay", "--to", filled.tags, expect=3)
    assert run(filled, "replay", "--to", "no-such-topic")["left"]["topic_missing"]["count"] == 11


def test_a_letter_replayed_too_often_is_left_alone_unless_forced(topics: Topics) -> None:
    headers: wire.Headers = [(wire.REPLAY_ID, b"old"), (wire.REPLAY_COUNT, b"3"), ("kept", b"1")]
    produce(topics.bootstrap, topics.dead_letters, [letter(topics, 0, headers=headers), letter(topics, 1)])
    first = run(topics, "replay")
    assert (first["replayed"], first["left"]["replayed_too_often"]["count"]) == (1, 1)
    assert run(topics, "replay", "--force", "--min-replays", "3")["replayed"] == 1
    forced = next(m for m in read_all(topics.bootstrap, topics.input) if m.key() == b"key-0")
    assert [name for name, _ in headers_of(forced)] == [
        "kept",
        *(wire.REPLAY_OF, wire.REPLAY_ID, wire.REPLAY_COUNT),
    ]
    assert dict(headers_of(forced))[wire.REPLAY_COUNT] == b"4"


def test_letters_that_their_topic_refuses_are_left_out_and_named(make_topics: MakeTopics) -> None:
    topics = make_topics(max_bytes=20_000)
    sizes = [10, 30_000, 10, 10, 25_000, 10, *[30_000] * 4]
    records = [letter(topics, n, partition=0, value=os.urandom(size)) for n, size in enumerate(sizes)]
    produce(topics.bootstrap, topics.dead_letters, records, partition=0)
    result = run(topics, "replay")
    assert result["replayed"] == 4
    refused = ["0/1", "0/4", "0/6", "0/7", "0/8", "0/9"]
    assert result["left"] == {"too_large": {"count": 6, "positions": refused}}
    assert [m.key() for m in read_all(topics.bootstrap, topics.input)] == [b"key-0", b"key-2", b"key-3", b"key-5"]


def test_a_replay_killed_midway_and_run_again_replays_each_letter_exactly_once(topics: Topics) -> None:
    count, kills = 8_000, 5
    other = Rejected(ErrorClass.MAPPING, stage="decode")
    records = [letter(topics, n) if n % 4 else letter(topics, n, rejected=other) for n in range(count)]
    places = produce(topics.bootstrap, topics.dead_letters, records)
    wanted = {f"{topics.dead_letters}/{p}/{offset}" for n, (p, offset) in enumerate(places) if n % 4}
    killed = command(topics, "replay", "--class", "invalid_utf8", "--id", "again", "--batch", "4")
    seen = 0
    for _ in range(kills):  # it is always in some transaction, so each kill hits another of its steps
        process = subprocess.Popen(killed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            back = read_all(topics.bootstrap, topics.input, until=more_than(seen), deadline_s=60)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(20)
        seen = len(back)
    assert 0 < len(read_all(topics.bootstrap, topics.input)) < len(wanted), "it was not midway"
    result = run(topics, "replay", "--resume", "again")
    assert result["resumed"]
    assert replayed_of(read_all(topics.bootstrap, topics.input)) == Counter(wanted)


@pytest.mark.parametrize("moment", ["before the commit", "killed before the commit", "after the commit"])
def test_a_replay_that_dies_around_a_commit_goes_on_without_loss_or_double(
    topics: Topics, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    places = produce(topics.bootstrap, topics.dead_letters, [letter(topics, n) for n in range(40)])
    transactions = 0

    class DyingWriter(TransactionWriter):
        def __init__(self, options: StreamOptions, group: object, stand: Callable[[], Mapping[int, int]]) -> None:
            # So long that nobody but the next run ends what is left open.
            super().__init__(dataclasses.replace(options, transaction_timeout_ms=120_000), group, stand)

        def close(self) -> None:
            if moment != "killed before the commit":
                super().close()

        def _call(self, call: Callable[[], object], doing: str) -> None:
            nonlocal transactions
            committing = doing == "commit the transaction"
            transactions += committing
            if committing and transactions == 3:
                if moment == "after the commit":
                    super()._call(call, doing)
                raise KeyboardInterrupt
            super()._call(call, doing)

    settings = load_settings(overrides=topics.overrides(), environ={}).settings
    request = ReplayRequest(ReplaySpec(topics.dead_letters), batch=5)
    monkeypatch.setattr("streamtag.dead_letters.replay._GLANCE_S", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr("streamtag.dead_letters.replay.TransactionWriter", DyingWriter)
        with pytest.raises(KeyboardInterrupt):
            replay(settings, request)
    first = len(read_all(topics.bootstrap, topics.input))
    assert 0 < first < 40
    assert replay(settings, request).tally.replayed == 40 - first
    expected = Counter(f"{topics.dead_letters}/{p}/{offset}" for p, offset in places)
    assert replayed_of(read_all(topics.bootstrap, topics.input)) == expected


def test_of_two_runs_of_one_replay_the_later_wins_and_nothing_doubles(topics: Topics) -> None:
    places = produce(topics.bootstrap, topics.dead_letters, [letter(topics, n) for n in range(3_000)])
    slow = command(topics, "replay", "--batch", "10", "--rate", "200")
    with subprocess.Popen(slow, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        read_all(topics.bootstrap, topics.input, until=more_than(20), deadline_s=60)
        second = run(topics, "replay")
        _, complaint = process.communicate(timeout=60)
    assert process.returncode == 5, complaint
    assert "another run" in complaint
    assert second["resumed"]
    expected = Counter(f"{topics.dead_letters}/{p}/{offset}" for p, offset in places)
    assert replayed_of(read_all(topics.bootstrap, topics.input)) == expected


def test_a_missing_topic_is_named(shared: Topics) -> None:
    stderr = run(shared, "list", expect=4, settings={"topics.dead_letters": "nowhere"})
    assert "topic nowhere does not exist" in stderr


def test_a_kafka_that_does_not_answer_is_named(shared: Topics) -> None:
    stderr = run(shared, "list", expect=6, settings={"kafka.bootstrap_servers": "127.0.0.1:1"})
    assert "127.0.0.1:1" in stderr


def test_a_stopped_group_is_shown_and_let_go(
    topics: Topics, redis_server: Redis, namespace: str, tmp_path: Any
) -> None:
    more = {"redis.url": redis_server.url, "redis.namespace": namespace, "state_dir": str(tmp_path)}
    assert run(topics, "status", settings=more)["stop"] is None
    mark = StopMark(group="g", reason="90 % dead letters", at=datetime.now(UTC), worker="host-0", counts={"dead": 9})
    StopStore(load_settings(overrides={**topics.overrides(), **more}, environ={}).settings).set(mark)
    status = run(topics, "status", "--group", "g", settings=more)
    assert (status["stop"]["reason"], status["stop"]["counts"]) == ("90 % dead letters", {"dead": 9})
    lifted = run(topics, "resume", "--group", "g", "--author", "ann", "--reason", "schema fixed", settings=more)
    assert (lifted["author"], len(lifted["lifted"])) == ("ann", 1)
    assert run(topics, "status", "--group", "g", settings=more)["stop"] is None
    assert "not stopped" in run(topics, "resume", "--group", "g", "--reason", "again", expect=4, settings=more)
