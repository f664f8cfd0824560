"""`streamtag dlq`: the name of a group is a name, and leads to no file of anybody else."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamtag.cli import context
from streamtag.cli.dlq import app
from streamtag.errors import SettingsError


@pytest.mark.parametrize("command", [("status",), ("resume", "--reason", "repaired")])
def test_a_group_that_is_no_name_is_refused_before_any_file_is_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(context, "GLOBALS", context.Globals())
    monkeypatch.setenv("STREAMTAG_STATE_DIR", str(tmp_path))
    snapshot = tmp_path / "releases" / "default.json"
    snapshot.parent.mkdir()
    snapshot.write_text("{}")
    with pytest.raises(SettingsError, match=r"tagger\.group"):
        CliRunner().invoke(app, [*command, "--group", "../../releases/default"], catch_exceptions=False)
    assert snapshot.exists()
