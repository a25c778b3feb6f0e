"""`rotator audit archive`: old events of the audit log go into a signed file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.exporting import NamedPath
from rotator.cli.moments import parse_moment

if TYPE_CHECKING:
    from rotator.engine.archiving import Archived, ArchivePlan


@click.command(
    short_help="Move old events into a signed file.",
    epilog=examples(
        "rotator audit archive --before 365d --dry-run    what would go, and what keeps the rest",
        "rotator audit archive --before 2026-01-01 --output 2025.archive",
        "rotator audit archive --before 365d --output /archives/old.archive --yes    from a script",
        "rotator audit verify --archive 2025.archive      check the file, and the log across it",
    ),
)
@click.option(
    "--before",
    metavar="WHEN",
    required=True,
    help="Move events from before then: a time span ago (365d) or a UTC time (2026-01-01).",
)
@click.option(
    "--output",
    type=NamedPath(dir_okay=False),
    help="File to write (mode 0600). Default: rotator-audit-FIRST-LAST.archive, here.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be moved, and change nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def archive(cli: CliContext, before: str, output: Path | None, dry_run: bool, yes: bool) -> int:
    """Move old events out of the database into a signed file. Keep the file: nothing else has them then.

    The whole log is checked first. It moves whole checkpoints only, and never events that a receiver has not been
    notified of yet, or that an open rotation, an unproven revocation or a problem that lasts still needs. A daemon may
    keep running meanwhile.

    If it is killed, run it again: nothing is deleted before the file is complete and the log says where it is.
    """
    from rotator.cli.console import progress, say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.session import open_installation
    from rotator.domain.exit_code import DONE
    from rotator.engine.archiving import plan_archive, write_archive
    from rotator.wiring.sealing import open_archive_file

    done = None
    with open_installation(cli) as installation:
        moment, run = parse_moment("--before", before, installation.clock.now()), installation.make_run(cli.reason)
        with progress(cli, "checking the log"):
            plan = plan_archive(run, moment)
        path = (output or Path(f"rotator-audit-{plan.first}-{plan.last}.archive")).absolute()
        if plan.last and not dry_run:
            what = "what is moved into the file is deleted from the database"
            into = [] if output is None else ["--output", str(output)]
            check_can_confirm(cli, what, shlex.join(["audit", "archive", "--before", before, *into]), yes=yes)
            if not is_sure(cli, f"Move events {plan.first} to {plan.last} into {path}?", yes=yes):
                say(cli, "Nothing was moved.")
                return DECLINED
            with progress(cli, "writing the archive"):
                done = write_archive(run, plan, open_archive_file(path))
    _report(cli, plan, done, path, dry_run=dry_run)
    return DONE


def _report(cli: CliContext, plan: ArchivePlan, done: Archived | None, path: Path, *, dry_run: bool) -> None:
    from rotator.cli.console import print_json, say
    from rotator.documents.audit import make_archive_document

    if cli.as_json:
        print_json(make_archive_document(plan, done, str(path), dry_run=dry_run))
    elif done is not None:
        say(cli, f"Events {plan.first} to {plan.last} are in {path}.")
        say(cli, f"The database has {done.deleted} fewer, and keeps {done.archive.kept} that are needed for ever.")
        say(cli, f"Keep the file. `rotator audit verify --archive {path}` checks it.")
    elif plan.unfinished is not None:
        say(cli, f"Events {plan.first} to {plan.last} are in an archive, and still to be deleted from the database.")
    else:
        moved = f"Would move events {plan.first} to {plan.last} into {path}."
        say(cli, moved if plan.last else "There is nothing to move.")
        stay = f"Events after {plan.limit.last} stay" if plan.limit.last else "All events stay"
        say(cli, f"{stay}, because {plan.limit.why}.")
