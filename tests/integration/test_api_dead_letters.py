"""Dead letters over HTTP, on a real Kafka and Redis: counted, looked at by those who may, put back once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_stack import ApiStack, api_stack
from services import Redis, Topics, produce, read_all

from streamtag.api.idempotency import HEADER
from streamtag.control.tokens import Role
from streamtag.events import dead_letters as wire
from streamtag.events.rejection import ErrorClass, Rejected

pytestmark = pytest.mark.services

SECRET = "words that nobody else shall see"


def letter(topics: Topics, offset: int, error_class: ErrorClass, at_ms: int) -> Any:
    return wire.build(
        topic=topics.input,
        partition=offset % topics.partitions,
        offset=offset,
        timestamp_ms=at_ms,
        key=b"\xff key",
        value=f"{SECRET} {offset}".encode(),
        headers=[("traceparent", b"00-abc"), ("null", None)],
        rejected=Rejected(error_class, stage="decode", message="not valid"),
        release="tiny@1 r1",
        worker="host-0",
        now_ms=at_ms,
        max_bytes=4_194_304,
    )


@pytest.fixture
def stack(topics: Topics, redis_server: Redis, namespace: str, bundles: Path, tmp_path: Path) -> Iterator[ApiStack]:
    kinds = [ErrorClass.INVALID_UTF8] * 5 + [ErrorClass.INVALID_JSON] * 2
    now = 1_700_000_000_000
    records = [letter(topics, n, kind, now + n) for n, kind in enumerate(kinds)] + [(b"k", b"hello", [])]
    times = [now + n for n in range(len(records))]
    produce(topics.bootstrap, topics.dead_letters, records, partition=1, timestamp_ms=times)
    with api_stack(topics, redis_server.url, namespace, bundles, tmp_path / "state") as found:
        yield found


def test_they_are_counted_listed_in_pages_and_shown_without_what_they_hold(stack: ApiStack) -> None:
    viewer = stack.as_(Role.VIEWER)
    groups = viewer.get("/v1/dead-letters/groups").json()
    assert [(one["values"]["class"], one["count"]) for one in groups["items"]] == [
        ("invalid_utf8", 5),
        ("invalid_json", 2),
    ]
    assert (groups["matching"], groups["foreign"]) == (7, 1)
    listed: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = viewer.get("/v1/dead-letters", params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        listed += [one["position"] for one in page["items"]]
        cursor = page["next"]
    assert listed == [f"1/{n}" for n in reversed(range(7))]
    some = viewer.get("/v1/dead-letters?error_class=invalid_json&stage=decode").json()
    assert (len(some["items"]), some["next"]) == (2, None)
    one = viewer.get("/v1/dead-letters/1/3").json()
    assert (one["error_class"], one["source"]["offset"]) == ("invalid_utf8", 3)
    for found in (groups, some, one):
        assert SECRET not in str(found)
    assert viewer.get("/v1/dead-letters/1/7").status_code == 404  # somebody else's record
    assert viewer.get("/v1/dead-letters/0/99").status_code == 404
    assert viewer.get("/v1/dead-letters?since=yesterday").status_code == 400


def test_what_they_hold_is_for_reviewers_and_leaves_a_trace(stack: ApiStack) -> None:
    assert stack.as_(Role.VIEWER).get("/v1/dead-letters/1/3/content").status_code == 403
    found = stack.as_(Role.REVIEWER).get("/v1/dead-letters/1/3/content").json()
    assert found["value"] == f"{SECRET} 3"
    assert found["key_base64"] == "/yBrZXk="
    assert found["headers"] == [{"name": "traceparent", "value": "00-abc"}, {"name": "null", "value": None}]
    trace = stack.as_(Role.ADMIN).get("/v1/access-log").json()["items"]
    what = f"dead letter {stack.settings.topics.dead_letters}/1/3"
    assert ("read content", "reviewer-1", what) in [(one["action"], one["who"], one["what"]) for one in trace]
    assert SECRET not in str(trace)


def test_they_are_put_back_once_with_an_entry_in_the_audit(stack: ApiStack, topics: Topics) -> None:
    operator = stack.as_(Role.OPERATOR)
    body = {"selection": {"error_class": ["invalid_utf8"]}, "reason": "the decoder is mended", "limit": 3}
    assert stack.as_(Role.REVIEWER).post("/v1/dead-letters/replays", json=body).status_code == 403
    tried = operator.post("/v1/dead-letters/replays", json={**body, "dry_run": True}).json()
    assert (tried["replayed"], tried["dry_run"], stack.store.audit(1)[0].fields["action"]) == (3, True, "seed")
    first, again = (operator.post("/v1/dead-letters/replays", json=body, headers={HEADER: "k"}) for _ in range(2))
    assert first.json() == again.json()
    assert (first.json()["replayed"], first.json()["limited"]) == (3, True)
    rest = operator.post("/v1/dead-letters/replays", json=body).json()
    assert (rest["replayed"], rest["resumed"], rest["id"]) == (2, True, first.json()["id"])
    back = read_all(topics.bootstrap, topics.input)
    assert sorted(m.value() or b"" for m in back) == [f"{SECRET} {n}".encode() for n in range(5)]
    noted = stack.store.audit(2)
    assert [one.fields["action"] for one in noted] == ["replay-dead-letters"] * 2
    assert noted[0].fields["author"] == "operator-0"
    assert noted[0].fields["reason"] == "the decoder is mended"
    assert noted[0].fields["replay"] == rest["id"]
    relative = {"selection": {"since": "2h"}, "reason": "x"}
    assert operator.post("/v1/dead-letters/replays", json=relative).status_code == 400
