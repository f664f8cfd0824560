"""From when on a change is live on every worker of the demo."""

from datetime import UTC, datetime

import pytest

from streamtag.control.fleet import Heartbeat
from streamtag.control.release_documents import ReleaseId
from streamtag.devstack.demo.following import ChangeState, live_after_ms

RELEASE = ReleaseId(3, "a" * 64)
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
CHANGE = ChangeState(RELEASE, 3, "ada", "try it", (), AT)


def beat(pid: int, applied_at_ms: int | None, release: ReleaseId = RELEASE) -> Heartbeat:
    return Heartbeat(
        worker=f"w-{pid}", host="h", pid=pid, group="g", member_id="m", slot="s", started_at=AT, beat_at=AT,
        release=release.number, release_sha256=release.sha256, revision=3, applied_at_ms=applied_at_ms,
    )  # fmt: skip


def test_the_slowest_worker_decides() -> None:
    assert live_after_ms(CHANGE, [1, 2], [beat(1, AT_MS + 20), beat(2, AT_MS + 45)]) == pytest.approx(45)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [beat(2, None)],
        [beat(2, AT_MS, ReleaseId(2, "a" * 64))],
        [beat(2, AT_MS, ReleaseId(3, "b" * 64))],
        [beat(3, AT_MS)],
    ],
    ids=["silent", "nothing applied", "an older release", "the same number, another hash", "a stranger"],
)
def test_it_is_not_live_while_one_worker_has_not_said_so(other: list[Heartbeat]) -> None:
    assert live_after_ms(CHANGE, [1, 2], [beat(1, AT_MS + 20), *other]) is None


def test_a_worker_that_took_it_up_in_the_same_millisecond_is_not_before_its_time() -> None:
    assert live_after_ms(CHANGE, [1], [beat(1, AT_MS - 1)]) == 0
