"""Say to a person who changes something by hand that a change freeze is on: it does not hold them back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rotator.cli.console import clean, note

if TYPE_CHECKING:
    from rotator.cli.context import CliContext
    from rotator.engine.context import RunContext


def note_freezes(cli: CliContext, run: RunContext, names: Iterable[str]) -> None:
    """Name the change freeze that each of these ManagedPats is in, if it is in one."""
    from rotator.domain.words import say_moment
    from rotator.engine.in_force import load_in_force
    from rotator.engine.planning import find_freezes

    if load_in_force(run).is_paused:
        note(cli, "Everything is paused (`rotator inventory pause --all`); commands by hand still work.")
    for name, freeze in find_freezes(run, names):
        note(cli, f"{name} is in a change freeze until {say_moment(freeze.ends)} ({clean(freeze.reason)}).")
