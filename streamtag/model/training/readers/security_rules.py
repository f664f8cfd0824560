"""Readers of what detection engineers write and test with: ATT&CK, Sigma, Atomic Red Team, Panther, OTRF.

Each document is given as a stream would bring it: a log event or a rule as JSON, a command line or a report as text.
Rows of one rule file (or technique) have one group.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.training.readers.json_lines import read_json_lines
from streamtag.model.training.readers.security_labels import LABELS, UNKNOWN, Builder, tactic, target
from streamtag.model.training.rows import Rows

_ONE_IN = 30
_NOT_SELECTIONS = ("condition", "timeframe", "filter")


def read_mitre_attack(directory: Path) -> Rows:
    """ATT&CK's procedure examples (what a group or a tool did) and descriptions of techniques; prose."""
    out = Builder("mitre_attack")
    for number, record in read_json_lines(directory / "procedures.jsonl.gz", ("text", "tactics", "techniques")):
        row = target(_tactics(record["tactics"]), tactics_known=True, web_known=False)
        out.add(f"procedure/{number}", record["text"], row, view="procedure", group=f"procedure/{number}")
    for _, record in read_json_lines(directory / "techniques.jsonl.gz", ("id", "name", "tactics", "description")):
        row = target(_tactics(record["tactics"]), tactics_known=True, web_known=False)
        text = f"{record['name']}. {record['description']}"
        out.add(record["id"], text, row, view="technique", group=record["id"])
    return out.rows()


def read_sigma(directory: Path) -> Rows:
    """Sigma rules, each in two views: the rule, and its detection as an event that it would match.

    Rules without a tactic among their tags are left out: they are not annotated.
    """
    out = Builder("sigma")
    wanted = ("title", "description", "logsource", "detection", "path")
    for _, record in read_json_lines(directory / "sigma_rules.jsonl.gz", wanted):
        tags = record.get("tags") or []
        found = _tactics(tag.removeprefix("attack.") for tag in tags)
        if not found:
            continue
        row = target(found, tactics_known=True, web_known=False)
        rule = {name: record[name] for name in ("title", "description", "logsource", "detection")}
        event = {**record["logsource"], **_selected(record["detection"])}
        out.add(record["path"], _json(rule), row, view="rule", group=record["path"])
        out.add(f"{record['path']}#event", _json(event), row, view="event", group=record["path"])
    return out.rows()


def read_atomic_red_team(directory: Path) -> Rows:
    """Tests of Atomic Red Team in two views: the commands that they run, and what they are said to do."""
    out = Builder("atomic_red_team")
    wanted = ("technique", "name", "description", "command", "tactics")
    for number, record in read_json_lines(directory / "atomic_tests.jsonl.gz", wanted):
        row = target(_tactics(record["tactics"]), tactics_known=True, web_known=False)
        group = record["technique"]
        out.add(f"{group}/{number}", record["command"] or "", row, view="command", group=group)
        prose = f"{record['name']}. {record['description']}"
        out.add(f"{group}/{number}#text", prose, row, view="description", group=group)
    return out.rows()


def read_panther(directory: Path) -> Rows:
    """Log events with which Panther's rules are tested.

    One that its rule must not match is harmless in every respect that the rule's author thought of: no tactic, no
    attack. One that matches a rule without ATT&CK tags is not annotated, and left out.
    """
    out = Builder("panther")
    for number, record in read_json_lines(directory / "panther_tests.jsonl.gz", ("rule", "match", "mitre", "log")):
        # "TA0006:T1110"; some rules have lost a zero: "TA006:…"
        ids = (mark.partition(":")[0].replace("TA", "").zfill(4) for mark in record["mitre"] or [])
        found = _tactics(f"TA{digits}" for digits in ids)
        if record["match"] and not found:
            continue
        harmless = not record["match"]
        row = target([] if harmless else found, tactics_known=True, web_known=harmless)
        out.add(f"{record['rule']}/{number}", _json(record["log"]), row, view="event", group=record["rule"])
    return out.rows()


def read_otrf(directory: Path) -> Rows:
    """Background of Windows hosts: one event in thirty, by hash, of captures in which one technique was shown.

    The capture's own tactic is unknown for each of its events. Every other label is taken to be absent, which is true
    of nearly all of them.
    """
    out = Builder("otrf_security_datasets")
    files = sorted(directory.glob("*.zip"))
    if not files:
        raise NotFoundError(
            f"no captures (*.zip) in {directory}", hint="docs/models/security.md says where they come from."
        )
    for file in files:
        own = tactic(file.name.partition("__")[0])
        row = target([], tactics_known=True, web_known=True)
        if own is not None:
            row[LABELS.index(own)] = UNKNOWN
        for number, line in _lines_of_zip(file):
            if zlib.crc32(line) % _ONE_IN == 0:
                out.add(f"{file.stem}/{number}", line.decode("utf-8", "replace"), row, view="event", group=file.stem)
    return out.rows()


def _lines_of_zip(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with zipfile.ZipFile(file) as archive:
            for member in archive.namelist():
                with archive.open(member) as stream:
                    yield from enumerate(stream, start=1)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise RefusedError(f"{file} cannot be read: {error}", hint="Fetch the file again.") from None


def _tactics(names: Iterator[str] | list[str]) -> list[str]:
    return sorted({found for name in names if (found := tactic(name)) is not None})


def _selected(detection: Mapping[str, Any]) -> dict[str, Any]:
    """Field and values of all selections: an event with any of them. Key words stand under ``message``."""
    found: dict[str, list[Any]] = {}
    waiting = [value for name, value in detection.items() if not name.startswith(_NOT_SELECTIONS)]
    for selection in waiting:  # grows while it is read
        if isinstance(selection, list):
            waiting += selection
        elif isinstance(selection, dict):
            for name, value in selection.items():
                values = value if isinstance(value, list) else [value]
                found.setdefault(name.partition("|")[0], []).extend(values)
        else:
            found.setdefault("message", []).append(selection)
    return found


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False)
