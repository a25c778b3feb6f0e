"""`rotator sandbox`: the stand-ins, to try rotator and to test against."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import click

from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.render import note, print_json


@click.group(epilog=examples("rotator sandbox demo", "rotator sandbox up --dir sandbox"))
@common_options
def sandbox() -> None:
    """Stand-ins of Microsoft Entra, Azure DevOps and Azure Key Vault on this computer."""


@sandbox.command(
    short_help="Start the stand-ins and keep them running.",
    epilog=examples("rotator sandbox up --dir sandbox", "rotator --config sandbox/rotator.yaml scan"),
)
@click.option(
    "--dir", "directory", metavar="DIR", type=click.Path(path_type=Path), required=True, help="For its files."
)
@common_options
@click.pass_obj
def up(cli: CliContext, directory: Path) -> None:
    """Start the stand-ins, with some PATs to play with, and run until interrupted.

    Writes rotator.yaml, policy.yaml and ca.pem into DIR. When all is ready, one JSON line with the addresses goes to
    stdout. Nothing leaves this computer; nothing of it survives but the files in DIR.
    """
    from rotator.sandbox.running import run_sandbox

    stop = threading.Event()

    def finish(number: int, frame: FrameType | None) -> None:
        stop.set()

    def tell_ready(document: dict[str, object]) -> None:
        print_json(document, in_one_line=True)
        note(cli, f"Ready. In another terminal: export ROTATOR_CONFIG={document['config_path']}")
        note(cli, f"Sign in with: rotator db upgrade && rotator login {document['account']} --device-code")
        note(cli, "Ctrl-C stops the sandbox.")

    signal.signal(signal.SIGTERM, finish)
    signal.signal(signal.SIGINT, finish)
    run_sandbox(directory, tell_ready, stop)


@sandbox.command(
    short_help="Show the whole story in half a minute.",
    epilog=examples("rotator sandbox demo"),
)
@common_options
@click.pass_obj
def demo(cli: CliContext) -> None:
    """Show the whole story in half a minute: sign in, adopt, rotate, overlap, revoke, verify.

    Runs the real commands against the stand-ins in a temporary folder, and checks that all ends as told.
    """
    from rotator.cli.demo import run_demo

    run_demo(cli)
