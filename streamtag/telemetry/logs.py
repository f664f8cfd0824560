"""Structured logs: JSON lines where a machine reads them, one readable line on a terminal. Never content.

Code logs through the standard library, ``log.info("release applied", extra={"number": 3})``: a constant event, and
the facts as extras. Fields that could carry content are withheld by name, and so are messages of exceptions that
tend to quote their input; type, file and line say where to look.
"""

import json
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import msgspec
from opentelemetry import trace
from opentelemetry._logs import Logger, LogRecord, SeverityNumber

from streamtag.errors import StreamtagError
from streamtag.settings import TelemetrySettings
from streamtag.telemetry.repeats import Repeats

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_WITHHELD_FIELDS = frozenset({"text", "content", "payload", "value", "body", "record", "headers"})
_WITHHELD = "(withheld: may carry content)"
# Their messages quote what they were given: int("…"), {}["…"], "Invalid enum value '…'", a JSON document's piece.
_QUOTE_INPUT = (ValueError, LookupError, msgspec.MsgspecError)
_MAX_FIELD_CHARS = 1_000
_MAX_CAUSES = 5


def fields(record: logging.LogRecord) -> dict[str, Any]:
    """The extras of a record, in the order given; fields that could carry content are withheld, long ones cut."""
    return {
        name: _WITHHELD if name in _WITHHELD_FIELDS else _bounded(value)
        for name, value in vars(record).items()
        if name not in _STANDARD
    }


def exception_lines(error: BaseException) -> list[str]:
    """Type, message (unless it may quote content) and frames of an exception and its causes, outermost first."""
    lines: list[str] = []
    for cause in _chain(error):
        quotes = isinstance(cause, _QUOTE_INPUT) and not isinstance(cause, StreamtagError)
        lines.append(f"{type(cause).__name__}: {_WITHHELD if quotes else _bounded(str(cause))}")
        lines += [
            f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in traceback.extract_tb(cause.__traceback__)
        ]
    return lines


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``ts``, ``level``, ``logger``, ``event``, trace ids, then the extras."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        document: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            document |= {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
        for name, value in fields(record).items():
            document.setdefault(name, value)
        if record.exc_info and record.exc_info[1]:
            document["exception"] = exception_lines(record.exc_info[1])
        return json.dumps(document, default=str)


class TextFormatter(logging.Formatter):
    """``03:12:01.123 WARNING control.watcher: Redis is away  operation=get attempt=3``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline; control characters are escaped, so one record cannot pose as two."""
        at = datetime.fromtimestamp(record.created).astimezone().isoformat(timespec="milliseconds")[11:23]
        line = f"{at} {record.levelname:<7} {record.name.removeprefix('streamtag.')}: {_printable(record.getMessage())}"
        extras = "".join(f" {name}={_word(value)}" for name, value in fields(record).items())
        if extras:
            line += " " + extras
        if record.exc_info and record.exc_info[1]:
            line += "".join(f"\n  {_printable(text)}" for text in exception_lines(record.exc_info[1]))
        return line


class StderrHandler(logging.Handler):
    """Writes to whatever ``sys.stderr`` is now, never to a stream that a test or a daemon has closed since."""

    def __init__(self, settings: TelemetrySettings, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream
        self.addFilter(RepeatFilter("opentelemetry", "aiokafka"))
        self.configure(settings)

    def configure(self, settings: TelemetrySettings) -> None:
        """Takes over format and destination from ``settings``."""
        text = settings.log_format == "text" or (settings.log_format == "auto" and self._target().isatty())
        self.setFormatter(TextFormatter() if text else JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line; a destination that is gone (closed pipe) is no reason to stop tagging."""
        try:
            self._target().write(self.format(record) + "\n")
            self._target().flush()
        except (OSError, ValueError):
            self.handleError(record)

    def _target(self) -> TextIO:
        return self._stream or sys.stderr


class OtelHandler(logging.Handler):
    """Hands records to an OpenTelemetry logger, whose queue is bounded and never blocks.

    Records of the exporters themselves stay out: a collector that is away must not be told so by way of itself.
    """

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger
        self.addFilter(lambda record: not record.name.startswith(("opentelemetry", "urllib3", "requests")))
        self.addFilter(RepeatFilter("aiokafka"))

    def emit(self, record: logging.LogRecord) -> None:
        """Translates and queues one record."""
        attributes: dict[str, Any] = {
            name: value if isinstance(value, (bool, int, float)) else str(value)
            for name, value in fields(record).items()
        }
        if record.exc_info and record.exc_info[1]:
            attributes["exception.type"] = type(record.exc_info[1]).__name__
            attributes["exception.stacktrace"] = "\n".join(exception_lines(record.exc_info[1]))
        attributes["logger.name"] = record.name
        self._logger.emit(
            LogRecord(
                timestamp=int(record.created * 1e9),
                severity_text=record.levelname,
                severity_number=_severity(record.levelno),
                body=record.getMessage(),
                attributes=attributes,
            )
        )


class RepeatFilter(logging.Filter):
    """Lets one record of a kind through a minute, of loggers under ``prefixes``: they complain at every attempt.

    A kind is a message before its arguments; the record says how many like it were left out.
    """

    def __init__(self, *prefixes: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._prefixes = prefixes
        self._repeats = Repeats(clock)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether ``record`` is shown."""
        if not record.name.startswith(self._prefixes):
            return True
        left_out = self._repeats.left_out((record.name, record.msg))
        if left_out:
            record.left_out = left_out
        return left_out is not None


def configure_logging(settings: TelemetrySettings) -> None:
    """Sends the logs of this process to stderr, and exceptions that nobody caught to the log. Once per process.

    A second call only takes over level and format.
    """
    root = logging.getLogger()
    logging.getLogger("streamtag").setLevel(settings.log_level)
    present = [handler for handler in root.handlers if isinstance(handler, StderrHandler)]
    if present:
        present[0].configure(settings)
        return
    root.addHandler(StderrHandler(settings))
    _log_uncaught()


def _log_uncaught() -> None:
    log = logging.getLogger("streamtag")
    thread_hook, main_hook = threading.excepthook, sys.excepthook

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            name = args.thread.name if args.thread else "?"
            log.critical("uncaught exception in a thread", exc_info=args.exc_value, extra={"thread_name": name})
        if thread_hook is not threading.__excepthook__:
            thread_hook(args)

    def in_main(kind: type[BaseException], error: BaseException, tb: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            main_hook(kind, error, tb)
        else:
            log.critical("uncaught exception", exc_info=error)

    threading.excepthook, sys.excepthook = in_thread, in_main


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(_MAX_CAUSES):
        if current is None:
            return
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _bounded(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, str) and len(value) > _MAX_FIELD_CHARS:
        return value[:_MAX_FIELD_CHARS] + "…"
    return value


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _word(value: object) -> str:
    text = str(value)
    return (
        text
        if text and text.isprintable() and not set(text) & set(' "=')
        else _printable(json.dumps(text, ensure_ascii=False))
    )


def _severity(level: int) -> SeverityNumber:
    for bound, number in (
        (logging.CRITICAL, SeverityNumber.FATAL),
        (logging.ERROR, SeverityNumber.ERROR),
        (logging.WARNING, SeverityNumber.WARN),
        (logging.INFO, SeverityNumber.INFO),
    ):
        if level >= bound:
            return number
    return SeverityNumber.DEBUG
