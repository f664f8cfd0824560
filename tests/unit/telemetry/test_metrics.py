"""Metrics: the table is the only source of names, attributes and documentation."""

import re
import threading
from pathlib import Path

import pytest
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CollectorRegistry, generate_latest

from streamtag.telemetry import docs
from streamtag.telemetry.metrics import METRICS, Metric, Metrics

REPOSITORY = Path(__file__).parents[3]


def test_names_are_unique_lower_case_dotted_and_carry_no_unit() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    for name in names:
        assert re.fullmatch(r"streamtag(\.[a-z][a-z0-9_]*)+", name)
        assert not name.endswith(("_total", "_seconds", "_bytes", ".total", ".seconds"))


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_every_metric_says_what_it_means_and_what_to_do(metric: Metric) -> None:
    assert metric.meaning.endswith(".")
    assert metric.action.endswith(".")
    assert bool(metric.buckets) == (metric.kind == "histogram")
    assert list(metric.buckets) == sorted(set(metric.buckets))


def test_an_unknown_name_is_a_key_error() -> None:
    metrics = Metrics.in_memory()
    with pytest.raises(KeyError):
        metrics.add("streamtag.nonsense")
    with pytest.raises(KeyError):
        metrics.value("streamtag.nonsense")


def test_a_metric_takes_only_the_verb_of_its_kind() -> None:
    metrics = Metrics.in_memory()
    with pytest.raises(KeyError):
        metrics.add("streamtag.batch.size", 1)
    with pytest.raises(KeyError):
        metrics.record("streamtag.events.tagged", 1)
    with pytest.raises(KeyError):
        metrics.set("streamtag.events.tagged", 1)


@pytest.mark.parametrize("attributes", [{}, {"topic": "a"}, {"outcome": "committed", "topic": "a"}])
def test_attributes_other_than_the_declared_ones_are_refused(attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"streamtag\.transactions has the attributes outcome"):
        Metrics.in_memory().add("streamtag.transactions", 1, **attributes)


def test_counters_add_up_per_attribute_set() -> None:
    metrics = Metrics.in_memory()
    metrics.add("streamtag.events.dead", 2, error_class="too_large", stage="decode")
    metrics.add("streamtag.events.dead", 3, error_class="scorer", stage="infer")
    metrics.add("streamtag.events.dead", 1, error_class="scorer", stage="infer")
    assert metrics.value("streamtag.events.dead", stage="infer") == 4
    assert metrics.value("streamtag.events.dead") == 6


def test_counters_whose_values_are_known_start_at_zero() -> None:
    series = Metrics.in_memory().series("streamtag.transactions")
    assert {dict(key)["outcome"]: value for key, value in series.items()} == {"committed": 0, "aborted": 0, "fenced": 0}
    assert Metrics.in_memory().series("streamtag.events.tagged") == {(): 0}


def test_a_forgotten_gauge_is_no_longer_exported() -> None:
    metrics = Metrics.in_memory()
    for partition in range(3):
        metrics.set("streamtag.lag", 10, topic="content", partition=partition)
    metrics.forget("streamtag.lag", topic="content", partition=1)
    assert {dict(key)["partition"] for key in metrics.series("streamtag.lag")} == {0, 2}
    metrics.forget("streamtag.lag")
    assert metrics.series("streamtag.lag") == {}


def test_concurrent_additions_are_all_counted() -> None:
    metrics = Metrics.in_memory()

    def work() -> None:
        for i in range(500):
            metrics.add("streamtag.label.alerts", label="spam")
            metrics.set("streamtag.lag", i, topic="content", partition=i % 7)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metrics.value("streamtag.label.alerts", label="spam") == 2_000


def _use_every_metric(metrics: Metrics) -> None:
    for metric in METRICS:
        attributes = {name: values[0] if values else "x" for name, values in metric.attributes.items()}
        match metric.kind:
            case "counter":
                metrics.add(metric.name, 1, **attributes)
            case "histogram":
                metrics.record(metric.name, 1, **attributes)
            case "gauge":
                metrics.set(metric.name, 1, **attributes)


def test_prometheus_sees_every_metric_under_the_documented_name() -> None:
    registry = CollectorRegistry()
    reader = PrometheusMetricReader(scope_info_enabled=False, registry=registry)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    _use_every_metric(Metrics(provider.get_meter("test")))
    text = generate_latest(registry).decode()
    provider.shutdown()
    for metric in METRICS:
        suffix = "_count" if metric.kind == "histogram" else ""
        assert re.search(rf"^{metric.prometheus_name}{suffix}(\{{.*\}})? 1\.0$", text, re.MULTILINE), metric.name


@pytest.mark.parametrize("page", ["metrics.md", "configuration.md"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    committed = (REPOSITORY / "docs" / page).read_text(encoding="utf-8")
    assert committed == docs.pages()[page], "run: python -m streamtag.telemetry.docs"


def test_the_configuration_page_names_every_setting() -> None:
    from streamtag.settings import describe

    page = docs.configuration_page()
    for name, field in describe():
        assert f"| `{name}` |" in page
        assert field.description, f"{name} has no description"
