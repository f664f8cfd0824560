"""ops/otel/collector.yaml takes what streamtag sends, and keeps the labels that the rules need."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from streamtag import strict_yaml
from streamtag.telemetry import setup

OPS = Path(__file__).parents[3] / "ops"
COLLECTOR: dict[str, Any] = strict_yaml.load((OPS / "otel" / "collector.yaml").read_text(encoding="utf-8"))


def test_every_signal_that_is_sent_has_a_pipeline_of_parts_that_are_there() -> None:
    pipelines = COLLECTOR["service"]["pipelines"]
    sent = {urlsplit(setup._url("http://collector", signal)).path for signal in ("metrics", "traces", "logs")}
    assert {f"/v1/{name}" for name in pipelines} == sent
    for pipeline in pipelines.values():
        for part in ("receivers", "processors", "exporters"):
            assert {*pipeline[part]} <= COLLECTOR[part].keys()
    assert {*COLLECTOR["receivers"]["otlp"]["protocols"]} == {"http"}, "what is sent is OTLP over HTTP"


def test_all_roles_of_a_pipeline_have_one_job_and_instances_of_their_own() -> None:
    changed = {each["key"]: each for each in COLLECTOR["processors"]["resource/pipeline"]["attributes"]}
    attributes = [dict(setup._resource(role, f"{role}-0").attributes) for role in ("tagger", "windows")]
    for each in attributes:
        each.update({key: rule["value"] for key, rule in changed.items()})
    assert len({(each["service.namespace"], each["service.name"]) for each in attributes}) == 1
    assert len({each["service.instance.id"] for each in attributes}) == len(attributes)
    pipelines = COLLECTOR["service"]["pipelines"]
    assert [name for name, each in pipelines.items() if "resource/pipeline" in each["processors"]] == ["metrics"]


def test_prometheus_comes_to_the_port_that_is_open_and_keeps_the_labels() -> None:
    scrapes = strict_yaml.load((OPS / "prometheus" / "scrape.yaml").read_text(encoding="utf-8"))["scrape_configs"]
    port = COLLECTOR["exporters"]["prometheus"]["endpoint"].rpartition(":")[2]
    [scrape] = [each for each in scrapes if each.get("honor_labels")]
    assert scrape["static_configs"][0]["targets"][0].rpartition(":")[2] == port
