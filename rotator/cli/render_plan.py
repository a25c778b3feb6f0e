"""The plan as people read it: one line per action, the fix below it, the sum at the end."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from rotator.cli.context import CliContext
from rotator.cli.render import clean, say
from rotator.cli.wording import say_counts, say_left, say_to
from rotator.domain.plan import Action, ActionKind, Plan
from rotator.domain.words import say_duration, say_moment

_SIGNS = {
    ActionKind.ROTATE: "~",
    ActionKind.RETIRE: "-",
    ActionKind.RECOVER: "+",
    ActionKind.WAIT: ".",
    ActionKind.ALERT: "!",
    ActionKind.BLOCKED: "x",
    ActionKind.NONE: "=",
}
NO_PATS = (
    "No PATs are under management yet. Next: `rotator scan` shows what there is, "
    "`rotator inventory adopt --all` takes it over."
)


def render_plan(plan: Plan, *, ending: str = "Nothing changed.", everything: bool = False) -> Iterator[str]:
    """The plan's lines, made as they are read. Unchanged ManagedPats are only counted unless `everything`."""
    postponed = frozenset(plan.postponed)
    for action in plan.actions:
        if everything or action.kind is not ActionKind.NONE:
            yield render_action(action, plan.made_at, postponed=action.pat.name in postponed)
            if action.fix:
                yield f"    fix: {clean(action.fix)}"
    yield f"Plan: {_sum_up(plan)}. {ending}"


def print_plan(cli: CliContext, plan: Plan, *, ending: str) -> None:
    """The plan on stdout; with -v the unchanged ManagedPats too."""
    say(cli, "\n".join(render_plan(plan, ending=ending, everything=cli.verbosity > 0)) if plan.actions else NO_PATS)


def render_action(action: Action, now: datetime, *, postponed: bool = False) -> str:
    """One line: sign, handle, organization, scopes, what happens, and the reason."""
    pat = action.pat
    left = say_left(pat.valid_to, now)
    what = left
    if postponed:
        what = f"{left}, postponed by max_rotations_per_hour"
    elif action.kind is ActionKind.ROTATE and action.expires_at is not None:
        what = f"{left} -> {say_duration(action.expires_at - now)}"
        if action.retires_at is not None:
            what += f"  old revoked {say_moment(action.retires_at)}"
    elif action.kind is ActionKind.RETIRE:
        what = "revoke the old one"
    elif action.kind is ActionKind.RECOVER:
        what = "finish what was interrupted"
    elif action.kind is ActionKind.ALERT:
        what = f"{left}, replace it by hand"
    elif action.kind is ActionKind.BLOCKED:
        what = f"{left}, blocked"
    elif action.kind is ActionKind.WAIT:
        what = f"{left}, wait"
    parts = (f"{_SIGNS[action.kind]} {pat.name}", pat.organization, " ".join(pat.scopes), what)
    return "  ".join(clean(part) for part in (*parts, f"({_shorten(action, now)})"))


def _shorten(action: Action, now: datetime) -> str:
    """The reason, without what the line has already: the name and the time that is left."""
    reason = say_to(action.pat.name, action.reason)
    return reason.replace(f": {say_duration(action.pat.valid_to - now)} left, ", ": ", 1)


def _sum_up(plan: Plan) -> str:
    rotate = len(plan.of_kind(ActionKind.ROTATE)) - len(plan.postponed)
    counts = {
        "to finish": len(plan.of_kind(ActionKind.RECOVER)),
        "to rotate": rotate,
        "to revoke": len(plan.of_kind(ActionKind.RETIRE)),
        "postponed": len(plan.postponed),
        "waiting": len(plan.of_kind(ActionKind.WAIT)),
        "to replace by hand": len(plan.of_kind(ActionKind.ALERT)),
        "blocked": len(plan.of_kind(ActionKind.BLOCKED)),
        "unchanged": len(plan.of_kind(ActionKind.NONE)),
    }
    said = say_counts(counts)
    return said if plan.has_changes else f"nothing to do{', ' if said else ''}{said}"
