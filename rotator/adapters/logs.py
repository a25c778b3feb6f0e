"""The log: one stream for our events and the libraries' records, one line each, without secrets.

JSON for machines, columns for people. Redaction comes after tracebacks have become text. structlog is loaded with the
first line: most commands that only look write none, and start sooner.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING, TextIO

from rotator.adapters.redaction import redact_text, redact_value
from rotator.domain.audit_event import Detail
from rotator.domain.events.event import Event
from rotator.ports.progress import Progress

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger, ProcessorFormatter
    from structlog.typing import EventDict, Processor, WrappedLogger

LIBRARIES = ("alembic", "apscheduler", "azure", "msal", "requests", "sqlalchemy", "urllib3")
"""Logged from WARNING on, unless the level is DEBUG."""
_TALKATIVE = ("azure", "msal")
"""Logged with `-vv` only: they warn, with tracebacks, of what we handle and say in our own words."""

_CONFIGURING = Lock()
_MULTILINE = frozenset({"exception", "stack"})
_MOST_HELD = 5
"""So many of the lines that were held back are shown at the end, before what people read is out of sight."""
_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d) (?=\d\d:\d\d)")
_LEAST_OF_OURS = 4
"""A line of an event of ours has its time, level, name and subject."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_CONTROL_AND_LINES = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


Words = Callable[[str, str, Mapping[str, Detail]], str]
"""Says the fields of an event, by its name and its subject, for people."""


def configure_logging(
    *, stream: TextIO, level: str, as_json: bool, holds: bool = False, words: Words | None = None
) -> None:
    """Send all log records of this process from `level` (debug, info, warning, error) on to `stream`.

    Colours only on a terminal and without NO_COLOR. Calling it again replaces what was set before. `holds`: events
    that have a code are kept until `release_held`. With `words`, our events are lines for people, folded where the
    stream is a terminal.
    """
    reset_logging()
    root = logging.getLogger()
    root.addHandler(_LineHandler(stream, as_json=as_json, holds=holds, words=words))
    threshold = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(threshold)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(_choose_level(name, threshold))
    logging.captureWarnings(True)


def _choose_level(library: str, threshold: int) -> int:
    if threshold <= logging.DEBUG:
        return logging.NOTSET
    return logging.CRITICAL + 1 if library in _TALKATIVE else logging.WARNING


def release_held(told: Collection[str]) -> None:
    """Write what was held back, but for events with a code of which the reader was told; hold nothing from now on."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _LineHandler):
            handler.release_held(told)


def reset_logging() -> None:
    """Undo `configure_logging`, for tests."""
    root = logging.getLogger()
    for handler in [entry for entry in root.handlers if isinstance(entry, _LineHandler)]:
        root.removeHandler(handler)
    root.setLevel(logging.WARNING)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)
    logging.captureWarnings(False)


def make_progress(run_id: str | None = None) -> Progress:
    """Make the port Progress: each event is one line, at the level of its severity in a log, with its run's id if any.

    What another line tells for all that it affects is shown at the level DEBUG alone: one cause is one line.
    """
    given = {} if run_id is None else {"run_id": run_id}

    def tell(event: Event, subject: str, /) -> None:
        log = get_logger().bind(**given)
        level = logging.getLevelNamesMapping()[(event.log_severity or "debug").upper()]
        log.log(level, event.type.name, **event.make_line(subject))

    return tell


def get_logger() -> BoundLogger:
    """Return the logger of our events; structlog is set up with the first call."""
    import structlog

    with _CONFIGURING:  # it calls itself configured before it knows how: that line would go out as it is
        if not structlog.is_configured():
            structlog.configure(
                processors=[
                    structlog.stdlib.filter_by_level,
                    *_list_shared(),
                    structlog.processors.StackInfoRenderer(),
                    structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
                ],
                logger_factory=structlog.stdlib.LoggerFactory(),
                wrapper_class=structlog.stdlib.BoundLogger,
                cache_logger_on_first_use=False,
            )
    logger: BoundLogger = structlog.get_logger("rotator")
    return logger


def _make_formatter(stream: TextIO, *, as_json: bool, words: Words | None) -> ProcessorFormatter:
    import structlog

    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_list_shared(), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            redact_event,
            *_make_renderers(stream, as_json=as_json, words=words),
        ],
    )


def _list_shared() -> list[Processor]:
    """List what is done first with our events and with the libraries' records."""
    import structlog

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def redact_event(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Clean an event as a structlog processor: every key and value without secrets, as JSON's types."""
    return {redact_text(key): redact_value(value, key=key) for key, value in event.items()}


def _make_renderers(stream: TextIO, *, as_json: bool, words: Words | None) -> list[Processor]:
    import structlog

    if as_json:
        return [structlog.processors.JSONRenderer()]
    colours = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    # The traceback is text already, and redacted: the plain formatter only prints it.
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=colours, exception_formatter=plain, sort_keys=False)
    if words is None:
        return [_shorten, _escape_controls, console]

    def say(logger: WrappedLogger, method: str, event: EventDict) -> str:
        """Our events in words, within the width of the terminal; whatever else is logged as it is."""
        if _MULTILINE.intersection(event) or "logger" in event or len(event) < _LEAST_OF_OURS:
            return console(logger, method, event)
        return _say_in_words(event, words, stream, has_colours=bool(colours))

    return [_shorten, _escape_controls, say]


def _say_in_words(event: EventDict, words: Words, stream: TextIO, *, has_colours: bool) -> str:
    """`2026-11-28 10:02:02Z  pat_minted  npm-feed  PAT 5984a94d, expires ...`; from a warning on with its level."""
    (first, *others) = (key for key in event if key not in ("timestamp", "level", "event"))
    name, subject = str(event["event"]), str(event[first])
    said = words(name, subject, {key: event[key] for key in others})
    subject = "" if said.removeprefix("over: ").startswith(f"{subject} ") else subject
    level = event["level"] if event["level"] not in ("debug", "info") else ""
    line = "  ".join(filter(None, (event["timestamp"], level, name, subject, said)))
    with suppress(OSError, ValueError):
        width = max(40, os.get_terminal_size(stream.fileno()).columns)
        line = textwrap.fill(
            _MOMENT.sub("\\1\0", line),
            width,
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        ).replace("\0", " ")
    if has_colours:
        line = line.replace(name, f"\x1b[1m{name}\x1b[0m", 1)
        line = line.replace(level, f"\x1b[31m{level}\x1b[0m", 1) if level else line
    return line


def _shorten(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Leave out what people do not read, so that the subject comes first: the run's id, our name, parts of a second."""
    shown = {key: value for key, value in event.items() if key != "run_id" and (key, value) != ("logger", "rotator")}
    shown["timestamp"] = f"{datetime.fromisoformat(event['timestamp']):%Y-%m-%d %H:%M:%SZ}"
    return shown


def _escape_controls(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Names come from elsewhere: none may start a line of its own or control the terminal."""
    return {
        key: redact_value(value, clean=_escape_all_but_lines if key in _MULTILINE else _escape_all)
        for key, value in event.items()
    }


def _escape_all(text: str) -> str:
    return _CONTROL_AND_LINES.sub(_write_out, text)


def _escape_all_but_lines(text: str) -> str:
    return _CONTROL.sub(_write_out, text)


def _write_out(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()


def _find_code(record: logging.LogRecord) -> str:
    """Return why something failed, if the record is an event of ours that says so."""
    return str(record.msg.get("code") or "") if isinstance(record.msg, dict) else ""


class _LineHandler(logging.StreamHandler[TextIO]):
    """Writes the lines. A record that cannot be formatted is reported without its arguments: they may be secret."""

    def __init__(self, stream: TextIO, *, as_json: bool, holds: bool, words: Words | None) -> None:
        super().__init__(stream)
        self._as_json, self._words = as_json, words
        self._held: list[logging.LogRecord] | None = [] if holds else None

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, or hold it."""
        if self._held is not None and _find_code(record):
            self._held.append(record)
        else:
            super().emit(record)

    def release_held(self, told: Collection[str]) -> None:
        """Write what was held, but for what has a code that was told."""
        held, self._held = self._held or [], None
        left = [record for record in held if _find_code(record) not in told]
        for record in left[:_MOST_HELD]:
            self.handle(record)
        if len(left) > _MOST_HELD:
            more = len(left) - _MOST_HELD
            self.stream.write(f"{more} more lines like these: `rotator audit list` has them all.\n")
            self.flush()

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        if self.formatter is None:
            self.setFormatter(_make_formatter(self.stream, as_json=self._as_json, words=self._words))
        return super().format(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """One line in place of the record; nothing if the stream itself is broken."""
        problem = sys.exception()
        if isinstance(problem, OSError) or self.stream.closed:
            return  # the stream is gone, and with it the place to say so
        self.stream.write(
            f"a log record of {redact_text(record.name)} could not be written: {type(problem).__name__}\n"
        )
        self.flush()
