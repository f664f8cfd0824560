"""The shipped Prometheus rules speak of metrics and commands that exist. `promtool` checks their logic."""

import re
from pathlib import Path
from typing import Any

import pytest

from streamtag import strict_yaml
from streamtag.telemetry.metrics import METRICS

ROOT = Path(__file__).parents[3]
RULES = ROOT / "ops" / "prometheus" / "rules.yaml"


def _rules() -> list[dict[str, Any]]:
    groups = strict_yaml.load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def _known() -> dict[str, set[str]]:
    """Prometheus name to label names."""
    known = {}
    for metric in METRICS:
        suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
        for suffix in suffixes:
            known[metric.prometheus_name + suffix] = set(metric.attributes)
    return known


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_rules_use_metrics_of_the_table_and_labels_these_have(rule: dict[str, Any]) -> None:
    known, expr = _known(), rule["expr"]
    recorded = {r["record"] for r in _rules() if "record" in r}
    for name in re.findall(r"streamtag:[a-z0-9_:]+", expr):
        assert name in recorded
    for name, selector in re.findall(r"(?<![:\"~])\b(streamtag_[a-z0-9_]+)(?:\{([^}]*)\})?", expr):
        assert name in known, f"{name} is not in the table"
        for label in re.findall(r"([a-z_]+)[=!]", selector or ""):
            assert label in known[name]


def test_every_alert_has_a_severity_a_summary_and_a_cure() -> None:
    for rule in _rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in ("warning", "critical")
            assert rule["annotations"]["summary"]
            assert rule["annotations"]["description"]


ALERTS = [rule for rule in _rules() if "alert" in rule]


def _anchors(page: str) -> set[str]:
    headings = re.findall(r"^#+ +(.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_names_a_runbook_that_is_there(rule: dict[str, Any]) -> None:
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert anchor in _anchors(page)


def test_the_table_of_runbooks_has_every_alert_by_its_whole_name_and_leads_where_the_alert_does() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("\n## Runbooks\n")[2].partition("\n### ")[0].splitlines()
    rows = {name: row for row in table for name in re.findall(r"`(Streamtag\w+)`", row)}
    assert rows.keys() == {rule["alert"] for rule in ALERTS}
    for rule in ALERTS:
        target = rule["annotations"]["runbook"].removeprefix("docs/").removeprefix("operations.md")
        # The table itself is the runbook where a line of it says all.
        assert target == "#runbooks" or f"({target})" in rows[rule["alert"]], rule["alert"]


@pytest.mark.parametrize("rule", _rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_pipeline_that_is_well_hides_none_that_is_ill(rule: dict[str, Any]) -> None:
    assert not re.search(r"\b(sum|max|min|avg|count)\s*\(", rule["expr"]), "an aggregation over all pipelines"
    for by in re.findall(r"\bby \(([^)]*)\)", rule["expr"]):
        assert "job" in by.replace(" ", "").split(",")
