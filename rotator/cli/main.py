"""The command line's entry: finds the command, loads only what it needs, and turns errors into words."""

from __future__ import annotations

import importlib
import resource
import signal
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from rotator import __version__
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.exit_codes import DONE, INTERRUPTED
from rotator.cli.failures import report_click_error, report_error, watch_for_bugs
from rotator.errors import RotatorError

# Name: where the command is, and its line in `rotator --help`. In the order of their first use.
COMMANDS = {
    "init": ("rotator.cli.commands.init", "init", "Write a commented rotator.yaml and policy.yaml."),
    "config": ("rotator.cli.commands.config", "config", "Check and show the settings and the policy."),
    "db": ("rotator.cli.commands.db", "db", "Create or upgrade the inventory database."),
    "login": ("rotator.cli.commands.login", "login", "Sign an account in to Microsoft Entra."),
    "logout": ("rotator.cli.commands.logout", "logout", "Forget an account's sign-in."),
    "accounts": ("rotator.cli.commands.accounts", "accounts", "Show who is signed in, and for how long."),
    "scan": ("rotator.cli.commands.scan", "scan", "Compare the server's PATs with the inventory. Read-only."),
    "inventory": ("rotator.cli.commands.inventory", "inventory", "Adopt PATs; list, pause and forget them."),
    "plan": ("rotator.cli.commands.plan", "plan", "Show what a run would do now, and why. Changes nothing."),
    "once": ("rotator.cli.commands.once", "once", "Do one run, for cron and timers."),
    "create": ("rotator.cli.commands.create", "create", "Create a PAT under management; nobody sees its value."),
    "rotate": ("rotator.cli.commands.rotate", "rotate", "Rotate PATs now, by name."),
    "revoke": ("rotator.cli.commands.revoke", "revoke", "Revoke a PAT now, by name."),
    "recover": ("rotator.cli.commands.recover", "recover", "Finish interrupted rotations; show PATs left behind."),
    "status": ("rotator.cli.commands.status", "status", "Show how every PAT stands."),
    "audit": ("rotator.cli.commands.audit", "audit", "List, verify and export the audit log."),
    "sandbox": ("rotator.cli.commands.sandbox", "sandbox", "Stand-ins for Entra, Azure DevOps and Key Vault."),
    "completion": ("rotator.cli.commands.completion", "completion", "Print the completion script for a shell."),
}


class LazyGroup(click.Group):
    """Imports a command's module when the command is used, so that `--help` is quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "rotator sandbox demo           the whole story, on this computer only",
        "rotator init                   begin with a real organization",
        "rotator COMMAND --help         what a command does, with examples",
    ),
)
@click.version_option(__version__, package_name="pat-rotator", message="rotator %(version)s")
@common_options
def rotator() -> None:
    """Keeps Azure DevOps personal access tokens (PATs) alive and their current values in Azure Key Vault.

    Exit codes: 0 done or nothing to do, 1 failed, 2 usage or configuration,  3 partly failed, 4 something needs
    attention, 10 a person must sign in,11 locked by another run, 20 changes pending, 130 interrupted.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    # A dump of this process would hold PATs and tokens.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cli = CliContext()
    watch_for_bugs(cli)
    # While a run is at work, `cli.stopping` handles signals. Other commands just end, their files and locks closed.
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    for stream in (sys.stdout, sys.stderr):
        _make_lenient(stream)
    try:
        code = rotator.main(words, prog_name="rotator", standalone_mode=False, obj=cli)
        sys.stdout.flush()
    except RotatorError as error:
        report_error(cli, error)
        return error.exit_code
    except click.Abort:
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        cli.as_json = cli.as_json or "--json" in words
        report_click_error(cli, error)
        return error.exit_code
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if isinstance(code, int) else DONE


def _make_lenient(stream: TextIO) -> None:
    """Names can hold signs that a terminal's encoding lacks: those are written out, nothing fails."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
