"""Structured logs: readable, parseable, and free of content."""

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from streamtag.errors import SettingsError
from streamtag.settings import TelemetrySettings
from streamtag.telemetry.logs import (
    JsonFormatter,
    OtelHandler,
    RepeatFilter,
    StderrHandler,
    TextFormatter,
    configure_logging,
)

SECRET = "classified-content"


def _record(message: str = "release applied", *, error: BaseException | None = None, **extra: Any) -> logging.LogRecord:
    logger = logging.Logger("streamtag.control.watcher")
    exc_info = (type(error), error, error.__traceback__) if error else None
    return logger.makeRecord(logger.name, logging.WARNING, "watcher.py", 1, message, (), exc_info, extra=extra)


def _caught(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_a_json_line_has_time_level_logger_event_and_the_extras() -> None:
    line = json.loads(JsonFormatter().format(_record(number=3, labels=["spam", "insult"])))
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "logger": "streamtag.control.watcher",
        "event": "release applied",
        "number": 3,
        "labels": ["spam", "insult"],
    }


def test_an_extra_cannot_pose_as_a_standard_field() -> None:
    assert json.loads(JsonFormatter().format(_record(event="x", level="debug")))["event"] == "release applied"


def test_text_for_people_quotes_what_needs_it() -> None:
    line = TextFormatter().format(_record(number=3, reason="no route", empty=""))
    assert line[13:] == 'WARNING control.watcher: release applied  number=3 reason="no route" empty=""'


@given(st.text(), st.text())
def test_one_record_is_one_line_whatever_it_says(message: str, value: str) -> None:
    record = _record("%s", field=value)
    record.args = (message,)
    for formatter in (TextFormatter(), JsonFormatter()):
        assert len(formatter.format(record).splitlines()) == 1


@pytest.mark.parametrize("name", ["text", "content", "payload", "value", "body", "record", "headers"])
def test_fields_that_could_carry_content_are_withheld(name: str) -> None:
    for formatter in (TextFormatter(), JsonFormatter()):
        assert SECRET not in formatter.format(_record(error=None, **{name: SECRET}))


def test_bytes_and_long_values_are_never_written_out() -> None:
    line = JsonFormatter().format(_record(raw=SECRET.encode(), long="x" * 100_000))
    assert SECRET not in line
    assert len(line) < 2_000


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        msgspec.ValidationError(SECRET),
        UnicodeDecodeError("utf-8", b"x", 0, 1, SECRET),
    ],
)
def test_messages_of_exceptions_that_quote_their_input_are_withheld(error: Exception) -> None:
    outer = _caught(RuntimeError("scoring failed"), _caught(error))
    for formatter in (TextFormatter(), JsonFormatter()):
        line = formatter.format(_record(error=outer))
        assert SECRET not in line
        assert "scoring failed" in line
        assert type(error).__name__ in line
        assert "test_logs.py" in line


def test_messages_of_our_own_errors_are_kept() -> None:
    error = _caught(SettingsError("telemetry.port: cannot listen"))
    assert "cannot listen" in JsonFormatter().format(_record(error=error))


@pytest.mark.parametrize(("log_format", "is_json"), [("auto", True), ("json", True), ("text", False)])
def test_where_no_terminal_reads_auto_means_json(log_format: str, is_json: bool) -> None:
    stream = io.StringIO()
    settings = TelemetrySettings.model_validate({"log_format": log_format})
    StderrHandler(settings, stream).handle(_record())
    assert stream.getvalue().startswith("{") == is_json


def test_a_closed_stderr_does_not_stop_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    stream = io.StringIO()
    stream.close()
    StderrHandler(TelemetrySettings.model_validate({"log_format": "json"}), stream).handle(_record())


def test_clients_of_others_complain_once_a_minute_and_we_always() -> None:
    now = [0.0]
    repeat = RepeatFilter("opentelemetry", "aiokafka", clock=lambda: now[0])

    def shown(name: str, message: str, *arguments: object) -> logging.LogRecord | None:
        record = logging.makeLogRecord({"name": name, "msg": message, "args": arguments})
        return record if repeat.filter(record) else None

    for name in ("opentelemetry.exporter", "aiokafka"):
        assert shown(name, "no connection to node %s", 1)
        assert not shown(name, "no connection to node %s", 2)
        assert shown(name, "not the coordinator any more"), "something else is said at once"
    now[0] = 61.0
    again = shown("aiokafka", "no connection to node %s", 1)
    assert again is not None
    assert "left_out=1" in TextFormatter().format(again)
    assert all(repeat.filter(_record()) for _ in range(3))


def test_the_collector_gets_event_fields_and_no_complaints_about_itself() -> None:
    exported = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exported))
    handler = OtelHandler(provider.get_logger("test"))
    handler.handle(_record(number=3, text=SECRET, error=_caught(ValueError(SECRET))))
    handler.handle(logging.makeLogRecord({"name": "opentelemetry.exporter", "msg": "collector is away"}))
    (found,) = exported.get_finished_logs()
    assert found.log_record.body == "release applied"
    attributes = dict(found.log_record.attributes or {})
    assert attributes["number"] == 3
    assert attributes["exception.type"] == "ValueError"
    assert SECRET not in str(attributes)


@pytest.fixture
def clean_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    root, package = logging.getLogger(), logging.getLogger("streamtag")
    handlers, level = list(root.handlers), package.level
    root.handlers = [handler for handler in handlers if not isinstance(handler, StderrHandler)]
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    yield root
    root.handlers = handlers
    package.setLevel(level)


def test_configuring_twice_logs_each_record_once(
    clean_logging: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(TelemetrySettings.model_validate({"log_format": "text"}))
    configure_logging(TelemetrySettings.model_validate({"log_format": "json", "log_level": "WARNING"}))
    logging.getLogger("streamtag.somewhere").info("hidden")
    logging.getLogger("streamtag.somewhere").warning("shown")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["shown"]


def test_an_exception_in_a_thread_is_logged_without_content(
    clean_logging: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure_logging(TelemetrySettings.model_validate({"log_format": "json"}))

    def fail() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=fail, name="inference")
    thread.start()
    thread.join()
    line = json.loads(stream.getvalue())
    assert (line["event"], line["thread_name"], line["level"]) == (
        "uncaught exception in a thread",
        "inference",
        "critical",
    )
    assert "in fail" in str(line["exception"])
    assert SECRET not in stream.getvalue()
