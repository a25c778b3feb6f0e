"""`rotator recover`: finish what was interrupted, and show what only a person may have revoked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.errors import UsageError

if TYPE_CHECKING:
    from rotator.engine.context import RunContext
    from rotator.engine.left_behind import LeftBehind
    from rotator.wiring.installation import Installation


@click.command(
    epilog=examples(
        "rotator recover --dry-run           what was interrupted, and which PATs were left behind",
        "rotator recover                     bring what was interrupted to a safe end; rotate nothing new",
        "rotator recover --revoke ID         revoke a PAT that was left behind, because you confirm it",
    )
)
@click.option("--dry-run", is_flag=True, help="Look and tell; change nothing.")
@click.option("--revoke", "authorization_id", metavar="ID", help="Revoke this PAT, which was left behind.")
@reason_option
@common_options
@click.pass_obj
def recover(cli: CliContext, dry_run: bool, authorization_id: str | None) -> int:
    """Finish interrupted rotations as far as is safe now. Every `rotator once` begins with the same.

    What is left over and cannot be proven ours is listed, and revoked only with --revoke.
    """
    from rotator.cli.session import open_installation

    if dry_run and authorization_id:
        raise UsageError("--dry-run and --revoke exclude each other", fix="Leave one of them out.")
    with open_installation(cli) as installation:
        if authorization_id:
            return _revoke(cli, installation, authorization_id)
        if dry_run:
            return _show(cli, installation.make_run(cli.reason))
        return _recover(cli, installation)


def _recover(cli: CliContext, installation: Installation) -> int:
    from rotator.cli.console import print_json, progress
    from rotator.cli.output.recovery import render_left_behind
    from rotator.cli.output.report import render_done
    from rotator.cli.reporting import note_stop, print_lines
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.report import make_recover_document
    from rotator.engine.run import recover_interrupted

    run = installation.make_run(cli.reason)
    with stop_on_signals(installation) as signals, progress(cli, "finishing what was interrupted"):
        report = recover_interrupted(run)
    left_behind = () if installation.stop.is_set else _load_left_behind(run)
    if cli.as_json:
        print_json(make_recover_document(report, left_behind))
    else:
        lines = [*render_done(report, run.services.clock.now()), *map(render_left_behind, left_behind)]
        print_lines(cli, report, lines, otherwise="Nothing was interrupted, and nothing is left over.")
    note_stop(cli, report)
    return signals.choose_exit_code(report, by_hand=True)


def _load_left_behind(run: RunContext) -> tuple[LeftBehind, ...]:
    from rotator.engine.left_behind import load_left_behind
    from rotator.engine.records import known_in

    with run.services.database.read() as reading:
        return load_left_behind(reading, known_in(reading, run.services.clock.now()))


def _revoke(cli: CliContext, installation: Installation, authorization_id: str) -> int:
    from rotator.cli.console import print_json, say
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.revocation import make_revocation_document
    from rotator.engine.left_behind import revoke_left_behind

    run = installation.make_run(cli.reason)
    with stop_on_signals(installation):
        left = revoke_left_behind(run, authorization_id)
    name, kind = left.rotation.name, left.kind.value
    if cli.as_json:
        print_json(make_revocation_document(name, left.kind, authorization_id, run.run_id))
    say(cli, f"revoked  {authorization_id}, {kind} beside {name}")
    return 0


def _show(cli: CliContext, run: RunContext) -> int:
    from rotator.cli.console import print_json, progress, say
    from rotator.cli.exit_codes import find_code_of_errors
    from rotator.cli.output.recovery import list_interrupted, render_down, render_left_behind
    from rotator.documents.recovery import make_recovery_plan_document
    from rotator.engine.listing import ServerView
    from rotator.engine.reconciling import find_late_writes, look

    with progress(cli, "looking at every PAT"):
        found = look(run, ServerView(run))
        late_writes = find_late_writes(run, found)
    interrupted = list_interrupted(run)
    if cli.as_json:
        print_json(make_recovery_plan_document(interrupted, found, late_writes))
    else:
        for line in render_down(found):
            click.echo(line, err=True)
    for rotation in interrupted:
        say(cli, f"interrupted  {rotation.name}  while {rotation.state.value}  (rotation {rotation.id})")
    for left in found.left_behind:
        say(cli, render_left_behind(left))
    for name in sorted(found.late):
        say(cli, f"landed late  {name}: a mint that was given up; it is revoked by `rotator recover`")
    for name in late_writes:
        say(cli, f"written over  {name}: its secret hands out a PAT that was given up; `rotator recover` puts it right")
    if not (interrupted or found.left_behind or found.late or late_writes or found.down):
        say(cli, "Nothing was interrupted, and nothing is left over.")
    return find_code_of_errors(found.down.values(), done=bool(found.listings))
