"""The installation that a command works with."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from rotator.cli.context import CliContext
from rotator.domain.audit_event import Detail
from rotator.domain.outside import make_harmless
from rotator.wiring.installation import Installation
from rotator.wiring.logs import LEVELS, QUIET, LogOptions, redact, release_logs, start_logs
from rotator.wiring.origin import Origin

_NOBODYS = ("rotator once", "rotator daemon")
_LONGEST = 1000


def open_installation(cli: CliContext) -> Installation:
    """The installation that the command line and the environment name, with the log on stderr. A context manager.

    On a terminal, log lines of what the command says in words at its end are not written: see `CliContext.told`.
    """
    level = QUIET if cli.quiet else LEVELS[min(cli.verbosity, len(LEVELS) - 1)]
    start_logs(LogOptions(sys.stderr, level, holds=not cli.verbosity, words=say_in_words))
    cli.release_logs = release_logs
    return Installation(Origin(cli.config, os.environ, Path.cwd(), command=_describe_command(cli.words, cli.changing)))


def say_in_words(event: str, subject: str, fields: Mapping[str, Detail]) -> str:
    """The fields of an event, for the log on a terminal; the words are loaded with the first line."""
    from rotator.cli.output.details import say_fields

    return say_fields(event, subject, fields)


def _describe_command(words: Sequence[str], changing: str | None) -> dict[str, str]:
    """What the audit log says of a command: as it was typed, and by way of which account and address.

    Nothing for what a timer or a service manager starts.
    """
    context = click.get_current_context(silent=True)
    if changing is None and (context is None or context.command_path in _NOBODYS):
        return {}
    typed = redact(shlex.join(["rotator", *words]))
    user, address = os.environ.get("SUDO_USER", ""), os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    ways = [f"{way} {make_harmless(who)}" for way, who in (("sudo by", user), ("ssh from", address)) if who]
    said = {"command": typed if len(typed) <= _LONGEST else f"{typed[:_LONGEST]}..."}
    return {**said, "via": ", ".join(ways)} if ways else said
