"""`rotator audit`: the hash-chained log of everything that was changed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.commands.audit_archive import archive
from rotator.cli.commands.audit_report import report
from rotator.cli.completing import complete, complete_events
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.moments import parse_moment
from rotator.cli.selection import check_known
from rotator.domain.audit_event import Outcome
from rotator.errors import AuditChainError, UsageError
from rotator.ports.audit_log import AuditFilter

if TYPE_CHECKING:
    from rotator.domain.audit_event import AuditEvent
    from rotator.wiring.installation import Installation


_MOST = 2**63 - 1
"""What a database can count to."""
_MOST_ARCHIVES = 1000
_TURN_SECONDS = 1.0
"""How often `--follow` reads."""


class _Count(click.ParamType[int]):
    """A number that a database can count to, from 1 on."""

    name = "number"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number; a usage error when it is none."""
        try:
            number = int(value)
        except ValueError:
            number = 0
        if not 1 <= number <= _MOST:
            self.fail(f"{value!r} is not a whole number from 1 to {_MOST}", param, ctx)
        return number


_COUNT = _Count()


@dataclass(frozen=True)
class _Asked:
    """Which events were asked for: `fields` but for the times, which need a clock to be read."""

    since: str | None
    until: str | None
    fields: AuditFilter


@click.group(
    epilog=examples(
        "rotator audit list --since 2d        what happened in the last two days",
        "rotator audit verify                 is the log intact?",
        "rotator audit export --output audit.jsonl",
    )
)
@common_options
def audit() -> None:
    """List, show, verify and export the audit log, and report on it."""


audit.add_command(report)


def _check_event(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """The name of an event, which the catalogue must have: a typing error must not look like a log without it."""
    from rotator.domain.events.catalogue import CATALOGUE
    from rotator.domain.words import say_did_you_mean

    if name is not None and name not in CATALOGUE:
        raise click.BadParameter(f'there is no event "{name}"{say_did_you_mean(name, CATALOGUE)}')
    return name


def _keep_outcome(_: click.Context, __: click.Parameter, value: str | None) -> Outcome | None:
    return None if value is None else Outcome(value)


def _filters(command: Callable[..., int]) -> Callable[..., int]:
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
        asked = _Asked(since, until, AuditFilter(subject=subject, event=event, run_id=run_id, outcome=outcome))
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


@audit.command(
    "list",
    epilog=examples(
        "rotator audit list                          the newest 100 events",
        "rotator audit list --since 2d --name npm-feed",
        "rotator audit list --event pat_revoked --since 2026-12-01 --until 2026-12-08",
        "rotator audit list --outcome failed --follow    go on with what happens; Ctrl-C ends it",
    ),
)
@_filters
@click.option(
    "--limit", metavar="N", type=_COUNT, default=100, help="Show the newest events, at most this many. Default: 100."
)
@click.option("--follow", is_flag=True, help="Go on with the events that are written from now on, until Ctrl-C.")
@common_options
@click.pass_obj
def list_events(cli: CliContext, asked: _Asked, limit: int, follow: bool) -> int:
    """List events, the oldest first.

    DETAIL begins with the outcome unless the event succeeded; `rotator audit show` has all fields as they are. With
    --follow, --json prints one event per line.
    """
    from rotator.cli.console import note, print_json, print_table, say
    from rotator.cli.output.audit import COLUMNS, list_event_rows
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_events_document

    if follow and asked.until is not None:
        raise UsageError("--follow has no end, and --until is one", fix="Leave one of them out.")
    with open_installation(cli) as installation:
        wanted = _make_filter(installation, asked)
        with installation.database.read() as reading:
            newest, last = reading.audit.load_newest(limit, wanted), reading.audit.load_newest_number()
        if follow:
            return _follow(cli, installation, newest, last, wanted)
    if cli.as_json:
        print_json(make_events_document(newest))
    elif newest:
        print_table(cli, COLUMNS, list(list_event_rows(newest)))
    else:
        say(cli, "No events.")
    if len(newest) == limit:
        shown = "event is" if limit == 1 else f"{limit} events are"
        note(cli, f"Only the newest {shown} shown; use `--limit` for more.")
    return 0


def _follow(
    cli: CliContext, installation: Installation, newest: Iterable[AuditEvent], last: int, wanted: AuditFilter
) -> int:
    """Print what there is, and what comes, until a person has enough or nobody reads it any more."""
    from rotator.cli.console import echo, print_json
    from rotator.cli.following import follow_events
    from rotator.cli.output.audit import render_event_line
    from rotator.cli.stopping import stop_on_signals
    from rotator.cli.streams import is_heard
    from rotator.documents.audit import make_event_document

    def pause() -> bool:
        sys.stdout.flush()
        if is_heard(sys.stdout):
            installation.stop.wait(_TURN_SECONDS)
        return is_heard(sys.stdout)

    with stop_on_signals(installation.stop, tell=lambda *_: None):
        for event in chain(newest, follow_events(installation.database, last, wanted, pause)):
            if cli.as_json:
                print_json(make_event_document(event), in_one_line=True)
            else:
                echo(render_event_line(event))
    return 0


@audit.command(epilog=examples("rotator audit show 42"))
@click.argument("sequence", type=_COUNT)
@common_options
@click.pass_obj
def show(cli: CliContext, sequence: int) -> int:
    """Show everything that one event says."""
    from rotator.cli.console import print_json, say
    from rotator.cli.output.audit import render_event
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_entry_document

    with open_installation(cli) as installation, installation.database.read() as reading:
        found = reading.audit.load(sequence)
        archives = reading.audit.load_newest(_MOST_ARCHIVES, AuditFilter(event="log_archived"))
    if found is None:
        raise _make_missing(sequence, archives)
    if cli.as_json:
        print_json(make_entry_document(found))
    for line in render_event(found):
        say(cli, line)
    return 0


def _make_missing(sequence: int, archives: Iterable[AuditEvent]) -> UsageError:
    """The error for an event that the database does not have; it may be in an archive."""
    for archived in (event.entry.details for event in archives):
        if int(str(archived["first"])) <= sequence <= int(str(archived["last"])):
            what, fix = f"audit event {sequence} is in an archive", f"Look for it in {archived['file']}."
            return UsageError(what, code="archived", fix=fix)
    return UsageError(f"there is no audit event {sequence}", fix="See `rotator audit list` for the numbers.")


@audit.command(
    epilog=examples(
        "rotator audit verify",
        "rotator audit verify --anchors    also check that the log was not cut off or put back",
        "rotator audit verify --archive 2026.archive --archive 2027.archive",
        "rotator audit verify --json",
    )
)
@click.option("--anchors", is_flag=True, help="Also compare the log with what the vaults hold of it.")
@click.option(
    "--archive",
    "archives",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also check this archive of older events, and the log across it. Name every archive.",
)
@common_options
@click.pass_obj
def verify(cli: CliContext, anchors: bool, archives: tuple[Path, ...]) -> int:
    """Check events, checkpoints and signatures. If any is wrong, name the first and exit with 1.

    The database alone cannot show that the log was cut off together with its newest checkpoints, or put back as a
    whole; --anchors can. If the log is intact and some vault could not be read, the exit code is 3, or 10 if a person
    must sign in: that does not mean that anybody changed the log. It is 3 too if some archives were named, and not all.
    """
    from rotator.cli.console import clean, note, print_json, progress, say
    from rotator.cli.output.audit import render_anchors, render_archives, render_seals, say_number
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_broken_document, make_intact_document
    from rotator.domain.exit_code import PARTLY_FAILED
    from rotator.engine.anchoring import AnchorSight, fetch_anchors
    from rotator.engine.exit_codes import find_code_of_errors
    from rotator.engine.log_checking import verify_log
    from rotator.wiring.sealing import make_trust, open_archive_file

    try:
        with progress(cli, "recomputing the chain"), open_installation(cli) as installation:
            sight = fetch_anchors(installation.make_run()) if anchors else AnchorSight((), {})
            trust, now = make_trust(installation), installation.clock.now()
            files = [open_archive_file(path) for path in archives]
            summary, accepted = verify_log(installation.database, sight, trust, now, files)
    except AuditChainError as error:
        if not cli.as_json:
            raise
        print_json(make_broken_document(error))
        return error.exit_code
    if cli.as_json:
        print_json(make_intact_document(summary, sight, accepted))
    say(cli, f"The audit log is intact: {say_number(summary.events, 'event')}, head {summary.head}")
    for line in render_seals(summary):
        say(cli, line)
    for line in (*render_archives(summary.archives), *(render_anchors(sight, accepted) if anchors else ())):
        say(cli, line)
    for name, unread in sight.unread.items():
        note(cli, clean(f"Not read: the anchors of {name}: {unread.message}"))
    code = find_code_of_errors(sight.unread.values(), done=True)
    return PARTLY_FAILED if not code and archives and summary.archives.missing else code


@audit.command(
    "accept-gap",
    short_help="Record what a restored log lacks.",
    epilog=examples('rotator audit accept-gap --reason "restored the backup of Sunday"'),
)
@reason_option
@common_options
@click.pass_obj
def accept(cli: CliContext) -> int:
    """Record, with your --reason, that the log lacks what the vaults hold of it, as after a restore from a backup.

    Writes what is missing into the log, signed if there is a key; `rotator audit verify --anchors` then accepts it, and
    says so. Changes nothing else. Anything that goes missing later is reported again.
    """
    from rotator.cli.console import print_json, progress, say
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_gap_document
    from rotator.engine.gaps import accept_gap

    if cli.reason is None:
        raise UsageError("accepting a gap needs a reason", fix="Say with --reason TEXT why the log lacks something.")
    with progress(cli, "reading the anchors"), open_installation(cli) as installation:
        missing = accept_gap(installation.make_run(cli.reason))
    if cli.as_json:
        print_json(make_gap_document(missing))
    elif not missing:
        say(cli, "The log lacks nothing that the vaults name.")
    else:
        say(cli, f"Accepted: the log lacks {len(missing)} of the anchors that the vaults name or named.")
    return 0


@audit.command(
    short_help="Write events to stdout or a file, hashes included.",
    epilog=examples(
        "rotator audit export --output audit.jsonl    one event per line, readable by you alone",
        "rotator audit export --format csv --since 30d > audit.csv",
    ),
)
@_filters
@click.option("--format", "form", type=click.Choice(["jsonl", "csv"]), default="jsonl", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path, dir_okay=False), help="File to write (mode 0600). Default: stdout."
)
@click.option("--force", is_flag=True, help="Overwrite the file of --output.")
@common_options
@click.pass_obj
def export(cli: CliContext, asked: _Asked, form: str, output: Path | None, force: bool) -> int:
    """Write events to stdout or a file, hashes included, for a reviewer or another system."""
    from rotator.cli.console import note
    from rotator.cli.exporting import opened
    from rotator.cli.output.audit import write_events
    from rotator.cli.session import open_installation
    from rotator.engine.auditing import load_events

    with open_installation(cli) as installation:
        events = load_events(installation.database, _make_filter(installation, asked))
        with opened(output, force=force) as stream:
            count = write_events(events, stream, form)
    if output is not None:
        note(cli, f"{count} events written to {output}")
    return 0


def _make_filter(installation: Installation, asked: _Asked) -> AuditFilter:
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


audit.add_command(archive)
