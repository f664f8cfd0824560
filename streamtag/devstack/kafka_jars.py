"""Apache Kafka from Maven Central: finding Java, and the jars in a cache of this user."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from streamtag.errors import UnavailableError

MIN_JAVA = 17
_DOWNLOAD_S = 300.0
_POM_NAMESPACE = {"m": "http://maven.apache.org/POM/4.0.0"}


def pom() -> Path:
    """The declaration of Kafka's jars: in an installed package next to this module, in a checkout under `ops/`."""
    here = Path(__file__).resolve().parent
    packaged, checkout = here / "kafka-pom.xml", here.parents[1] / "ops" / "kafka" / "pom.xml"
    return packaged if packaged.exists() else checkout


def kafka_version() -> str:
    """The version the declaration asks for, e.g. ``4.1.1``."""
    found = ElementTree.parse(pom()).findtext("m:properties/m:kafka.version", namespaces=_POM_NAMESPACE)  # noqa: S314
    if not found:
        raise UnavailableError(f"{pom()} declares no kafka.version")
    return found


def java() -> str | None:
    """A Java of at least version 17: that of JAVA_HOME, else on the PATH; None when there is none."""
    home = os.environ.get("JAVA_HOME")
    for program in (*([str(Path(home) / "bin" / "java")] if home else []), shutil.which("java")):
        if program and (_java_version(program) or 0) >= MIN_JAVA:
            return program
    return None


def _java_version(program: str) -> int | None:
    try:
        shown = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', shown.stderr)
    return int(found[1]) if found else None


def cache_dir() -> Path:
    """Where the jars of this version lie, complete or not there at all."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "streamtag" / f"kafka-{kafka_version()}"


def jars() -> Path:
    """Directory with all jars of the server; downloads them at first use (43 MB).

    Safe for several processes at once: one downloads, the others wait. The directory appears when it is complete.

    Raises:
        UnavailableError: Maven is missing or cannot download them.
    """
    target = cache_dir()
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _download(target)
    return target


def _download(target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise UnavailableError("cannot get Kafka's jars: Maven (mvn) is not on the PATH", hint="Install Maven.")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.part-") as part:
        out = Path(part) / "jars"
        command = [maven, "-q", "-B", "-f", str(pom()), "dependency:copy-dependencies", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(
                [*command, f"-DoutputDirectory={out}"], capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"Maven did not get Kafka's jars within {_DOWNLOAD_S:.0f} s") from None
        if done.returncode != 0:
            lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
            raise UnavailableError(
                f"Maven could not get Kafka's jars: {' '.join(lines[:2]) or f'exit {done.returncode}'}",
                hint="Look at the network or Maven's settings.xml (mirror), then try again.",
            )
        out.rename(target)
