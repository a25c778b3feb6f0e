"""The audit log hears of commands that were refused: who gave them, from where, why, and what the answer was."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from rotator.cli.context import CliContext
from rotator.errors import ConfigError, DatabaseError, RotatorError, StoppedError

_UNTOLD = (ConfigError, DatabaseError, StoppedError)
"""By these the log cannot be written, or nothing was refused."""
_ASKS = "confirmation_needed"
"""The command asked, and got no answer: like a person who says no."""


def note_refusals(cli: CliContext, errors: Iterable[tuple[str | None, RotatorError]]) -> None:
    """Write what a command that changes something did not do, by the name of the PAT, if that can be written.

    A dry run, and a command that only shows something, leave nothing.
    """
    refused = [(name, error) for name, error in errors if not isinstance(error, _UNTOLD) and error.code != _ASKS]
    if not refused or cli.changing is None or "--dry-run" in cli.words:
        return
    from rotator.cli.session import open_installation
    from rotator.domain.events.commands import CommandRefused
    from rotator.engine.auditing import record_logged

    with suppress(RotatorError), open_installation(cli) as installation, installation.database.begin() as work:
        author, now = installation.make_author(cli.reason), installation.clock.now()
        for name, error in refused:
            event = CommandRefused(code=error.code, message=error.message, managed_pat=name)
            record_logged(work, author, cli.changing, event, now)
