"""`streamtag score`: lines of text, or events, to scores and tags by the stream's own code, without Kafka."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer

from streamtag.batch.scoring import EventScorer
from streamtag.cli import explanations
from streamtag.cli.context import OutputFormat, settings, warn
from streamtag.cli.explanations import ExplainedLabel
from streamtag.cli.outcome import read_text
from streamtag.control.threshold_file import parse_threshold_file
from streamtag.control.threshold_reader import by_taxonomy
from streamtag.domain.thresholds import ThresholdSet, problems
from streamtag.errors import NotFoundError, RefusedError, SettingsError, without_frames
from streamtag.events.content import ContentEvent
from streamtag.events.decoder import Decoder
from streamtag.events.rejection import ErrorClass, Rejected
from streamtag.events.tags import Tag
from streamtag.model.admission import load_admitted
from streamtag.model.bundle import Bundle
from streamtag.model.explain import Explainer
from streamtag.model.registry import find_bundle
from streamtag.model.scorer import Scorer
from streamtag.model.taxonomy_file import configured_taxonomy
from streamtag.settings import EventsSettings

# What one read may bring: many short lines at once from a file, what there is from a pipe, so that `tail -f` flows.
READ_BYTES = 256 * 1024


class LineFormat(StrEnum):
    """What a line holds."""

    TEXT = "text"
    JSON = "json"


class ScoredLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of output. ``id`` is the event's, or ``<file>:<line>`` of a text; stages as in a tag event."""

    line: int
    id: str
    tags: list[Tag]
    scores: dict[str, float]
    segment: dict[str, str] | None = None
    explanations: list[ExplainedLabel] | None = None
    stage: str = "1"
    stage2: str | None = None
    stage1_scores: dict[str, float] | None = None


@dataclass(frozen=True)
class Line:
    """A line of input, without its end; ``content`` is None where it was longer than allowed."""

    number: int
    content: bytes | None


@dataclass
class Tally:
    """Lines so far."""

    scored: int = 0
    refused: int = 0


class LineScorer:
    """Decodes, scores and decides lines, a batch at a time."""

    def __init__(
        self, scorer: Scorer, thresholds: ThresholdSet, line_format: LineFormat, events: EventsSettings
    ) -> None:
        self._scorer = EventScorer(scorer, thresholds)
        self._format = line_format
        self._limits = events
        self._decode = Decoder(events).decode

    def score(
        self, source: str, lines: Sequence[Line]
    ) -> tuple[list[tuple[ScoredLine, ContentEvent]], list[tuple[int, Rejected]]]:
        """Output and event of the good lines, in their order, and (line number, why) for the others."""
        numbers: list[int] = []
        events: list[ContentEvent] = []
        refused: list[tuple[int, Rejected]] = []
        for line in lines:
            try:
                event = self._event(source, line)
            except Rejected as rejected:
                refused.append((line.number, without_frames(rejected)))
                continue
            if event is not None:
                numbers.append(line.number)
                events.append(event)
        scored = self._scorer.score(events)
        refused += [(numbers[i], rejected) for i, rejected in scored.refused.items()]
        good = [
            (
                ScoredLine(
                    numbers[at],
                    event.id,
                    scored.tags(row, self._scorer.labels),
                    dict(zip(self._scorer.labels, scored.scores[row].tolist(), strict=True)),
                    _segment(event),
                    **scored.staged(row, self._scorer.labels)._asdict(),
                ),
                event,
            )
            for row, (at, event) in enumerate(zip(scored.at.tolist(), scored.events, strict=True))
        ]
        return good, sorted(refused, key=lambda entry: entry[0])

    def _event(self, source: str, line: Line) -> ContentEvent | None:
        """The event of a line; None for a blank line between events."""
        if line.content is None:
            message = f"longer than {self._limits.max_bytes} bytes (events.max_bytes)"
            raise Rejected(ErrorClass.TOO_LARGE, stage="decode", message=message)
        if self._format is LineFormat.JSON:
            if not line.content.strip():
                return None
            return self._decode(line.content, key=None, headers=None, position=(source, 0, line.number))
        try:
            text = line.content.decode("utf-8")
        except UnicodeDecodeError as error:
            message = f"not UTF-8 at byte {error.start}"
            raise Rejected(ErrorClass.INVALID_UTF8, stage="decode", message=message) from None
        if len(text) > self._limits.max_text_chars:
            message = f"{len(text)} characters, the limit is {self._limits.max_text_chars} (events.max_text_chars)"
            raise Rejected(ErrorClass.TEXT_TOO_LONG, stage="decode", message=message)
        return ContentEvent(id=f"{source}:{line.number}", text=text)


def score(
    files: Annotated[list[Path] | None, typer.Argument(help="Files to read; none, or -: stdin.")] = None,
    *,
    bundle: Annotated[
        str | None, typer.Option("--bundle", "-b", help="name, name@version or a path; default: model.bundle.")
    ] = None,
    thresholds: Annotated[
        Path | None,
        typer.Option("--thresholds", "-t", help="Cut-offs (YAML or JSON, as `thresholds apply` reads)."),
    ] = None,
    line_format: Annotated[
        LineFormat, typer.Option("--format", "-f", help="text: a line is a text; json: a line is a content event.")
    ] = LineFormat.TEXT,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say for each label what each word adds to the logit of its score.")
    ] = False,
    output: Annotated[
        OutputFormat | None,
        typer.Option("--output", "-o", help="With --explain: table colours the words (default on a terminal)."),
    ] = None,
) -> None:
    """Score lines of text, or content events, and write scores and tags as JSON lines.

    The same decoding, model and decision as in the stream. Refused lines are named on stderr, never shown; exit
    code 1 when there was any. Explanations quote nothing: they name places. In colour, the text is shown once for each
    of its tags, or for its highest score where it has none.
    """
    if output is OutputFormat.TABLE and not explain:
        raise SettingsError("--output table goes with --explain; scores alone come as JSON lines")
    in_colour = output is OutputFormat.TABLE or (output is None and sys.stdout.isatty())
    loaded = settings().settings
    scorer = load_admitted(find_bundle(bundle or loaded.model.bundle, loaded.model.directories), loaded.model)
    cutoffs = scorer.bundle.default_thresholds if thresholds is None else read_thresholds(thresholds, scorer.bundle)
    line_scorer = LineScorer(scorer, cutoffs, line_format, loaded.events)
    explainers = {stage: Explainer(of) for stage, of in _stages(scorer).items()} if explain else {}
    tally = Tally()
    for path in files or [Path("-")]:
        name = "stdin" if str(path) == "-" else str(path)
        with _open(path) as stream:
            for lines in read_lines(stream, loaded.events.max_bytes):
                good, refused = line_scorer.score(name, lines)
                if explainers and in_colour:
                    _show(explainers, good)
                else:
                    _write([_with_reasons(*one, explainers) for one in good])
                _complain(name, refused)
                tally.scored += len(good)
                tally.refused += len(refused)
    if tally.refused:
        warn(f"{tally.refused} of {tally.refused + tally.scored} lines refused", style="red")
        raise typer.Exit(1)


def read_lines(stream: BinaryIO, max_bytes: int) -> Iterator[list[Line]]:
    """The lines of ``stream``, in lists of what one read completed; memory stays bounded whatever a line's length.

    Args:
        stream: buffered, binary.
        max_bytes: a longer line is passed over and comes without content.
    """
    rest, number, too_long = b"", 0, False
    while chunk := stream.read1(READ_BYTES):  # type: ignore[attr-defined]
        *complete, rest = (rest + chunk).split(b"\n")
        lines = []
        for content in complete:
            number += 1
            lines.append(_line(number, content, max_bytes, too_long))
            too_long = False
        if len(rest) > max_bytes + 1:  # + 1: a carriage return may follow
            rest, too_long = b"", True
        if lines:
            yield lines
    if rest or too_long:
        yield [_line(number + 1, rest, max_bytes, too_long)]


def _line(number: int, content: bytes, max_bytes: int, too_long: bool) -> Line:
    content = content.removesuffix(b"\r")
    if number == 1:
        content = content.removeprefix(b"\xef\xbb\xbf")
    return Line(number, None if too_long or len(content) > max_bytes else content)


def _write(good: list[ScoredLine]) -> None:
    sys.stdout.buffer.write(msgspec.json.Encoder().encode_lines(good))
    sys.stdout.buffer.flush()


def _stages(scorer: Scorer) -> dict[str, Scorer]:
    """The model of each stage: a score is explained by the one that it is from."""
    return {"1": scorer} if scorer.second is None else {"1": scorer, "2": scorer.second}


def _with_reasons(line: ScoredLine, event: ContentEvent, explainers: Mapping[str, Explainer]) -> ScoredLine:
    if not explainers:
        return line
    found = explainers[line.stage].explain(event.text or "", features=event.features)
    return msgspec.structs.replace(line, explanations=explanations.as_json(found))


def _show(explainers: Mapping[str, Explainer], good: list[tuple[ScoredLine, ContentEvent]]) -> None:
    for line, event in good:
        labels = [tag.label for tag in line.tags] or [max(line.scores, key=line.scores.__getitem__)]
        text = event.text or ""
        explanations.show(line.id, text, explainers[line.stage].explain(text, labels, features=event.features))


def _complain(name: str, refused: list[tuple[int, Rejected]]) -> None:
    for number, rejected in refused:
        where = f" at {rejected.field}" if rejected.field else ""
        warn(f"{name}:{number}: {rejected.error_class}{where}: {rejected.message}")


def _open(path: Path) -> AbstractContextManager[BinaryIO]:
    if str(path) == "-":
        return nullcontext(sys.stdin.buffer)  # not ours to close: it may be named again, and is at its end then
    try:
        return path.open("rb")
    except OSError as error:
        raise NotFoundError(f"cannot read {path}: {error.strerror}") from None


def read_thresholds(path: Path, bundle: Bundle) -> ThresholdSet:
    """The cut-offs of a file; ids of before are read by the taxonomy, where one is configured.

    Raises:
        RefusedError: the file cannot be read, is no threshold file, or does not fit the bundle.
    """
    found = parse_threshold_file(read_text(path), str(path)).thresholds
    found = by_taxonomy(configured_taxonomy(settings().settings.model), warn)(found, bundle.labels)
    wrong = problems(found, bundle.labels)
    if wrong:
        raise RefusedError(f"{path} does not fit bundle {bundle.ref}", problems=wrong)
    return found


def _segment(event: ContentEvent) -> dict[str, str] | None:
    found = {"lang": event.lang, "channel": event.channel, "tenant": event.tenant}
    return {name: value for name, value in found.items() if value is not None} or None
