"""Change records of the inventory, one after the other, and say what was done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from rotator.cli.confirming import check_can_confirm, is_sure
from rotator.cli.context import CliContext
from rotator.cli.refusals import note_refusals
from rotator.cli.selection import check_known, expand
from rotator.domain.managed_pat import Hold, ManagedPat
from rotator.domain.words import say_names
from rotator.engine.context import RunContext
from rotator.errors import RotatorError

if TYPE_CHECKING:
    from rotator.documents.inventory import Change
    from rotator.ports.database import Database

MOST_ALONE = 10
"""So many records have a line each."""


def change_records(
    cli: CliContext,
    patterns: tuple[str, ...],
    apply: Callable[[RunContext, str], ManagedPat],
    change: Change,
    after: str | Callable[[ManagedPat], str],
    ask: Callable[[Database, tuple[str, ...]], bool] = lambda _database, _names: True,
    *,
    dry_run: bool = False,
    same: Collection[str] = (),
    why_same: str = "",
) -> int:
    """Change each record that is meant; the others go on when one cannot be changed.

    In a dry run `apply` changes nothing: it returns the record that would be changed. `same` names those that `apply`
    found as they were to be; people are told `why_same`. `after` is what comes next, for all or for each.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.failures import report_others
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import make_inventory_change_document
    from rotator.engine.exit_codes import find_code_of_errors

    changed: list[ManagedPat] = []
    errors: dict[str, RotatorError] = {}
    with open_installation(cli) as installation:
        names = expand(patterns, installation.database)
        if not ask(installation.database, names):
            return DECLINED
        run = installation.make_run(cli.reason)
        for name in names:
            try:
                changed.append(apply(run, name))
            except RotatorError as error:
                if len(names) == 1:
                    raise
                errors[name] = error
    note_refusals(cli, errors.items())
    if cli.as_json:
        old_name = patterns[0] if change == "renamed" else None
        print_json(make_inventory_change_document(change, changed, errors.values(), old_name, dry_run=dry_run))
    else:
        others = [pat for pat in changed if pat.name not in same]
        _say_each(cli, others, f"would be {change}" if dry_run else change, after)
        _say_same(cli, same, why_same)
        if dry_run:
            say(cli, "A dry run: nothing was changed.")
        report_others(cli, errors.items())
    return find_code_of_errors(errors.values(), done=bool(changed))


def _say_each(
    cli: CliContext, changed: Iterable[ManagedPat], done: str, after: str | Callable[[ManagedPat], str]
) -> None:
    told: dict[str, list[str]] = {}
    for pat in changed:
        told.setdefault(after if isinstance(after, str) else after(pat), []).append(pat.name)
    for then, group in told.items():
        _say_changed(cli, group, done, then)


def _say_changed(cli: CliContext, names: Sequence[str], done: str, after: str) -> None:
    from rotator.cli.console import say
    from rotator.cli.output.words import say_pats

    if len(names) > MOST_ALONE and not cli.verbosity:
        after = after.format(name="NAME")
        say(cli, f"{done}  {say_pats(len(names))}: {say_names(names)}. {after} `-v` names them all.")
        return
    for name in names:
        say(cli, f"{done}  {name}. {after.format(name=name)}")


def _say_same(cli: CliContext, same: Collection[str], why: str) -> None:
    from rotator.cli.console import say

    if same:
        say(cli, f"{say_names(sorted(same))}: {why}")


def forget_records(cli: CliContext, patterns: tuple[str, ...], *, dry_run: bool, yes: bool) -> int:
    """Ask, then forget each record that is meant; none that got the name while a person was asked."""
    from rotator.cli.console import say
    from rotator.engine import keeping

    asked: dict[str, ManagedPat | None] = {}

    def look(run: RunContext, name: str) -> ManagedPat:
        with run.services.database.read() as reading:
            return keeping.check_forgettable(run, reading, name)

    def ask(database: Database, names: tuple[str, ...]) -> bool:
        with database.read() as reading:
            asked.update({name: reading.inventory.load(name) for name in names})
            known = [name for name in names if asked[name] is not None]
            if not known:
                every = [pat.name for pat in reading.inventory.load_all()]
                check_known("PAT", names, every, "See `rotator inventory list` for the names.", globs=False)
        they, command = "It" if len(known) == 1 else "They", f"inventory forget {shlex.join(patterns)}"
        check_can_confirm(cli, "a PAT that is forgotten is no longer rotated", command, yes=yes)
        agreed = is_sure(cli, f"Forget {say_names(known)}? {they} will no longer be rotated, and will expire.", yes=yes)
        if not agreed:
            say(cli, "Nothing was forgotten.")
        return agreed

    if dry_run:
        return change_records(cli, patterns, look, "forgotten", say_way_back, dry_run=True)
    return change_records(
        cli, patterns, lambda run, name: keeping.forget(run, name, asked[name]), "forgotten", say_way_back, ask
    )


def say_way_back(pat: ManagedPat) -> str:
    """What brings a forgotten PAT back, if anything does."""
    if not pat.has_pat:
        return "Its PAT was still to be made: `rotator create` orders it again."
    if pat.hold in (Hold.REVOKED_BY_HAND, Hold.REVOKED_ELSEWHERE):
        return "Its PAT is revoked: nothing brings it back."
    return "`rotator inventory adopt` brings it back, with its name and its secret."
