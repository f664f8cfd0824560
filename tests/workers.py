"""Real taggers and windowers as processes, for tests: start, kill, freeze, drain, ask for their health."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from services import Topics, wait_until

from streamtag.devstack.server import free_port

# Short enough for tests to see what production sees after minutes.
FAST = {
    "windows.session_timeout_ms": "3000",
    "tagger.session_timeout_ms": "3000",
    "tagger.transaction_timeout_ms": "4000",
    "redis.poll_interval_s": "0.5",
    "redis.heartbeat_s": "0.3",
    "redis.timeout_s": "1",
    "telemetry.log_format": "json",
}


class Worker:
    """One ``streamtag tagger``, or another role, as a child process."""

    def __init__(self, overrides: Mapping[str, str], log: Path, *, role: str = "tagger") -> None:
        self.port = free_port()
        self.log = log
        arguments = [f"--set={name}={value}" for name, value in {**overrides, "telemetry.port": self.port}.items()]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("STREAMTAG_")}
        environ["FAUST_DATADIR"] = str(log.with_suffix(".faust"))  # not where the tests are run
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamtag", *arguments, role],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env=environ,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def health(self, path: str = "/readyz") -> tuple[int, dict[str, Any]]:
        """Status code and answer of the endpoint; (0, {}) while it does not listen."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())
        except OSError:
            return 0, {}

    def metrics(self) -> dict[str, float]:
        """``name{labels}`` to value, as Prometheus would scrape it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (li.rsplit(" ", 1) for li in lines if li and li[0] != "#")}

    def wait_ready(self, deadline_s: float = 30) -> "Worker":
        wait_until(lambda: self._check_alive() and self.health()[0] == 200, deadline_s, f"{self} ready")
        return self

    def wait_unready(self, saying: str, deadline_s: float = 30) -> list[str]:
        """Waits until it is not ready for a reason that contains ``saying``; returns the reasons."""

        def said() -> list[str]:
            status, answer = self.health()
            reasons: list[str] = answer.get("reasons", [])
            return reasons if status == 503 and any(saying in reason for reason in reasons) else []

        return wait_until(said, deadline_s, f"{self} not ready, saying {saying!r}")

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self, deadline_s: float = 30) -> int:
        """SIGTERM, then the exit code."""
        self.process.terminate()
        return self.process.wait(deadline_s)

    def _check_alive(self) -> bool:
        assert self.alive, f"{self} exited with {self.process.returncode}"
        return True

    def __str__(self) -> str:
        tail = self.log.read_text(errors="replace").splitlines()[-15:]
        return f"worker {self.process.pid}, last log lines:\n" + "\n".join(tail)


@dataclass
class Fleet:
    """Workers of one pipeline; whatever is still alive at the end is killed."""

    topics: Topics
    redis_url: str
    namespace: str
    state_dir: Path
    bundles: Path
    overrides: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    @property
    def group(self) -> str:
        return f"group-{self.namespace}"

    def settings(self, **extra: str) -> dict[str, str]:
        """Dotted settings of every worker; ``extra`` names sections with ``__``."""
        return {
            **self.topics.overrides(),
            "redis.url": self.redis_url,
            "redis.namespace": self.namespace,
            "tagger.group": self.group,
            "windows.group": f"{self.group}-windows",
            "model.bundle": "tiny@1",
            "model.directories": f"[{self.bundles}]",
            "state_dir": str(self.state_dir),
            **FAST,
            **self.overrides,
            **{name.replace("__", "."): value for name, value in extra.items()},
        }

    def start(self, *, role: str = "tagger", **extra: str) -> Worker:
        log = self.state_dir.parent / f"{role}-{len(self.workers)}.log"
        worker = Worker(self.settings(**extra), log, role=role)
        self.workers.append(worker)
        return worker

    def start_api(self, **extra: str) -> tuple[Worker, str]:
        """An API that is ready, on a machine that may be slow, and its address."""
        port = free_port()
        worker = self.start(role="api", **{"api__port": str(port), "api__deadline_ms": "5000", **extra})
        return worker.wait_ready(), f"http://127.0.0.1:{port}"

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            if worker.alive:
                worker.signal(signal.SIGCONT)
                worker.kill()
        if error is not None:
            for worker in self.workers:
                print(worker, file=sys.stderr)
