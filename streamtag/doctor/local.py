"""Checks of this host: versions, state directory, snapshot, bundle, collector."""

import platform
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import confluent_kafka

from streamtag.atomic_files import replace_file
from streamtag.control.snapshot import SnapshotFile
from streamtag.doctor.findings import WITHIN_S, Examination, Finding, words
from streamtag.domain.release import BundleRef
from streamtag.errors import SettingsError, StreamtagError
from streamtag.model.admission import load_admitted
from streamtag.model.registry import find_bundle, find_exact
from streamtag.settings import Settings
from streamtag.stats.kafka_security import read_security
from streamtag.stream.slots import take_slot

_COLLECTOR_TIMEOUT_S = 3.0
_FREE_BYTES = 100 * 1024 * 1024

_ORT_FLOOR = (1, 32)
_PYTHON_FLOOR = (3, 11)


def examinations(settings: Settings) -> list[Examination]:
    """Local checks; the bundle on its own, since it takes longest."""
    host = [
        ("versions", versions),
        ("state_dir", lambda: state_dir(settings)),
        ("snapshot", lambda: snapshot(settings)),
        ("collector", lambda: collector(settings)),
        ("stats", lambda: stats(settings)),
    ]
    return [
        # A cold disk and one slow core; loading the shipped bundle takes about a second.
        Examination(host, WITHIN_S),
        Examination([("bundle", lambda: bundle(settings))], WITHIN_S),
    ]


def versions() -> Iterator[Finding]:
    """Python and the libraries whose faults we know."""
    if sys.version_info[:2] < _PYTHON_FLOOR:
        yield Finding("versions.python", "fail", platform.python_version(), "Use Python 3.11 or later.")
    else:
        yield Finding("versions.python", "ok", platform.python_version())
    yield kafka_version(version("confluent-kafka"), confluent_kafka.libversion()[0])
    yield ort_version(version("onnxruntime"))
    yield Finding("versions.others", "ok", ", ".join(f"{name} {_version(name)}" for name in _OTHERS))


_OTHERS = ("redis", "numpy", "msgspec", "pydantic", "opentelemetry-sdk")


def kafka_version(found: str, librdkafka: str) -> Finding:
    """confluent-kafka 2.13.0 to 2.15.0 return a short batch from ``consume(n, timeout)``."""
    text = f"confluent-kafka {found}, librdkafka {librdkafka}"
    if (2, 13) <= _numbers(found) < (2, 15, 1):
        action = "Install confluent-kafka 2.15.1 or later: this one returns short batches and halves the throughput."
        return Finding("versions.confluent-kafka", "warn", text, action)
    return Finding("versions.confluent-kafka", "ok", text)


def ort_version(found: str) -> Finding:
    """Below 1.32 onnxruntime holds the GIL while it loads a model, which stalls a hot swap."""
    if _numbers(found) < _ORT_FLOOR:
        action = "Install onnxruntime 1.32 or later: below it, loading a bundle stalls the worker."
        return Finding("versions.onnxruntime", "fail", f"onnxruntime {found}", action)
    return Finding("versions.onnxruntime", "ok", f"onnxruntime {found}")


def state_dir(settings: Settings) -> Iterator[Finding]:
    """Writing, locking and room in the state directory."""
    where = settings.state_dir
    probe = where / ".doctor"
    try:
        replace_file(probe, b"")
        probe.unlink()
        with take_slot("doctor", where):
            pass
        free = shutil.disk_usage(where).free
    except OSError as error:
        action = "Point state_dir at a writable local directory; slots, the last good release and stops live there."
        yield Finding("state_dir", "fail", f"{where}: {error.strerror}", action)
        return
    if free < _FREE_BYTES:
        text = f"{where}: {free // 2**20} MiB free"
        yield Finding("state_dir", "warn", text, "Free some space: snapshots and stop marks could not be written.")
    else:
        yield Finding("state_dir", "ok", f"{where}: writable, locks work, {free // 2**20} MiB free")


def snapshot(settings: Settings) -> Iterator[Finding]:
    """The last good release on this host."""
    file = SnapshotFile(settings.state_dir, settings.redis.namespace)
    read = file.read()
    if read.current is not None:
        ref = read.current.ref
        yield Finding("snapshot", "ok", f"release {ref.number} ({ref.bundle}, thresholds revision {ref.revision})")
    elif read.reason:
        action = f"Remove {file.path}; a worker writes it anew at its next release."
        yield Finding("snapshot", "fail", read.reason, action)
    else:
        action = "Nothing to do before the first worker ran here; until then a start needs Redis."
        yield Finding("snapshot", "warn", "none on this host yet", action)


def bundle(settings: Settings) -> Iterator[Finding]:
    """The bundle that seeds an empty Redis, and the one of the last good release, through every gate."""
    directories, trusted = settings.model.directories, settings.model.trusted_keys
    yield _loaded("bundle.first", lambda: find_bundle(settings.model.bundle, directories), settings)
    current = SnapshotFile(settings.state_dir, settings.redis.namespace).read().current
    if current is not None:
        ref = current.ref.bundle
        yield _loaded("bundle.snapshot", lambda: find_exact(ref, directories, trusted=trusted), settings, ref)


def _loaded(check: str, find: Callable[[], Path], settings: Settings, ref: BundleRef | None = None) -> Finding:
    start = time.monotonic()
    try:
        scorer = load_admitted(find(), settings.model, ref=ref)
    except StreamtagError as error:
        action = error.hint or "Correct model.bundle or model.directories; `streamtag model list` shows what is there."
        return Finding(check, "fail", words(error), action)
    took_s = time.monotonic() - start
    text = f"{scorer.bundle.ref}: hashes, parity and batch invariance hold, {len(scorer.labels)} labels, {took_s:.1f} s"
    return Finding(check, "ok", text)


def collector(settings: Settings) -> Iterator[Finding]:
    """Whether the OTLP collector takes connections."""
    url = settings.telemetry.otlp_endpoint
    if url is None:
        yield Finding("collector", "ok", "none configured")
        return
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _COLLECTOR_TIMEOUT_S).close()
    except OSError as error:
        action = "Workers go on without it; correct telemetry.otlp_endpoint (OTLP over HTTP, usually port 4318)."
        yield Finding("collector", "warn", f"{parts.hostname}:{port}: {error.strerror or error}", action)
    else:
        yield Finding("collector", "ok", f"{parts.hostname}:{port} takes connections")


def stats(settings: Settings) -> Iterator[Finding]:
    """Whether `streamtag stats`, which has another client, can do the TLS and SASL of all others."""
    if not _has_faust():
        yield Finding("stats", "ok", "Faust is not installed: `streamtag stats` does not run on this host")
        return
    try:
        found = read_security(settings.kafka)
    except SettingsError as error:
        action = f"{error.hint} The other roles are not affected.".strip()
        yield Finding("stats", "warn", f"`streamtag stats` would not start: {error.message}", action)
    else:
        text = f"TLS {'off' if found.tls is None else 'on'}, SASL {found.mechanism or 'off'}"
        yield Finding("stats", "ok", f"Faust's client connects as the settings say: {text}")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _has_faust() -> bool:
    try:
        return find_spec("faust") is not None
    except ValueError:  # it is imported, and puts a module without a spec in its own place
        return True
