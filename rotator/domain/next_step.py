"""When the next thing is to be done for a ManagedPat, and what: for the queue that runs work on, and for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from rotator.domain.limit import LifetimeLimit, find_longest
from rotator.domain.managed_pat import ManagedPat, ManagedPatState
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.plan import CHANGES, Action, choose_action, has_past_failure, is_waiting, may_be_granted
from rotator.domain.policy import Decision, Policy, RuleAction, Verdict, find_last_call
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.settling import is_sent_ahead, is_settling, make_settled_at
from rotator.domain.urgency import find_last_span

Limits = Mapping[tuple[str, str], LifetimeLimit]
"""The longest lifetimes that the server has granted, by account and organization."""

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""The moment of all that is due now: every clock says that it has come."""


class NextAction(StrEnum):
    """What there is to do next for a PAT."""

    ROTATE = "rotate"
    RETIRE = "retire"
    RETRY = "retry"
    CHECK = "check"
    SETTLE = "settle"
    CONFIRM_REVOCATION = "confirm_revocation"
    REPLACE_BY_HAND = "replace_by_hand"
    SIGN_IN = "sign_in"
    NONE = "none"


ACTION_WORDS: Mapping[NextAction, str] = {
    NextAction.ROTATE: "rotate",
    NextAction.RETIRE: "revoke old",
    NextAction.RETRY: "try again",
    NextAction.CHECK: "check again",
    NextAction.SETTLE: "look again",
    NextAction.CONFIRM_REVOCATION: "confirm revocation",
    NextAction.REPLACE_BY_HAND: "replace by hand",
    NextAction.SIGN_IN: "sign in",
}
"""What people read of each action."""
BY_HAND = frozenset({NextAction.REPLACE_BY_HAND, NextAction.SIGN_IN})
"""What a person has to do."""


class NextStep(NamedTuple):
    """What there is to do next, by a run or by a person, and when; None when there is nothing to do."""

    action: NextAction
    at: datetime | None


class Matter(NamedTuple):
    """One ManagedPat with all that decides when a run has something to do with it.

    `rotation` is its open one, `pending` are the revocations that were requested for it and are not proven.
    """

    pat: ManagedPat
    rotation: Rotation | None = None
    pending: tuple[PendingRevocation, ...] = ()


@dataclass(frozen=True)
class Due:
    """When a run next has work to do on a ManagedPat: never, as things are, when `at` is None.

    `by_limit`: only a limit that was learned of the server puts it off so long.
    """

    at: datetime | None
    by_limit: bool = False


def find_next_step(matter: Matter, policy: Policy, decision: Decision, now: datetime, settle: timedelta) -> NextStep:
    """Return what there is to do next, and when; in the past when it is due now. It follows `choose_action`."""
    rotation = matter.rotation
    if rotation is not None:
        rotation = replace(rotation, awaited_hooks=policy.find_awaited(rotation))
        step = _find_rotation_step(matter.pat, rotation, policy, now, settle)
    else:
        step = _find_own_step(matter.pat, policy, decision, now)
    if not matter.pending:
        return step
    asked = min(item.requested_at for item in matter.pending)
    if step.at is not None and step.at <= asked:
        return step
    return NextStep(NextAction.CONFIRM_REVOCATION, asked)


def _find_own_step(pat: ManagedPat, policy: Policy, decision: Decision, now: datetime) -> NextStep:
    if pat.is_canary:
        return NextStep(NextAction.RETRY, now)
    rule = decision.rule
    is_left = pat.state is ManagedPatState.PAUSED or pat.all_organizations
    if is_left or rule is None or decision.verdict in (Verdict.BLOCKED, Verdict.IGNORED):
        return NextStep(NextAction.NONE, None)
    by_hand = rule.action is RuleAction.ALERT and not decision.is_wanted
    has_failed = pat.last_failure is not None and not by_hand
    if policy.is_paused and not (by_hand or pat.blocked):
        return NextStep(NextAction.NONE, None)
    if is_waiting(pat, now) and (pat.blocked or has_failed or decision.verdict is Verdict.DUE):
        if pat.retry_at is None:
            return NextStep(NextAction.NONE, None)
        if not (pat.blocked or decision.verdict is Verdict.DUE):  # a run then only clears the failure
            return NextStep(NextAction.CHECK, pat.retry_at)
        rotates = decision.verdict is Verdict.DUE and not (pat.blocked or decision.is_wanted or decision.is_leak)
        return NextStep(NextAction.RETRY, policy.find_turn(pat, pat.retry_at, now) if rotates else pat.retry_at)
    if may_be_granted(pat, decision, now):
        return NextStep(NextAction.RETRY, now)
    if by_hand or decision.is_wanted or decision.is_leak or decision.rotate_after is None:
        return NextStep(NextAction.REPLACE_BY_HAND if by_hand else NextAction.ROTATE, decision.rotate_after)
    return NextStep(NextAction.ROTATE, policy.find_turn(pat, decision.rotate_after, now))


def _find_rotation_step(
    pat: ManagedPat, rotation: Rotation, policy: Policy, now: datetime, settle: timedelta
) -> NextStep:
    """Return what a run does next with a rotation that is not finished, and when."""
    if rotation.state is RotationState.OVERLAPPING:
        if pat.last_failure is not None and pat.retry_at is not None and is_waiting(pat, now):
            at = policy.find_retirement(pat, rotation, pat.retry_at, now)
            return NextStep(NextAction.NONE if at is None else NextAction.RETRY, at)
        over = None
        if not rotation.awaited_hooks and rotation.overlap_until is not None:
            over = policy.find_retirement(pat, rotation, rotation.overlap_until, now)
            if over is None and now < rotation.predecessor_valid_to:
                return NextStep(NextAction.NONE, None)
        return NextStep(NextAction.RETIRE, min(filter(None, (over, rotation.predecessor_valid_to))))
    if rotation.state is RotationState.RETIRING:
        return NextStep(NextAction.CONFIRM_REVOCATION, rotation.updated_at)
    if is_settling(rotation) and rotation.sent_at is not None:
        return NextStep(NextAction.SETTLE, make_settled_at(rotation, pat.as_ending(), settle))
    return NextStep(NextAction.RETRY, rotation.updated_at)


def find_due(matter: Matter, policy: Policy, limits: Limits, now: datetime, settle: timedelta) -> Due:
    """Return when a run next has work to do, if nothing changes but the time; `LONG_AGO` when it is due.

    Before that moment no run has: it holds for every moment from `now` on. A limit of the server puts off only what
    would be due now.
    """
    free: Limits = {}
    at = _find_moment(matter, policy, free, now, settle)
    if at is None or at > now:
        return Due(at)
    limited = _find_moment(matter, policy, limits, now, settle)
    return Due(limited, by_limit=limited is None or limited > now)


def _find_moment(matter: Matter, policy: Policy, limits: Limits, now: datetime, settle: timedelta) -> datetime | None:
    """Return the first moment, now or later, at which there is something to do: what is chosen changes at few."""
    if is_due(matter, policy, limits, now, settle):
        return LONG_AGO
    turns = sorted({turn for turn in _list_turns(matter, policy, limits, now, settle) if turn > now})
    return next((turn for turn in turns if is_due(matter, policy, limits, turn, settle)), None)


def is_due(matter: Matter, policy: Policy, limits: Limits, now: datetime, settle: timedelta) -> bool:
    """Whether a run has something to do now: a change, a failure that may be past, or a revocation to look for.

    What is settling is looked at when that is over.
    """
    pat, rotation = matter.pat.as_ending(), matter.rotation
    if matter.pending:
        return True
    if rotation is not None and is_settling(rotation) and not is_sent_ahead(rotation, now):
        settled_at = make_settled_at(rotation, pat, settle)
        return settled_at is None or now >= settled_at
    action = choose(matter, policy, limits, now)
    if action.kind in CHANGES or action.decision is None:
        return action.kind in CHANGES
    return has_past_failure(pat, action.decision, now) or may_be_granted(pat, action.decision, now)


def choose(matter: Matter, policy: Policy, limits: Limits, now: datetime) -> Action:
    """Choose the action for one ManagedPat, by when its PAT stops working."""
    pat = matter.pat.as_ending()
    return choose_action(pat, matter.rotation, policy, find_longest(limits, pat, now), now)


def _list_turns(matter: Matter, policy: Policy, limits: Limits, now: datetime, settle: timedelta) -> Iterator[datetime]:
    """Every moment at which another action may be chosen, although nothing changed but the time."""
    turns = list(_list_own_turns(matter, policy, limits, now, settle))
    yield from turns
    rule = policy.rule_for(matter.pat.as_ending())
    if rule is not None and not rule.timetable.is_always:
        # What a window or a change freeze holds back then goes on at the next opening.
        yield from map(rule.timetable.find_opening, (now, *(turn for turn in turns if turn > now)))


def _list_own_turns(
    matter: Matter, policy: Policy, limits: Limits, now: datetime, settle: timedelta
) -> Iterator[datetime]:
    rotation = matter.rotation
    if rotation is not None:
        settled_at = make_settled_at(rotation, matter.pat.as_ending(), settle) if is_settling(rotation) else None
        yield from filter(None, (settled_at, rotation.overlap_until, rotation.predecessor_valid_to))
    limit = limits.get((matter.pat.next_account, matter.pat.organization))
    if limit is not None:
        yield from limit.list_turns()
    pat = matter.pat.as_ending()
    rotate_after = policy.decide(pat, now=now, longest=None).rotate_after
    near, rule = pat.valid_to - find_last_span(pat.lifetime), policy.rule_for(pat)
    last_call = None if rule is None else find_last_call(pat, rule)
    yield from filter(None, (pat.retry_at, rotate_after, last_call, near, pat.valid_to))
