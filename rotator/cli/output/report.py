"""What a run did, one line per fact."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.output.words import RESUME_ALL, say_counts, say_for_person, say_held_back, say_pats, say_until
from rotator.domain.managed_pat import Failure
from rotator.domain.plan import Action, ActionKind, ActionReason, Plan
from rotator.domain.policy import PAUSED
from rotator.domain.timetable import HeldBackBy
from rotator.domain.words import say_for_several, say_moment, say_names
from rotator.engine.needs import Need
from rotator.engine.report import OutcomeKind, OutcomeReason, PatOutcome, RunReport

_WORDS = {
    OutcomeKind.ADOPTED: "taken over",
    OutcomeKind.RECOVERED: "recovered",
    OutcomeKind.ABANDONED: "given up",
    OutcomeKind.CREATED: "created",
    OutcomeKind.ROTATED: "rotated",
    OutcomeKind.RETIRED: "revoked",
    OutcomeKind.SETTLING: "settling",
    OutcomeKind.HELD: "left alone",
    OutcomeKind.POSTPONED: "postponed",
    OutcomeKind.FAILED: "failed",
    OutcomeKind.BLOCKED: "blocked",
}
"""The word that a line begins with, in the order of the lines."""
_TOLD_FIRST = (
    OutcomeKind.ADOPTED,
    OutcomeKind.RECOVERED,
    OutcomeKind.ABANDONED,
    OutcomeKind.CREATED,
    OutcomeKind.ROTATED,
    OutcomeKind.RETIRED,
)
"""What a run has done, in the order of the total."""
_MOST_ALONE = 10
"""So many PATs with which the same was done have a line each."""
_FAILURES = (OutcomeKind.FAILED, OutcomeKind.BLOCKED)


def render_done(report: RunReport, now: datetime, *, together: bool = False) -> Iterator[str]:
    """Give a line for each thing that was done or left for later; with `together` one where it was done very often."""
    for kind in _WORDS:
        if kind is OutcomeKind.POSTPONED:
            yield from _say_postponed(report.of_kind(kind))
        elif kind not in _FAILURES:
            outcomes = report.of_kind(kind)
            usual = [outcome for outcome in outcomes if _is_usual(outcome)]
            if together and len(usual) > _MOST_ALONE:
                told, outcomes = usual, tuple(outcome for outcome in outcomes if not _is_usual(outcome))
                names = say_names([outcome.name for outcome in told])
                yield clean(f"{_WORDS[kind]}  {say_pats(len(told))}: {names}. `-v` shows each.")
            for outcome in outcomes:
                said = _say_done(outcome, now)
                if outcome.held_back is not None:
                    continues = say_until(outcome.held_until, now) if outcome.held_until is not None else RESUME_ALL
                    said = f"{say_held_back(outcome.held_back)}; it continues {continues}"
                if outcome.left_id is not None and kind is OutcomeKind.ROTATED:
                    said += f"{'; ' if said else ''}{say_left(outcome.left_id)}"
                if outcome.despite is not None:
                    said += f"{'; ' if said else ''}{say_held_back(outcome.despite)}, but this did not wait"
                yield _say(outcome, said)


def _is_usual(outcome: PatOutcome) -> bool:
    """Whether a line of its own would say nothing that others do not: what is done, and a time that `status` has."""
    is_odd = outcome.held_back is not None or outcome.left_id is not None or outcome.despite is not None
    return outcome.kind in _TOLD_FIRST and outcome.reason is None and not is_odd


def render_failures(report: RunReport) -> Iterator[str]:
    """Give a line for each thing that went wrong, followed by who must do what.

    Where an account, an organization or a vault is down, that is one thing, however many PATs wait for it. So is one
    cause of very many.
    """
    for kind in _FAILURES:
        found = report.of_kind(kind)
        causes = Counter(map(_get_cause, found))
        groups: dict[object, list[PatOutcome]] = {}
        for number, outcome in enumerate(found):
            cause = _get_cause(outcome)
            groups.setdefault(outcome.place or (cause if causes[cause] > _MOST_ALONE else number), []).append(outcome)
        for outcomes in groups.values():
            failure = outcomes[0].failure
            if len(outcomes) > 1 and not outcomes[0].place:
                _, failure = _get_cause(outcomes[0])
            yield _say_failure(outcomes, failure.message if failure else "")
            if failure and failure.fix:
                fix = failure.fix if len(outcomes) == 1 else say_for_several(failure.fix, outcomes[0].name)
                yield f"    fix: {clean(fix)}"


def _get_cause(outcome: PatOutcome) -> tuple[str, Failure | None]:
    """What went wrong, without the name: where that is all in which many differ, they have one cause."""
    name, failure = outcome.name, outcome.failure
    if failure is None:
        return outcome.organization, None
    message = re.sub(rf"^{re.escape(name)} ", "it ", failure.message)
    return outcome.organization, replace(failure, message=message, fix=say_for_several(failure.fix, name))


def _say_failure(outcomes: list[PatOutcome], message: str) -> str:
    first = outcomes[0]
    if len(outcomes) == 1:
        return _say(first, message)
    if not first.place:
        named = say_names([outcome.name for outcome in outcomes])
        return _say(replace(first, name=named), f"each: {message}")
    names = list(dict.fromkeys(outcome.name for outcome in outcomes if not outcome.is_of_place))
    wait = f"this run did nothing with {say_pats(len(names))}: {say_names(names)}"
    return clean(f"{_WORDS[first.kind]}  {first.place}: {message}{f'; {wait}' if names else ''}")


def render_standing(plan: Plan, needs: Mapping[Need, int]) -> Iterator[str]:
    """Say what a run left alone: a person has to act, or it is tried later; nothing when there is no such PAT."""
    retried = sum(action.reason is ActionReason.FAILED_BEFORE for action in plan.of_kind(ActionKind.WAIT))
    backs = [action.held_back for action in plan.of_kind(ActionKind.WAIT) if action.held_back is not None]
    held, is_paused = len(backs), any(back.by is HeldBackBy.ALL_PAUSED for back in backs)
    said = [say_for_person(needs)] if needs else []
    if retried:
        waiting = str(retried) if said else say_pats(retried)
        said.append(f"{waiting} {'waits' if retried == 1 else 'wait'} to be tried again")
    if held:
        waiting = str(held) if said else say_pats(held)
        what = "because everything is paused" if is_paused else "for a window or for the end of a change freeze"
        said.append(f"{waiting} {'waits' if held == 1 else 'wait'} {what}")
    if said:
        yield f"{', '.join(said)}: see `rotator status`."


def render_totals(report: RunReport, plan: Plan | None, needs: Mapping[Need, int]) -> Iterator[str]:
    """Give the sum of a run in one line, with what it left alone by the plan after it; nothing where one line said it.

    What a run has just rotated waits for the end of its overlap: that is counted as rotated, and not as waiting. With a
    plan, what is blocked is among the `needs`, which wait for a person.
    """
    names = {kind: {outcome.name for outcome in report.of_kind(kind) if not outcome.is_of_place} for kind in _WORDS}
    actions = () if plan is None else plan.actions
    waiting = {action.pat.name for action in actions if action.kind is ActionKind.WAIT and _is_put_off(action)}
    waiting |= names[OutcomeKind.HELD] | names[OutcomeKind.POSTPONED] | names[OutcomeKind.SETTLING]
    counts = {_WORDS[kind]: len(names[kind]) for kind in _TOLD_FIRST}
    counts |= {
        "waiting": len(waiting - names[OutcomeKind.FAILED] - names[OutcomeKind.BLOCKED]),
        "blocked": len(names[OutcomeKind.BLOCKED] - names[OutcomeKind.FAILED]) if plan is None else 0,
        "failed": len(names[OutcomeKind.FAILED]),
    }
    total = sum(counts.values()) + sum(needs.values())
    if total > 1:
        is_all_done = total == sum(len(names[kind]) for kind in _TOLD_FIRST)
        said = "; ".join(filter(None, (say_counts(counts), say_for_person(needs))))
        yield f"Total: {said}{'' if is_all_done else ': see `rotator status`'}."


def _is_put_off(action: Action) -> bool:
    return action.held_back is not None or action.reason is ActionReason.FAILED_BEFORE


def _say(outcome: PatOutcome, text: str) -> str:
    place = f"  ({outcome.organization})" if outcome.organization else ""
    return clean(f"{_WORDS[outcome.kind]}  {outcome.name}{place}{': ' if text else ''}{text}")


def _say_done(outcome: PatOutcome, now: datetime) -> str:
    match outcome.kind:
        case OutcomeKind.ROTATED if outcome.reason is OutcomeReason.PREDECESSOR_GONE:
            return "the old PAT was no longer valid, so there is no overlap"
        case OutcomeKind.ROTATED if outcome.reason is OutcomeReason.VANISHED:
            return "the old PAT was revoked before its time and may have leaked, so there is no overlap"
        case OutcomeKind.ROTATED if outcome.reason is OutcomeReason.HOOK_AWAITED:
            return "the old PAT stays valid; its overlap begins when a required hook has succeeded"
        case OutcomeKind.ROTATED:
            paused = f"it stays paused until `rotator inventory resume {outcome.name}`" if outcome.is_paused else ""
            return "; ".join(filter(None, (_say_ends(outcome), _say_end_of_old(outcome, now), paused)))
        case OutcomeKind.ADOPTED:
            return f"PAT {outcome.authorization_id}; nothing was changed but the inventory"
        case OutcomeKind.CREATED:
            return (
                f"PAT {outcome.authorization_id}; its value is in secret {outcome.secret_name}, and nobody has seen it"
            )
        case OutcomeKind.RETIRED:
            return f"the old PAT ({outcome.revoked_id})"
        case OutcomeKind.RECOVERED if outcome.left_id is not None:
            return (
                f"its overlap is over, and the old PAT ({outcome.left_id}) is left behind, not revoked: see `rotator "
                "status`"
            )
        case OutcomeKind.SETTLING if outcome.pending_id is not None:
            return f"the revocation of {outcome.pending_id} is not confirmed yet; each run checks again"
        case OutcomeKind.SETTLING:
            until = outcome.settles_until
            end = f" until {say_until(until, now)}" if until else ""
            return f"{_say_interrupted(outcome)}; its last request may still take effect{end}"
        case OutcomeKind.HELD:
            return "another run is working on it; if that one died, try again in a minute"
        case _:
            return _say_reason(outcome)


def say_left(authorization_id: str) -> str:
    """Say what becomes of an old PAT that the account it moves from cannot revoke."""
    return (
        f"its account cannot be used, so rotator cannot revoke the old PAT ({authorization_id}) now. Once a person has "
        "signed the account in, a run revokes it; if its user has left, revoke it in Azure DevOps when nobody uses it"
    )


def _say_postponed(outcomes: Sequence[PatOutcome]) -> Iterator[str]:
    """Give one line, however many have to wait for the next hour."""
    why = "max_rotations_per_hour is reached"
    if len(outcomes) == 1:
        yield _say(outcomes[0], f"{why}; a later run rotates it")
    elif outcomes:
        named = say_names([outcome.name for outcome in outcomes])
        yield clean(f"postponed  {say_pats(len(outcomes))}: {why}; later runs rotate them: {named}")


def _say_ends(outcome: PatOutcome) -> str:
    if outcome.ends is None:
        return ""
    old, new = map(say_moment, outcome.ends)
    return f"it expires {new} (before: {old})"


def _say_end_of_old(outcome: PatOutcome, now: datetime) -> str:
    if outcome.overlap_until is not None:
        return f"the old PAT stays valid until {say_until(outcome.overlap_until, now)}"
    is_paused = outcome.despite == PAUSED
    return "the old PAT stays valid until you run `rotator inventory resume --all`" if is_paused else ""


def _say_reason(outcome: PatOutcome) -> str:
    gone = outcome.revoked_id
    match outcome.reason:
        case OutcomeReason.LATE_MINT_REVOKED:
            return f"its mint took effect late; that PAT ({gone}) is revoked"
        case OutcomeReason.VALUE_RESTORED:
            return "its secret handed out a PAT that was given up; the committed value is back"
        case OutcomeReason.CLONE_REVOKED_ELSEWHERE:
            return f"its clone {gone} was revoked outside rotator"
        case _ if outcome.kind is OutcomeKind.ABANDONED:
            end = f"its clone {gone} is revoked" if gone else "no clone of it was found"
            return f"{_say_interrupted(outcome)}; {end}"
        case _:
            return f"{_say_interrupted(outcome)}, finished"


def _say_interrupted(outcome: PatOutcome) -> str:
    return f"interrupted while {outcome.state_before}"
