"""A bundle: one directory, one release unit, verified by hash, never unpickled.

::

    <name>/<version>/manifest.json   labels, contracts, hash of every other file; its own hash names the bundle
                     model.onnx      the graph: what the preprocessing contract gives in, probabilities out
                     parity.json     documents with the scores they must get
                     …               files of the preprocessing contract: a tokenizer, tables
                     stage2.…        all files of a second bundle, where there are two stages

A bundle is read once, into memory: what was verified is what runs.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamtag.atomic_files import new_directory
from streamtag.domain.release import BundleRef
from streamtag.domain.thresholds import ThresholdSet
from streamtag.domain.two_stage import Bands
from streamtag.errors import BundleError, StreamtagError
from streamtag.model.bundle_checks import (
    PLAIN_NAME,
    decode_parity,
    leads_outside,
    manifest_problems,
    pickled,
    second_problems,
)
from streamtag.model.contracts.registry import content_problems, files_of, reads_features
from streamtag.model.graph_checks import graph_problems
from streamtag.model.manifest import (
    MANIFEST,
    MODEL,
    PARITY,
    STAGE2,
    FileEntry,
    Manifest,
    Parity,
    Stage2,
    dump,
)
from streamtag.model.manifest_file import MEND_HINT, decode_manifest, read_manifest_bytes, refused
from streamtag.model.signature import SIGNATURE, check_signature, read_signature

__all__ = [
    "MANIFEST",
    "MEND_HINT",
    "MODEL",
    "PARITY",
    "Bundle",
    "array_bytes",
    "bundle_files",
    "peek_ref",
    "read_bundle",
    "write_bundle",
]


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    Attributes:
        path: where it was read from.
        ref: name, version and hash of the manifest.
        manifest: the decoded manifest.
        contents: files of the preprocessing contract, name to bytes.
        parity: the decoded fixtures.
        model: bytes of ``model.onnx``.
        stage2: the second stage, as the bundle it was; None where there is one stage.
    """

    path: Path
    ref: BundleRef
    manifest: Manifest
    contents: Mapping[str, bytes] = field(repr=False)
    parity: Parity = field(repr=False)
    model: bytes = field(repr=False)
    stage2: "Bundle | None" = field(default=None, repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """Label ids in the order of the score columns."""
        return tuple(label.id for label in self.manifest.labels)

    @property
    def reads_features(self) -> bool:
        """Whether the features of an event matter to its scores."""
        later = self.stage2 is not None and self.stage2.reads_features
        return later or reads_features(self.manifest.preprocessing)

    @property
    def bands(self) -> Bands | None:
        """Who goes to stage 2; None where there is none."""
        stage2 = self.manifest.stage2
        if stage2 is None:
            return None
        ends = {band.label: (band.low, band.high) for band in stage2.bands}
        return Bands.of(self.labels, ends, stage2.sample, self.ref.sha256)

    @property
    def critical(self) -> tuple[str, ...]:
        """Labels of which a miss is worse than a false alarm."""
        return tuple(label.id for label in self.manifest.labels if label.critical)

    @property
    def default_thresholds(self) -> ThresholdSet:
        """The cut-offs the bundle was released with."""
        return ThresholdSet({label.id: label.threshold for label in self.manifest.labels})


def read_bundle(path: Path, *, trusted: Sequence[str] = ()) -> Bundle:
    """Reads and verifies a bundle directory.

    Args:
        path: the directory.
        trusted: `model.trusted_keys`: one of them must have signed the manifest; none = no signature is asked for.

    Raises:
        BundleError: names every file that is missing, changed, too much or outside, and every contradiction; or the
            signature that does not hold.
    """
    raw = read_manifest_bytes(path)
    check_signature(path, raw, trusted)
    manifest = decode_manifest(path, raw)
    found = manifest_problems(manifest)
    contents: dict[str, bytes] = {}
    for name, entry in manifest.files.items():
        problem = _read_into(contents, path, name, entry)
        if problem:
            found.append(problem)
    found += [f"{name}: not named in the manifest" for name in _unlisted(path, manifest)]
    found += [
        f"{name}: a pickle, or an archive of them; a bundle holds data only, and nothing in it is unpickled"
        for name, content in contents.items()
        if pickled(content)
    ]
    if found:
        raise refused(path, found)
    return _assembled(path, raw, manifest, contents)


def write_bundle(directory: Path, manifest: Manifest, files: Mapping[str, bytes]) -> Path:
    """Writes ``<directory>/<name>/<version>/`` at one stroke and returns that path.

    Args:
        directory: root of the bundles.
        manifest: its ``files`` are filled in here.
        files: name to content, without the manifest.

    Raises:
        BundleError: when this version exists with other content, or the result does not verify.
        StreamtagError: disk or rights do not suffice, or the directory is none.
    """
    entries = {name: FileEntry(_sha256(content), len(content)) for name, content in sorted(files.items())}
    manifest = msgspec.structs.replace(manifest, files=entries)
    found = manifest_problems(manifest)
    if found:  # before its name becomes a path
        raise BundleError(
            f"bundle {manifest.name}@{manifest.version} cannot be written", problems=found, hint="Nothing was written."
        )
    document = dump(manifest)
    target = directory / manifest.name / manifest.version
    try:
        with new_directory(target) as fresh:
            for name, content in {**files, MANIFEST: document}.items():
                (fresh / name).write_bytes(content)
            read_bundle(fresh)
    except FileExistsError:
        _refuse_change(target, BundleRef(manifest.name, manifest.version, _sha256(document)))
    except OSError as error:
        raise StreamtagError(f"cannot write {target}: {error.strerror}") from None
    finally:
        with suppress(OSError):  # there are other versions
            target.parent.rmdir()
    return target


def bundle_files(bundle: Bundle) -> dict[str, bytes]:
    """Every file of a bundle, with its manifest and its signature, to be carried elsewhere; hidden files stay behind.

    They are read again, and proven to be what was verified.

    Raises:
        BundleError: they have changed since, or the signature is none.
    """
    path, contents = bundle.path, {MANIFEST: read_manifest_bytes(bundle.path)}
    entries = bundle.manifest.files.items()
    found = [problem for name, entry in entries if (problem := _read_into(contents, path, name, entry))]
    if found or _sha256(contents[MANIFEST]) != bundle.ref.sha256:
        raise BundleError(f"bundle {path} changed while it was read", problems=found, hint="Try again.")
    signature = read_signature(path)
    return contents if signature is None else {**contents, SIGNATURE: signature}


def peek_ref(path: Path) -> BundleRef:
    """Identity of the bundle at ``path`` from its manifest alone; nothing else is verified."""
    raw = read_manifest_bytes(path)
    manifest = decode_manifest(path, raw)
    return BundleRef(manifest.name, manifest.version, _sha256(raw))


def array_bytes(array: NDArray[Any]) -> bytes:
    """``array`` as the bytes of an ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _assembled(path: Path, raw: bytes, manifest: Manifest, contents: Mapping[str, bytes]) -> Bundle:
    """The bundle of these files, which are what the manifest says."""
    found: list[str] = []
    parity = decode_parity(contents[PARITY], [label.id for label in manifest.labels], found)
    found += content_problems(manifest.preprocessing, contents)
    found += [f"{MODEL}: {problem}" for problem in graph_problems(contents[MODEL])]
    second = None if manifest.stage2 is None else _second(path, manifest, manifest.stage2, contents, found)
    if found or parity is None:
        raise refused(path, found)
    ref = BundleRef(manifest.name, manifest.version, _sha256(raw))
    own = {name: contents[name] for name in files_of(manifest.preprocessing)}
    return Bundle(path, ref, manifest, own, parity, contents[MODEL], second)


def _second(
    path: Path, manifest: Manifest, stage2: Stage2, contents: Mapping[str, bytes], found: list[str]
) -> Bundle | None:
    """The bundle that is the second stage; None, and why in ``found``, where it is not what the manifest says."""
    raw = contents[STAGE2 + MANIFEST]
    try:
        second = decode_manifest(path, raw)
        own = {name: contents[STAGE2 + name] for name in second.files if STAGE2 + name in contents}
        wrong = second_problems(manifest, stage2, second, _sha256(raw))
        wrong += [
            f"{name}: is not what {MANIFEST} says"
            for name, entry in second.files.items()
            if name not in own or _sha256(own[name]) != entry.sha256
        ]
        if not wrong:
            return _assembled(path, raw, second, own)
    except BundleError as error:
        wrong = list(error.problems)
    found += [f"{STAGE2}{problem}" for problem in wrong]
    return None


def _read_into(contents: dict[str, bytes], path: Path, name: str, entry: FileEntry) -> str | None:
    """Reads one file of the bundle if it is what the manifest says; else returns the problem."""
    if not PLAIN_NAME.fullmatch(name) or name == MANIFEST:
        return f"{MANIFEST}: file name {name!r} must be a plain name inside the bundle"
    file = path / name
    try:
        if leads_outside(path, name):
            return f"{name}: a link that leads outside of the bundle"
        size = file.stat().st_size
        content = file.read_bytes() if size == entry.size else b""
    except OSError as error:
        return f"{name}: {error.strerror}"
    digest = _sha256(content)
    if size != entry.size:
        return f"{name}: {size} bytes, the manifest says {entry.size}"
    if digest != entry.sha256:
        return f"{name}: sha256 {digest[:12]}…, the manifest says {entry.sha256[:12]}…"
    contents[name] = content
    return None


def _unlisted(path: Path, manifest: Manifest) -> list[str]:
    # Hidden files are the file manager's and the editor's; no part of streamtag reads one.
    names = sorted(file.name for file in path.iterdir() if not file.name.startswith("."))
    return [name for name in names if name not in (MANIFEST, SIGNATURE) and name not in manifest.files]


def _refuse_change(target: Path, ref: BundleRef) -> None:
    existing = peek_ref(target)
    if existing.sha256 != ref.sha256:
        raise BundleError(
            f"bundle {existing} exists at {target} with other content (sha256 {existing.sha256[:12]}…, new one "
            f"{ref.sha256[:12]}…)",
            hint="A version is never changed: give the new one another --version.",
        )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
