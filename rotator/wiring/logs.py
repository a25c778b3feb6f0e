"""Where the log goes and how much of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import TextIO

from rotator.domain.audit_event import Detail
from rotator.domain.events.daemon import SettingDoubted

LEVELS = ("warning", "info", "debug")
"""What is logged by default, with `-v`, and with `-vv`."""
QUIET = "critical"
"""What is logged with `--quiet`: the command's own lines on stderr say what failed."""


@dataclass(frozen=True)
class LogOptions:
    """The stream that the log goes to, and its lowest level (debug, info, warning, error or critical).

    `holds`: on a terminal, what an error at the end may tell in words waits until `release_logs`. `words` says the
    fields of an event there, by its name and its subject.
    """

    stream: TextIO
    level: str
    holds: bool = False
    words: Callable[[str, str, Mapping[str, Detail]], str] | None = None


def start_logs(options: LogOptions) -> None:
    """Send this process's log to the stream: JSON unless it is a terminal."""
    from rotator.adapters.logs import configure_logging

    is_terminal = options.stream.isatty()
    holds = options.holds and is_terminal
    words = options.words if is_terminal else None
    configure_logging(stream=options.stream, level=options.level, as_json=not is_terminal, holds=holds, words=words)


def release_logs(told: Collection[str]) -> None:
    """Write what the log holds back, but for events with one of the codes that people were told of."""
    from rotator.adapters.logs import release_held

    release_held(told)


def redact(text: str) -> str:
    """Return the text without anything that looks like a secret, as the log would print it."""
    from rotator.adapters.redaction import redact_text

    return redact_text(text)


def warn(setting: str, problem: str, fix: str) -> None:
    """Log that a setting works, and what is wrong with it all the same."""
    from rotator.adapters.logs import make_progress

    make_progress()(SettingDoubted(problem=problem, fix=fix), setting)
