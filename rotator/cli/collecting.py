"""Events of an export go to a syslog collector: `rotator audit export --syslog`."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rotator.cli.context import CliContext
from rotator.errors import RemoteError, UsageError

if TYPE_CHECKING:
    from rotator.domain.audit_event import AuditEvent
    from rotator.wiring.installation import Installation


def check_syslog(address: str | None, form: str, *, has_output: bool) -> None:
    """Raise UsageError for what does not go together with a collector."""
    if address is not None and has_output:
        raise UsageError("--syslog and --output are two places", fix="Leave one of them out.")
    if address is not None and form == "csv":
        raise UsageError("syslog has no CSV", fix="Choose --format jsonl, cef or ocsf.")


def send_events(
    cli: CliContext, installation: Installation, address: str, form: str, events: Iterable[AuditEvent], *, follow: bool
) -> None:
    """Send each event as a syslog message. What goes wrong says after which event to begin again."""
    from rotator.cli.console import clean, note
    from rotator.cli.output.exports import make_line
    from rotator.cli.output.syslog import make_syslog_message
    from rotator.wiring.syslog import make_collector

    count, last, host = 0, None, socket.gethostname()

    def tell(problem: str) -> None:
        note(cli, clean(f"{problem}; rotator tries again"))

    try:
        with make_collector(installation, address, tell, follow=follow) as collector:
            for event in events:
                collector.send(make_syslog_message(event, make_line(event, form), host))
                count, last = count + 1, event.sequence
    except RemoteError as error:
        if last is not None:
            error.fix += f" Then begin again with --since-sequence {last}."
        raise
    note(cli, f"{count} events sent to {address}" + ("" if last is None else f"; the last one is {last}"))
