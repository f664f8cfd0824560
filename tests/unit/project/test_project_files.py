"""What the files of the repository promise: pinned and hashed, nothing of this or that machine, links that lead."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import streamtag

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINNED = {name: (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8") for name in ("run", "dev")}
# In pieces: the names must not stand in any file, this one included.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("repo", "maven"),
        ("repo1", "maven"),
    )
)


def _committed() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def _pins(text: str) -> list[Requirement]:
    joined = text.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert all("--hash=sha256:" in line for line in lines), "a pin without a hash"
    return [Requirement(line.partition("--hash")[0]) for line in lines]


def _wanted(names: list[str]) -> list[Requirement]:
    """Direct requirements of the project and of some of its extras, those of `streamtag[...]` resolved."""
    extras = PROJECT["optional-dependencies"]
    found = [Requirement(line) for line in PROJECT["dependencies"]]
    pending = list(names)
    while pending:
        for line in extras[pending.pop()]:
            requirement = Requirement(line)
            if requirement.name == "streamtag":
                pending += requirement.extras
            else:
                found.append(requirement)
    return found


def test_no_committed_file_names_a_package_registry() -> None:
    for path in _committed():
        content = path.read_bytes()
        named = [host for host in REGISTRY_HOSTS if host.encode() in content]
        assert named == [], path


@pytest.mark.parametrize("name", PINNED)
def test_requirements_hold_pins_and_hashes_only(name: str) -> None:
    assert "://" not in PINNED[name]
    assert "index" not in PINNED[name].lower()
    assert not re.search(r"(^|\s)(/|\.\./|file:)", PINNED[name]), "a path of somebody's machine"
    for pin in _pins(PINNED[name]):
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), pin


@pytest.mark.parametrize(("name", "extras"), [("run", ["demo"]), ("dev", ["dev"])])
def test_the_pins_are_those_that_pyproject_asks_for(name: str, extras: list[str]) -> None:
    pins: dict[str, list[str]] = {}
    for pin in _pins(PINNED[name]):
        pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    for wanted in _wanted(extras):
        versions = pins.get(canonicalize_name(wanted.name), [])
        assert versions, f"{wanted} is not pinned: `make constraints`"
        allowed = wanted.specifier & SpecifierSet("", prereleases=True)
        assert all(allowed.contains(v, prereleases=True) for v in versions), f"{wanted}, but {versions}"
    build = (ROOT / "requirements" / "build.in").read_text(encoding="utf-8").splitlines()
    for line in build:
        if line and not line.startswith("#"):
            assert canonicalize_name(Requirement(line).name) in pins, f"{line}: the project is built without a network"


def test_the_tests_run_on_the_versions_that_users_get() -> None:
    run, dev = ({(p.name, str(p.specifier)) for p in _pins(PINNED[name])} for name in ("run", "dev"))
    assert run <= dev


def test_one_version_everywhere() -> None:
    assert PROJECT["version"] == streamtag.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    first = re.search(r"^## \[?([^\]\s]+)", changelog, re.MULTILINE)
    assert first is not None
    assert first[1] in ("Unreleased", streamtag.__version__)


PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor and linked.suffix == ".md":
            assert anchor in _anchors(linked.read_text(encoding="utf-8")), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_page_is_listed_in_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if p.name != "index.md" and f"({p.name}" not in index]
    assert missing == []


def test_tests_on_real_services_are_never_skipped() -> None:
    # A service that is missing is an error of the fixture: a green run has really met Kafka and Redis.
    for folder in ("contract", "integration", "faults"):
        for path in (ROOT / "tests" / folder).rglob("*.py"):
            assert not re.search(r"\b(skip|skipif|importorskip|xfail)\b\(", path.read_text(encoding="utf-8")), path
