"""The arrows between rooms, as docs/architecture.md draws them: only downwards."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "streamtag"

# From top to bottom; rooms of one line do not know each other.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("__main__",),
    ("cli",),
    ("api",),
    ("console",),
    ("devstack", "doctor", "dead_letters"),
    ("batch",),
    ("tagger", "stats"),
    ("stream",),
    ("control",),
    ("model",),
    ("events",),
    ("domain",),
)
# May be imported from anywhere but `domain`; from bottom to top.
FOUNDATION = (
    "__init__",
    "errors",
    "atomic_files",
    "strict_json",
    "strict_yaml",
    "kafka_options",
    "settings",
    "telemetry",
)


def _room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def _imports(path: Path) -> Iterator[str]:
    """Full names of all modules imported anywhere in the file, under TYPE_CHECKING and in functions, too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "streamtag" else (module,)


def _own_rooms(path: Path) -> set[str]:
    """Rooms of the project that the file imports, other than its own."""
    found = set()
    for name in _imports(path):
        first, _, rest = name.partition(".")
        if first == "streamtag":
            room = rest.partition(".")[0]
            is_module = (PACKAGE / room).is_dir() or (PACKAGE / f"{room}.py").is_file()
            found.add(room if is_module else "__init__")  # e.g. streamtag.__version__
    return found - {_room(path)}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if "bundles" not in path.parts)
ROOMS = sorted({_room(path) for path in FILES})


def _allowed(room: str) -> set[str]:
    if room in FOUNDATION:
        return set(FOUNDATION[: FOUNDATION.index(room)])
    layer = next(i for i, rooms in enumerate(LAYERS) if room in rooms)
    below = {name for rooms in LAYERS[layer + 1 :] for name in rooms}
    return below | set(FOUNDATION)


def test_every_room_has_its_place() -> None:
    known = {room for rooms in LAYERS for room in rooms} | set(FOUNDATION)
    assert set(ROOMS) <= known, "a new room: give it a place in docs/architecture.md and here"


@pytest.mark.parametrize("room", [room for room in ROOMS if room != "domain"])
def test_a_room_imports_only_what_lies_below(room: str) -> None:
    wrong = {
        str(path.relative_to(PACKAGE)): sorted(upward)
        for path in FILES
        if _room(path) == room and (upward := _own_rooms(path) - _allowed(room))
    }
    assert wrong == {}


def test_the_domain_knows_only_itself_numpy_and_the_standard_library() -> None:
    allowed = {"numpy", *sys.stdlib_module_names}
    for path in FILES:
        if _room(path) != "domain":
            continue
        foreign = {
            name
            for name in _imports(path)
            if not name.startswith("streamtag.domain") and name.partition(".")[0] not in allowed
        }
        assert foreign == set(), path


def test_the_domain_does_no_io_and_asks_no_clock() -> None:
    outside = {"asyncio", "http", "os", "pathlib", "random", "socket", "subprocess", "time", "urllib"}
    for path in FILES:
        if _room(path) == "domain":
            assert {name.partition(".")[0] for name in _imports(path)} & outside == set(), path


def test_the_runner_knows_nothing_of_tagging() -> None:
    for path in FILES:
        if _room(path) == "stream":
            assert _own_rooms(path) <= {"errors", "telemetry"}, path
