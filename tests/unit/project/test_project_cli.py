"""The command line explains itself, and pages and hints name only commands and options that exist."""

import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import streamtag
from streamtag.cli import main
from streamtag.errors import StreamtagError

ROOT = Path(__file__).parents[3]
OPS = sorted(path for path in (ROOT / "ops").rglob("*") if path.suffix in (".yaml", ".json"))
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "streamtag").rglob("*.py"), *OPS]
# A line of a code block, indented or (see `_invocations`) fenced.
SHELL = re.compile(r"^ {4,}(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?streamtag (?P<line>[^#\n]+)", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(?:\.venv/bin/)?streamtag (?P<line>[^`]+)`")


ALL = [*main.GROUPS, *main.COMMANDS]


def _root() -> Any:
    main._register(ALL)
    return typer.main.get_command(main.app)


ROOT_COMMAND = _root()


def _commands(command: Any = ROOT_COMMAND, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield path, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


COMMANDS = dict(_commands())


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_and_option_has_help(path: tuple[str, ...]) -> None:
    command = COMMANDS[path]
    assert command.help, path
    assert [p.name for p in command.params if not getattr(p, "help", None)] == []


def _numbers() -> Iterator[tuple[tuple[str, ...], str]]:
    for path, command in COMMANDS.items():
        hints = typing.get_type_hints(inspect.unwrap(command.callback)) if command.callback else {}
        for option in command.params:
            if hints.get(option.name) in (float, float | None):
                yield path, option.opts[0]


@pytest.mark.parametrize("text", ["nan", "inf"])
@pytest.mark.parametrize(
    ("path", "option"), list(_numbers()), ids=lambda part: part if isinstance(part, str) else part[-1]
)
def test_an_option_that_is_a_number_takes_finite_ones_alone(path: tuple[str, ...], option: str, text: str) -> None:
    found = CliRunner().invoke(main.app, [*path, option, text], env={"COLUMNS": "200"})
    assert found.exit_code == 2
    assert f"Invalid value for '{option}'" in found.output


@pytest.mark.parametrize(
    ("line", "registered"),
    [
        ("thresholds set spam=0.5", ["thresholds"]),
        ("--set tagger.group=score -c stats --debug fleet --output json", ["fleet"]),
        ("--set=tagger.group=score dlq list", ["dlq"]),
        ("--version", []),
        ("", []),
        ("--help", []),
        ("threshold set", []),
    ],
)
def test_only_the_command_that_is_asked_for_is_imported(line: str, registered: list[str]) -> None:
    assert list(main._asked_for(line.split())) == registered


@pytest.mark.parametrize("name", ALL)
def test_a_list_of_commands_says_of_each_what_it_says_of_itself(name: str) -> None:
    command = COMMANDS[(name,)]
    assert command.short_help == " ".join(command.help.split("\n\n")[0].split())


@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("streamtag thr", 1, "thresholds"),
        ("streamtag thresholds hi", 2, "history"),
        ("streamtag thresholds ", 2, "set"),
    ],
)
def test_a_shell_completes_commands(line: str, word: int, offered: str) -> None:
    asked = {"_STREAMTAG_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(word)}
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv = ['streamtag']; from streamtag.cli.main import main; main()",
    ]
    found = subprocess.run(command, check=False, env=os.environ | asked, capture_output=True, text=True, timeout=60)
    assert offered in found.stdout.split(), found.stderr


def test_every_noun_and_command_of_the_list_is_there() -> None:
    assert {path[0] for path in COMMANDS if path} == {*main.GROUPS, *main.COMMANDS}


@pytest.mark.parametrize("path", [p for p, c in COMMANDS.items() if p and not hasattr(c, "commands")], ids=" ".join)
def test_answers_come_as_json_too(path: tuple[str, ...]) -> None:
    options = {option for param in COMMANDS[path].params for option in param.opts}
    # A worker answers nothing, score writes JSON lines only, and a screen is for people.
    assert "--output" in options or path in {
        ("tagger",),
        ("windows",),
        ("api",),
        ("score",),
        ("stats", "watch"),
    }


def _invocations() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = list(INLINE.finditer(text))
        if page.suffix == ".md":
            found += SHELL.finditer(FENCED.sub(lambda block: block[0].replace("\n", "\n    "), text))
        yield from ((str(page.relative_to(ROOT)), match["line"].strip()) for match in found)


def _faults(line: str) -> list[str]:
    """What of ``noun verb --option value`` does not exist. ``a|b`` and ``a | b`` name alternatives."""
    words = re.split(r"\s+", re.sub(r"\s*\|\s*", "|", line))
    command, options = ROOT_COMMAND, {"--help", "--version"}
    for i, word in enumerate(words):
        if "{" in word or word in (">", "<", "&&", ";"):
            break
        known = {option for param in command.params for option in param.opts} | options
        if word.startswith("-") and len(word) > 1:
            if word.partition("=")[0] not in known:
                return [f"{' '.join(words[:i])} has no {word}"]
        elif getattr(command, "commands", None) and not (i and words[i - 1] in ("--set", "--config", "-c")):
            names = word.strip(",.…").split("|")
            missing = [name for name in names if name and name not in command.commands]
            if missing and re.fullmatch(r"[a-z-]+", missing[0]):
                return [f"no command {' '.join((*words[:i], missing[0]))}"]
            if missing or len(names) > 1 or not names[0]:
                break
            command = command.commands[names[0]]
    return []


def test_pages_and_hints_name_only_what_exists() -> None:
    invocations = list(_invocations())
    assert len(invocations) > 100, "the pattern finds nothing any more"
    assert [(page, fault) for page, line in invocations for fault in _faults(line)] == []


def _lacks_its_reason(line: str) -> bool:
    """Whether ``noun verb …`` names a command that refuses without a reason, and gives none."""
    command, words = ROOT_COMMAND, line.split()
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    asks = any("--reason" in param.opts and param.required for param in command.params)
    return asks and not {"--reason", "-m"} & set(words)


@pytest.mark.parametrize("page", [*OPS, ROOT / "docs" / "metrics.md"], ids=lambda path: path.name)
def test_commands_of_alerts_and_metrics_can_be_typed_as_they_stand(page: Path) -> None:
    lines = [match["line"].strip() for match in INLINE.finditer(page.read_text(encoding="utf-8"))]
    assert [line for line in lines if _lacks_its_reason(line)] == []


def test_the_check_of_reasons_can_fail() -> None:
    assert _lacks_its_reason("dlq resume")
    assert not _lacks_its_reason('release return 7 -m "…"')


@pytest.mark.parametrize(
    "line", ["thresholds sett toxic=1", "dlq replay --clas x", "flet", "tagger --group g --prot 1", "dlq list|shw"]
)
def test_the_check_of_the_pages_can_fail(line: str) -> None:
    assert _faults(line)


NEED_TORCH = ("encoder.fine_tune", "encoder.network")
"""Modules that need gigabytes more than the tests here have: `make torch-test` imports them."""


def test_every_exit_code_is_documented() -> None:
    for module in pkgutil.walk_packages(streamtag.__path__, "streamtag."):
        if not module.name.endswith(("__main__", *NEED_TORCH)) and ".bundles" not in module.name:
            importlib.import_module(module.name)
    page = (ROOT / "docs" / "exit-codes.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    codes = {error.exit_code for error in _subclasses(StreamtagError)}
    assert codes | {0, 2, 130} <= documented
    assert all(inspect.getdoc(error) for error in _subclasses(StreamtagError))


def _subclasses(error: type[StreamtagError]) -> set[type[StreamtagError]]:
    return {error}.union(*(_subclasses(inner) for inner in error.__subclasses__()))
