"""The log: one line per event, ours and the libraries', without secrets, for machines and for people."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
import termios
import warnings
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from threading import Event, Thread
from types import FrameType
from typing import Any

import pytest
import structlog

from rotator.adapters.logs import (
    LIBRARIES,
    configure_logging,
    get_logger,
    make_progress,
    release_held,
    reset_logging,
)
from rotator.cli.output.details import say_fields
from rotator.domain.events.daemon import ConditionContinued, ConditionEnded
from rotator.domain.events.inventory import InventoryRebuilt
from rotator.domain.events.places import AccountDown, TokenCacheDamaged
from rotator.domain.events.rotations import (
    CloneLost,
    MintUnanswered,
    PatMinted,
    RotationBlocked,
    RotationCompleted,
    RotationFailed,
    RotationFrozen,
)
from rotator.domain.secret_value import SecretValue
from tests.support.terminal import read_to_end

PAT = ("a1B2c3D4" * 10)[:76] + "AZDO" + "x9Y8"
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJhdWQiOiJ2YXVsdCJ9.c2lnbmF0dXJlLXBhcnQ_-x"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


class Broken(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture(autouse=True)
def restore() -> Iterator[None]:
    yield
    reset_logging()


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def start(level: str = "info", *, as_json: bool = True, stream: io.StringIO | None = None) -> io.StringIO:
    stream = stream or io.StringIO()
    configure_logging(stream=stream, level=level, as_json=as_json)
    return stream


def test_progress_is_one_json_line_when_an_event_is_told() -> None:
    stream = start()
    make_progress("run-1")(InventoryRebuilt(authorization_id="id-2", before=None), "npm-feed")
    (line,) = read(stream)
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert moment.utcoffset() == timedelta(0)
    assert line == {
        "event": "inventory_rebuilt",
        "level": "info",
        "logger": "rotator",
        "run_id": "run-1",
        "name": "npm-feed",
        "authorization_id": "id-2",
        "before": None,
    }


def test_progress_has_the_level_of_its_severity_when_told() -> None:
    stream = start("warning")
    progress = make_progress("run-1")
    progress(RotationFailed(code="throttled", message="later"), "npm-feed")
    progress(RotationCompleted(), "npm-feed")
    progress(RotationBlocked(code="denied", message="no"), "npm-feed")
    progress(RotationFrozen(code="foreign_write", message="no"), "npm-feed")
    progress(MintUnanswered(code="lost"), "npm-feed")
    progress(AccountDown(code="denied"), "build-bot")
    progress(TokenCacheDamaged(damage="damaged"), "/var/lib/rotator/token-cache.bin")
    progress(CloneLost(code="clone_revoked_elsewhere"), "npm-feed")
    assert [(line["event"], line["level"]) for line in read(stream)] == [
        ("rotation_failed", "warning"),
        ("rotation_blocked", "critical"),
        ("rotation_frozen", "critical"),
        ("mint_unanswered", "warning"),
        ("account_down", "error"),
        ("token_cache_damaged", "critical"),
        ("clone_lost", "warning"),
    ]


def test_library_record_has_the_same_form_when_it_is_a_warning() -> None:
    stream = start()
    logging.getLogger("urllib3.part").warning("retrying %s", "soon", extra={"attempt": 2})
    logging.getLogger("urllib3.part").info("not wanted")
    (line,) = read(stream)
    assert (line["event"], line["level"], line["logger"]) == ("retrying soon", "warning", "urllib3.part")
    assert line["attempt"] == 2
    assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_libraries_speak_when_everything_is_wanted() -> None:
    stream = start("debug")
    for name in LIBRARIES:
        logging.getLogger(f"{name}.part").debug("detail")
    assert [line["logger"] for line in read(stream)] == [f"{name}.part" for name in LIBRARIES]


def test_warning_of_python_is_a_record_when_it_is_shown() -> None:
    stream = start()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(f"beware of {PAT}", stacklevel=1)
    (line,) = read(stream)
    assert line["logger"] == "py.warnings"
    assert "beware of ***" in line["event"]


def _log_event() -> None:
    get_logger().info(f"got {PAT}", value=JWT, nested={"list": [f"x {PAT}"], PAT: 1})


def _log_exception() -> None:
    try:
        try:
            raise ValueError(f"inner {JWT}")
        except ValueError as error:
            raise RuntimeError(f"outer {PAT}") from error
    except RuntimeError:
        get_logger().exception("step_failed")


def _log_library_exception() -> None:
    try:
        raise ValueError(f"inner {JWT} {PAT}")
    except ValueError:
        logging.getLogger("urllib3").exception("request with %s failed", PAT, extra={"token": JWT})


def _log_arguments() -> None:
    logging.getLogger("msal").warning("answer %r", {"refresh_token": PAT, "other": [JWT]}, stack_info=True)


def _log_objects() -> None:
    get_logger().warning("objects", error=ValueError(PAT), raw=JWT.encode(), kind=SecretValue(PAT))


def _log_bad_format() -> None:
    # pytest's own handlers raise on a record that cannot be formatted: they look away meanwhile.
    root = logging.getLogger()
    others = [handler for handler in root.handlers if type(handler).__module__.startswith("_pytest")]
    for handler in others:
        root.removeHandler(handler)
    try:
        logging.getLogger("rotator").warning("%d %d", PAT)
    finally:
        for handler in others:
            root.addHandler(handler)


@pytest.mark.parametrize("as_json", [True, False])
@pytest.mark.parametrize(
    "log",
    [_log_event, _log_exception, _log_library_exception, _log_arguments, _log_objects, _log_bad_format],
)
def test_secret_shows_nowhere_when_it_is_logged(
    log: Callable[[], None], as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    stream = start("debug", as_json=as_json)
    log()
    assert stream.getvalue()
    for shown in (stream.getvalue(), *capsys.readouterr()):
        assert PAT not in shown
        assert JWT not in shown


def test_traceback_is_part_of_the_line_when_an_exception_is_logged() -> None:
    stream = start()
    _log_exception()
    (line,) = read(stream)
    assert line["event"] == "step_failed"
    assert "RuntimeError: outer ***" in line["exception"]
    assert "ValueError: inner ***" in line["exception"]
    assert "test_logs.py" in line["exception"]


def test_record_that_cannot_be_formatted_is_told_without_its_arguments() -> None:
    stream = start()
    _log_bad_format()
    assert stream.getvalue() == "a log record of rotator could not be written: TypeError\n"


def test_logging_goes_on_when_the_stream_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    start(stream=Broken())
    make_progress("run-1")(RotationCompleted(), "npm-feed")
    assert capsys.readouterr() == ("", "")


def test_console_has_one_plain_line_when_it_is_no_terminal() -> None:
    stream = start(as_json=False)
    make_progress("run-1")(RotationCompleted(), "npm-feed")
    (line,) = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ \[info +\] rotation_completed +name=npm-feed", line)


def test_console_begins_with_the_subject_and_names_the_library_that_speaks() -> None:
    stream = start(as_json=False)
    make_progress("run-1")(RotationFailed(code="boom", message="it failed"), "npm-feed")
    logging.getLogger("urllib3.part").warning("retrying")
    ours, theirs = stream.getvalue().splitlines()
    assert ours.endswith("name=npm-feed code=boom message='it failed'")
    assert "[urllib3.part]" in theirs


def test_terminal_has_our_events_in_words_within_its_width_and_nothing_twice() -> None:
    """As `rotator daemon` shows them to a person: a level from a warning on, and no number that only machines read."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 60))
    minted = PatMinted(authorization_id="id-2", valid_to=datetime(2026, 12, 28, 9, 55, tzinfo=UTC), scope="vso.code")
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        configure_logging(stream=stream, level="info", as_json=False, words=say_fields)
        make_progress("run-1")(minted, "npm-feed")
        make_progress("run-1")(RotationFailed(code="boom", message="the vault did not answer at all"), "npm-feed")
        logging.getLogger("urllib3.part").warning("retrying")
        _log_exception()
        reset_logging()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", read_to_end(ours).decode()).replace("\r", "")
    os.close(ours)
    lines = [re.sub(r"^[-0-9]{10} [:0-9]{8}Z", "NOW", line) for line in shown.splitlines()]
    assert lines[:4] == [
        "NOW  pat_minted  npm-feed  PAT id-2, scopes",
        "    vso.code, expires 2026-12-28 09:55Z",
        "NOW  warning  rotation_failed  npm-feed",
        "    the vault did not answer at all",
    ]
    assert "[urllib3.part]" in lines[4]
    assert "RuntimeError: outer ***" in lines


@pytest.mark.parametrize(("code", "why"), [(None, ""), ("replace_by_hand", "replace by hand, ")])
def test_terminal_names_the_subject_and_the_cause_once_when_the_message_does(code: str | None, why: str) -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 150))
    since, headline = datetime(2026, 12, 1, 9, tzinfo=UTC), "npm-feed expires and will not be rotated"
    lasting = ConditionContinued(kind="pat_expiring", message=headline, since=since, code=code, severity="critical")
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        configure_logging(stream=stream, level="info", as_json=False, words=say_fields)
        make_progress("run-1")(lasting, "npm-feed")
        reset_logging()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", read_to_end(ours).decode()).rstrip()
    os.close(ours)
    assert shown.partition("Z  ")[2] == f"critical  condition_continued  {headline}, {why}since 2026-12-01 09:00Z"


def test_terminal_names_the_subject_once_when_what_is_over_names_it() -> None:
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 150))
    with os.fdopen(theirs, "w", encoding="utf-8") as stream:
        configure_logging(stream=stream, level="info", as_json=False, words=say_fields)
        make_progress("run-1")(ConditionEnded(kind="sign_in_needed"), "build-bot")
        reset_logging()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", read_to_end(ours).decode()).rstrip()
    os.close(ours)
    assert shown.partition("Z  ")[2] == "condition_ended  over: build-bot must sign in again"


def test_codes_that_people_were_told_of_are_not_logged_as_well() -> None:
    stream = io.StringIO()
    configure_logging(stream=stream, level="info", as_json=True, holds=True)
    make_progress()(RotationFailed(code="boom", message="it failed"), "npm-feed")
    make_progress()(RotationFailed(code="other", message="it failed too"), "npm-feed")
    make_progress()(RotationCompleted(), "npm-feed")
    assert [line["event"] for line in read(stream)] == ["rotation_completed"]
    release_held({"boom"})
    make_progress()(RotationFailed(code="boom", message="again"), "npm-feed")
    assert [line.get("message") for line in read(stream)] == [None, "it failed too", "again"]


def test_very_many_lines_that_were_held_back_are_counted() -> None:
    """They would push what people read out of their sight."""
    stream = io.StringIO()
    configure_logging(stream=stream, level="info", as_json=True, holds=True)
    for number in range(8):
        make_progress()(RotationFailed(code="boom", message="it failed"), f"team{number}")
    release_held(())
    *lines, last = stream.getvalue().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [f"team{number}" for number in range(5)]
    assert last == "3 more lines like these: `rotator audit list` has them all."


def test_console_has_colours_when_it_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = start(as_json=False, stream=Terminal())
    make_progress("run-1")(RotationCompleted(), "npm-feed")
    assert "\x1b[" in coloured.getvalue()
    monkeypatch.setenv("NO_COLOR", "1")
    plain = start(as_json=False, stream=Terminal())
    make_progress("run-1")(RotationCompleted(), "npm-feed")
    assert "\x1b" not in plain.getvalue()


def test_console_keeps_its_lines_when_a_name_tries_to_write_one() -> None:
    stream = start(as_json=False)
    make_progress("run-1")(RotationCompleted(), "evil\n2026-01-01 rotation_completed\x1b[2J\r")
    logging.getLogger("rotator").warning("two\nlines")
    assert len(stream.getvalue().splitlines()) == 2
    assert "\x1b" not in stream.getvalue()


def test_console_shows_the_traceback_when_an_exception_is_logged() -> None:
    stream = start(as_json=False)
    _log_exception()
    assert "RuntimeError: outer ***" in stream.getvalue().splitlines()


def test_root_has_one_handler_of_ours_when_configured_twice() -> None:
    first, second = start(), start()
    make_progress("run-1")(RotationCompleted(), "npm-feed")
    assert first.getvalue() == ""
    assert len(read(second)) == 1


def test_reset_leaves_nothing_behind() -> None:
    before = list(logging.getLogger().handlers)
    stream = start("debug")
    reset_logging()
    logging.getLogger("azure").warning("after")
    assert logging.getLogger().handlers == before
    assert stream.getvalue() == ""


def test_import_of_the_adapters_is_cheap_when_nothing_is_used() -> None:
    code = (
        "import sys, rotator.adapters.key_vault.credentials, rotator.adapters.redaction, rotator.adapters.clock; "
        "sys.exit(any(name.startswith(('azure', 'structlog', 'msal')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_raised_when_the_stream_was_closed() -> None:
    """Whoever logs in a thread of its own must not die of that."""
    stream = start()
    stream.close()
    logging.getLogger("rotator").error("too late")


def test_line_of_another_thread_waits_until_the_library_is_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    """It calls itself set up before it is: a line of that moment would go to stdout as it is, with its secrets."""
    stream, stands, go_on = start(), Event(), Event()
    structlog.reset_defaults()

    def stop_inside(frame: FrameType, _event: str, _arg: object) -> Callable[..., Any] | None:
        if frame.f_code is not structlog.configure.__code__:
            return None
        if structlog.is_configured() and not stands.is_set():
            stands.set()
            go_on.wait(10)
        return stop_inside

    def set_up() -> None:
        sys.settrace(stop_inside)
        get_logger()

    first, second = Thread(target=set_up), Thread(target=lambda: get_logger().warning(JWT))
    first.start()
    assert stands.wait(10)
    second.start()
    second.join(0.5)  # it has printed by now if nothing holds it back
    go_on.set()
    first.join(10)
    second.join(10)
    assert capsys.readouterr().out == ""
    assert JWT not in stream.getvalue()
    assert len(read(stream)) == 1
