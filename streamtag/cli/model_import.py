"""`streamtag model import`: a bundle from an ONNX file that was made elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from streamtag.cli.context import Output, OutputFormat, finite, optional_module, print_facts, print_json, say
from streamtag.model.bundle import read_bundle
from streamtag.model.contracts.text_rules import TextRules
from streamtag.model.normalise import Normalisation


def import_(
    *,
    onnx: Annotated[Path, typer.Option("--onnx", help="The graph; files of weights lie beside it.")],
    labels: Annotated[
        Path, typer.Option("--labels", help="Labels in the order of the outputs: a line each, YAML, or a config.json.")
    ],
    name: Annotated[str, typer.Option("--name", help="Of the bundle.")],
    out: Annotated[Path, typer.Option("--out", help="Directory of bundles to write <name>/<version>/ into.")],
    version: Annotated[str, typer.Option("--version", help="Of the bundle; a version is never changed.")] = "1",
    tokenizer: Annotated[
        Path | None, typer.Option("--tokenizer", help="tokenizer.json, for graphs that read token ids.")
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option("--features", help="YAML list of the numbers it reads: name, range, default."),
    ] = None,
    activation: Annotated[
        Literal["sigmoid", "softmax", "none"],
        typer.Option("--activation", help="What makes probabilities of the output; none: it gives them."),
    ] = "none",
    scores: Annotated[str | None, typer.Option("--scores", help="Output to take, where several could be it.")] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", help="A longer text is cut.")] = None,
    normalise: Annotated[
        bool,
        typer.Option("--normalise", help="Fold lookalikes, drop invisible characters first (docs/models.md)."),
    ] = False,
    expect: Annotated[
        Path | None,
        typer.Option("--expect", help="JSON lines {text, features, scores}: what it said where it was made."),
    ] = None,
    tolerance: Annotated[
        float, typer.Option("--tolerance", callback=finite, help="Largest difference of a score.")
    ] = 1e-4,
    description: Annotated[str, typer.Option("--description", help="For people.")] = "",
    output: Output = OutputFormat.TABLE,
) -> None:
    """Make a bundle of your own model: an ONNX file and the names of its labels.

    Looks at the graph's inputs and outputs, chooses how it is fed, makes fixtures, and runs every gate that a worker
    runs. Refused with every reason at once; nothing is written then.
    """
    importer = optional_module("streamtag.model.importing.importer", "importing a model", "import")
    request_module = optional_module("streamtag.model.importing.request", "importing a model", "import")
    request = request_module.Request(
        onnx=onnx,
        labels=labels,
        name=name,
        version=version,
        tokenizer=tokenizer,
        features=features,
        expected=expect,
        activation=activation,
        scores=scores,
        max_tokens=max_tokens,
        tolerance=tolerance,
        description=description,
        text=TextRules(normalisation=Normalisation() if normalise else None),
    )
    imported = importer.import_bundle(request, out)
    bundle = read_bundle(imported.path)
    if output is OutputFormat.JSON:
        about = {"ref": msgspec.to_builtins(bundle.ref), "path": str(imported.path), "notes": list(imported.notes)}
        print_json({**about, "manifest": msgspec.to_builtins(bundle.manifest)})
        return
    print_facts(
        {
            "bundle": bundle.ref,
            "sha256": bundle.ref.sha256,
            "path": imported.path,
            "contract": bundle.manifest.preprocessing.kind,
            "labels": ", ".join(bundle.labels),
        }
    )
    for note in imported.notes:
        say(f"  {note}")
