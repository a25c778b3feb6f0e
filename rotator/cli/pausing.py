"""`rotator inventory pause --all` and `resume --all`: a pause of everything."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from rotator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotator.cli.context import CliContext
    from rotator.documents.inventory import AllChange
    from rotator.engine.context import RunContext
    from rotator.engine.pausing import Pause

_TOLD = timedelta(days=30)
"""Who expires within this span is named."""
_MOST = 10
"""So many of them; of the others the number is said."""


def check_names(names: tuple[str, ...], *, all_of_them: bool, command: str) -> None:
    """Raise UsageError unless there are names, or all are meant."""
    if bool(names) is all_of_them:
        raise UsageError(
            "name the PATs, or use --all, not both" if names else "name the PATs that you mean, or use --all",
            fix=f"`rotator inventory {command} NAME...`, or `rotator inventory {command} --all` for everything.",
        )


def pause_everything(cli: CliContext) -> int:
    """Pause everything, and say what that means for whom."""
    from rotator.cli.console import clean, say
    from rotator.cli.output.words import say_expiry, say_pats
    from rotator.domain.words import say_moment
    from rotator.engine.pausing import pause_all

    def tell(run: RunContext, done: Pause) -> None:
        now = run.services.clock.now()
        if done.since is not None and not done.is_news:
            say(cli, f"Everything is paused already, since {say_moment(done.since)}.")
            if cli.reason is not None:
                say(cli, "The reason was not recorded. To give one, run `rotator inventory resume --all` first.")
        else:
            say(cli, "paused  everything: until `rotator inventory resume --all` no run rotates or revokes.")
        say(cli, "The pause also holds for a PAT that is about to expire. What was interrupted is still finished.")
        soon = [pat for pat in done.expiring if pat.valid_to <= now + _TOLD]
        if soon:
            say(cli, f"{say_pats(len(soon))} {'expires' if len(soon) == 1 else 'expire'} within 30 days:")
        for pat in soon[:_MOST]:
            say(cli, f"    {clean(pat.name)} expires {say_expiry(pat.valid_to, now)}")
        if len(soon) > _MOST:
            say(cli, f"    and {len(soon) - _MOST} more: `rotator status --expires-within {_TOLD.days}d` lists them")
        if len(soon) < len(done.expiring):
            first = done.expiring[len(soon)]
            more = f"{'The first' if not soon else 'The next'} PAT to expire is {clean(first.name)}"
            say(cli, f"{more}, {say_expiry(first.valid_to, now)}.")

    return _apply(cli, pause_all, "all_paused", tell)


def resume_everything(cli: CliContext) -> int:
    """End the pause of everything."""
    from rotator.cli.console import say
    from rotator.engine.pausing import resume_all

    def tell(run: RunContext, done: Pause) -> None:
        if done.is_news:
            say(cli, "resumed  everything; what was paused by name stays paused. `rotator plan` shows what is due.")
        else:
            say(cli, "Everything was not paused. Nothing to do.")

    return _apply(cli, resume_all, "all_resumed", tell)


def _apply(
    cli: CliContext,
    apply: Callable[[RunContext], Pause],
    change: AllChange,
    tell: Callable[[RunContext, Pause], None],
) -> int:
    from rotator.cli.console import print_json
    from rotator.cli.held_log import HeldLog
    from rotator.cli.session import open_installation
    from rotator.documents.inventory import make_pause_document
    from rotator.domain.exit_code import DONE
    from rotator.engine.pausing import SUBJECT

    with open_installation(cli) as installation:
        run = installation.make_run(cli.reason)
        log = HeldLog(run.progress)
        if cli.as_json or cli.verbosity:
            log.release()
        done = apply(replace(run, progress=log))
        log.release(told=[SUBJECT])
    if cli.as_json:
        print_json(make_pause_document(change, done))
    else:
        tell(run, done)
    return DONE
