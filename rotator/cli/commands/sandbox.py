"""`rotator sandbox`: the stand-ins, for trying rotator and for tests."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from shlex import quote
from types import FrameType

import click

from rotator.cli.console import note, note_command, print_json
from rotator.cli.context import CliContext, common_options, examples, is_terminal
from rotator.errors import UsageError


@click.group(epilog=examples("rotator sandbox demo", "rotator sandbox up --dir sandbox"))
@common_options
def sandbox() -> None:
    """Run stand-ins for Microsoft Entra, Azure DevOps and Azure Key Vault on this computer."""


@sandbox.command(
    short_help="Start the stand-ins and keep them running.",
    epilog=examples("rotator sandbox up --dir sandbox", "rotator --config sandbox/rotator.yaml scan"),
)
@click.option(
    "--dir", "directory", metavar="DIR", type=click.Path(path_type=Path), required=True, help="Folder for its files."
)
@click.option("--proxy", "has_proxy", is_flag=True, help="Put a proxy that wants a password before the stand-ins.")
@common_options
@click.pass_obj
def up(cli: CliContext, directory: Path, has_proxy: bool) -> None:
    """Start the stand-ins, with some sample PATs, and run until interrupted.

    Writes rotator.yaml, policy.yaml and ca.pem to DIR. When everything is ready, prints one line of JSON with the
    addresses to stdout; on a terminal, the next steps come first. Nothing leaves this computer; only the files in DIR
    remain. A folder with settings of your own, or with a running sandbox, is refused.
    """
    from rotator.sandbox.folder import FolderError
    from rotator.sandbox.running import run_sandbox

    stop = threading.Event()
    database = directory / "rotator.db"
    is_old = database.exists()

    def finish(number: int, frame: FrameType | None) -> None:
        stop.set()

    def tell_ready(document: dict[str, object]) -> None:
        is_read_by_people = is_terminal(sys.stdout)
        if not is_read_by_people:
            print_json(document, in_one_line=True)
        note(cli, "Ready. In another terminal:")
        note_command(cli, f"export ROTATOR_CONFIG={quote(str(document['config_path']))}")
        if is_old:
            note(cli, "The database knows the PATs of an earlier sandbox, which are gone. Delete it:")
            note_command(cli, f"rm {quote(str(database.resolve()))}")
        note(cli, "Then create the database and sign in:")
        note_command(cli, "rotator db upgrade")
        note_command(cli, f"rotator login {document['account']} --device-code")
        note(cli, "Ctrl-C stops the sandbox.")
        if is_read_by_people:
            note(cli, "Its addresses:")
            print_json(document, in_one_line=True)

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    try:
        run_sandbox(directory, tell_ready, stop, has_proxy=has_proxy)
    except FolderError as error:
        raise UsageError(error.message, fix=error.fix) from error


@sandbox.command(
    short_help="Show the whole story in a few minutes.",
    epilog=examples("rotator sandbox demo"),
)
@common_options
@click.pass_obj
def demo(cli: CliContext) -> None:
    """Show the whole story in a few minutes: sign in, adopt, rotate, overlap, revoke, verify.

    Runs the real commands against the stand-ins in a temporary folder, and checks that each step does what it says.
    """
    from rotator.cli.demo import run_demo

    run_demo(cli)
