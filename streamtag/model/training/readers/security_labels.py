"""The labels of security sets: ATT&CK's tactics, and what a web request attempts."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from streamtag.model.training.rows import Rows

TACTICS = {
    "reconnaissance": "TA0043",
    "resource-development": "TA0042",
    "initial-access": "TA0001",
    "execution": "TA0002",
    "persistence": "TA0003",
    "privilege-escalation": "TA0004",
    "defense-evasion": "TA0005",
    "credential-access": "TA0006",
    "discovery": "TA0007",
    "lateral-movement": "TA0008",
    "collection": "TA0009",
    "command-and-control": "TA0011",
    "exfiltration": "TA0010",
    "impact": "TA0040",
}
"""MITRE ATT&CK for Enterprise: name to id."""
WEB_ATTACKS = (
    "attack-sqli",
    "attack-xss",
    "attack-rce",
    "attack-lfi",
    "attack-rfi",
    "attack-ssrf",
    "attack-injection-php",
    "attack-injection-generic",
    "attack-protocol",
    "attack-disclosure",
)
"""Tags of the OWASP Core Rule Set that enough of its rules carry to be learned from some and tested on others."""
LABELS = (*TACTICS, *WEB_ATTACKS)
MEANINGS = {
    "reconnaissance": "Gathers information for later operations.",
    "resource-development": "Sets up resources for later operations.",
    "initial-access": "Gets into the network.",
    "execution": "Runs code that the attacker controls.",
    "persistence": "Keeps a foothold across restarts and changed credentials.",
    "privilege-escalation": "Gains higher permissions.",
    "defense-evasion": "Avoids being detected, or weakens what detects.",
    "credential-access": "Steals names and secrets of accounts.",
    "discovery": "Finds out about the environment.",
    "lateral-movement": "Moves on to other systems.",
    "collection": "Gathers data of interest.",
    "command-and-control": "Talks to compromised systems to control them.",
    "exfiltration": "Steals data.",
    "impact": "Manipulates, interrupts or destroys systems and data.",
    "attack-sqli": "Request: SQL injection.",
    "attack-xss": "Request: cross-site scripting.",
    "attack-rce": "Request: execution of commands or code.",
    "attack-lfi": "Request: inclusion or traversal to local files.",
    "attack-rfi": "Request: inclusion of remote files.",
    "attack-ssrf": "Request: makes the server send requests.",
    "attack-injection-php": "Request: PHP injection.",
    "attack-injection-generic": "Request: injection into other languages and templates.",
    "attack-protocol": "Request: violates or abuses HTTP.",
    "attack-disclosure": "Answer or request: discloses data, source code or errors.",
}
UNKNOWN = -1

# Sigma has split one tactic of ATT&CK in two; TA0035 is what mobile ATT&CK calls TA0009.
_RENAMED = {"stealth": "defense-evasion", "defense-impairment": "defense-evasion"}
_BY_ID = {identity: name for name, identity in TACTICS.items()} | {"TA0035": "collection"}
_COLUMN = {label: column for column, label in enumerate(LABELS)}
_TACTIC_COLUMNS, _WEB_COLUMNS = slice(0, len(TACTICS)), slice(len(TACTICS), len(LABELS))


def tactic(name: str) -> str | None:
    """A tactic by its name in any spelling, or by its id; None for what is none.

    >>> tactic("Defense_Evasion"), tactic("TA0006"), tactic("stealth"), tactic("t1059")
    ('defense-evasion', 'credential-access', 'defense-evasion', None)
    """
    if name.upper() in _BY_ID:
        return _BY_ID[name.upper()]
    name = name.strip().lower().replace("_", "-").replace(" ", "-")
    name = _RENAMED.get(name, name)
    return name if name in TACTICS else None


def target(
    yes: Iterable[str], *, tactics_known: bool, web_known: bool | Sequence[str], tags: Sequence[str] = LABELS
) -> NDArray[np.int8]:
    """One row of targets, int8 [labels].

    Args:
        yes: labels that hold; others than `LABELS` are passed by.
        tactics_known: whether the set annotates tactics: the others are 0 then, else unknown.
        web_known: the same for web attacks; or those that the set annotates.
        tags: columns.
    """
    row = np.full(len(tags), UNKNOWN, dtype=np.int8)
    if tactics_known:
        row[_TACTIC_COLUMNS] = 0
    if web_known is True:
        row[_WEB_COLUMNS] = 0
    elif web_known:
        row[[_COLUMN[label] for label in web_known]] = 0
    row[[_COLUMN[label] for label in yes if label in _COLUMN]] = 1
    return row


class Builder:
    """Collects rows of one set."""

    def __init__(self, name: str) -> None:
        self._set = name
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._targets: list[NDArray[np.int8]] = []
        self._source: list[str] = []
        self._group: list[str] = []

    def add(self, identity: str, text: str, row: NDArray[np.int8], *, view: str, group: str) -> None:
        """One document.

        Args:
            identity: unique in the set.
            text: what is scored.
            row: as `target` gives it.
            view: which part of the set's record the text is.
            group: rows of one group stay together in a split.
        """
        if not text.strip() or (row == UNKNOWN).all():
            return
        self._ids.append(f"{self._set}:{identity}")
        self._texts.append(text)
        self._targets.append(row)
        self._source.append(f"{self._set}/{view}")
        self._group.append(f"{self._set}:{group}")

    def rows(self) -> Rows:
        """All that was added."""
        n = len(self._ids)
        return Rows(
            labels=LABELS,
            ids=tuple(self._ids),
            texts=tuple(self._texts),
            targets=np.array(self._targets, dtype=np.int8).reshape(n, len(LABELS)),
            natural=np.zeros(n, dtype=np.bool_),  # all were written or picked for their labels
            source=tuple(self._source),
            language=("",) * n,
            split=("",) * n,
            group=tuple(self._group),
        )
