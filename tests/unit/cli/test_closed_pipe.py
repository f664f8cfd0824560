"""A command whose reader has seen enough ends quietly, as other commands do: `streamtag … | head`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TAXONOMY = """
taxonomy: plants
version: 1
labels:
  - {id: tree, name: Tree, owner: forest, since: 1}
"""


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "config show",
        "config show --output json",
        pytest.param("taxonomy map --tags --file {taxonomy}", id="what is buffered when the command is done"),
    ],
)
def test_a_command_whose_reader_has_gone_ends_quietly_as_by_sigpipe(command: str, tmp_path: Path) -> None:
    taxonomy = tmp_path / "taxonomy.yaml"
    taxonomy.write_text(TAXONOMY)
    arguments = command.format(taxonomy=taxonomy).split()
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "streamtag", *arguments],
            input=b'{"tags": []}\n',
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_so_does_one_that_ends_in_an_error_with_output_left(tmp_path: Path) -> None:
    (tmp_path / "good.jsonl").write_text('{"id": "1", "text": "hello"}\n')
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "streamtag", "score", str(tmp_path / "good.jsonl"), str(tmp_path / "missing.jsonl")],
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.returncode == 141
    assert b"Exception ignored" not in done.stderr
    assert b"Traceback" not in done.stderr
