"""What bad input gets: every row of the table, through a running worker on real Kafka."""

import hashlib
import json
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from checker import Input
from commands import streamtag
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from pipeline import WORDS, Ledger, Record, check_all, events, read_outputs, wait_covered
from poison_bundle import RAISES, SCORES_NAN, build_poison_bundle
from services import MIB, MakeTopics, Redis, Topics, create_topics, delete_topics, produce, read_all, wait_until
from workers import Fleet

from streamtag.control.first_start import configured_bundle, seed
from streamtag.control.store import ControlStore
from streamtag.events import dead_letters as dlq
from streamtag.events.rejection import ErrorClass
from streamtag.settings import load_settings

pytestmark = pytest.mark.services

GOOD = b'{"id": "good", "text": "a green window"}'
CLOUD = [("content-type", b"application/cloudevents+json")]
HOSTILE: dict[str, tuple[bytes, list[tuple[str, bytes]], ErrorClass]] = {
    "not JSON": (b"once upon a time", [], ErrorClass.INVALID_JSON),
    "empty": (b"", [], ErrorClass.INVALID_JSON),
    "wrong type": (b'{"id": "x", "text": 5}', [], ErrorClass.WRONG_TYPE),
    "missing id": (b'{"text": "x"}', [], ErrorClass.MISSING_FIELD),
    "missing text and features": (b'{"id": "x"}', [], ErrorClass.MISSING_FIELD),
    "empty id": (b'{"id": "", "text": "x"}', [], ErrorClass.EMPTY_ID),
    "too deep": (b'{"id": "x", "text": "y", "z": ' + b"[" * 40 + b"]" * 40 + b"}", [], ErrorClass.TOO_DEEP),
    "bottomless": (b"[" * 100_000, [], ErrorClass.TOO_DEEP),
    "too large": (b'{"id": "x", "text": "' + b"y" * 300_000 + b'"}', [], ErrorClass.TOO_LARGE),
    "text too long": (b'{"id": "x", "text": "' + b"y" * 30_000 + b'"}', [], ErrorClass.TEXT_TOO_LONG),
    "invalid UTF-8": (b'{"id": "x", "text": "\xff\xfe"}', [], ErrorClass.INVALID_UTF8),
    "NaN": (b'{"id": "x", "text": "y", "features": {"a": NaN}}', [], ErrorClass.INVALID_JSON),
    "Infinity": (b'{"id": "x", "text": "y", "features": {"a": -Infinity}}', [], ErrorClass.INVALID_JSON),
    "duplicate keys": (b'{"id": "x", "text": "y", "text": "z"}', [], ErrorClass.DUPLICATE_KEY),
    "unknown CloudEvents version": (
        b'{"specversion": "2.0", "id": "x", "source": "s", "type": "t", "data": {"text": "y"}}',
        CLOUD,
        ErrorClass.UNSUPPORTED_CLOUDEVENT,
    ),
}


def dead_letters(topics: Topics) -> dict[str, dict[str, Any]]:
    """Original value to facts of every dead letter."""
    found = {}
    for record in read_all(topics.bootstrap, topics.dead_letters):
        headers: list[tuple[str, bytes]] = record.headers() or []  # type: ignore[assignment]
        facts = {name: value.decode() for name, value in headers}
        position = f"{facts[dlq.PARTITION]}/{facts[dlq.OFFSET]}"
        found[position] = {**facts, "key": record.key(), "value": record.value()}
    return found


def allow_any_timestamp(topics: Topics) -> None:
    """Lets producers write timestamps far in the future, as brokers before 3.6 did."""
    entry = ConfigEntry("message.timestamp.after.max.ms", str(2**62), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topics.input, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": topics.bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def test_a_hostile_record_becomes_a_dead_letter_and_its_neighbours_are_tagged(fleet: Fleet, ledger: Ledger) -> None:
    fleet.overrides["events.max_bytes"] = "200000"
    batch = []
    for name, (value, headers, _) in HOSTILE.items():
        batch += [(b"k", GOOD, []), (name.encode(), value, [*headers, ("app", b"kept")])]
    places = produce(fleet.topics.bootstrap, fleet.topics.input, batch, partition=0)
    for place, (key, value, _) in zip(places, batch, strict=True):
        ledger.inputs[place] = Input("event", "good", key) if value == GOOD else Input("bad", "", key)
    fleet.start().wait_ready()
    wait_covered(ledger, 30)
    _, problems = check_all(ledger, fleet)
    assert not problems, problems
    found = dead_letters(fleet.topics)
    for place, (key, value, _) in zip(places, batch, strict=True):
        if value == GOOD:
            continue
        letter = found[f"{place[0]}/{place[1]}"]
        name = key.decode()
        assert letter[dlq.ERROR_CLASS] == HOSTILE[name][2], name
        assert (letter["key"], letter["value"], letter["app"]) == (key, value, "kept"), name
        assert letter[dlq.STAGE] == "decode"
        assert letter[dlq.TOPIC] == fleet.topics.input
    assert found[f"0/{places[5][1]}"][dlq.FIELD] == "/text"


def test_a_text_that_breaks_the_model_is_isolated_and_a_nan_score_is_never_a_tag(
    fleet: Fleet, ledger: Ledger, tmp_path: Path
) -> None:
    build_poison_bundle(tmp_path / "bundles", tmp_path / "scratch", [" ".join(WORDS), *WORDS])
    fleet.bundles = tmp_path / "bundles"
    fleet.overrides["model.bundle"] = "tiny@3"
    made = list(events(1_000, seed=5, bad_every=10_000))
    for at, text in ((300, RAISES), (301, RAISES), (600, SCORES_NAN)):
        given = made[at][0]
        value = json.dumps({"id": given.id, "text": text}).encode()
        made[at] = (Input("bad", given.id, given.key), (given.key, value))
    ledger.write(made)
    worker = fleet.start().wait_ready()
    wait_covered(ledger, 30)
    _, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
    classes = sorted(letter[dlq.ERROR_CLASS] for letter in dead_letters(fleet.topics).values())
    assert classes == ["invalid_score", "scorer_error", "scorer_error"]
    counters = [value for name, value in worker.metrics().items() if "events_dead_total" in name]
    assert sum(counters) == 3


def test_too_many_dead_letters_stop_the_group_until_a_person_lifts_it(fleet: Fleet, ledger: Ledger) -> None:
    fleet.overrides |= {
        "dead_letters.max_consecutive": "50",
        "tagger.batch_size": "40",
        "tagger.commit_interval_ms": "20",
    }

    def bad(n: int) -> list[tuple[Input, Record]]:
        return [(Input("bad", str(i), b"k"), (b"k", b"{}")) for i in range(n)]

    ledger.write(list(events(100, seed=6, bad_every=10_000)))
    worker = fleet.start().wait_ready()
    wait_covered(ledger, 30)
    ledger.write(bad(60))
    worker.wait_unready("dead letters in a row")
    assert worker.alive
    passed = len(dead_letters(fleet.topics))
    assert passed <= 50  # the transaction that led to the stop was undone: nothing was skipped
    assert worker.stop() == 0
    ledger.write(bad(200))  # the producer goes on for a while: many transactions' worth

    restarted = fleet.start()
    restarted.wait_unready("stopped for dead letters")  # a restart does not lift it
    # Slots of one host are told apart by locks in that directory: here, another one needs a name, too.
    other_host = fleet.start(state_dir=str(fleet.state_dir) + "-other", tagger__slot="other")
    other_host.wait_unready("stopped for dead letters")  # nor does another host
    assert len(dead_letters(fleet.topics)) == passed

    lifted = streamtag(fleet.settings(), "dlq", "resume", "--reason", "known bad batch")
    assert lifted.code == 0, lifted.err
    wait_covered(ledger, 30)
    restarted.wait_ready()
    _, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]
    assert len(dead_letters(fleet.topics)) == 260

    ledger.write(bad(60))  # what is written after the lifting counts
    wait_until(lambda: {restarted.health()[0], other_host.health()[0]} == {503}, 30, "stopped again")


@pytest.fixture
def seeded(redis_server: Redis, namespace: str, tmp_path: Path, bundles: Path) -> dict[str, str]:
    """Settings of a control plane that no worker follows yet."""
    overrides = {"redis.url": redis_server.url, "redis.namespace": namespace, "state_dir": str(tmp_path / "state")}
    overrides |= {"model.bundle": "tiny@1", "model.directories": f"[{bundles}]"}
    settings = load_settings(environ={}, overrides=overrides).settings
    with closing(ControlStore(settings.redis)) as store:
        seed(store, lambda: configured_bundle(settings), max_step=1)
    return overrides


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["thresholds", "set", "unknown=0.5"], ["unknown"]),
        (["thresholds", "set", "spam=1.5", "greeting=nan"], ["spam", "greeting"]),
        (["thresholds", "set", "spam=0.9999"], ["step"]),
        (["thresholds", "apply", "FILE"], ["greeting", "missing", "extra"]),
    ],
)
def test_a_bad_threshold_change_is_refused_with_every_error_and_the_old_one_stays(
    seeded: dict[str, str], tmp_path: Path, arguments: list[str], says: list[str]
) -> None:
    path = tmp_path / "set.yaml"
    path.write_text("labels: {spam: 0.5, extra: 0.5}\n")
    refused = streamtag(seeded, *[str(path) if a == "FILE" else a for a in arguments], "--reason", "test")
    assert refused.code == 3, refused.err
    for word in says:
        assert word in refused.err
    assert streamtag(seeded, "thresholds", "show", "--output", "json").json["base"]["revision"] == 1
    assert [entry["action"] for entry in streamtag(seeded, "audit", "show", "--output", "json").json] == ["seed"]


def test_an_empty_redis_is_seeded_from_the_bundle_and_audited(fleet: Fleet) -> None:
    fleet.start().wait_ready()
    history = streamtag(fleet.settings(), "thresholds", "history", "--output", "json").json
    assert [entry["author"] for entry in history] == ["streamtag (first start)"]


def test_an_input_as_large_as_the_topic_allows_fits_as_a_dead_letter_or_keeps_head_hash_and_position(
    make_topics: MakeTopics, fleet: Fleet
) -> None:
    topics = fleet.topics = make_topics(max_bytes=4 * MIB)
    whole = b"x" * (4 * MIB - 200_000)
    headers = [("big", b"h" * 100_000)]
    places = produce(topics.bootstrap, topics.input, [(b"fits", whole[: 2 * MIB], headers), (b"cut", whole, headers)])
    ledger = Ledger(topics, {p: Input("bad", "", k) for p, k in zip(places, (b"fits", b"cut"), strict=True)})
    fleet.overrides["dead_letters.max_bytes"] = str(3 * MIB)
    fleet.start().wait_ready()
    wait_covered(ledger, 30)
    found = {letter["key"]: letter for letter in dead_letters(topics).values()}
    assert found[b"fits"]["value"] == whole[: 2 * MIB]
    assert dlq.TRUNCATED not in found[b"fits"]
    cut = found[b"cut"]
    assert cut[dlq.SHA256] == hashlib.sha256(whole).hexdigest()
    assert int(cut[dlq.SIZE]) == len(whole)
    assert whole.startswith(cut["value"])
    assert len(cut["value"]) > 1_000
    assert (int(cut[dlq.PARTITION]), int(cut[dlq.OFFSET])) == places[1]


def test_timestamps_nobody_can_believe_are_placed_by_arrival_and_flagged(fleet: Fleet, ledger: Ledger) -> None:
    allow_any_timestamp(fleet.topics)
    now = int(time.time() * 1000)
    year = 365 * 86_400_000
    made = list(events(6, seed=7))
    ledger.write(made, timestamp_ms=[now, now + 10 * year, now - 10 * year, now - 60_000, now + 30_000, 1])
    worker = fleet.start().wait_ready()
    wait_covered(ledger, 30)
    outputs = read_outputs(fleet.topics)
    flagged = {tag.event["id"] for tag in outputs.tags if tag.event.get("time_flag") == "arrival"}
    assert flagged == {made[i][0].id for i in (1, 2, 5)}
    panes = [pane for one in outputs.summaries for pane in one.panes]
    assert all(now - 120_000 < pane.start_ms < now + 60_000 for pane in panes)
    assert sum(pane.by_arrival for pane in panes) == 3
    assert worker.metrics()["streamtag_timestamps_by_arrival_total"] == 3


def test_an_unknown_or_contradictory_setting_ends_with_exit_2_before_anything_starts(fleet: Fleet) -> None:
    for name, value in (("tagger.batchsize", "5"), ("tagger.commit_interval_ms", "9000"), ("tagger.start", "noon")):
        refused = fleet.start(**{name.replace(".", "__"): value})
        assert refused.process.wait(60) == 2
        said = refused.log.read_text()
        assert name.rsplit(".", 1)[1] in said
        assert "Traceback" not in said
    assert not fleet.state_dir.exists()


def test_two_workers_with_default_settings_have_a_slot_each_and_a_third_fences_nobody(
    fleet: Fleet, ledger: Ledger
) -> None:
    first, second = (fleet.start() for _ in range(2))
    first.wait_ready()
    second.wait_ready()
    ledger.write(list(events(500, seed=8)))
    third = fleet.start().wait_ready()
    ledger.write(list(events(500, seed=9)))
    second.kill()
    replacement = fleet.start().wait_ready()
    ledger.write(list(events(500, seed=10)))
    wait_covered(ledger, 60)
    slots = set()
    for worker in (first, third, replacement):
        fenced = [v for name, v in worker.metrics().items() if "transactions_total" in name and "fenced" in name]
        assert fenced == [0]
    for beat in streamtag(fleet.settings(), "fleet", "--output", "json").json["workers"]:
        slots.add(beat["slot"])
    assert len(slots) >= 3
    _, problems = check_all(ledger, fleet)
    assert not problems, problems[:5]


def test_a_topic_that_is_missing_at_the_start_is_waited_for(fleet: Fleet, ledger: Ledger) -> None:
    missing = fleet.topics.input + "-later"
    fleet.overrides["topics.input"] = f"[{missing}]"
    worker = fleet.start()
    wait_until(
        lambda: "UNKNOWN_TOPIC" in worker.log.read_text() or "nknown topic" in worker.log.read_text(), 30, "named"
    )
    made = list(events(50, seed=11))
    create_topics(fleet.topics.bootstrap, [(missing, 2, {})])
    try:
        places = produce(fleet.topics.bootstrap, missing, [record for _, record in made])
        ledger.inputs = {place: given for place, (given, _) in zip(places, made, strict=True)}
        wait_covered(ledger, 60)
        worker.wait_ready()
        assert worker.stop() == 0
    finally:
        delete_topics(fleet.topics.bootstrap, [missing])
