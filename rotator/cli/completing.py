"""What a shell completes: names, accounts, events and the like. It is silent where nothing can be known."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import click

from rotator.cli.context import CliContext
from rotator.errors import RotatorError

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def complete(what: str) -> Completer:
    """What completes a word that names a `pat`, an `account`, an `organization`, a `receiver` or a `hook`."""

    def find(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        from rotator.wiring.completing import Word, list_words
        from rotator.wiring.origin import Origin

        cli = context.find_object(CliContext) or CliContext()
        given = context.params.get(str(parameter.name))
        used = given if isinstance(given, tuple) else ()
        try:
            words = list_words(Origin(cli.config, os.environ, Path.cwd()), Word(what))
        except (RotatorError, OSError):
            return []
        return [word for word in words if word.startswith(incomplete) and word not in used]

    return find


def complete_nothing(_: click.Context, __: click.Parameter, ___: str) -> list[str]:
    """Nothing: only a server knows the names."""
    return []


def complete_events(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The events of the catalogue that begin so."""
    from rotator.domain.events.catalogue import CATALOGUE

    return [name for name in CATALOGUE if name.startswith(incomplete)]
