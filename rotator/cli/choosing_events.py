"""The options that choose events of the audit log, and the wait of `--follow`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

import click

from rotator.cli.completing import complete, complete_events
from rotator.cli.moments import parse_moment
from rotator.cli.selection import check_known
from rotator.domain.audit_event import Outcome
from rotator.errors import UsageError
from rotator.ports.audit_log import AuditFilter

if TYPE_CHECKING:
    from rotator.wiring.installation import Installation


_MOST = 2**63 - 1
"""What a database can count to."""
_TURN_SECONDS = 1.0
"""How often `--follow` reads."""


class _Count(click.ParamType[int]):
    """A number that a database can count to, from the least one on."""

    name = "number"

    def __init__(self, least: int) -> None:
        self._least = least

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a usage error when it is none."""
        try:
            number = int(value)
        except ValueError:
            number = -1
        if not self._least <= number <= _MOST:
            self.fail(f"{value!r} is not a whole number from {self._least} to {_MOST}", param, ctx)
        return number


COUNT = _Count(1)
CURSOR = _Count(0)
"""The number of an event that somebody has; 0: they have none."""


@dataclass(frozen=True)
class Asked:
    """Which events were asked for: `fields` but for the times, which need a clock to be read."""

    since: str | None
    until: str | None
    fields: AuditFilter


def _check_event(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """The name of an event, which the catalogue must have: a typing error must not look like a log without it."""
    from rotator.domain.events.catalogue import CATALOGUE
    from rotator.domain.words import say_did_you_mean

    if name is not None and name not in CATALOGUE:
        raise click.BadParameter(f'there is no event "{name}"{say_did_you_mean(name, CATALOGUE)}')
    return name


def _keep_outcome(_: click.Context, __: click.Parameter, value: str | None) -> Outcome | None:
    return None if value is None else Outcome(value)


def event_filters(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that choose events; it gets them as its argument `asked`."""

    @functools.wraps(command)
    def choosing(
        *arguments: object,
        since: str | None,
        until: str | None,
        subject: str | None,
        event: str | None,
        run_id: str | None,
        outcome: Outcome | None,
        **others: object,
    ) -> int:
        asked = Asked(since, until, AuditFilter(subject=subject, event=event, run_id=run_id, outcome=outcome))
        return command(*arguments, asked=asked, **others)

    for option in (
        click.option("--run", "run_id", metavar="ID", help="Only the events of this run."),
        click.option(
            "--event",
            metavar="EVENT",
            callback=_check_event,
            shell_complete=complete_events,
            help="Only events of this kind, such as pat_minted.",
        ),
        click.option(
            "--outcome",
            type=click.Choice([outcome.value for outcome in Outcome]),
            callback=_keep_outcome,
            help="Only events with this outcome.",
        ),
        click.option(
            "--name",
            "subject",
            metavar="NAME",
            shell_complete=complete("pat"),
            help="Only this PAT, by its name in rotator.",
        ),
        click.option("--until", metavar="WHEN", help="Only events before that, as for --since."),
        click.option(
            "--since",
            metavar="WHEN",
            help="Only events from then on: a time span (2d, 12h) or a UTC time (2026-12-01, 2026-12-01T09:00Z).",
        ),
    ):
        choosing = option(choosing)
    return choosing


def check_follow(asked: Asked, *, follow: bool) -> None:
    """UsageError when the events of a span that ends are to be followed."""
    if follow and asked.until is not None:
        raise UsageError("--follow has no end, and --until is one", fix="Leave one of them out.")


def check_cursor(installation: Installation, after: int) -> None:
    """UsageError for an event that the log does not have yet: nothing would ever come after it without a word."""
    with installation.database.read() as reading:
        newest = reading.audit.load_newest_number()
    if after > newest:
        raise UsageError(
            f"the audit log has no event {after} yet: its newest is {newest}",
            fix="If this database was restored from a backup, export again from an event that both logs have.",
        )


def make_pause(installation: Installation, stream: IO[str] | None) -> Callable[[], bool]:
    """Return what waits for the next turn, and tells whether anybody still reads the stream, if there is one."""
    from rotator.cli.streams import is_heard

    def pause() -> bool:
        if stream is None:
            installation.stop.wait(_TURN_SECONDS)
            return True
        stream.flush()
        if is_heard(stream):
            installation.stop.wait(_TURN_SECONDS)
        return is_heard(stream)

    return pause


def make_filter(installation: Installation, asked: Asked) -> AuditFilter:
    """What was asked for, by the clock. UsageError for a time that is none, and for a name that nothing ever had."""
    now, name = installation.clock.now(), asked.fields.subject
    since = None if asked.since is None else parse_moment("--since", asked.since, now)
    until = None if asked.until is None else parse_moment("--until", asked.until, now)
    if name is not None:
        with installation.database.read() as reading:
            if not reading.audit.load_newest(1, AuditFilter(subject=name)):
                known = [pat.name for pat in reading.inventory.load_all()]
                check_known("PAT", [name], known, "See `rotator inventory list` for the names.", globs=False)
    return replace(asked.fields, since=since, until=until)
