"""Sets of security data as labelled rows: what is known, what is not, and what stays together. Examples are made up."""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.training.readers import security_requests, security_rules
from streamtag.model.training.readers.security_labels import LABELS, TACTICS, UNKNOWN, WEB_ATTACKS, tactic
from streamtag.model.training.rows import Rows


def write_lines(file: Path, records: list[Any]) -> None:
    file.write_bytes(gzip.compress(b"\n".join(json.dumps(record).encode() for record in records)))


def yes(rows: Rows, identity: str) -> set[str]:
    return {label for label, value in zip(LABELS, rows.targets[rows.ids.index(identity)], strict=True) if value == 1}


def unknown(rows: Rows, identity: str) -> set[str]:
    row = rows.targets[rows.ids.index(identity)]
    return {label for label, value in zip(LABELS, row, strict=True) if value == UNKNOWN}


def test_tactics_by_any_spelling() -> None:
    assert len(TACTICS) == 14
    assert {tactic(name) for name in ("defense-impairment", "stealth", "TA0005", "Defense Evasion")} == {
        "defense-evasion"
    }
    assert tactic("TA0035") == "collection"
    assert [tactic(name) for name in ("t1059", "g0007", "", "TA9999")] == [None] * 4


def test_attack_descriptions_say_nothing_of_web_attacks(tmp_path: Path) -> None:
    write_lines(
        tmp_path / "procedures.jsonl.gz",
        [{"text": "Tool lists files.", "tactics": ["discovery"], "techniques": ["T1083"]}],
    )
    write_lines(
        tmp_path / "techniques.jsonl.gz",
        [{"id": "T1", "name": "Copying", "tactics": ["collection", "exfiltration"], "description": "Copies notes."}],
    )
    rows = security_rules.read_mitre_attack(tmp_path)
    assert rows.texts == ("Tool lists files.", "Copying. Copies notes.")
    assert yes(rows, "mitre_attack:procedure/1") == {"discovery"}
    assert yes(rows, "mitre_attack:T1") == {"collection", "exfiltration"}
    assert unknown(rows, "mitre_attack:T1") == set(WEB_ATTACKS)
    assert rows.targets.dtype.name == "int8"


SIGMA: dict[str, Any] = {
    "title": "Notes Copied",
    "description": "Somebody copies notes",
    "logsource": {"product": "windows", "category": "process_creation"},
    "detection": {
        "selection_img": [{"Image|endswith": ["\\copy.exe", "\\tar.exe"]}, {"CommandLine|contains|all": " notes"}],
        "keywords": ["copied"],
        "filter_main": {"User": "backup"},
        "condition": "1 of selection_* and not filter_main",
    },
    "tags": ["attack.collection", "attack.t1005", "attack.stealth"],
    "path": "rules/a.yml",
}


def test_a_sigma_rule_is_a_rule_and_an_event_of_one_group(tmp_path: Path) -> None:
    untagged = {**SIGMA, "tags": None, "path": "rules/b.yml"}
    write_lines(tmp_path / "sigma_rules.jsonl.gz", [SIGMA, untagged])
    rows = security_rules.read_sigma(tmp_path)
    assert rows.ids == ("sigma:rules/a.yml", "sigma:rules/a.yml#event")
    assert rows.group == ("sigma:rules/a.yml",) * 2
    assert rows.source == ("sigma/rule", "sigma/event")
    assert yes(rows, "sigma:rules/a.yml") == {"collection", "defense-evasion"}
    assert json.loads(rows.texts[0])["title"] == "Notes Copied"
    assert "tags" not in json.loads(rows.texts[0])
    assert json.loads(rows.texts[1]) == {
        "product": "windows",
        "category": "process_creation",
        "Image": ["\\copy.exe", "\\tar.exe"],
        "CommandLine": [" notes"],
        "message": ["copied"],
    }


def test_atomic_tests_are_grouped_by_technique(tmp_path: Path) -> None:
    record = {"technique": "T1", "name": "List", "description": "Lists.", "command": "ls", "tactics": ["discovery"]}
    write_lines(tmp_path / "atomic_tests.jsonl.gz", [record, {**record, "command": None}])
    rows = security_rules.read_atomic_red_team(tmp_path)
    assert rows.texts == ("ls", "List. Lists.", "List. Lists.")
    assert set(rows.group or ()) == {"atomic_red_team:T1"}


def test_a_panther_event_that_must_not_match_is_harmless_in_every_respect(tmp_path: Path) -> None:
    record = {"rule": "r.yml", "match": True, "mitre": ["TA006:T1110", "TA0003:T1098"], "log": {"a": 1}}
    write_lines(
        tmp_path / "panther_tests.jsonl.gz",
        [record, {**record, "match": False}, {**record, "mitre": None}],
    )
    rows = security_rules.read_panther(tmp_path)
    assert rows.ids == ("panther:r.yml/1", "panther:r.yml/2")
    assert yes(rows, "panther:r.yml/1") == {"credential-access", "persistence"}
    assert unknown(rows, "panther:r.yml/1") == set(WEB_ATTACKS)
    assert (rows.targets[1] == 0).all()


def test_requests_of_the_core_rule_set(tmp_path: Path) -> None:
    request = {
        "rule": 1,
        "test": 1,
        "stage": 0,
        "method": "GET",
        "uri": "/a?b=c",
        "headers": {"Host": "localhost"},
        "data": None,
        "encoded_request": None,
        "expect_ids": ["1"],
        "labels": ["attack-sqli", "attack-of-no-interest"],
    }
    harmless = {**request, "test": 2, "expect_ids": [], "labels": []}
    unclear = {**request, "test": 3, "labels": []}
    raw = {**request, "test": 4, "encoded_request": base64.b64encode(b"GET / HTTP/1.1\r\n").decode()}
    write_lines(tmp_path / "crs_tests.jsonl.gz", [request, harmless, unclear, raw])
    rows = security_requests.read_crs_regression(tmp_path)
    assert len(rows.ids) == 3
    assert yes(rows, "crs_regression:1/1.0.1") == {"attack-sqli"}
    assert unknown(rows, "crs_regression:1/2.0.2") == set(TACTICS)
    assert rows.texts[2] == "GET / HTTP/1.1\r\n"
    assert set(rows.group or ()) == {"crs_regression:1"}


def test_a_payload_of_one_kind_says_nothing_of_kinds_that_are_not_annotated(tmp_path: Path) -> None:
    (tmp_path / "payload_train.csv").write_text('"payload","attack_type"\n"hello there","norm"\n"a=\'b\'","sqli"\n')
    (tmp_path / "payload_test.csv").write_text('"payload","attack_type"\n"hello there","norm"\n')
    rows = security_requests.read_http_params(tmp_path)
    assert len(rows.ids) == 2  # each value once
    assert (rows.targets[0] == 0).all()
    assert yes(rows, rows.ids[1]) == {"attack-sqli"}
    assert set(LABELS) - unknown(rows, rows.ids[1]) == {"attack-sqli", "attack-xss", "attack-rce", "attack-lfi"}


def test_what_is_wrong_with_a_set_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="atomic_tests"):
        security_rules.read_atomic_red_team(tmp_path)
    (tmp_path / "sigma_rules.jsonl.gz").write_bytes(gzip.compress(b'{"title": 1}\n[]\n{broken\n'))
    with pytest.raises(RefusedError) as refused:
        security_rules.read_sigma(tmp_path)
    assert [problem.partition(":")[0] for problem in refused.value.problems] == ["line 1", "line 2", "line 3"]
    (tmp_path / "sigma_rules.jsonl.gz").write_bytes(gzip.compress(b"{}\n" * 50)[:20])
    with pytest.raises(RefusedError, match="cut short"):
        security_rules.read_sigma(tmp_path)
    (tmp_path / "payloads.csv").write_text("payload,injection_type\nx,LEGAL\ny,NONE\n")
    with pytest.raises(RefusedError) as refused:
        security_requests.read_waf_payloads(tmp_path)
    assert refused.value.problems == ("payloads.csv, line 3: injection_type is none of LEGAL, SQL, XSS, SHELL",)
