"""`rotator audit`: the hash-chained log of everything that was changed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.choosing_events import COUNT, Asked, check_follow, event_filters, make_filter, make_pause
from rotator.cli.commands.audit_archive import archive
from rotator.cli.commands.audit_export import export
from rotator.cli.commands.audit_reconcile import reconcile
from rotator.cli.commands.audit_report import report
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.exporting import NamedPath
from rotator.errors import AuditChainError, NotManagedError, UsageError
from rotator.ports.audit_log import AuditFilter

if TYPE_CHECKING:
    from rotator.domain.audit_event import AuditEvent
    from rotator.engine.anchoring import AnchorSight
    from rotator.engine.context import Trust
    from rotator.engine.log_checking import LogSummary
    from rotator.wiring.installation import Installation


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
audit.add_command(reconcile)


@audit.command(
    "list",
    epilog=examples(
        "rotator audit list                          the newest 100 events",
        "rotator audit list --since 2d --name npm-feed",
        "rotator audit list --event pat_revoked --since 2026-12-01 --until 2026-12-08",
        "rotator audit list --outcome failed --follow    keep showing new events; Ctrl-C ends it",
    ),
)
@event_filters
@click.option(
    "--limit", metavar="N", type=COUNT, default=100, help="Show the newest events, at most this many. Default: 100."
)
@click.option("--follow", is_flag=True, help="Keep showing events as they are recorded, until Ctrl-C.")
@common_options
@click.pass_obj
def list_events(cli: CliContext, asked: Asked, limit: int, follow: bool) -> int:
    """List events, the oldest first.

    DETAIL begins with the outcome unless the event succeeded, is a plan or is a forecast; `rotator audit show` has all
    fields as they are. With --follow, --json prints one event per line.
    """
    from rotator.cli.console import note, print_json, print_table, say
    from rotator.cli.output.audit import COLUMNS, list_event_rows
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_events_document

    check_follow(asked, follow=follow)
    with open_installation(cli) as installation:
        wanted = make_filter(installation, asked)
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
    from rotator.documents.audit import make_event_document

    pause = make_pause(installation, sys.stdout)
    with stop_on_signals(installation.stop, tell=lambda *_: None):
        for event in chain(newest, follow_events(installation.database, last, wanted, pause)):
            if cli.as_json:
                print_json(make_event_document(event), in_one_line=True)
            else:
                echo(render_event_line(event))
    return 0


@audit.command(epilog=examples("rotator audit show 42"))
@click.argument("sequence", type=COUNT)
@common_options
@click.pass_obj
def show(cli: CliContext, sequence: int) -> int:
    """Show everything that one event says."""
    from rotator.cli.console import print_json, say
    from rotator.cli.output.audit import render_event
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_entry_document
    from rotator.domain.events.anchors import LogArchived
    from rotator.engine.auditing import list_named

    with open_installation(cli) as installation, installation.database.read() as reading:
        found = reading.audit.load(sequence)
        if found is None:
            raise _make_missing(sequence, list_named(reading, LogArchived.type.name))
    if cli.as_json:
        print_json(make_entry_document(found))
    for line in render_event(found):
        say(cli, line)
    return 0


def _make_missing(sequence: int, archives: Iterable[AuditEvent]) -> UsageError:
    """The error for an event that the database does not have; it may be in an archive."""
    for archived in (event.entry.details for event in archives):
        first, last = archived.get("first"), archived.get("last")
        if isinstance(first, int) and isinstance(last, int) and first <= sequence <= last:
            what, fix = f"audit event {sequence} is in an archive", f"Look for it in {archived.get('file')}."
            return UsageError(what, code="archived", fix=fix)
    return UsageError(
        f"there is no audit event {sequence}",
        code=NotManagedError.code,
        fix="See `rotator audit list` for the numbers.",
    )


@audit.command(
    epilog=examples(
        "rotator audit verify",
        "rotator audit verify --all        also what was verified in the last days",
        "rotator audit verify --anchors    all of it, and that the log was not cut off or put back",
        "rotator audit verify --archive 2026.archive --archive 2027.archive",
        "rotator audit verify --json",
    )
)
@click.option("--all", "is_whole", is_flag=True, help="Check the whole log, also what was verified in the last days.")
@click.option("--anchors", is_flag=True, help="Check the whole log, and compare it with what the vaults hold of it.")
@click.option(
    "--archive",
    "archives",
    metavar="FILE",
    multiple=True,
    type=NamedPath(dir_okay=False),
    help="Check the whole log, and this archive of older events. Name every archive.",
)
@common_options
@click.pass_obj
def verify(cli: CliContext, is_whole: bool, anchors: bool, archives: tuple[Path, ...]) -> int:
    """Check events, checkpoints and signatures. If any is wrong, name the first and exit with 1.

    With a signing key, the daemon and `rotator once` verify the log each day, and all of it each week; what they have
    verified is not checked again here, unless --all says so, --anchors or --archive. Prints the public key that
    signatures are checked with: compare it with the one that you were given.

    The database alone cannot show that the log was truncated together with its newest checkpoints, or replaced by an
    older copy; --anchors can. If the log is intact and some vault could not be read, the exit code is 3, or 10 if a
    person must sign in: that does not mean that anybody changed the log. It is 3 too if some archives were named, and
    not all.
    """
    from rotator.cli.console import print_json, progress
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_broken_document
    from rotator.engine.anchoring import AnchorSight, fetch_anchors
    from rotator.engine.log_checking import verify_log
    from rotator.engine.signing_keys import follow_keys
    from rotator.engine.verified import load_verified
    from rotator.wiring.sealing import make_trust, open_archive_file

    try:
        waited = "asking the vaults for their anchors" if anchors else "recomputing the chain"
        with progress(cli, waited) as update, open_installation(cli) as installation:
            sight = fetch_anchors(installation.make_run()) if anchors else AnchorSight((), {})
            update("recomputing the chain")
            trust, now, database = make_trust(installation), installation.clock.now(), installation.database
            files = [open_archive_file(path) for path in archives]
            is_whole = is_whole or anchors or bool(files)
            since = None if is_whole else load_verified(database, follow_keys(database, trust), now)
            summary, accepted = verify_log(database, sight, trust, now, files, since)
    except AuditChainError as error:
        if not cli.as_json:
            raise
        print_json(make_broken_document(error))
        return error.exit_code
    return _report_intact(cli, summary, sight, accepted, trust, anchors=anchors, archives=bool(archives))


def _report_intact(
    cli: CliContext,
    summary: LogSummary,
    sight: AnchorSight,
    accepted: int,
    trust: Trust | None,
    *,
    anchors: bool,
    archives: bool,
) -> int:
    from rotator.cli.console import clean, note, print_json, say
    from rotator.cli.output.audit import render_anchors, render_archives, render_intact, render_keys, render_seals
    from rotator.documents.audit import make_intact_document
    from rotator.domain.exit_code import PARTLY_FAILED
    from rotator.engine.exit_codes import find_code_of_errors

    if cli.as_json:
        print_json(make_intact_document(summary, sight, accepted))
    say(cli, render_intact(summary))
    for line in render_seals(summary):
        say(cli, line)
    for line in render_keys(trust):
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
    says so. The same holds for events that `rotator audit verify` names as forged, and for an old log that no signature
    covers, as where the key is new: that is signed as it is. Changes nothing else. Anything that goes missing, or is
    forged, later is reported again.
    """
    from rotator.cli.console import print_json, progress, say
    from rotator.cli.output.audit import say_number
    from rotator.cli.session import open_installation
    from rotator.documents.audit import make_gap_document
    from rotator.engine.gaps import FORGED, UNSIGNED, accept_gap

    if cli.reason is None:
        raise UsageError("accepting a gap needs a reason", fix="Say with --reason TEXT why the log lacks something.")
    with progress(cli, "reading the anchors"), open_installation(cli) as installation:
        missing = accept_gap(installation.make_run(cli.reason))
    if cli.as_json:
        print_json(make_gap_document(missing))
        return 0
    forged, unsigned = (sum(key.startswith(one) for key in missing) for one in (FORGED, UNSIGNED))
    if not missing:
        say(cli, "The log lacks nothing that the vaults name.")
    if lacking := len(missing) - forged - unsigned:
        say(cli, f"Accepted: the log lacks {lacking} of the anchors that the vaults name or named.")
    if forged:
        say(cli, f"Accepted: {say_number(forged, 'event')} in the log {'is' if forged == 1 else 'are'} forged.")
    if unsigned:
        say(cli, "Accepted: no signature covered the log until now. It is signed as it is.")
    return 0


audit.add_command(archive)
audit.add_command(export)
