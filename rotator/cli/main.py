"""The command line's entry: finds the command, loads only what it needs, and turns errors into words."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from rotator import __version__
from rotator.cli.context import CliContext, common_options, examples
from rotator.cli.exit_codes import INTERRUPTED, NAGIOS_UNKNOWN
from rotator.cli.failures import (
    make_usage_error,
    report_click_error,
    report_error,
    report_to_nagios,
    watch_for_bugs,
)
from rotator.cli.memory import QuickEnd, collect_seldom, keep_memory_private
from rotator.cli.streams import OutputError, open_streams, report_unwritten
from rotator.domain.exit_code import DONE, FAILED
from rotator.errors import RotatorError, UsageError

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
    "daemon": ("rotator.cli.commands.daemon", "daemon", "Run all the time, as a service."),
    "create": ("rotator.cli.commands.create", "create", "Create a managed PAT; nobody sees its value."),
    "update": ("rotator.cli.commands.update", "update", "Rotate a PAT to other scopes, name or lifetime."),
    "rotate": ("rotator.cli.commands.rotate", "rotate", "Rotate PATs now, by name."),
    "revoke": ("rotator.cli.commands.revoke", "revoke", "Revoke PATs now, by name."),
    "recover": ("rotator.cli.commands.recover", "recover", "Finish interrupted rotations; show PATs left behind."),
    "admin": ("rotator.cli.commands.admin", "admin", "Act on PATs of other users, as an administrator."),
    "status": ("rotator.cli.commands.status", "status", "Show the status of every PAT."),
    "doctor": ("rotator.cli.commands.doctor", "doctor", "Check everything that rotator depends on. Changes nothing."),
    "runbook": ("rotator.cli.commands.runbook", "runbook", "Show what an alarm means, and what to do about it."),
    "notify": ("rotator.cli.commands.notify", "notify", "Send a test notification."),
    "hooks": ("rotator.cli.commands.hooks", "hooks", "Call the hooks, as a test."),
    "audit": ("rotator.cli.commands.audit", "audit", "List, verify and export the audit log, and report on it."),
    "sandbox": ("rotator.cli.commands.sandbox", "sandbox", "Stand-ins for Entra, Azure DevOps and Key Vault."),
    "help": ("rotator.cli.commands.help", "help_command", "Show what a command does."),
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

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command; where there is none of that name, the error suggests the nearest of the table."""
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise self._suggest(ctx, error.command_name) from None

    def _suggest(self, ctx: click.Context, word: str) -> click.exceptions.NoSuchCommand:
        """The error about a word that is no command; a group that has a command of that very name is near it."""
        for name in self.list_commands(ctx):
            group = self.get_command(ctx, name)
            if isinstance(group, click.Group) and word in group.commands:
                said = f"No such command '{word}'. Did you mean '{name} {word}'?"
                return click.exceptions.NoSuchCommand(word, said, ctx=ctx)
        return click.exceptions.NoSuchCommand(word, possibilities=COMMANDS, ctx=ctx)

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
@click.version_option(__version__, "-V", "--version", package_name="pat-rotator", message="rotator %(version)s")
@common_options
def rotator() -> None:
    """Replaces Azure DevOps personal access tokens (PATs) before they expire. Azure Key Vault has the current values.

    Exit codes: 0 done or nothing to do, 1 failed or declined, 2 usage or configuration, 3 partly failed, 4 something
    needs attention, 10 a person must sign in, 11 locked by another run, 20 changes pending, 130 interrupted (129, 143:
    by a signal).
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = QuickEnd() if arguments is None else None
    keep_memory_private()
    collect_seldom()
    open_streams()
    cli = CliContext(words=tuple(words))
    watch_for_bugs(cli)
    # While a run is at work, `cli.stopping` handles signals. Other commands just end, their files and locks closed.
    handler = _Terminated()
    before = signal.signal(signal.SIGTERM, handler)
    try:
        code = _run(cli, words, handler)
        sys.stdout.flush()
        sys.stderr.flush()
    except OutputError as error:
        report_unwritten(error)
        return NAGIOS_UNKNOWN if "--nagios" in words else FAILED
    finally:
        if cli.release_logs is not None:
            cli.release_logs(cli.told)
        # After a stop the run's own handler stays to the end: the same stop may be signalled twice.
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, before)
    if end is not None:
        end.code = code
    return code


class _Terminated:
    """Handles SIGTERM like Ctrl-C, and remembers that it came."""

    has_come = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.has_come = True
        signal.default_int_handler(number, frame)


def _run(cli: CliContext, words: list[str], terminated: _Terminated) -> int:
    """Run the command and say what went wrong; return the exit code."""
    try:
        _check_folder()
        code = rotator.main(words, prog_name="rotator", standalone_mode=False, obj=cli)
        sys.stdout.flush()
    except RotatorError as error:
        if "--nagios" in words:
            return report_to_nagios(error)
        report_error(cli, error)
        if cli.changing is not None:
            from rotator.cli.refusals import note_refusals

            note_refusals(cli, [(None, error)])
        return error.exit_code
    except click.Abort:
        click.echo("stopped" if terminated.has_come else "interrupted", err=True)
        return 128 + signal.SIGTERM if terminated.has_come else INTERRUPTED
    except click.ClickException as error:
        if "--nagios" in words:  # a monitoring system would take our 2 for an alarm, and shows stdout only
            return report_to_nagios(make_usage_error(error))
        cli.as_json = cli.as_json or "--json" in words
        report_click_error(cli, error)
        return error.exit_code
    return code if isinstance(code, int) else DONE


def _check_folder() -> None:
    """UsageError when the current folder was deleted: settings and paths are looked for from there."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise UsageError(
            "the current folder was deleted", code="folder_gone", fix="Change to a folder that exists and try again."
        ) from error
