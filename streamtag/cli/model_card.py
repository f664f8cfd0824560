"""`streamtag model card`: what a bundle is, for whoever has to decide about it."""

from pathlib import Path
from typing import Annotated

import typer

from streamtag.cli.context import Output, OutputFormat, print_json, settings, warn
from streamtag.cli.model_labelled import Bundle, write_whole
from streamtag.cli.outcome import read_text
from streamtag.model.bundle import read_bundle
from streamtag.model.card import card as card_of
from streamtag.model.card import facts
from streamtag.model.card_notes import read_figures, saved
from streamtag.model.registry import find_bundle
from streamtag.model.reports import reports


def card(
    bundle: Bundle = None,
    *,
    figures: Annotated[
        list[str] | None,
        typer.Option(
            "--figures",
            help="Output of `model evaluate --labels … --output json` to add: FILE, or TITLE=FILE; several.",
        ),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", help="Also keep these figures in a file, as those that ship.")
    ] = None,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Write the model card of a bundle as Markdown: data, licences, figures, calibration, limits, what it's not for."""
    model = settings().settings.model
    found = read_bundle(find_bundle(bundle or model.bundle, model.directories), trusted=model.trusted_keys)
    more, problems = reports(found, model.directories)
    for problem in problems:
        warn(problem)
    given = []
    for one in figures or ():
        title, _, path = ("", "", one) if Path(one).is_file() else one.rpartition("=")
        given.append(read_figures(read_text(Path(path)).encode(), path, found, title))
    if save is not None:
        write_whole(save, saved(found.ref, given).decode())
    if output is OutputFormat.JSON:
        print_json(facts(found, [*more, *given]))
        return
    typer.echo(card_of(found, [*more, *given]), nl=False)
