"""The same tagger on the JVM, with Kafka Streams and ONNX Runtime, event by event; its source is in `kstreams/`.

The JVM has a heap of fixed size, so that growing it is no part of the window. Of its collectors, `SerialGC` takes the
least memory, and none takes more than 2 % of the CPU time here. Its compilers run on threads of their own, inside the
window, too: what they cost per event falls with the length of the run.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from streamtag.devstack.kafka_jars import java
from streamtag.errors import UnavailableError
from streamtag.model.bundle import MODEL, Bundle, read_bundle
from streamtag.model.normalise import Normalisation, byte_table, compose, fold
from streamtag.model.scorer import Scorer

from .job import Job

_MODULE = Path(__file__).with_name("kstreams")
_TARGET = _MODULE / "target"
_JAR = _TARGET / "kstreams.jar"
_BUILD_S = 300.0
_JVM = ("-XX:+UseSerialGC", "-Xms512m", "-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")


def build() -> None:
    """Compiles the module, and fetches what it needs, unless that was done since its source last changed.

    Raises:
        UnavailableError: there is no Java, no Maven, or Maven fails.
    """
    maven = shutil.which("mvn")
    if java() is None or maven is None:
        raise UnavailableError("the Kafka Streams peer needs Java 17 or newer, and Maven (mvn) on the PATH")
    sources = [_MODULE / "pom.xml", *_MODULE.glob("src/**/*.java")]
    if _JAR.exists() and _JAR.stat().st_mtime > max(source.stat().st_mtime for source in sources):
        return
    command = [maven, "-q", "-B", "-ntp", "-f", str(_MODULE / "pom.xml"), "clean", "package"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
        raise UnavailableError("Maven could not build the Kafka Streams peer", hint="\n".join(lines[:5]))


def command(job: Job, directory: Path) -> list[str]:
    """Writes what the peer needs to know into ``directory``; returns its command. Its group is that of ``job``."""
    path = directory / f"{job.group}.json"
    path.write_bytes(msgspec.json.encode(_document(job, directory)))
    program = java()
    assert program is not None, "build() looked for it"
    return [program, *_JVM, "-cp", f"{_JAR}:{_TARGET / 'lib'}/*", "streamtag.bench.Tagger", str(path)]


def _document(job: Job, directory: Path) -> dict[str, Any]:
    """`Job.java` reads it."""
    bundle = read_bundle(Path(job.bundle))
    ref = bundle.ref
    return {
        "bootstrap": job.bootstrap,
        "input": job.input,
        "output": job.output,
        "group": job.group,
        "commitIntervalMs": job.commit_interval_ms,
        "state": str(directory / job.group),
        "release": {
            "number": 1,
            "sha256": "0" * 64,
            "bundle": {"name": ref.name, "version": ref.version, "sha256": ref.sha256},
            "thresholds": {"revision": 1, "sha256": "0" * 64},
        },
        "labels": bundle.labels,
        "cutoffs": [job.thresholds[label] for label in bundle.labels],
        "model": _model(bundle),
    }


def _model(bundle: Bundle) -> dict[str, Any]:
    featuriser = Scorer(bundle, batch=64).featuriser
    contract = featuriser.contract
    rules = contract.normalisation
    invisible, folded = _tables(rules)
    return {
        "graph": str(bundle.path / MODEL),
        "buckets": featuriser.buckets.tolist(),
        "idf": featuriser.idf.tolist(),
        "bits": contract.bits,
        "headChars": contract.head_chars,
        "tailChars": contract.tail_chars,
        "nfkc": rules.nfkc,
        "invisible": invisible,
        "folded": folded,
        "bytes": list(byte_table(rules)),
    }


def _tables(rules: Normalisation) -> tuple[list[int], dict[int, str]]:
    """Code points that go before NFKC, and what becomes of one after it: the contract's own functions, tabulated.

    All steps but NFKC look at one character at a time.
    """
    before_nfkc = Normalisation(nfkc=False, drop_invisible=rules.drop_invisible)
    characters = [(code, chr(code)) for code in range(sys.maxunicode + 1)]
    invisible = [code for code, character in characters if not compose(character, before_nfkc)]
    folded = {code: to for code, character in characters if (to := fold(character, rules)) != character}
    return invisible, folded
