"""`rotator audit export`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from rotator.cli.choosing_events import (
    CURSOR,
    Asked,
    check_follow,
    event_filters,
    make_filter,
    make_pause,
)
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.exporting import NamedPath
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.domain.audit_event import AuditEvent
    from rotator.wiring.installation import Installation


@click.command(
    short_help="Write events to stdout or a file, hashes included.",
    epilog=examples(
        "rotator audit export --output audit.jsonl    one event per line, readable by you alone",
        "rotator audit export --format csv --since 30d > audit.csv",
        "rotator audit export --format ocsf --since-sequence 4711 --follow | ship    for a SIEM, from event 4712 on",
        "rotator audit export --format cef --follow --syslog siem.contoso.com",
    ),
)
@event_filters
@click.option(
    "--format", "form", type=click.Choice(["jsonl", "csv", "cef", "ocsf"]), default="jsonl", show_default=True
)
@click.option(
    "--since-sequence", "after", metavar="N", type=CURSOR, help="Only events after event N: a cursor. 0: all."
)
@click.option("--follow", is_flag=True, help="Keep writing events as they are recorded, until Ctrl-C.")
@click.option("--output", type=NamedPath(dir_okay=False), help="File to write (mode 0600). Default: stdout.")
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
@click.option(
    "--syslog", metavar="HOST[:PORT]", help="Send each event to this collector, by syslog over TLS (port 6514)."
)
@common_options
@click.pass_obj
def export(
    cli: CliContext,
    asked: Asked,
    form: str,
    after: int | None,
    follow: bool,
    output: Path | None,
    force: bool,
    syslog: str | None,
) -> int:
    """Write events to stdout or a file, hashes included, for a reviewer or another system.

    CEF and OCSF (class 3004, Entity Management) are what SIEMs read. Keep the number of the last event that you have,
    and ask with --since-sequence for what came later.

    With --syslog each event is a message of RFC 5424 in an octet-counted frame of RFC 5425. The collector's certificate
    is checked, by http.ca_bundle if that is set. With --follow, a collector that is away is waited for.
    """
    from rotator.cli.collecting import check_syslog, send_events
    from rotator.cli.console import note
    from rotator.cli.exporting import opened
    from rotator.cli.output.exports import write_events
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.cli.streams import OutputError

    check_follow(asked, follow=follow)
    check_syslog(syslog, form, has_output=output is not None)
    written = [0]
    try:
        with open_installation(cli) as installation, ExitStack() as stack:
            if follow or syslog is not None:
                stack.enter_context(stop_on_signals(installation.stop, tell=lambda *_: None))
            if syslog is not None:
                events = _find_events(installation, asked, after, None, follow=follow)
                send_events(cli, installation, syslog, form, events, follow=follow)
                return 0
            stream = stack.enter_context(opened(output, force=force, grows=follow))
            events = _find_events(installation, asked, after, stream, follow=follow)
            count = write_events(note_written(events, written, stream) if follow else events, stream, form)
    except OutputError as error:
        if written[0]:
            error.advice = f"The events up to {written[0]} were written: --since-sequence {written[0]} goes on."
        raise
    except UsageError as error:
        if written[0] and output is not None:
            error.fix += f" The file has the events up to {written[0]}: --since-sequence {written[0]} goes on."
        raise
    if output is not None:
        note(cli, f"{count} events written to {output}")
    return 0


def note_written(events: Iterator[AuditEvent], written: list[int], stream: IO[str]) -> Iterator[AuditEvent]:
    """Give the events, and keep in `written` the number of the last one that left the stream."""
    for event in events:
        yield event
        stream.flush()
        written[0] = event.sequence  # whoever asks for the next one has written it


def _find_events(
    installation: Installation, asked: Asked, after: int | None, stream: IO[str] | None, *, follow: bool
) -> Iterator[AuditEvent]:
    from rotator.cli.following import check_cursor, follow_events
    from rotator.engine.auditing import load_events

    wanted = make_filter(installation, asked)
    if after is not None:
        with installation.database.read() as reading:
            check_cursor(after, reading.audit.load_newest_number())
    if follow:
        return follow_events(installation.database, after or 0, wanted, make_pause(installation, stream))
    return iter(load_events(installation.database, wanted, after=after))
