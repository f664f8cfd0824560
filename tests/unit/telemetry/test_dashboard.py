"""The shipped Grafana dashboard shows metrics that exist, by labels that these have, and says what each panel is."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streamtag.telemetry.metrics import METRICS

DASHBOARD = json.loads((Path(__file__).parents[3] / "ops" / "grafana" / "streamtag.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SCRAPED = {"job", "instance", "le"}
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def _known() -> dict[str, set[str]]:
    """Prometheus name to label names."""
    known = {name: set(SCRAPED) for name in PROCESS}
    for metric in METRICS:
        for suffix in ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",):
            known[metric.prometheus_name + suffix] = {*metric.attributes, *SCRAPED}
    return known


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: str(panel["title"]))
def test_a_panel_asks_for_metrics_of_the_table_by_labels_that_these_have(panel: dict[str, Any]) -> None:
    known = _known()
    for target in panel["targets"]:
        names = re.findall(r"\b((?:streamtag|process)_[a-z0-9_]+)\{([^}]*)\}", target["expr"])
        assert names
        labels = set.intersection(*(known[name] for name, _ in names))
        for name, selector in names:
            assert 'job=~"$job"' in selector
            assert set(re.findall(r"([a-z0-9_]+)(?:=|!)", selector)) <= known[name]
        for by in re.findall(r"by \(([^)]*)\)", target["expr"]):
            assert set(by.replace(" ", "").split(",")) <= labels
        assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels


def test_every_panel_says_what_it_shows_and_in_what_unit() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_panels_stand_beside_each_other_and_never_on_each_other() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for before, after in pairwise(places):
        assert after["y"] >= before["y"] + before["h"] or after["x"] >= before["x"] + before["w"]
