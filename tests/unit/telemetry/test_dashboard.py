"""The shipped Grafana dashboard shows metrics that exist, by labels that these have, and says what each panel is."""

import json
import re
from pathlib import Path

import pytest

from streamtag.telemetry.metrics import METRICS

DASHBOARD = json.loads((Path(__file__).parents[3] / "ops" / "grafana" / "streamtag.json").read_text(encoding="utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
SCRAPED = {"job", "instance", "le"}
PROCESS = {"process_resident_memory_bytes", "process_cpu_seconds_total"}


def _known() -> dict[str, dict[str, tuple[str, ...]]]:
    """Prometheus name to label names, and their values where these are a closed set."""
    scraped: dict[str, tuple[str, ...]] = dict.fromkeys(SCRAPED, ())
    known = {name: dict(scraped) for name in PROCESS}
    for metric in METRICS:
        for suffix in ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",):
            known[metric.prometheus_name + suffix] = {**scraped, **metric.attributes}
    return known


QUERIES = [
    *((panel["title"], target["expr"], target["legendFormat"]) for panel in PANELS for target in panel["targets"]),
    *((each["name"], each["expr"], "") for each in DASHBOARD["annotations"]["list"]),
]


@pytest.mark.parametrize(("title", "expr", "legend"), QUERIES)
def test_it_asks_for_metrics_of_the_table_by_labels_and_values_that_these_have(
    title: str, expr: str, legend: str
) -> None:
    known = _known()
    names = re.findall(r"\b((?:streamtag|process)_[a-z0-9_]+)\{([^}]*)\}", expr)
    assert names, title
    assert len(names) == len(re.findall(r"\b(?:streamtag|process)_", expr)), "each has a selector"
    for name, selector in names:
        assert 'job=~"$job"' in selector
        for label, _, value in re.findall(r'([a-z0-9_]+)(=~|!=|=)"([^"]*)"', selector):
            assert label in known[name]
            closed = () if label in SCRAPED else known[name][label]
            assert not closed or value in closed
    shown = set.intersection(*({*known[name]} for name, _ in names[:1]))
    for by in re.findall(r"by \(([^)]*)\)", expr):
        assert set(by.replace(" ", "").split(",")) <= shown
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= shown


def test_every_panel_says_what_it_shows_and_in_what_unit() -> None:
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_panels_stand_beside_each_other_and_never_on_each_other() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(cells)) == len(cells)
