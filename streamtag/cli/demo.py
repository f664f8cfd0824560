"""`streamtag demo`: watch made-up events being tagged and challengers being judged, and change a threshold live."""

from typing import Annotated

import typer
from rich.console import Console

from streamtag.cli.context import Output, OutputFormat, finite, print_json, say, settings, stdout, warn
from streamtag.devstack.demo.launch import LONGEST_S, DemoOptions
from streamtag.devstack.demo.screens import LineScreen, LiveScreen, Screen
from streamtag.devstack.demo.services import KafkaKind
from streamtag.devstack.demo.session import run_demo
from streamtag.errors import StreamtagError

_SIGINT_EXIT = 130


def demo(
    seconds: Annotated[
        float | None,
        typer.Option(
            min=4,
            max=LONGEST_S,
            callback=finite,
            help=f"End after so many seconds of events; default: at Ctrl-C, or after {LONGEST_S}.",
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=1, max=2_000, callback=finite, help="Events a second.")] = 200,
    kafka: Annotated[
        KafkaKind, typer.Option(help="mock: embedded, at-least-once; real: Apache Kafka, exactly-once.")
    ] = KafkaKind.MOCK,
    workers: Annotated[int, typer.Option(min=1, max=4, help="Tagger processes.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the made-up events.")] = 1,
    output: Output = OutputFormat.TABLE,
) -> None:
    """Start a broker, Redis and taggers, feed them harmless made-up events, and show what happens.

    Nothing that runs already is touched, and nothing is left behind. Of the settings, only `model` counts. Two
    challengers are compared with the champion: one gets FAIL, one PASS. A run with --seconds then changes a threshold
    by itself and ends with a summary.
    """
    options = DemoOptions(seconds, rate, kafka, workers, seed, settings().settings.model)
    try:
        summary = run_demo(options, _screen(output))
    except KeyboardInterrupt:
        warn("interrupted before the first event")
        raise typer.Exit(_SIGINT_EXIT) from None
    if output is OutputFormat.JSON:
        print_json(summary.document())
    else:
        for line in summary.words():
            say(line)
    if summary.missing:
        raise StreamtagError(f"{summary.missing} events have neither a tag event nor a dead letter")


def _screen(output: OutputFormat) -> Screen:
    """Lines go to stderr where stdout belongs to the JSON document."""
    if output is OutputFormat.JSON:
        return LineScreen(Console(stderr=True))
    live = stdout.is_terminal and not stdout.is_dumb_terminal
    return LiveScreen(stdout) if live else LineScreen(stdout)
