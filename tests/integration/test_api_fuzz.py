"""schemathesis against a running `streamtag api` with its real Kafka and Redis: what OpenAPI promises holds.

`make api-fuzz` runs the same for longer.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from services import wait_until
from workers import Fleet

from streamtag.control.store import ControlStore
from streamtag.control.tokens import Role, TokenStore

EXAMPLES = int(os.environ.get("STREAMTAG_FUZZ_EXAMPLES", "3"))
"""Made up per route, beside those that cover its schema."""
LIMIT_S = int(os.environ.get("STREAMTAG_FUZZ_SECONDS", "280"))

pytestmark = [pytest.mark.services, pytest.mark.timeout(LIMIT_S + 60)]

CONFIG = Path(__file__).parents[1] / "schemathesis.toml"


def test_no_request_finds_an_answer_that_openapi_does_not_promise(
    fleet: Fleet, fleet_store: ControlStore, tmp_path: Path
) -> None:
    fleet.start().wait_ready()  # seeds the first release
    api, url = fleet.start_api()
    token = TokenStore(fleet_store).create("fuzz", Role.ADMIN, by="anna")
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={CONFIG}", "run", f"{url}/openapi.json"]
    command += [f"--max-examples={EXAMPLES}", "--phases=examples,coverage,fuzzing", "--request-timeout=30"]
    command += ["--header", f"Authorization: Bearer {token}", "--no-color", "--continue-on-failure", "--seed=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    wait_until(lambda: api.health()[0] == 200, 10, "the API is still ready")
    assert "Traceback" not in api.log.read_text()
    assert api.stop() == 0
