"""The connection to Redis: bounded waiting, and one kind of error with a hint."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from streamtag.errors import SettingsError, UnavailableError
from streamtag.settings import RedisSettings

__all__ = ["Keys", "address", "connect", "guarded", "run_script"]

# A restarted Redis resets connections: trying again at once helps. A frozen one only times out: trying again
# would multiply the wait, so timeouts are not retried.
_RETRIES = 2


class Keys:
    """Names of the keys of one namespace. The braces keep them in one slot of a Redis Cluster."""

    def __init__(self, namespace: str) -> None:
        self.prefix = f"streamtag:{{{namespace}}}:"
        self.champion = self.prefix + "champion"
        self.heads = self.prefix + "heads"
        self.audit = self.prefix + "audit"
        self.audit_head = self.prefix + "audit-head"
        self.freeze = self.prefix + "freeze"
        self.requests_due = self.prefix + "change-requests-due"
        self.requests_by_state = self.prefix + "change-requests-by-state"
        self.scheduler = self.prefix + "scheduler"
        self.channel = self.prefix + "changes"
        self.fleet = self.prefix + "fleet"
        self.experiments = self.prefix + "experiments"

    def release(self, number: int) -> str:
        """The release document of this number."""
        return f"{self.prefix}release:{number}"

    def revision(self, number: int) -> str:
        """The threshold revision of this number."""
        return f"{self.prefix}revision:{number}"

    def experiment(self, number: int) -> str:
        """The experiment document of this number."""
        return f"{self.prefix}experiment:{number}"

    def experiment_change(self, number: int) -> str:
        """The change of experiments of this number."""
        return f"{self.prefix}experiment-change:{number}"

    def verdict(self, number: int) -> str:
        """The verdict on the experiment of this number."""
        return f"{self.prefix}verdict:{number}"

    def change_request(self, number: int) -> str:
        """The change request of this number."""
        return f"{self.prefix}change-request:{number}"

    def heartbeat(self, worker: str) -> str:
        """The last heartbeat of one worker."""
        return f"{self.prefix}heartbeat:{worker}"

    def stops(self, group: str) -> str:
        """The stop marks of a consumer group."""
        return f"{self.prefix}stops:{group}"

    def lifted_stops(self, group: str) -> str:
        """Ids of stop marks that a person has lifted."""
        return f"{self.prefix}stops-lifted:{group}"

    def pardon(self, group: str) -> str:
        """What the last lifting of a stop lets pass."""
        return f"{self.prefix}stops-pardon:{group}"


def connect(settings: RedisSettings) -> redis.Redis:
    """A client whose every call ends within the time-out; it connects at its first call.

    Raises:
        SettingsError: the URL is none.
    """
    try:
        return redis.Redis.from_url(
            settings.url,
            socket_timeout=settings.timeout_s,
            socket_connect_timeout=settings.timeout_s,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.02), _RETRIES, supported_errors=(redis.ConnectionError,)),
            # An old primary that became a replica, behind an address that leads to the new one by now: the client
            # makes a new connection before it tries again, and after the last try. Nothing was written, so a repeat is
            # safe.
            retry_on_error=[redis.exceptions.ReadOnlyError],
            # RESP2 is all we need; RESP3 would add a handshake that older servers and proxies refuse.
            protocol=2,
        )
    except ValueError as error:
        raise SettingsError(f"redis.url: {error}") from None


def address(url: str) -> str:
    """The URL without its credentials, for messages."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return parts.path
    return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"


@contextmanager
def guarded(where: str, operation: str) -> Iterator[None]:
    """Turns whatever the client raises into `UnavailableError`, naming the server and what was being done."""
    try:
        yield
    except redis.TimeoutError:
        raise UnavailableError(
            f"Redis at {where} did not answer in time ({operation})",
            hint="Check that it runs and is reachable; redis.timeout_s sets how long to wait.",
        ) from None
    except redis.ConnectionError as error:
        raise UnavailableError(
            f"Redis at {where} cannot be reached ({operation}): {error}",
            hint="Check redis.url and that Redis runs; `streamtag doctor` looks closer.",
        ) from None
    except redis.RedisError as error:
        raise UnavailableError(
            f"Redis at {where} refused ({operation}): {error}",
            hint="A replica, a full memory or disk, missing rights, or a key of another type: see Redis' own log.",
        ) from None


@cache
def _source(name: str) -> str:
    scripts = resources.files("streamtag.control").joinpath("lua")
    return "".join(scripts.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("shared", name))


def run_script(client: redis.Redis, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]) -> Any:
    """Runs ``lua/<name>.lua``; the client loads it again where the server has forgotten it."""
    return client.register_script(_source(name))(keys=keys, args=args)
