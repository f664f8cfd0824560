"""What decides is loaded by the settings' rules: nobody but the model room reads a bundle past them."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "streamtag"
DECIDING = ("tagger", "control", "doctor", "devstack", "api")
FILES = [path for room in DECIDING for path in sorted((PACKAGE / room).rglob("*.py"))]
FILES += [PACKAGE / "cli" / name for name in ("release.py", "experiment.py", "score.py", "model_registry.py")]
# Loads again, in a process of its own, what the tagger has admitted; and shows a manifest.
for _exempt in (PACKAGE / "tagger" / "candidate_process.py", PACKAGE / "api" / "routes_models.py"):
    FILES.remove(_exempt)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_bundle_that_may_decide_passes_signature_and_taxonomy(path: Path) -> None:
    calls = [node.func for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    names = {call.id if isinstance(call, ast.Name) else getattr(call, "attr", "") for call in calls}
    assert not names & {"read_bundle", "load_scorer"}, "use read_admitted or load_admitted of streamtag.model.admission"
