"""ops/kubernetes, checked without a cluster: settings, commands, ports, probes, and what a container may do."""

import importlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from prometheus_client import CollectorRegistry

import streamtag
from streamtag import strict_yaml
from streamtag.cli import main
from streamtag.doctor import local
from streamtag.settings import Settings, load_settings
from streamtag.telemetry.endpoint import Endpoint
from streamtag.telemetry.health import Health

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "ops" / "kubernetes"
SETTINGS_FILE = FOLDER / "streamtag.yaml"
KUSTOMIZATION = strict_yaml.load((FOLDER / "kustomization.yaml").read_text(encoding="utf-8"))
ROLES = ("tagger", "windows", "stats", "api", "topics")


def _documents(name: str) -> Iterator[dict[str, Any]]:
    for text in re.split(r"^---$", (FOLDER / name).read_text(encoding="utf-8"), flags=re.MULTILINE):
        yield strict_yaml.load(text)


ALL = [document for name in KUSTOMIZATION["resources"] for document in _documents(name)]
OF_KIND = {kind: [each for each in ALL if each["kind"] == kind] for kind in {each["kind"] for each in ALL}}
WORKLOADS = {
    each["metadata"]["labels"]["app.kubernetes.io/component"]: each
    for each in ALL
    if each["kind"] in ("StatefulSet", "Deployment", "Job")
}


def _pod(role: str) -> dict[str, Any]:
    spec: dict[str, Any] = WORKLOADS[role]["spec"]["template"]["spec"]
    return spec


def _container(role: str) -> dict[str, Any]:
    [container] = _pod(role)["containers"]
    return dict(container)


def _environ(role: str) -> dict[str, str]:
    """As the container sees it where the Secret has all of its keys."""
    values = {"redis-url": "rediss://somebody:word@redis.example:6379/0"}
    found = {}
    for variable in _container(role)["env"]:
        source = variable.get("valueFrom", {})
        key = source.get("secretKeyRef", source.get("fieldRef", {})).get("key", "some-name-0")
        found[variable["name"]] = variable.get("value", values.get(key, key))
    return found


def _settings(role: str) -> Settings:
    environ = {name: value for name, value in _environ(role).items() if name != "STREAMTAG_CONFIG"}
    return load_settings(config=SETTINGS_FILE, environ=environ).settings


def _selected(labels: dict[str, str]) -> list[str]:
    """Roles whose pods carry these labels."""
    return [
        role
        for role, workload in WORKLOADS.items()
        if labels.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    ]


def test_every_role_is_there_and_every_file_is_listed() -> None:
    assert {*WORKLOADS} == {*ROLES}
    files = {path.name for path in FOLDER.iterdir()} - {"kustomization.yaml"}
    # Clusters without the Prometheus Operator refuse the last one.
    assert files == {*KUSTOMIZATION["resources"], SETTINGS_FILE.name, "podmonitor.yaml"}
    names = [(each["kind"], each["metadata"]["name"]) for each in ALL]
    assert len({*names}) == len(names)


def test_the_image_is_that_of_this_version() -> None:
    [image] = KUSTOMIZATION["images"]
    assert image["newTag"] == streamtag.__version__
    assert {_container(role)["image"] for role in ROLES} == {image["name"]}


@pytest.mark.parametrize("role", ROLES)
def test_a_container_runs_a_command_that_exists(role: str) -> None:
    name, *verbs = _container(role)["args"]
    assert name in {*main.GROUPS, *main.COMMANDS}
    if name in main.GROUPS:
        group: Any = typer.main.get_command(importlib.import_module(f"streamtag.cli.{name}").app)
        assert verbs[0] in group.commands if verbs else group.invoke_without_command
    else:
        assert verbs == []


@pytest.mark.parametrize("role", ROLES)
def test_settings_are_valid_and_come_from_where_the_config_map_is_mounted(role: str) -> None:
    assert all(name.startswith("STREAMTAG_") for name in _environ(role))
    settings = _settings(role)
    assert settings.kafka.client == {"sasl.username": "kafka-username", "sasl.password": "kafka-password"}
    [generator] = KUSTOMIZATION["configMapGenerator"]
    assert generator["files"] == [SETTINGS_FILE.name]
    settings_volume = {"name": generator["name"]}
    [volume] = [each["name"] for each in _pod(role)["volumes"] if each.get("configMap") == settings_volume]
    [place] = [mount["mountPath"] for mount in _container(role)["volumeMounts"] if mount["name"] == volume]
    assert _environ(role)["STREAMTAG_CONFIG"] == f"{place}/{SETTINGS_FILE.name}"


def test_a_setting_that_is_commented_out_is_one_too(tmp_path: Path) -> None:
    text = SETTINGS_FILE.read_text(encoding="utf-8")
    opened = re.sub(r"^  # (client:|  (?:security|sasl)\.)", r"  \1", text, flags=re.MULTILINE)
    assert opened.count("sasl.mechanism") == 1
    (tmp_path / "streamtag.yaml").write_text(opened, encoding="utf-8")
    found = load_settings(config=tmp_path / "streamtag.yaml", environ={}).settings
    assert found.kafka.client == {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}


@pytest.mark.parametrize("role", ROLES)
def test_passwords_come_from_the_secret_that_the_page_describes(role: str) -> None:
    text = (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    for variable in _container(role)["env"]:
        if not re.search(r"REDIS|SASL|SECRET", variable["name"]):
            assert "secretKeyRef" not in variable.get("valueFrom", {})
            continue
        key = variable["valueFrom"]["secretKeyRef"]
        assert key["name"] == "streamtag"
        assert re.search(rf"^#   {key['key']}\b", text, re.MULTILINE)
    assert ("STREAMTAG_REDIS" in _environ(role)) == (role in ("tagger", "stats", "api"))
    assert not any(each["kind"] == "Secret" for each in ALL)


@pytest.mark.parametrize("role", ROLES)
def test_a_container_may_do_nothing_that_it_does_not_need(role: str) -> None:
    pod, container = _pod(role), _container(role)
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False, "a Service called streamtag-… would set variables that are refused"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    users = {pod["securityContext"][name] for name in ("runAsUser", "runAsGroup", "fsGroup")}
    assert users == {10001}
    assert "\nUSER 10001:10001" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    for bounds in ("requests", "limits"):
        assert container["resources"][bounds].keys() == {"cpu", "memory"}


@pytest.mark.parametrize("role", ROLES)
def test_what_it_writes_to_is_a_volume_of_its_own(role: str) -> None:
    claims = WORKLOADS[role]["spec"].get("volumeClaimTemplates", [])
    volumes = {each["name"] for each in [*_pod(role)["volumes"], *(claim["metadata"] for claim in claims)]}
    mounts = {each["mountPath"]: each["name"] for each in _container(role)["volumeMounts"]}
    assert {*mounts.values()} == volumes
    assert {"/var/lib/streamtag", "/tmp"} <= mounts.keys()
    # The last good release outlives a pod where something decides by it.
    assert [claim["metadata"]["name"] for claim in claims] == (["state"] if role in ("tagger", "api") else [])
    for claim in claims:
        size = claim["spec"]["resources"]["requests"]["storage"]
        assert int(size.removesuffix("Gi")) * 2**30 > local._FREE_BYTES, "or `streamtag doctor` warns from the start"


@pytest.mark.parametrize("role", ["tagger", "windows", "stats", "api"])
def test_ports_are_those_of_the_settings(role: str) -> None:
    settings = _settings(role)
    ports = {port["name"]: port["containerPort"] for port in _container(role)["ports"]}
    expected = {"telemetry": settings.telemetry.port}
    if role == "api":
        expected["api"] = settings.api.port
    assert ports == expected
    assert settings.telemetry.host == "0.0.0.0", "the kubelet and Prometheus come from outside of the pod"


@pytest.mark.parametrize("role", ["tagger", "windows", "stats", "api"])
def test_probes_ask_for_what_there_is(role: str) -> None:
    container = _container(role)
    endpoint = Endpoint("127.0.0.1", 0, CollectorRegistry(), Health())
    try:
        for probe, path in (("startup", "/livez"), ("liveness", "/livez"), ("readiness", "/readyz")):
            asked = container[f"{probe}Probe"]["httpGet"]
            assert asked == {"path": path, "port": "telemetry"}
            try:
                answer = urllib.request.urlopen(f"http://127.0.0.1:{endpoint.address[1]}{path}", timeout=5)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                assert answer.status in (200, 503)
    finally:
        endpoint.close()


@pytest.mark.parametrize("role", ["tagger", "windows"])
def test_a_worker_is_given_more_time_than_its_drain_takes(role: str) -> None:
    # After the drain itself: the abort of what did not drain (5 s), a last heartbeat and stop mark.
    assert _pod(role)["terminationGracePeriodSeconds"] >= getattr(_settings(role), role).drain_timeout_s + 20


def test_a_tagger_keeps_its_slot_over_restarts() -> None:
    assert WORKLOADS["tagger"]["kind"] == "StatefulSet"
    [slot] = [each for each in _container("tagger")["env"] if each["name"] == "STREAMTAG_TAGGER__SLOT"]
    assert slot["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert _settings("tagger").tagger.slot == "some-name-0"


@pytest.mark.parametrize("role", ["tagger", "windows", "stats", "api"])
def test_selectors_find_the_pods_of_their_role_alone(role: str) -> None:
    workload = WORKLOADS[role]
    assert _selected(workload["spec"]["selector"]["matchLabels"]) == [role]
    for constraint in _pod(role).get("topologySpreadConstraints", []):
        assert _selected(constraint["labelSelector"]["matchLabels"]) == [role]


@pytest.mark.parametrize("role", ["tagger", "api"])
def test_what_has_several_pods_has_a_service_and_loses_one_at_a_time(role: str) -> None:
    spec = WORKLOADS[role]["spec"]
    [service] = [each for each in OF_KIND["Service"] if each["metadata"]["name"] == spec["serviceName"]]
    assert _selected(service["spec"]["selector"]) == [role]
    ports = {port["name"]: port["containerPort"] for port in _container(role)["ports"]}
    for port in service["spec"]["ports"]:
        assert port["port"] == ports[port["targetPort"]]
    assert (service["spec"].get("clusterIP") == "None") == (role == "tagger")
    [budget] = [b for b in OF_KIND["PodDisruptionBudget"] if _selected(b["spec"]["selector"]["matchLabels"]) == [role]]
    assert budget["spec"]["maxUnavailable"] == 1 < spec["replicas"]


def test_prometheus_comes_to_the_metrics_alone_and_the_ingress_to_the_api_alone() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in OF_KIND["NetworkPolicy"]}
    closed = policies.pop("streamtag-closed")
    assert {*_selected(closed["podSelector"]["matchLabels"])} == {*ROLES}
    assert closed["policyTypes"] == ["Ingress"]
    assert "ingress" not in closed
    opened = {}
    for spec in policies.values():
        [rule] = spec["ingress"]
        [peer] = rule["from"]
        [port] = rule["ports"]
        let_in = peer["namespaceSelector"]["matchLabels"]
        opened[port["port"]] = (let_in, {*_selected(spec["podSelector"]["matchLabels"])})
    assert opened == {
        "telemetry": ({"kubernetes.io/metadata.name": "monitoring"}, {*ROLES}),
        "api": ({"kubernetes.io/metadata.name": "ingress-nginx"}, {"api"}),
    }


def test_tokens_travel_in_clear_text_behind_an_ingress_alone() -> None:
    settings = _settings("api")
    assert (settings.api.host, settings.api.behind_tls) == ("0.0.0.0", True)
    assert _settings("stats").stats.web_host == "127.0.0.1", "its views ask nobody who they are"


def test_pods_fit_what_their_namespace_lets_in() -> None:
    [namespace] = OF_KIND["Namespace"]
    assert namespace["metadata"]["name"] == KUSTOMIZATION["namespace"]
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}


def test_the_pod_monitor_gives_all_roles_one_job() -> None:
    [monitor] = _documents("podmonitor.yaml")
    assert {*_selected(monitor["spec"]["selector"]["matchLabels"])} == {*ROLES}
    assert [each["port"] for each in monitor["spec"]["podMetricsEndpoints"]] == ["telemetry"]
    # Of the operator's making: namespace/name, and the example of a configuration makes the same.
    [scraped] = [
        job
        for job in strict_yaml.load((ROOT / "ops/prometheus/scrape.yaml").read_text(encoding="utf-8"))["scrape_configs"]
        if "kubernetes_sd_configs" in job
    ]
    rules = [rule for rule in scraped["relabel_configs"] if "target_label" in rule]
    made = {rule["target_label"]: rule.get("replacement") for rule in rules}
    assert made["job"] == f"$1/{monitor['metadata']['name']}"
    assert "instance" in made
