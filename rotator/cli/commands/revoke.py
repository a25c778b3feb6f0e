"""`rotator revoke`: revoke now, by hand."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from rotator.cli.completing import complete
from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.cli.selection import expand
from rotator.engine.context import RunContext
from rotator.errors import NotManagedError, RotationError, RotatorError, StoppedError, UsageError

if TYPE_CHECKING:
    from rotator.documents.revocation import RevokedDocument, Which
    from rotator.domain.managed_pat import ManagedPat


@dataclass(frozen=True)
class _Wish:
    """What is to be revoked, as it was asked for."""

    patterns: tuple[str, ...]
    previous: bool
    without_hook: bool
    dry_run: bool = False

    @property
    def which(self) -> Which:
        """Which PAT of each record is meant."""
        return "previous" if self.previous else "current"


@dataclass
class _Result:
    """What was revoked, and by name what could not be."""

    revoked: list[RevokedDocument] = field(default_factory=list)
    failed: dict[str, RotatorError] = field(default_factory=dict)


@click.command(
    short_help="Revoke PATs now, by name.",
    epilog=examples(
        "rotator revoke npm-feed --previous   end the overlap: the old PAT is revoked now",
        "rotator revoke npm-feed              revoke the one in use; asks first",
        "rotator revoke npm-feed 'team01*'    several, asked about once",
        "rotator revoke 'team01*' --dry-run   only show what would be revoked",
        "rotator revoke npm-feed --previous --without-hook --reason 'by hand'",
        "rotator revoke npm-feed --yes        from a script: does not ask",
    ),
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True, shell_complete=complete("pat"))
@click.option("--previous", is_flag=True, help="Revoke the old PAT of an overlap, not the one in use.")
@click.option("--without-hook", is_flag=True, help="With --previous: even though a required hook has not succeeded.")
@click.option("--dry-run", is_flag=True, help="Show what would be revoked and what is refused, and revoke nothing.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def revoke(
    cli: CliContext, names: tuple[str, ...], previous: bool, without_hook: bool, dry_run: bool, yes: bool
) -> int:
    """Revoke PATs now: those that consumers use, or with --previous the old PATs of their overlaps.

    Revoking the PAT in use breaks its consumers and pauses its record; `rotator rotate NAME` makes a new one. A NAME
    may be a glob. If one PAT cannot be revoked, the others still are; if one NAME is unknown, none is.

    While a required hook has not succeeded, the old PAT stays: --without-hook revokes it anyway, and needs
    --reason, which the audit log keeps.

    A dry run asks no server: it goes by rotator's own records, and ends with the exit code of a revocation that meets
    nothing else.
    """
    from rotator.cli.console import say
    from rotator.cli.exit_codes import DECLINED
    from rotator.cli.freezes import note_freezes
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.engine.exit_codes import find_code_of_errors

    wish, result = _Wish(names, previous, without_hook, dry_run), _Result()
    if without_hook and not (previous and cli.reason):
        raise UsageError(
            "--without-hook overrules a hook that must succeed before the old PAT goes",
            fix=f"Say why: `rotator revoke {shlex.join(names)} --previous --without-hook --reason TEXT`.",
        )
    with open_installation(cli) as installation:
        run, wanted = installation.make_run(cli.reason), expand(names, installation.database)
        note_freezes(cli, run, wanted)
        pats = _find_revocable(run, wanted, wish, result)
        if dry_run:
            _report(cli, run, wish, result)
            return find_code_of_errors(result.failed.values(), done=bool(pats))
        if pats:
            check_can_confirm(cli, *_say_what(pats, wish), yes=yes)
            if not is_sure(cli, _make_question(pats, wish), yes=yes):
                say(cli, "Nothing was revoked.")
                return DECLINED
        with stop_on_signals(installation.stop):
            try:
                _revoke_each(cli, run, pats, wish, result, goes_on=len(wanted) > 1)
            except StoppedError:
                if result.revoked or result.failed:
                    _report(cli, run, wish, result)
                raise
            _report(cli, run, wish, result)
    return find_code_of_errors(result.failed.values(), done=bool(result.revoked))


def _find_revocable(run: RunContext, names: Sequence[str], wish: _Wish, result: _Result) -> list[ManagedPat]:
    """Look up what can be revoked. What cannot be is a failure of its own, or if it is the only one, of the command.

    NotManagedError for a name that no record has: nothing is revoked beside a mistyped name.
    """
    from rotator.documents.revocation import make_revoked_document
    from rotator.engine.claiming import check_managed
    from rotator.engine.keeping import check_overlapping, check_revocable

    found = []
    with run.services.database.read() as reading:
        for name in names:
            try:
                pat = check_revocable(reading, name) if _is_dry_current(wish) else check_managed(reading, name)
                goes = pat.authorization_id
                if wish.previous:
                    goes = check_overlapping(run, reading, name, without_hook=wish.without_hook).predecessor_id
            except (UsageError, RotationError) as error:
                if len(names) == 1 or isinstance(error, NotManagedError):
                    raise
                result.failed[name] = error
            else:
                found.append(pat)
                if wish.dry_run:
                    result.revoked.append(make_revoked_document(name, wish.which, goes, confirmed=False))
    return found


def _is_dry_current(wish: _Wish) -> bool:
    return wish.dry_run and not wish.previous


def _revoke_each(
    cli: CliContext, run: RunContext, pats: Sequence[ManagedPat], wish: _Wish, result: _Result, *, goes_on: bool
) -> None:
    from rotator.cli.console import progress

    with progress(cli, "revoking") as update:
        for number, pat in enumerate(pats):
            if len(pats) > 1:
                update(f"{number} of {len(pats)}: revoking {pat.name}")
            _revoke(run, pat, wish, result, goes_on=goes_on)


def _revoke(run: RunContext, pat: ManagedPat, wish: _Wish, result: _Result, *, goes_on: bool) -> None:
    from rotator.documents.revocation import make_revoked_document
    from rotator.engine.keeping import revoke_current, revoke_previous
    from rotator.engine.revoking import is_confirmed

    try:
        if wish.previous:
            revoked = revoke_previous(run, pat.name, pat, without_hook=wish.without_hook)
        else:
            revoked = revoke_current(run, pat.name, pat)
        confirmed = is_confirmed(run, revoked)
    except RotatorError as error:
        if not goes_on:
            raise
        result.failed[pat.name] = error
        return
    result.revoked.append(make_revoked_document(pat.name, wish.which, revoked, confirmed=confirmed))


def _report(cli: CliContext, run: RunContext, wish: _Wish, result: _Result) -> None:
    from rotator.cli.console import print_json, say
    from rotator.cli.failures import report_others
    from rotator.cli.refusals import note_refusals
    from rotator.documents.revocation import make_revocation_document

    note_refusals(cli, result.failed.items())
    if cli.as_json:
        print_json(make_revocation_document(run.run_id, result.revoked, result.failed, dry_run=wish.dry_run))
        return
    _say_revoked(cli, wish, result)
    if wish.dry_run:
        say(cli, "A dry run: nothing was revoked.")
    elif result.revoked and not wish.previous:
        say(cli, f"Next: {_say_next(run, [item['name'] for item in result.revoked])}")
    report_others(cli, result.failed.items())


def _say_next(run: RunContext, names: Sequence[str]) -> str:
    from rotator.engine.explaining import say_next_of_revoked

    with run.services.database.read() as reading:
        pat = reading.inventory.load(names[0]) if len(names) == 1 else None
    if pat is None:
        return "`rotator rotate NAME` makes a new one, `rotator inventory forget NAME` drops it."
    return say_next_of_revoked(pat, run.policy, run.services.clock.now())


def _say_revoked(cli: CliContext, wish: _Wish, result: _Result) -> None:
    """A line for each PAT; very many that went as they should share one."""
    from rotator.cli.changing import MOST_ALONE
    from rotator.cli.console import say
    from rotator.cli.output.words import NOT_CONFIRMED
    from rotator.domain.words import say_names

    done = "would be revoked" if wish.dry_run else "revoked"
    many = [item["name"] for item in result.revoked if item["confirmed"] or wish.dry_run]
    together = many if len(many) > MOST_ALONE and not cli.verbosity else []
    if together:
        which = "old PATs" if wish.previous else "PATs in use"
        say(cli, f"{done}  {len(together)} {which}: {say_names(together)}. `-v` shows each with its id.")
    for item in result.revoked:
        if item["name"] in together:
            continue
        identifier = item["authorization_id"]
        if wish.previous:
            proven = "if the vault still has the new one" if wish.dry_run else "the vault has the new one"
            say(cli, f"{done}  {item['name']}: the old PAT ({identifier}); {proven}")
        else:
            paused = "the record would be paused" if wish.dry_run else "the record is paused"
            say(cli, f"{done}  {item['name']}: the PAT in use ({identifier}); {paused}")
        if not (item["confirmed"] or wish.dry_run):
            say(cli, NOT_CONFIRMED)


def _say_what(pats: Sequence[ManagedPat], wish: _Wish) -> tuple[str, str]:
    """What it does, and the command that does it."""
    from rotator.domain.words import say_names

    names, command = say_names([pat.name for pat in pats]), f"revoke {shlex.join(wish.patterns)}"
    if not wish.previous:
        return f"revoking {names} breaks {'its' if len(pats) == 1 else 'their'} consumers", command
    plural, them = ("", "it") if len(pats) == 1 else ("s", "them")
    said = f"revoking the old PAT{plural} of {names} breaks consumers that still cache {them}"
    overruled = " --without-hook" if wish.without_hook else ""
    return said, f"{command} --previous{overruled}"


def _make_question(pats: Sequence[ManagedPat], wish: _Wish) -> str:
    names = ", ".join(pat.name for pat in pats)
    if wish.previous:
        plural, them = ("", "it") if len(pats) == 1 else ("s", "them")
        return f"Revoke the old PAT{plural} of {names} now? Consumers that still cache {them} will fail."
    if len(pats) == 1:
        return f'Revoke {names} ("{pats[0].display_name}" in {pats[0].organization}), which consumers use now?'
    return f"Revoke the PATs of {names}, which consumers use now?"
