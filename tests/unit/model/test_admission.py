"""What the settings ask of a bundle that may decide, and what a silent place for bundles is to whoever asks."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from signing import ANNA, BORIS
from tiny_bundle import build_tiny_bundle

from streamtag.api import server
from streamtag.control.first_start import configured_bundle
from streamtag.domain.release import BundleRef
from streamtag.errors import BundleError, RefusedError, UnavailableError
from streamtag.model import admission
from streamtag.model.admission import load_admitted, read_admitted, release_bundle
from streamtag.model.bundle import peek_ref
from streamtag.model.store import BundleStore
from streamtag.settings import ModelSettings, Settings
from streamtag.tagger import worker

KEY = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
TAXONOMY = "taxonomy: t\nversion: 1\nlabels: [{id: spam, name: Spam, owner: o, since: 1}]"


def model(**settings: object) -> ModelSettings:
    return ModelSettings.model_validate(settings)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return build_tiny_bundle(tmp_path)


@pytest.mark.parametrize("admit", [read_admitted, load_admitted])
def test_a_bundle_passes_what_the_settings_ask_and_no_more(admit: object, tiny: Path, tmp_path: Path) -> None:
    assert callable(admit)
    admit(tiny, model())
    with pytest.raises(BundleError, match="is refused"):
        admit(tiny, model(trusted_keys=[KEY]))
    file = tmp_path / "taxonomy.yaml"
    file.write_text(TAXONOMY)
    with pytest.raises(BundleError) as caught:
        admit(tiny, model(taxonomy=str(file)))
    assert caught.value.problems == ("label greeting: unknown to taxonomy t 1",)
    file.write_text(TAXONOMY.replace("id: spam", "id: [spam]"))
    with pytest.raises(RefusedError, match="no sound taxonomy"):
        admit(tiny, model(taxonomy=str(file)))


@pytest.mark.parametrize("admit", [read_admitted, load_admitted])
def test_a_bundle_that_became_another_one_after_it_was_found_is_refused(admit: Any, tiny: Path, tmp_path: Path) -> None:
    settings, ref = model(directories=[str(tmp_path)]), peek_ref(tiny)
    path = release_bundle(ref, settings)
    admit(path, settings, ref=ref)
    shutil.rmtree(path)
    build_tiny_bundle(tmp_path, weights_seed=1)
    with pytest.raises(BundleError, match=f"holds bundle tiny@1 of .* and tiny@1 of {ref.sha256[:12]}… was looked for"):
        admit(path, settings, ref=ref)


@pytest.mark.parametrize("load", ["champion", "candidate", "api"])
def test_who_loads_for_a_release_takes_its_bundle_alone(
    load: str, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: Any = SimpleNamespace(_settings=Settings())
    loads: dict[str, Callable[[BundleRef], object]] = {
        "champion": partial(worker._Worker._load, here),
        "candidate": partial(worker._Worker._find, here),
        "api": server._loader(Settings()),
    }
    other = build_tiny_bundle(tmp_path / "other", weights_seed=1)
    for module in (worker, server):
        monkeypatch.setattr(module, "release_bundle", lambda _ref, _model: other)
    loads[load](peek_ref(other))
    with pytest.raises(BundleError, match="was looked for"):
        loads[load](peek_ref(tiny))


def test_a_release_goes_on_with_the_signature_of_a_new_key(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    url, ref = "memory://new-key/bundles", peek_ref(tiny)
    for signer in (ANNA, BORIS):  # what was fetched with Anna's signature does not stand in the way of Boris'
        settings = model(directories=[url], trusted_keys=[signer.public])
        BundleStore(url).publish(signer.sign(tiny), trusted=settings.trusted_keys)
        assert read_admitted(release_bundle(ref, settings), settings).ref == ref


def test_a_silent_place_is_a_refusal_and_not_redis_that_is_away(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object, **_options: object) -> Path:
        raise UnavailableError("s3://bucket cannot be used", hint="Is it there?")

    ref = peek_ref(tiny)
    settings = Settings.model_validate({"model": {"bundle": "tiny", "directories": [str(tiny.parent.parent)]}})
    assert release_bundle(ref, settings.model) == tiny
    assert configured_bundle(settings).ref == ref
    monkeypatch.setattr(admission, "find_exact", silent)
    monkeypatch.setattr("streamtag.model.registry.find_bundle", silent)
    for ask in (lambda: release_bundle(ref, settings.model), lambda: configured_bundle(settings)):
        with pytest.raises(RefusedError, match="s3://bucket") as caught:
            ask()
        assert caught.value.hint == "Is it there?"
