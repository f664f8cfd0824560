"""Readers of web requests and payloads: regression tests of the Core Rule Set, HttpParams, WAF payloads."""

import base64
import binascii
import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from streamtag.errors import NotFoundError, RefusedError
from streamtag.model.training.readers.json_lines import read_json_lines
from streamtag.model.training.readers.security_labels import Builder, target
from streamtag.model.training.rows import Rows

_HTTP_PARAMS = {
    "norm": None,
    "sqli": "attack-sqli",
    "xss": "attack-xss",
    "cmdi": "attack-rce",
    "path-traversal": "attack-lfi",
}
_WAF = {"LEGAL": None, "SQL": "attack-sqli", "XSS": "attack-xss", "SHELL": "attack-rce"}


def read_crs_regression(directory: Path) -> Rows:
    """Requests with which the Core Rule Set tests its rules; a group is one test file, hence one rule.

    A request that no rule is expected to match has no attack. Expected rules that carry no attack tag leave it open:
    such requests are left out.
    """
    out = Builder("crs_regression")
    wanted = ("rule", "test", "stage", "method", "uri", "headers", "data", "encoded_request", "expect_ids", "labels")
    for number, record in read_json_lines(directory / "crs_tests.jsonl.gz", wanted):
        if record["expect_ids"] and not record["labels"]:
            continue
        row = target(record["labels"], tactics_known=False, web_known=True)
        rule = str(record["rule"])
        identity = f"{rule}/{record['test']}.{record['stage']}.{number}"
        out.add(identity, _request(record), row, view="request", group=rule)
    return out.rows()


def read_http_params(directory: Path) -> Rows:
    """Values of request parameters, harmless or of one kind of attack."""
    out = Builder("http_params")
    files = ("payload_train.csv", "payload_test.csv")
    _add_payloads(out, directory, files, "payload", "attack_type", _HTTP_PARAMS, one_in=1)
    return out.rows()


def read_waf_payloads(directory: Path) -> Rows:
    """The same from another source; of its 100,000 harmless values one in ten, by hash."""
    out = Builder("waf_payloads")
    _add_payloads(out, directory, ("payloads.csv",), "payload", "injection_type", _WAF, one_in=10)
    return out.rows()


def _request(record: Mapping[str, Any]) -> str:
    if record["encoded_request"]:
        try:
            return base64.b64decode(record["encoded_request"]).decode("utf-8", "replace")
        except binascii.Error:
            return str(record["encoded_request"])
    request = {"method": record["method"], "uri": record["uri"], "headers": record["headers"], "body": record["data"]}
    return json.dumps(request, ensure_ascii=False)


def _add_payloads(
    out: Builder,
    directory: Path,
    files: Sequence[str],
    text: str,
    kind: str,
    labels: Mapping[str, str | None],
    *,
    one_in: int,
) -> None:
    """Each value once; half of them, by hash, inside a request, as traffic has them."""
    annotated = [label for label in labels.values() if label]
    seen: set[str] = set()
    for number, (value, name) in enumerate(_csv(directory, files, text, kind, labels)):
        digest = hashlib.sha256(value.encode("utf-8", "replace")).digest()
        label = labels[name]
        if value in seen or (label is None and digest[1] % one_in):
            continue
        seen.add(value)
        wrapped = digest[0] % 2
        document = json.dumps({"method": "GET", "uri": f"/?q={quote(value, safe='')}"}) if wrapped else value
        # harmless values are harmless in every respect; an attack of one kind says nothing of the kinds not annotated
        row = target([label] if label else [], tactics_known=label is None, web_known=annotated if label else True)
        out.add(str(number), document, row, view="request" if wrapped else "payload", group=str(number))


def _csv(
    directory: Path, files: Sequence[str], text: str, kind: str, labels: Mapping[str, str | None]
) -> list[tuple[str, str]]:
    found, problems = [], []
    for name in files:
        file = directory / name
        if not file.is_file():
            raise NotFoundError(f"no data file {file}", hint="docs/models/security.md says where they come from.")
        with file.open(newline="", encoding="utf-8", errors="replace") as stream:
            reader = csv.DictReader(stream)
            missing = [column for column in (text, kind) if column not in (reader.fieldnames or ())]
            if missing:
                problems.append(f"{name}: no column {', '.join(missing)}")
                continue
            for record in reader:
                if record[kind] not in labels:
                    problems.append(f"{name}, line {reader.line_num}: {kind} is none of {', '.join(labels)}")
                elif record[text]:
                    found.append((record[text], record[kind]))
    if problems:
        raise RefusedError(f"{directory} cannot be used", problems=problems[:5])
    return found
