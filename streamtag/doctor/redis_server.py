"""Checks of Redis: reachable, durable, never evicting, and of one mind with us about the time."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import redis

from streamtag.control.connection import address, connect, guarded
from streamtag.control.stops import StopStore
from streamtag.control.store import ControlStore
from streamtag.doctor.findings import Blocked, Examination, Finding
from streamtag.errors import UnavailableError
from streamtag.settings import Settings

_PINGS = 5
# A release must be live everywhere within 250 ms; a fifth of it for one answer is a lot.
_SLOW_S = 0.05
# Beyond this, propagation times mean nothing.
_SKEW_S = 0.5
_VERSION_FLOOR = (6, 2)


def examinations(settings: Settings) -> list[Examination]:
    """One examination: what follows needs an answer to the first."""
    doctor = _RedisDoctor(settings)
    checks = [
        ("redis.server", doctor.server),
        ("redis.durability", doctor.durability),
        ("redis.memory", doctor.memory),
        ("redis.clock", doctor.clock),
        ("redis.release", doctor.release),
        ("redis.stops", doctor.stops),
    ]
    return [Examination(checks, 10 + 6 * settings.redis.timeout_s)]


class _RedisDoctor:
    def __init__(self, settings: Settings, now: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._where = address(settings.redis.url)
        self._now = now
        self._info: dict[str, Any] = {}
        self._client: redis.Redis | None = None

    def _redis(self) -> redis.Redis:
        if self._client is None:
            self._client = connect(self._settings.redis)
        return self._client

    def server(self) -> Iterator[Finding]:
        try:
            with guarded(self._where, "ping and INFO"):
                latency_s = statistics.median(self._ping() for _ in range(_PINGS))
                found = self._state()
        except UnavailableError as error:
            yield Finding("redis.server", "fail", error.message, "Start Redis, or correct redis.url (STREAMTAG_REDIS).")
            raise Blocked from None
        if found is None:
            text = f"{self._where} answers in {latency_s * 1000:.1f} ms, but does not tell its state (INFO)"
            yield Finding("redis.server", "warn", text, "Allow INFO for this user; an embedded Redis has none.")
            return
        self._info = found
        text = f"{self._where}: Redis {found['redis_version']}, {latency_s * 1000:.1f} ms"
        if found.get("role") not in (None, "master"):
            yield Finding("redis.server", "fail", f"{text}, a replica", "Point redis.url at the primary.")
        elif tuple(int(part) for part in found["redis_version"].split(".")[:2]) < _VERSION_FLOOR:
            yield Finding("redis.server", "warn", text, "Tested with Redis 7; use 6.2 or later.")
        elif latency_s > _SLOW_S:
            yield Finding("redis.server", "warn", text, "Changes reach workers late: move Redis closer to them.")
        else:
            yield Finding("redis.server", "ok", text)

    def durability(self) -> Iterator[Finding]:
        yield durability(self._info)

    def memory(self) -> Iterator[Finding]:
        yield memory(self._info)

    def clock(self) -> Iterator[Finding]:
        with guarded(self._where, "time"):
            before = self._now()
            answer: Any = self._redis().time()
            after = self._now()
        skew_s = answer[0] + answer[1] / 1e6 - (before + after) / 2
        yield clock(skew_s, uncertain_s=(after - before) / 2, max_future_s=self._settings.stats.max_future_s)

    def release(self) -> Iterator[Finding]:
        current = ControlStore(self._settings.redis, client=self._redis()).current()
        if current is None:
            action = "The first worker seeds one from the bundle's defaults; `streamtag release show` afterwards."
            text = f"namespace {self._settings.redis.namespace} has no release yet"
            yield Finding("redis.release", "warn", text, action)
        else:
            ref = current.ref
            text = f"release {ref.number} ({ref.bundle}, thresholds revision {ref.revision})"
            yield Finding("redis.release", "ok", text)

    def stops(self) -> Iterator[Finding]:
        group = self._settings.tagger.group
        mark = StopStore(self._settings).get(group)
        if mark is None:
            yield Finding("redis.stops", "ok", f"group {group} is not stopped")
        else:
            text = f"group {group} stands since {mark.at:%Y-%m-%d %H:%M:%S} UTC: {mark.reason}"
            mend = 'mend the cause, then `streamtag dlq resume --reason "…"`'
            action = f"`streamtag dlq group` shows the dead letters; {mend}."
            yield Finding("redis.stops", "fail", text, action)

    def _state(self) -> dict[str, Any] | None:
        try:
            found: Any = self._redis().info()
        except redis.ResponseError:
            return None
        return found  # type: ignore[no-any-return]

    def _ping(self) -> float:
        start = time.perf_counter()
        self._redis().ping()
        return time.perf_counter() - start


def durability(info: dict[str, Any]) -> Finding:
    """Whether thresholds and audit survive a restart of Redis (from its INFO)."""
    if "aof_enabled" not in info:
        return _untold("redis.durability")
    failed = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if failed:
        text = f"the last write to disk failed ({', '.join(failed)})"
        return Finding("redis.durability", "fail", text, "Free disk space for Redis and read its log.")
    if not info["aof_enabled"]:
        action = "Set `appendonly yes` in redis.conf: a restart of Redis could lose thresholds and audit entries."
        return Finding("redis.durability", "warn", "no append-only file", action)
    return Finding("redis.durability", "ok", "append-only file on, last writes succeeded")


def memory(info: dict[str, Any]) -> Finding:
    """Whether Redis may throw our keys away, and how full it is (from its INFO)."""
    if "maxmemory_policy" not in info:
        return _untold("redis.memory")
    limit, used, policy = int(info.get("maxmemory", 0)), int(info["used_memory"]), info["maxmemory_policy"]
    text = f"{used // 2**20} MiB of {f'{limit // 2**20} MiB' if limit else 'no limit'}, {policy}"
    if policy != "noeviction":
        action = "Set `maxmemory-policy noeviction`: a full Redis would drop thresholds and audit."
        return Finding("redis.memory", "fail" if limit else "warn", text, action)
    if limit and used > 0.9 * limit:
        return Finding("redis.memory", "warn", text, "Raise maxmemory: a full Redis refuses changes.")
    return Finding("redis.memory", "ok", text)


def clock(skew_s: float, *, uncertain_s: float, max_future_s: float) -> Finding:
    """Our clock against Redis', which stands for the others'."""
    text = f"Redis is {abs(skew_s):.3f} s {'ahead' if skew_s > 0 else 'behind'} (± {uncertain_s:.3f} s)"
    beyond_s = abs(skew_s) - uncertain_s
    action = "Run a time service (chrony, systemd-timesyncd) here and on the Redis host."
    if max_future_s and beyond_s > max_future_s:
        return Finding("redis.clock", "fail", text, f"{action} Timestamps this far ahead are not believed.")
    if beyond_s > _SKEW_S:
        return Finding("redis.clock", "warn", text, action)
    return Finding("redis.clock", "ok", text)


def _untold(check: str) -> Finding:
    return Finding(
        check, "warn", "Redis does not tell (INFO)", "Allow INFO for this user, or look at its configuration."
    )
