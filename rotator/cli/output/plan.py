"""The plan as people read it: one line per action, the fix below it, the sum at the end."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime

from rotator.cli.console import clean, say
from rotator.cli.context import CliContext
from rotator.cli.output.words import RESUME_ALL, say_counts, say_held_back, say_left, say_pats
from rotator.cli.selection import Facts
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan, find_obstacle
from rotator.domain.policy import PAUSED
from rotator.domain.rotation import Rotation
from rotator.domain.words import say_duration, say_for_several, say_moment, say_names, say_span
from rotator.engine.explaining import say_lacks_window

_SIGNS = {
    ActionKind.ROTATE: "~",
    ActionKind.RETIRE: "-",
    ActionKind.RECOVER: "+",
    ActionKind.ADOPT: "+",
    ActionKind.WAIT: ".",
    ActionKind.ALERT: "!",
    ActionKind.BLOCKED: "x",
    ActionKind.NONE: "=",
}
_NO_PATS = (
    "No PATs are under management yet. Next: {}`rotator scan` shows which PATs exist, "
    "and `rotator inventory adopt --all` adopts them."
)
NONE_CHOSEN = "No PAT matches."
_MOST_ALONE = 10
"""So many PATs with one cause have a line each."""


def say_no_pats(signed_out: Sequence[str] = ()) -> str:
    """What to do while there is none; `signed_out` are the accounts that a person must sign in first."""
    sign_in = " and ".join(f"`rotator login {clean(name)}`" for name in signed_out)
    return _NO_PATS.format(f"run {sign_in}. Then " if sign_in else "")


def describe_action(action: Action) -> Facts:
    """What an action is chosen and sorted by; its state is the kind of the action."""
    pat = action.pat
    return Facts(pat.name, pat.account, pat.organization, action.kind.value, pat.valid_to if pat.has_pat else None)


def render_plan(
    plan: Plan, *, ending: str = "No changes were made.", everything: bool = False, secrets: bool = False
) -> Iterator[str]:
    """The plan's lines. ManagedPats with nothing to do are only counted unless `everything`, and many that one cause
    keeps from being rotated are one line.

    `secrets`: each rotation is followed by where its value would go, unless there are so many that they share a line.
    """
    postponed = frozenset(plan.postponed)
    if plan.is_paused:
        held = sum(action.held_back == PAUSED for action in plan.actions)
        waiting = f"{say_pats(held)} {'waits' if held == 1 else 'wait'}" if held else "no run rotates or revokes"
        yield f"Everything is paused: {waiting} until `rotator inventory resume --all`."
    if plan.is_clock_wrong:
        yield "The clock of this host is wrong: until it is set, runs revoke nothing, and rotate only what cannot wait."
    for name in plan.signed_out:
        account, count = clean(name), plan.waiting.get(name, 0)
        waits = f"{say_pats(count)} {'waits' if count == 1 else 'wait'}" if count else "none of its PATs can be rotated"
        yield f"{account} must sign in: {waits} until somebody runs `rotator login {account}`."
    shown = [
        action for action in plan.actions if everything or action.lacks_window or action.kind is not ActionKind.NONE
    ]
    for told in _group(shown, postponed, everything=everything, rotations=secrets):
        if len(told) > 1:
            yield _say_together(told, postponed)
        else:
            yield from _render_one(told[0], plan.made_at, postponed=told[0].pat.name in postponed, secrets=secrets)
        failure = told[0].failure
        if failure is not None and failure.fix and told[0].reason is not ActionReason.SIGN_IN_NEEDED:
            fix = failure.fix if len(told) == 1 else say_for_several(failure.fix, told[0].pat.name)
            yield f"    fix: {clean(fix)}"
    yield f"Plan: {_sum_up(plan)}. {ending}"


def _group(
    actions: Sequence[Action], postponed: Collection[str], *, everything: bool, rotations: bool
) -> Iterator[list[Action]]:
    """Each action alone, and together what one cause keeps from being done, where it is many of them.

    With `rotations`, which a person asked for by name, those by one rule are together too.
    """
    causes = ["" if everything else _say_hindrance(action, postponed, rotations=rotations) for action in actions]
    groups: dict[str, list[Action]] = {}
    for action, cause in zip(actions, causes, strict=True):
        groups.setdefault(cause, []).append(action)
    for action, cause in zip(actions, causes, strict=True):
        if not cause or len(groups[cause]) <= _MOST_ALONE:
            yield [action]
        elif groups[cause][0] is action:
            yield groups[cause]


def _say_hindrance(action: Action, postponed: Collection[str], *, rotations: bool = True) -> str:
    """Why this is not done now, in the words that end its line; empty where its line says more than that."""
    if action.pat.name in postponed:
        return "postponed by max_rotations_per_hour"
    if (
        rotations
        and action.kind is ActionKind.ROTATE
        and action.decision is not None
        and action.decision.rule is not None
    ):
        return f"rotate  (rule {action.decision.rule.name}, secrets in {action.pat.vault}{_say_despite(action)})"
    if action.lack is not None or action.kind not in (ActionKind.WAIT, ActionKind.BLOCKED):
        return ""
    reason = _say_reason_held(action)
    if action.reason is ActionReason.OVERLAPPING and action.held_back is None:
        reason = "rotated; the old PATs stay valid until the end of their overlap"
    return f"{action.kind.value}  ({reason})"


def _say_together(actions: Sequence[Action], postponed: Collection[str]) -> str:
    """`x 22 PATs  blocked  (...): old-admin, team01-build and 20 more`."""
    named = say_names([action.pat.name for action in actions])
    hindrance = _say_hindrance(actions[0], postponed)
    return clean(f"{_SIGNS[actions[0].kind]} {say_pats(len(actions))}  {hindrance}: {named}")


def _render_one(action: Action, now: datetime, *, postponed: bool, secrets: bool) -> Iterator[str]:
    yield render_action(action, now, postponed=postponed)
    if secrets and action.kind is ActionKind.ROTATE:
        yield clean(f"    secret {action.pat.secret_name} in {action.pat.vault}")
    if action.lack is not None and action.held_until is not None:
        yield f"    {clean(say_lacks_window(action.lack, action.held_until))}"


def print_plan(cli: CliContext, plan: Plan, *, ending: str, secrets: bool = False) -> None:
    """The plan on stdout; with -v also the ManagedPats with nothing to do."""
    lines = render_plan(plan, ending=ending, everything=cli.verbosity > 0, secrets=secrets)
    say(cli, "\n".join(lines) if plan.actions else say_no_pats(plan.signed_out))


def render_action(action: Action, now: datetime, *, postponed: bool = False) -> str:
    """One line: sign, name, organization, scopes, what happens, and the reason."""
    pat, what = action.pat, _say_action(action, now, postponed=postponed)
    parts = (f"{_SIGNS[action.kind]} {pat.name}", pat.organization, " ".join(pat.scopes), what)
    reason = _say_reason_held(action)
    return "  ".join(clean(part) for part in (*parts, f"({reason}{_say_despite(action)})"))


def _say_despite(action: Action) -> str:
    return "" if action.despite is None else f"; {say_held_back(action.despite)}, but does not wait"


def _say_reason_held(action: Action) -> str:
    if action.held_back is None:
        return _say_reason(action)
    continues = say_moment(action.held_until) if action.held_until is not None else RESUME_ALL
    return f"{say_held_back(action.held_back)}; continues {continues}"


def _say_action(action: Action, now: datetime, *, postponed: bool) -> str:
    left = say_left(action.pat.valid_to, now) if action.pat.has_pat else "not created yet"
    if postponed:
        return f"{left}, postponed by max_rotations_per_hour"
    match action.kind:
        case ActionKind.ROTATE:
            new = f" -> {say_span(action.expires_at - now, short=True)}" if action.expires_at else ""
            end = f"for another {say_span(action.retires_at - now)}" if action.retires_at else ""
            end = "until `rotator inventory resume --all`" if action.despite == PAUSED else end
            return left + new + (f"  old PAT valid {end}" if end else "")
        case ActionKind.RETIRE:
            return "leave the old PAT behind" if _is_kept(action) else "revoke the old PAT"
        case ActionKind.RECOVER:
            return "finish what was interrupted"
        case ActionKind.ADOPT:
            return f"{left}, take it over"
        case ActionKind.ALERT:
            return f"{left}, replace it by hand"
        case ActionKind.BLOCKED:
            return f"{left}, blocked"
        case ActionKind.WAIT:
            return f"{left}, wait"
        case ActionKind.NONE:
            return left


def _say_reason(action: Action) -> str:
    match action.reason:
        case ActionReason.PAUSED:
            return "paused by hand"
        case ActionReason.INTERRUPTED if action.rotation is not None:
            return f"a rotation was interrupted while {action.rotation.state.value}"
        case (
            ActionReason.OVERLAP_OVER | ActionReason.OVERLAPPING | ActionReason.EXPIRED | ActionReason.HOOK_AWAITED
        ) if action.rotation is not None:
            return _say_overlap(action, action.rotation)
        case ActionReason.TO_BE_ADOPTED if action.decision is not None and action.decision.rule is not None:
            return f"rule {action.decision.rule.name}: adopt"
        case ActionReason.FAILED_BEFORE | ActionReason.FORBIDDEN | ActionReason.ADOPTION_BLOCKED if (
            action.failure is not None
        ):
            return action.failure.message + _say_next_try(action)
        case ActionReason.SIGN_IN_NEEDED:
            return f"{action.signed_out} must sign in"
        case ActionReason.TO_BE_CREATED:
            return "asked for with `rotator create`"
        case ActionReason.TO_BE_UPDATED:
            return f"asked for with `rotator {'update' if action.pat.wanted_account is None else 'inventory move'}`"
        case _:
            return _say_rule(action)


def _say_next_try(action: Action) -> str:
    """When a run tries again; nothing where it would only be refused again."""
    retry_at, decision = action.pat.retry_at, action.decision
    is_forbidden = decision is not None and find_obstacle(action.pat, decision) is not None
    if retry_at is None or is_forbidden or action.reason is not ActionReason.FAILED_BEFORE:
        return ""
    return f"; next try after {say_moment(retry_at)}"


def _say_rule(action: Action) -> str:
    """What the rule says of it: `rule ci: under 33% of 30d`."""
    decision, pat = action.decision, action.pat
    if decision is None or decision.rule is None:
        return action.reason.value
    rule, limit = decision.rule, str(decision.rule.rotate_before)
    if rule.rotate_before.duration is None:
        limit = f"{limit} of {say_duration(pat.lifetime)}"
        if (lead := rule.find_lead(pat.lifetime)) > rule.rotate_before.before(pat.lifetime) and not pat.short_lived:
            limit = f"{say_duration(lead)}, for its overlap"
    match action.reason:
        case ActionReason.NOT_DUE if decision.rotate_after is not None:
            said = f"due at {limit}, on {say_moment(decision.rotate_after)}"
        case ActionReason.EXPIRED:
            said = f"expired {say_moment(pat.valid_to)}"
        case ActionReason.VANISHED:
            said = f"on_leak: {rule.on_leak.value}, it was revoked before its time"
        case ActionReason.IGNORED:
            said = "ignore"
        case _:
            said = f"under {limit}"
    return f"rule {rule.name}: {said}"


def _say_overlap(action: Action, rotation: Rotation) -> str:
    if action.reason is ActionReason.HOOK_AWAITED:
        return f"rotated; the old PAT stays valid until a hook succeeds ({', '.join(rotation.awaited_hooks)})"
    if action.reason is ActionReason.EXPIRED:
        return "the old PAT has expired, so the overlap is over"
    if _is_kept(action):
        return "rotated; no run revokes the old PAT: a person decides about it"
    if action.reason is ActionReason.OVERLAPPING:
        until = f"until {say_moment(action.retires_at)}" if action.retires_at else RESUME_ALL
        return f"rotated; the old PAT stays valid {until}"
    return f"the overlap of {say_duration(rotation.overlap)} is over, the old PAT can be revoked"


def _is_kept(action: Action) -> bool:
    """Whether no run revokes the old PAT: a rule took it over, and nobody said that its users read the secret."""
    return action.rotation is not None and action.rotation.keeps_predecessor


def _sum_up(plan: Plan) -> str:
    rotate = len(plan.of_kind(ActionKind.ROTATE)) - len(plan.postponed)
    counts = {
        "to finish": len(plan.of_kind(ActionKind.RECOVER)),
        "to take over": len(plan.of_kind(ActionKind.ADOPT)),
        "to rotate": rotate,
        "to revoke": sum(not _is_kept(action) for action in plan.of_kind(ActionKind.RETIRE)),
        "to leave behind": sum(map(_is_kept, plan.of_kind(ActionKind.RETIRE))),
        "postponed": len(plan.postponed),
        "waiting": len(plan.of_kind(ActionKind.WAIT)),
        "to replace by hand": len(plan.of_kind(ActionKind.ALERT)),
        "blocked": len(plan.of_kind(ActionKind.BLOCKED)),
        "paused": sum(action.reason is ActionReason.PAUSED for action in plan.of_kind(ActionKind.NONE)),
        "with nothing to do": sum(action.reason is not ActionReason.PAUSED for action in plan.of_kind(ActionKind.NONE)),
    }
    said = say_counts(counts)
    return said if plan.has_changes else f"nothing to rotate{', ' if said else ''}{said}"
