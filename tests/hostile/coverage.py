"""The coverage-guided turn: atheris (libFuzzer) finds inputs that reach new branches of decoding and normalising.

atheris lives in an interpreter of its own (``pip install atheris`` there), because it is no dependency of ours; that
interpreter borrows all other packages from this one, so both must be of one Python version. Run alone:
``PYTHONPATH=…/site-packages python -m tests.hostile.coverage bundle report.json -max_total_time=60``.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

INSTRUMENTED = ["streamtag.events", "streamtag.tagger", "streamtag.model.normalise", "json.decoder", "json.scanner"]

if __name__ == "__main__":
    import atheris  # type: ignore[import-untyped] # only in the other interpreter

    with atheris.instrument_imports(include=INSTRUMENTED):
        from . import alphabet, generators, subject
else:
    from . import alphabet, generators, subject
_SETUPS = [setup for setup in generators.SETUPS if setup.bundle == "given"]
_WRITE_EVERY = 500


def run(python: Path, bundle: Path, seed: int, seconds: int) -> dict[str, Any]:
    """Runs it in ``python``; how many inputs, how many edges, and what broke."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        packages = [path for path in sys.path if path.endswith("site-packages")]
        done = subprocess.run(
            [
                *(str(python), "-m", __spec__.name, str(bundle), str(report)),
                *(f"-max_total_time={seconds}", f"-seed={seed % 2**31}", "-max_len=4096"),
                *("-timeout=5", "-rss_limit_mb=1500"),
                *(f"-artifact_prefix={scratch}/", str(_seeds(Path(scratch) / "corpus"))),
            ],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *packages])},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if not report.exists():
            raise RuntimeError(f"atheris did not start: {done.stderr[-2000:]}")
        found: dict[str, Any] = msgspec.json.decode(report.read_bytes())
        edges = [line.split("cov: ")[1].split()[0] for line in done.stderr.splitlines() if "cov: " in line]
        crashes = sorted(path.name for path in Path(scratch).glob("*-*") if path.name.split("-")[0] in _ARTIFACTS)
        return {**found, "edges": int(edges[-1]) if edges else 0, "findings": [*found["findings"], *crashes]}


_ARTIFACTS = {"crash", "timeout", "oom", "leak", "slow"}


def _seeds(corpus: Path) -> Path:
    """Well-formed records of every form, in the notation of `fuzz`: setup, way, value."""
    corpus.mkdir()
    by_setup = {
        "osprey": alphabet.OSPREY,
        "ecs": alphabet.ECS,
        "ocsf": alphabet.OCSF,
        "joined": alphabet.JOINED_RECORDS,
    }
    for number, setup in enumerate(_SETUPS):
        for i, value in enumerate(by_setup.get(setup.name, alphabet.NATIVE)):
            (corpus / f"{setup.name}-{i}").write_bytes(bytes([number, 0]) + value)
    for i, value in enumerate(alphabet.STRUCTURED):
        (corpus / f"structured-{i}").write_bytes(bytes([0, 1]) + value)
    headers = b"text/plain\n1.0\nce\n/s\nt\n00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01\na=1\n"
    (corpus / "binary").write_bytes(bytes([0, 2]) + headers + b"some text")
    return corpus


def fuzz(arguments: list[str]) -> None:
    """Inside the interpreter that has atheris. Does not return."""
    bundle, report = Path(arguments[0]), Path(arguments[1])
    release = subject.active_release(bundle)
    subjects = [subject.Subject(setup, release) for setup in _SETUPS]
    done, findings = 0, []

    def one(data: bytes) -> None:
        nonlocal done
        target = subjects[data[0] % len(subjects)] if data else subjects[0]
        # The second byte chooses how the rest arrives: as a value, as a CloudEvent, or split into headers.
        attack = _attack(data[1:], generators.STRUCTURED_HEADERS[0])
        try:
            target.process([attack])
        except Exception as error:  # noqa: BLE001 - whatever leaves the tagger is what is looked for
            findings.append(f"{type(error).__name__}: {error}"[:300])
            target.undo()
        done += 1
        if done % _WRITE_EVERY == 0:
            report.write_bytes(msgspec.json.encode({"inputs": done, "findings": findings[:20]}))

    def _attack(data: bytes, structured: Any) -> Any:
        way, value = (data[0] % 3, data[1:]) if data else (0, data)
        if way == 0:
            return subject.Attack(value, b"k")
        if way == 1:
            return subject.Attack(value, None, structured)
        names = ["content-type", "ce_specversion", "ce_id", "ce_source", "ce_type", "traceparent", "tracestate"]
        parts = value.split(b"\n")
        return subject.Attack(parts[-1], None, [(names[i % 7], part) for i, part in enumerate(parts[:-1])])

    atheris.Setup([sys.argv[0], *arguments[2:]], one)
    atheris.Fuzz()


if __name__ == "__main__":
    fuzz(sys.argv[1:])
