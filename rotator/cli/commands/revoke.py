"""`rotator revoke`: revoke now, by hand."""

from __future__ import annotations

import click

from rotator.cli.confirming import check_can_confirm, is_sure, yes_option
from rotator.cli.context import CliContext, common_options, examples, reason_option
from rotator.domain.managed_pat import ManagedPat
from rotator.errors import UsageError


@click.command(
    epilog=examples(
        "rotator revoke npm-feed --previous   end the overlap: the old one goes now",
        "rotator revoke npm-feed              revoke the one in use; asks first",
        "rotator revoke npm-feed --previous --without-hook --reason 'by hand'",
        "rotator revoke npm-feed --yes        from a script: nobody is asked",
    )
)
@click.argument("name")
@click.option("--previous", is_flag=True, help="Revoke the old PAT of an overlap, not the one in use.")
@click.option("--without-hook", is_flag=True, help="With --previous: even though a required hook has not succeeded.")
@yes_option
@reason_option
@common_options
@click.pass_obj
def revoke(cli: CliContext, name: str, previous: bool, without_hook: bool, yes: bool) -> int:
    """Revoke a PAT now: the one that consumers use, or with --previous the old one of an overlap.

    Revoking the one in use breaks its consumers and pauses its record; `rotator rotate NAME` makes a new one.

    While a required hook has not succeeded, the old PAT stays: --without-hook revokes it all the same, and needs
    --reason, which the audit log keeps.
    """
    from rotator.cli.console import print_json, say
    from rotator.cli.session import open_installation
    from rotator.cli.stopping import stop_on_signals
    from rotator.documents.revocation import Which, make_revocation_document
    from rotator.domain.exit_code import FAILED
    from rotator.engine.claiming import check_managed
    from rotator.engine.keeping import check_overlapping, revoke_current, revoke_previous
    from rotator.engine.revoking import is_confirmed

    if without_hook and not (previous and cli.reason):
        raise UsageError(
            "--without-hook overrules a hook that must succeed before the old PAT goes",
            fix=f"Say why: `rotator revoke {name} --previous --without-hook --reason TEXT`.",
        )
    with open_installation(cli) as installation:
        run = installation.make_run(cli.reason)
        with run.services.database.read() as reading:
            pat = check_managed(reading, name)
            if previous:
                check_overlapping(run, reading, name, without_hook=without_hook)
        check_can_confirm(cli, *_say_what(name, previous=previous, without_hook=without_hook), yes=yes)
        if not is_sure(cli, _make_question(pat, previous=previous), yes=yes):
            say(cli, "Nothing was revoked.")
            return FAILED
        with stop_on_signals(installation.stop):
            revoked = revoke_previous(run, name, without_hook=without_hook) if previous else revoke_current(run, name)
            confirmed = is_confirmed(run, revoked)
    if cli.as_json:
        which: Which = "previous" if previous else "current"
        print_json(make_revocation_document(name, which, revoked, run.run_id, confirmed=confirmed))
    else:
        _tell(cli, name, revoked, previous=previous, confirmed=confirmed)
    return 0


def _tell(cli: CliContext, name: str, revoked: str, *, previous: bool, confirmed: bool) -> None:
    from rotator.cli.console import say
    from rotator.cli.output.words import NOT_CONFIRMED

    if previous:
        say(cli, f"revoked  {name}: the old PAT ({revoked}); the vault has the new one")
    else:
        say(cli, f"revoked  {name}: the PAT in use ({revoked}); the record is paused")
        say(cli, f"Next: `rotator rotate {name}` makes a new one, `rotator inventory forget {name}` drops it.")
    if not confirmed:
        say(cli, NOT_CONFIRMED)


def _say_what(name: str, *, previous: bool, without_hook: bool) -> tuple[str, str]:
    """What it does, and the command that does it."""
    if not previous:
        return f"revoking {name} breaks its consumers", f"revoke {name}"
    said = f"revoking the old PAT of {name} breaks consumers that still cache it"
    overruled = " --without-hook --reason TEXT" if without_hook else ""
    return said, f"revoke {name} --previous{overruled}"


def _make_question(pat: ManagedPat, *, previous: bool) -> str:
    if previous:
        return f"Revoke the old PAT of {pat.name} now? Consumers that still cache it will fail."
    return f'Revoke {pat.name} ("{pat.display_name}" in {pat.organization}), which consumers use now?'
