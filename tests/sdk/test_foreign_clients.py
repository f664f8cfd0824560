"""Clients of others, unchanged, against a running `streamtag api`: `make sdk-test`.

They come from npm and PyPI when the test runs, each into a directory of its own, so this is no part of `make test`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from workers import Fleet

from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

HERE = Path(__file__).parent
TEXTS = ["a green window", "good morning to all"]
OPENAI = "openai@^6"


@pytest.fixture
def served(fleet: Fleet, fleet_store: ControlStore) -> Iterator[tuple[str, str]]:
    """Address and token of an API."""
    fleet.start().wait_ready()
    api, url = fleet.start_api()
    token = TokenStore(fleet_store).create("sdk", Role.VIEWER, by="anna")
    yield url.removeprefix("http://"), token
    assert api.stop() == 0


def run(*command: str, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, f"{' '.join(command[:3])} …: {done.stderr[-3_000:]}"
    return done.stdout


def expected(address: str, token: str) -> list[dict[str, Any]]:
    body = {"events": [{"text": text} for text in TEXTS]}
    answer = httpx.post(f"http://{address}/v1/score", json=body, headers={"Authorization": f"Bearer {token}"})
    found: list[dict[str, Any]] = answer.json()["results"]
    return found


def test_openais_package_for_node(served: tuple[str, str], tmp_path: Path) -> None:
    npm, node = shutil.which("npm"), shutil.which("node")
    assert npm, "npm is missing (Debian: apt-get install npm)"
    assert node, "node is missing (Debian: apt-get install nodejs)"
    address, token = served
    run(npm, "install", "--no-save", "--ignore-scripts", "--loglevel=error", OPENAI, cwd=tmp_path)
    script = shutil.copy(HERE / "node_client.mjs", tmp_path)
    found = json.loads(run(node, str(script), f"http://{address}/v1", token, cwd=tmp_path))
    scores = [one["scores"] for one in expected(address, token)]
    assert [one["category_scores"] for one in found["many"]["results"]] == scores
    assert [one["category_scores"] for one in found["one"]["results"]] == scores[:1]
    assert [one["category_scores"] for one in found["parts"]["results"]] == scores[1:]
    assert found["many"]["model"] == "tiny@1"
    kinds = [(one["kind"], one["status"]) for one in found["refused"]]
    assert kinds == [("AuthenticationError", 401), ("UnprocessableEntityError", 422)]


def test_tritons_client_speaks_the_open_inference_protocol(served: tuple[str, str]) -> None:
    address, token = served
    python = os.environ.get("STREAMTAG_TRITON_PYTHON", sys.executable)
    found = json.loads(run(python, str(HERE / "triton_client.py"), address, token, "tiny"))
    assert (found["live"], found["ready"], found["model_ready"]) == (True, True, True)
    assert (found["server"]["name"], found["metadata"]["versions"], found["id"]) == ("streamtag", ["1"], "7")
    labels = found["metadata"]["parameters"]["labels"]
    for got, tagged, want in zip(found["scores"], found["tagged"], expected(address, token), strict=True):
        assert got == pytest.approx([want["scores"][label] for label in labels], abs=1e-6)
        given = {one["label"] for one in want["tags"]}
        assert tagged == [label in given for label in labels]
    assert found["refused"] == "404"
