"""A way in and out of an MLflow model registry: versions with a bundle as their artifacts, and its aliases.

MLflow's aliases are news from another place, never a second truth: what was imported is published and may be given the
same alias there (`streamtag.model.store`), and a release is proposed. Nothing here changes what decides.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamtag.errors import BundleError, NotFoundError, RefusedError, StreamtagError, UnavailableError
from streamtag.model import mlflow_record
from streamtag.model.bundle import Bundle, bundle_files, peek_ref
from streamtag.model.manifest import MANIFEST

__all__ = ["Fetched", "MlflowRegistry"]

_ARTIFACTS = "bundle"
_EXPERIMENT, _TRAINING = "streamtag bundles", "streamtag training"
_MOST_PARAMETERS, _MOST_METRICS = 100, 1_000
"""That MLflow takes at once."""
_AWAY = (
    "Is the MLflow server there, are its credentials set, may you use the place of its artifacts, and are the packages "
    "that this place needs installed?"
)
_SPEC = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>[0-9]+))")
_SHA256, _BUNDLE = "streamtag.sha256", "streamtag.bundle"


@dataclass(frozen=True)
class Fetched:
    """A model version, downloaded.

    Attributes:
        path: directory of the bundle; gone when the context ends. Nothing in it is verified but what MLflow recorded.
        name, version: of the registered model.
        alias: by which it was asked for; None when by its number.
    """

    path: Path
    name: str
    version: str
    alias: str | None


class MlflowRegistry:
    """The model registry of one MLflow server.

    Args:
        uri: of the server, e.g. ``http://127.0.0.1:5000``; credentials as MLflow takes them, from its environment.

    Raises:
        UnavailableError: MLflow cannot use such a URI here.
    """

    def __init__(self, uri: str) -> None:
        # MLflow's own default would go on asking a server that is away for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        # It would be printed amid what a command prints.
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        try:
            import mlflow  # noqa: PLC0415 - an extra
            from mlflow import MlflowClient, exceptions  # noqa: PLC0415
        except ModuleNotFoundError:
            raise StreamtagError(
                "exchange with MLflow needs the package mlflow-skinny",
                hint="Install the extra: pip install 'streamtag[mlflow]'.",
            ) from None
        self.uri = uri
        self._mlflow: Any = mlflow
        self._refusal: type[Exception] = exceptions.MlflowException
        try:
            self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        except Exception as error:
            raise UnavailableError(f"MLflow at {uri} cannot be used: {_reason(error)}", hint=_AWAY) from error

    def export(self, bundle: Bundle, name: str, *, alias: str | None = None) -> tuple[str, bool]:
        """Registers ``bundle`` as a version of the model ``name``, and lets ``alias`` mean it.

        Returns:
            The number of the version, and whether it was made now: the same bundle is registered once.

        Raises:
            RefusedError: a name that MLflow cannot be asked for.
            UnavailableError: the server does not answer, or refuses.
        """
        if "'" in name:
            raise RefusedError(f"model {name!r} must have no quote in its name", hint="Take another --name.")
        with self._asked(f"model {name}"):
            version = self._version_of(name, bundle.ref.sha256)
            created = version is None
            if version is None:
                version = self._register(bundle, name)
            if alias is not None:
                self._client.set_registered_model_alias(name, alias, version)
        return version, created

    def ready(self) -> None:
        """Makes sure that a training can be logged, before it takes minutes.

        Raises:
            UnavailableError: the server does not answer, or refuses.
        """
        with self._asked(f"experiment {_TRAINING}"):
            self._experiment(_TRAINING)

    def log_training(self, bundle: Bundle) -> str:
        """A run with the parameters, figures and files of the training that made ``bundle``; returns its id.

        Raises:
            UnavailableError: the server does not answer, or refuses.
        """
        client, entities = self._client, self._mlflow.entities
        now = int(time.time() * 1_000)
        parameters = [entities.Param(name, value) for name, value in mlflow_record.parameters(bundle).items()]
        metrics = [entities.Metric(name, value, now, 0) for name, value in mlflow_record.metrics(bundle).items()]
        with self._asked(f"the training of {bundle.ref}"):
            number = self._experiment(_TRAINING)
            run = client.create_run(number, run_name=str(bundle.ref), tags=mlflow_record.tags(bundle))
            with self._ending(run.info.run_id):
                for at in range(0, len(parameters), _MOST_PARAMETERS):
                    client.log_batch(run.info.run_id, params=parameters[at : at + _MOST_PARAMETERS])
                for at in range(0, len(metrics), _MOST_METRICS):
                    client.log_batch(run.info.run_id, metrics=metrics[at : at + _MOST_METRICS])
                self._upload(bundle, run.info.run_id)
        return str(run.info.run_id)

    @contextmanager
    def fetched(self, spec: str) -> Iterator[Fetched]:
        """Downloads the version that ``spec`` means: ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``.

        Raises:
            NotFoundError: there is none.
            BundleError: it holds no bundle, or another one than was registered.
            UnavailableError: the server does not answer.
        """
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise NotFoundError(f"{spec!r} is no model version: write models:/NAME@ALIAS or models:/NAME/VERSION")
        name, alias = match["name"], match["alias"]
        with tempfile.TemporaryDirectory(prefix="streamtag-mlflow-") as directory:
            with self._asked(spec):
                found = (
                    self._client.get_model_version_by_alias(name, alias)
                    if alias
                    else self._client.get_model_version(name, match["version"])
                )
                source = self._client.get_model_version_download_uri(name, found.version)
                downloaded = self._mlflow.artifacts.download_artifacts(
                    artifact_uri=source, dst_path=directory, tracking_uri=self.uri
                )
            path = _bundle_in(Path(downloaded), spec)
            _refuse_other(path, found.tags.get(_SHA256), spec)
            yield Fetched(path, name, str(found.version), alias)

    def _version_of(self, name: str, sha256: str) -> str | None:
        found = self._client.search_model_versions(f"name = '{name}' and tags.`{_SHA256}` = '{sha256}'")
        return str(found[0].version) if found else None

    def _register(self, bundle: Bundle, name: str) -> str:
        """Artifacts first, the version last: one that was cut off is a run that failed, and no version."""
        client, ref = self._client, bundle.ref
        tags = {_BUNDLE: str(ref), _SHA256: ref.sha256}
        run = client.create_run(self._experiment(_EXPERIMENT), run_name=str(ref), tags=tags)
        with self._ending(run.info.run_id):
            self._upload(bundle, run.info.run_id)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name)
        made = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/{_ARTIFACTS}",
            run_id=run.info.run_id,
            tags=tags,
            description=bundle.manifest.description,
        )
        return str(made.version)

    def _upload(self, bundle: Bundle, run: str) -> None:
        """What belongs to the bundle, from a copy: whatever else lies in its directory stays there."""
        with tempfile.TemporaryDirectory(prefix="streamtag-mlflow-") as directory:
            for name, content in bundle_files(bundle).items():
                (Path(directory) / name).write_bytes(content)
            self._client.log_artifacts(run, directory, _ARTIFACTS)

    def _experiment(self, name: str) -> str:
        """Its number; it is made where there is none."""
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name))

    @contextmanager
    def _ending(self, run: str) -> Iterator[None]:
        ended = "FAILED"
        try:
            yield
            ended = "FINISHED"
        finally:
            self._client.set_terminated(run, ended)

    @contextmanager
    def _asked(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._refusal as error:
            if getattr(error, "error_code", "") in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                raise NotFoundError(f"{what} at {self.uri}: {_reason(error)}") from None
            raise UnavailableError(f"{what} at {self.uri}: {_reason(error)}", hint=_AWAY) from None
        except StreamtagError:
            raise
        except Exception as error:
            # artifacts and databases are reached by other libraries, which have errors of their own
            raise UnavailableError(f"{what} at {self.uri}: {_reason(error)}", hint=_AWAY) from error


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0][:300] or type(error).__name__


def _refuse_other(path: Path, registered: str | None, spec: str) -> None:
    """Refuses artifacts that were exchanged since; a version that others registered says no hash."""
    if registered is not None and (sha256 := peek_ref(path).sha256) != registered:
        raise BundleError(
            f"{spec} holds a bundle of sha256 {sha256[:12]}…, and one of {registered[:12]}… was registered",
            hint="Find out who exchanged its artifacts, and export the bundle that is meant as a new version.",
        )


def _bundle_in(directory: Path, spec: str) -> Path:
    found = [path.parent for path in sorted(directory.rglob(MANIFEST))]
    if len(found) != 1:
        raise BundleError(
            f"{spec} holds {len(found) or 'no'} bundle{'s' if len(found) > 1 else ''}",
            hint="Its artifacts must be those of one bundle, as `streamtag model mlflow export` writes them.",
        )
    return found[0]
