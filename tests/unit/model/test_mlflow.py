"""Bundles from and to MLflow, with a client that answers as told; `tests/mlflow_server` has a real one."""

import hashlib
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import msgspec
import pytest
from model_commands import run
from signing import ANNA
from tiny_bundle import build_tiny_bundle

from streamtag.cli import context
from streamtag.errors import BundleError, ConflictError, RefusedError, UnavailableError
from streamtag.model.bundle import MANIFEST, peek_ref, read_bundle
from streamtag.model.mlflow_record import parameters
from streamtag.model.mlflow_registry import MlflowRegistry
from streamtag.model.signature import SIGNATURE
from streamtag.model.store import BundleStore

URI = "http://mlflow:5000"


class Refusal(Exception):  # noqa: N818 - named as MLflow's own is used here
    """What MLflow itself raises."""


class FakeMlflow:
    """An MLflow that holds one model version: the bundle in ``held``."""

    def __init__(self, held: Path) -> None:
        self.client = MagicMock()
        self.client.search_model_versions.return_value = []
        self.client.log_artifacts.side_effect = self._log
        self.logged: list[str] = []
        self.held = held
        self.while_downloading: Callable[[], object] = lambda: None
        self.tag(hashlib.sha256((held / MANIFEST).read_bytes()).hexdigest())

    def tag(self, sha256: str) -> None:
        version = MagicMock(version="1", tags={"streamtag.sha256": sha256})
        self.client.get_model_version_by_alias.return_value = self.client.get_model_version.return_value = version

    def download(self, *, dst_path: str, **_: object) -> str:
        self.while_downloading()
        shutil.copytree(self.held, Path(dst_path) / "bundle")
        return dst_path

    def _log(self, _run: str, directory: str, _under: str) -> None:
        self.logged = sorted(path.name for path in Path(directory).iterdir())


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return ANNA.sign(build_tiny_bundle(tmp_path / "made"))


@pytest.fixture
def mlflow(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMlflow:
    fake, module = FakeMlflow(tiny), ModuleType("mlflow")
    vars(module).update(
        MlflowClient=lambda **_: fake.client,
        exceptions=MagicMock(MlflowException=Refusal),
        entities=MagicMock(),
        artifacts=MagicMock(download_artifacts=fake.download),
    )
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    return fake


def imported(spec: str, to: Path) -> str:
    return run("mlflow", "import", spec, "--uri", URI, "--to", to, "--reason", "why", "--author", "anna")


@pytest.mark.parametrize("training", [False, True])
def test_what_lies_beside_the_files_of_a_bundle_is_not_uploaded(mlflow: FakeMlflow, tiny: Path, training: bool) -> None:
    bundle, registry = read_bundle(tiny), MlflowRegistry(URI)
    (tiny / ".env").write_text("PASSWORD=secret")
    (tiny / "notes.txt").write_text("private")
    if training:
        registry.log_training(bundle)
    else:
        registry.export(bundle, "tiny")
    assert mlflow.logged == sorted([MANIFEST, SIGNATURE, *bundle.manifest.files])


@pytest.mark.parametrize("training", [{"rows": 1_000}, {"environment": "made by hand"}, {"config": ["a"]}])
def test_a_training_that_is_recorded_in_another_form_is_logged_all_the_same(
    mlflow: FakeMlflow, tiny: Path, training: dict[str, Any]
) -> None:
    bundle = read_bundle(tiny)
    other = replace(bundle, manifest=msgspec.structs.replace(bundle.manifest, training=training))
    MlflowRegistry(URI).log_training(other)
    assert mlflow.logged == sorted([MANIFEST, SIGNATURE, *bundle.manifest.files])
    assert parameters(other) == {}


def test_a_name_with_a_quote_is_refused_and_not_changed(mlflow: FakeMlflow, tiny: Path) -> None:
    with pytest.raises(RefusedError, match="quote"):
        MlflowRegistry(URI).export(read_bundle(tiny), "anna's")
    assert mlflow.client.mock_calls == []


def test_another_bundle_than_the_registered_one_is_refused(mlflow: FakeMlflow, tiny: Path) -> None:
    registry = MlflowRegistry(URI)
    with registry.fetched("models:/tiny/1") as fetched:
        assert peek_ref(fetched.path) == peek_ref(tiny)
    mlflow.tag("f" * 64)
    with pytest.raises(BundleError, match="one of ffffffffffff… was registered"), registry.fetched("models:/tiny/1"):
        pass


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), ModuleNotFoundError("No module: boto3")])
def test_what_keeps_from_artifacts_is_said(mlflow: FakeMlflow, tiny: Path, error: Exception) -> None:
    def fail(*_: object) -> Any:
        raise error

    registry = MlflowRegistry(URI)
    mlflow.client.log_artifacts.side_effect = mlflow.while_downloading = fail
    for ask in (
        lambda: registry.export(read_bundle(tiny), "tiny"),
        lambda: registry.log_training(read_bundle(tiny)),
        lambda: registry.fetched("models:/tiny/1").__enter__(),
    ):
        with pytest.raises(UnavailableError, match=f"{URI}: .*(denied|boto3)") as caught:
            ask()
        assert "packages" in caught.value.hint


def test_an_address_that_mlflow_cannot_use_is_said(mlflow: FakeMlflow) -> None:
    def refuse(**_: object) -> Any:
        raise Refusal("unsupported URI 'ftp://mlflow'")

    vars(sys.modules["mlflow"])["MlflowClient"] = refuse
    with pytest.raises(UnavailableError, match="MLflow at ftp://mlflow cannot be used: unsupported"):
        MlflowRegistry("ftp://mlflow")


def test_an_import_gives_the_alias_but_not_over_one_that_moved_meanwhile(
    mlflow: FakeMlflow, tiny: Path, tmp_path: Path
) -> None:
    store = BundleStore(tmp_path / "to")
    two = build_tiny_bundle(tmp_path / "made", version="2", weights_seed=2)

    def promoted() -> None:
        store.publish(two)
        at, before = datetime(2026, 11, 28, tzinfo=UTC), store.aliases("tiny")
        store.set_alias("production", peek_ref(two), author="boris", reason="better", at=at, based_on=before)

    mlflow.while_downloading = promoted
    with pytest.raises(ConflictError, match="boris was first"):
        imported("models:/tiny@production", tmp_path / "to")
    assert store.aliases("tiny").aliases["production"].version == "2"
    mlflow.while_downloading = lambda: None
    assert "tiny@production is version 1 now" in imported("models:/tiny@production", tmp_path / "to")


def test_damaged_aliases_of_another_bundle_are_no_matter(mlflow: FakeMlflow, tmp_path: Path) -> None:
    damaged = tmp_path / "to" / "other" / ".aliases" / "00000001.json"
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{")
    with pytest.raises(BundleError):
        BundleStore(tmp_path / "to").aliases("other")
    assert "tiny@production is version 1 now" in imported("models:/tiny@production", tmp_path / "to")


@pytest.mark.parametrize("alias", ["1", "not plain"])
def test_an_import_by_what_can_be_no_alias_here_publishes_nothing(
    mlflow: FakeMlflow, tmp_path: Path, alias: str
) -> None:
    with pytest.raises(RefusedError, match="alias"):
        imported(f"models:/tiny@{alias}", tmp_path / "to")
    assert BundleStore(tmp_path / "to").names() == []
