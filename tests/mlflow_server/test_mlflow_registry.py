"""Bundles from and to the registry of a real MLflow server, in an environment of its own: `make mlflow-test`."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.model import app
from streamtag.errors import BundleError, NotFoundError, UnavailableError
from streamtag.model.bundle import MANIFEST, MODEL, peek_ref, read_bundle, write_bundle
from streamtag.model.mlflow_registry import MlflowRegistry
from streamtag.model.registry import find_bundle
from streamtag.model.store import BundleStore


@pytest.fixture(scope="session")
def uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("mlflow")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--artifacts-destination", str(home / "artifacts")]
    with (home / "log").open("wb") as log:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
        process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, env=environment, cwd=home)
        try:
            _wait(f"http://127.0.0.1:{port}/health", process, home / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        try:
            with urlopen(url, timeout=5):
                return
        except (URLError, OSError):
            assert process.poll() is None, log.read_text()[-2_000:]
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2_000:])


@pytest.fixture
def shipped() -> Path:
    return find_bundle("moderation@1", [])


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())


def run_json(*arguments: object) -> Any:
    found = CliRunner().invoke(app, ["mlflow", *(str(argument) for argument in arguments), "-o", "json"])
    if found.exception is not None and not isinstance(found.exception, SystemExit):
        raise found.exception
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_a_bundle_goes_there_and_back_unchanged_with_its_alias(uri: str, shipped: Path, tmp_path: Path) -> None:
    out = run_json("export", "moderation@1", "--uri", uri, "--name", "there-and-back", "--alias", "production")
    assert out["created"] is True
    back = run_json(
        "import", "models:/there-and-back@production", "--uri", uri, "--to", tmp_path, "--reason", "approved in MLflow"
    )
    assert (back["created"], back["moved"], back["alias"]) == (True, True, "production")
    assert back["proposal"][:4] == ["streamtag", "release", "promote", "moderation@1"]
    assert peek_ref(tmp_path / "moderation" / "1") == peek_ref(shipped)
    read_bundle(find_bundle("moderation@production", [tmp_path]))


def test_the_same_bundle_is_registered_once_and_its_alias_moves(uri: str, shipped: Path) -> None:
    registry, bundle = MlflowRegistry(uri), read_bundle(shipped)
    first = registry.export(bundle, "once", alias="trial")
    assert first == ("1", True)
    assert registry.export(bundle, "once", alias="production") == ("1", False)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.get_model_version_by_alias("once", "production")
    assert found.version in ("1", 1)
    assert found.tags["streamtag.sha256"] == bundle.ref.sha256
    assert len(client.search_model_versions("name = 'once'")) == 1


def test_importing_again_changes_nothing(uri: str, shipped: Path, tmp_path: Path) -> None:
    MlflowRegistry(uri).export(read_bundle(shipped), "again")
    for created in (True, False):
        found = run_json("import", "models:/again/1", "--uri", uri, "--to", tmp_path, "--reason", "x")
        assert (found["created"], found["alias"], found["moved"]) == (created, None, False)
    assert BundleStore(tmp_path).aliases("moderation").revision == 0


def test_what_is_not_there_is_said(uri: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(uri)
    for spec in ("models:/nobody@production", "models:/nobody/3", "nobody"):
        with pytest.raises(NotFoundError, match="nobody"), registry.fetched(spec):
            pass


def test_what_holds_no_bundle_or_a_damaged_one_is_refused_and_nothing_stays(
    uri: str, shipped: Path, tmp_path: Path
) -> None:
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "readme.txt").write_text("no bundle")
    _register(client, "empty", broken)
    with pytest.raises(BundleError, match="holds no bundle"):
        run_json("import", "models:/empty/1", "--uri", uri, "--to", tmp_path / "to", "--reason", "x")
    for file in shipped.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "readme.txt").unlink()
    (broken / MODEL).write_bytes((broken / MODEL).read_bytes()[:-1])
    _register(client, "damaged", broken)
    with pytest.raises(BundleError) as caught:
        run_json("import", "models:/damaged/1", "--uri", uri, "--to", tmp_path / "to", "--reason", "x")
    assert caught.value.problems[0].startswith(MODEL)
    assert not (tmp_path / "to").exists()


def test_another_content_under_a_published_version_is_refused(uri: str, shipped: Path, tmp_path: Path) -> None:
    bundle = read_bundle(shipped)
    files = {name: (shipped / name).read_bytes() for name in bundle.manifest.files}
    manifest = bundle.manifest
    other = read_bundle(write_bundle(tmp_path / "other", _renamed(manifest), files))
    MlflowRegistry(uri).export(bundle, "two-contents")
    MlflowRegistry(uri).export(other, "two-contents")
    run_json("import", "models:/two-contents/1", "--uri", uri, "--to", tmp_path / "to", "--reason", "x")
    with pytest.raises(BundleError, match="with other content"):
        run_json("import", "models:/two-contents/2", "--uri", uri, "--to", tmp_path / "to", "--reason", "x")
    assert (tmp_path / "to" / "moderation" / "1" / MANIFEST).read_bytes() == (shipped / MANIFEST).read_bytes()


def test_a_training_is_logged_with_its_choices_figures_and_files(uri: str, shipped: Path, tmp_path: Path) -> None:
    registry = MlflowRegistry(uri)
    registry.ready()
    bundle = read_bundle(shipped)
    run = MlflowClient(tracking_uri=uri).get_run(registry.log_training(bundle))
    recipe, evaluation = bundle.manifest.training["recipe"], bundle.manifest.evaluation
    assert run.info.status == "FINISHED"
    assert run.data.params["buckets"] == str(recipe["buckets"])
    assert run.data.params["contract.bits"] == str(recipe["contract"]["bits"])
    assert run.data.metrics["roc_auc/toxic"] == evaluation["labels"]["toxic"]["roc_auc"]
    assert run.data.metrics["mean_roc_auc"] == evaluation["mean_roc_auc"]
    assert run.data.tags["streamtag.sha256"] == bundle.ref.sha256
    client = MlflowClient(tracking_uri=uri)
    assert {Path(file.path).name for file in client.list_artifacts(run.info.run_id, "bundle")} == {
        file.name for file in shipped.iterdir()
    }


def test_a_training_with_more_figures_than_one_request_takes_is_logged_whole(uri: str, tmp_path: Path) -> None:
    bundle = read_bundle(find_bundle("security", []))
    many = {f"choice_{i}": i for i in range(130)}
    manifest = _described(bundle.manifest, training={"config": {**many, "nested": {"é": [1, 2]}}})
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
    again = read_bundle(write_bundle(tmp_path, manifest, files))
    run = MlflowClient(tracking_uri=uri).get_run(MlflowRegistry(uri).log_training(again))
    assert len(run.data.params) == 131
    assert run.data.params["nested._"] == "[1, 2]"
    assert (
        run.data.metrics["tactics/bundle/f1/execution"]
        == bundle.manifest.evaluation["tactics"]["bundle"]["labels"]["execution"]["f1"]
    )


def test_a_training_for_a_server_that_is_away_does_not_begin(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--mlflow", f"http://127.0.0.1:{port}"]
    found = CliRunner().invoke(app, ["train", "edos", *arguments])
    assert isinstance(found.exception, UnavailableError)


def test_a_server_that_is_away_is_said(shipped: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
        MlflowRegistry(f"http://127.0.0.1:{port}").export(read_bundle(shipped), "away")


def _register(client: MlflowClient, name: str, directory: Path) -> None:
    run = client.create_run("0")
    client.log_artifacts(run.info.run_id, str(directory), "bundle")
    client.create_registered_model(name)
    client.create_model_version(name, f"{run.info.artifact_uri}/bundle", run.info.run_id)


def _renamed(manifest: Any) -> Any:
    return _described(manifest, description="Another description.")


def _described(manifest: Any, **changes: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(manifest, **changes)
