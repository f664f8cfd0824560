"""`streamtag model held-out`: the rows that a bundle never saw, as a file of labelled documents."""

from pathlib import Path
from typing import Annotated

import typer

from streamtag.cli.context import Output, OutputFormat, print_json, say, settings
from streamtag.cli.model_labelled import Bundle, room, write_whole
from streamtag.model.bundle import read_bundle
from streamtag.model.registry import find_bundle


def held_out(
    bundle: Bundle = None,
    *,
    data: Annotated[Path, typer.Option("--data", help="Directory of the data that it was trained from.")],
    out: Annotated[Path, typer.Option("--out", help="File of JSON lines to write; it holds the texts.")],
    output: Output = OutputFormat.TABLE,
) -> None:
    """Write the rows that were held out of a bundle's training, for `evaluate --labels` and the other commands."""
    model = settings().settings.model
    found = read_bundle(find_bundle(bundle or model.bundle, model.directories), trusted=model.trusted_keys)
    lines = list(room("evaluation.held_out").held_out_lines(found.manifest, data))
    write_whole(out, b"".join(lines).decode())
    if output is OutputFormat.JSON:
        print_json({"bundle": found.ref, "path": str(out), "rows": len(lines)})
        return
    say(f"wrote {len(lines)} rows that {found.ref} never saw to {out}")
