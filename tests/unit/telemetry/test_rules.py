"""The shipped Prometheus rules speak of metrics and commands that exist. `promtool` checks their logic."""

import re
from pathlib import Path
from typing import Any

import pytest

from streamtag import strict_yaml
from streamtag.telemetry.metrics import METRICS

RULES = Path(__file__).parents[3] / "ops" / "prometheus" / "rules.yaml"


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
