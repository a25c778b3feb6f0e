"""`rotator sandbox`: the stand-ins, for trying rotator and for tests."""

from __future__ import annotations

import signal
import sys
import threading
from functools import partial
from pathlib import Path
from shlex import quote
from types import FrameType

import click

from rotator.cli.console import clean, note, note_command, print_json
from rotator.cli.context import CliContext, common_options, examples, is_terminal
from rotator.cli.exporting import NamedPath
from rotator.errors import UsageError


@click.group(epilog=examples("rotator sandbox demo", "rotator sandbox up --dir sandbox"))
@common_options
def sandbox() -> None:
    """Run stand-ins for Microsoft Entra, Azure DevOps and Azure Key Vault on this computer."""


@sandbox.command(
    short_help="Start the stand-ins and keep them running.",
    epilog=examples(
        "rotator sandbox up --dir sandbox",
        "rotator sandbox up --dir sandbox --full     for `inventory move`, `notify test`, `scan --organization-wide`",
        "rotator --config sandbox/rotator.yaml scan",
    ),
)
@click.option("--dir", "directory", metavar="DIR", type=NamedPath(), required=True, help="Folder for its files.")
@click.option("--proxy", "has_proxy", is_flag=True, help="Put a proxy that wants a password before the stand-ins.")
@click.option(
    "--full", "is_full", is_flag=True, help="With a second account, which is an administrator, and a receiver."
)
@common_options
@click.pass_obj
def up(cli: CliContext, directory: Path, has_proxy: bool, is_full: bool) -> None:
    """Start the stand-ins, with some sample PATs, and run until interrupted.

    Writes rotator.yaml, policy.yaml and ca.pem to DIR. When everything is ready, prints one line of JSON with the
    addresses to stdout; on a terminal, the next steps come first. Nothing leaves this computer; only the files in DIR
    remain. A folder with settings of your own, or with a running sandbox, is refused.

    With --full there is a second account, deputy, whose user is an administrator of the organization, and a receiver,
    ops: each notification that it gets is shown here.
    """
    from rotator.cli.exporting import is_file
    from rotator.sandbox.folder import FolderError
    from rotator.sandbox.running import run_sandbox

    stop = threading.Event()
    is_old = is_file(directory / "rotator.db")

    def finish(number: int, frame: FrameType | None) -> None:
        stop.set()

    def show_notification(document: dict[str, str]) -> None:
        note(cli, clean(f"Notification to ops: {document.get('title', document)}"))

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    try:
        run_sandbox(
            directory,
            partial(_tell_ready, cli, directory if is_old else None, is_full=is_full),
            stop,
            has_proxy=has_proxy,
            hear=show_notification if is_full else None,
        )
    except FolderError as error:
        raise UsageError(error.message, fix=error.fix) from error


def _tell_ready(cli: CliContext, used: Path | None, document: dict[str, object], *, is_full: bool) -> None:
    """Say what comes next, and the addresses. `used`: the folder, if it has the database of an earlier sandbox."""
    from rotator.sandbox import seeds

    is_read_by_people = is_terminal(sys.stdout)
    if not is_read_by_people:
        print_json(document, in_one_line=True)
    note(cli, "Ready. In another terminal:")
    note_command(cli, f"export ROTATOR_CONFIG={quote(str(document['config_path']))}")
    if used is not None:
        note(cli, "The database is of an earlier sandbox, whose PATs are gone. Delete it:")
        note_command(cli, f"rm {quote(str((used / 'rotator.db').resolve()))}")
    note(cli, "Then create the database and sign in:")
    note_command(cli, "rotator db upgrade")
    note_command(cli, f"rotator login {document['account']} --device-code")
    if is_full:
        note_command(cli, f"rotator login {seeds.OTHER_ACCOUNT} --device-code     # as {seeds.OTHER_USERNAME}")
    note(cli, "Ctrl-C stops the sandbox.")
    if is_read_by_people:
        note(cli, "Its addresses:")
        print_json(document, in_one_line=True)


@sandbox.command(
    short_help="Show the whole story in about a minute.",
    epilog=examples("rotator sandbox demo"),
)
@common_options
@click.pass_obj
def demo(cli: CliContext) -> None:
    """Show the whole story in about a minute: sign in, adopt, rotate, overlap, revoke, verify.

    Runs the real commands against the stand-ins in a temporary folder, and checks that each step does what it says.
    """
    from rotator.cli.demo import run_demo

    run_demo(cli)
