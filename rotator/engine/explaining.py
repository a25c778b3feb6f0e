"""The words for what is a value and not an error: obstacles, refusals and PATs left behind.

They are made here alone, from fields. Records store them, JSON carries them and the commands print them.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.domain.managed_pat import ALL_ORGANIZATIONS_END, Failure, ManagedPat
from rotator.domain.obstacle import FULL_ACCESS, Obstacle, ObstacleKind
from rotator.domain.plan import find_obstacle
from rotator.domain.policy import FORBIDDEN, Decision, Policy
from rotator.domain.probe import RefusalCause
from rotator.domain.sight import Holding, Sight
from rotator.domain.timetable import HeldBack, HeldBackBy
from rotator.domain.words import say_duration, say_moment
from rotator.engine.left_behind import LEFT_BEHIND, LeftBehind, LeftBehindKind
from rotator.errors import FailureKind

_SPLIT = (
    "Create one PAT per organization with the same scopes, adopt them, and move the consumers to them. Then `rotator "
    "revoke {name}` and `rotator inventory forget {name}` end this one."
)
_REPLACE = (
    "Create a PAT with only the scopes its consumers need; ID is its id. For it to have the name and secret of this "
    "one: `rotator inventory forget {name}`, `rotator inventory adopt ID --as {name} --secret {secret}`, then `rotator "
    "rotate {name}`. When nobody uses this one any more, revoke it in Azure DevOps. Otherwise adopt the new one and "
    "move the consumers; then `rotator revoke {name}` and `rotator inventory forget {name}` end this one."
)
_RUN_FIRST = "Run `rotator once` first."


def explain_decision(decision: Decision, pat: ManagedPat | None = None) -> Failure | None:
    """Return what blocks a ManagedPat by the policy; None when nothing does."""
    if decision.obstacle is None:
        return None
    return replace(explain_obstacle(decision.obstacle, pat), code=FORBIDDEN, kind=FailureKind.FORBIDDEN)


def say_way_on(pat: ManagedPat, policy: Policy, now: datetime) -> str:
    """Say, as a part of a sentence, how consumers of a PAT that is gone get another one."""
    name, obstacle = pat.name, find_obstacle(pat, policy.decide(pat.as_ending(), now=now, longest=None))
    if obstacle is None:
        return f"`rotator rotate {name}` makes a new one"
    told = explain_obstacle(obstacle, pat)
    message, fix = told.message, told.fix
    if obstacle.kind is ObstacleKind.ALL_ORGANIZATIONS:
        return f"create one PAT per organization by hand and adopt them: rotator makes none like it, as {message}"
    if obstacle.kind is ObstacleKind.SCOPE_DENIED:
        return (
            f"create a PAT with only the scopes they need, then `rotator inventory forget {name}`, `rotator inventory "
            f"adopt ID --as {name} --secret {pat.secret_name}` and `rotator rotate {name}`: rotator makes none like "
            f"this one, as {message}"
        )
    return f"change the policy ({message}): {fix[0].lower()}{fix[1:]} Then `rotator rotate {name}` makes a new one"


def say_next_of_revoked(pat: ManagedPat, policy: Policy, now: datetime) -> str:
    """Say what a person who revoked a PAT can do next."""
    way_on = say_way_on(pat, policy, now)
    return f"{way_on[0].upper()}{way_on[1:]}. `rotator inventory forget {pat.name}` drops it."


def explain_uncovered(decision: Decision) -> Failure:
    """Return why a policy that forbids nothing rotates a ManagedPat all the same not."""
    rule = decision.rule
    said = f"rule {rule.name} says ignore" if rule else "no rule in the policy matches it"
    return Failure("uncovered", said, "Change the policy so that a rule rotates it.")


def explain_obstacle(obstacle: Obstacle, pat: ManagedPat | None = None) -> Failure:
    """Return what is in the way of rotating a PAT, and who must do what, in commands for it where it has a record."""
    message, fix = _say_obstacle(obstacle)
    name, secret = ("NAME", "SECRET") if pat is None else (pat.name, pat.secret_name)
    fix = fix.replace("{name}", name).replace("{secret}", secret)
    kind = FailureKind.ENDS_WITH_ALL if obstacle.kind is ObstacleKind.ALL_ORGANIZATIONS else None
    return Failure(obstacle.kind.value, message, fix, kind)


def explain_left_behind(left: LeftBehind) -> Failure:
    """Return what is wrong with a PAT that was left behind, and what to do."""
    identifier, name = left.pat.authorization_id, left.name
    by_hand = f"Revoke it in Azure DevOps, or adopt it with `rotator inventory adopt {identifier}`."
    if left.kind is LeftBehindKind.PENDING_REVOCATION:
        message = f"PAT {identifier} of {name} should have been revoked, but is still active"
        if not left.needs_person:
            return Failure(
                LEFT_BEHIND, message, f"Each run tries again. If it stays active, revoke {identifier} by hand."
            )
        message += f"; that {name} is no longer managed, so rotator only watches it"
        return Failure(LEFT_BEHIND, message, by_hand)
    if left.kind is LeftBehindKind.FAILED_ROTATION:
        message = f"PAT {identifier} was left behind by a failed rotation of {name}"
    elif left.kind is LeftBehindKind.KEPT_PREDECESSOR:
        message = f"PAT {identifier} of {name} was replaced, not revoked; whoever uses it may not read its secret yet"
        if left.rotation is not None and left.rotation.is_move:
            owner = left.rotation.predecessor_place[0]
            message = f"PAT {identifier} of {name} was replaced, not revoked: its account, {owner}, could not revoke it"
    else:
        message = f"PAT {identifier} may be a lost mint for {name}, or a person's own: there is no proof"
    if not left.is_managed:
        return Failure(LEFT_BEHIND, f"{message}; {name} is no longer managed", by_hand)
    return Failure(LEFT_BEHIND, message, f"If nobody uses it, revoke it: rotator recover --revoke {identifier}")


def explain_refused_value(pat: ManagedPat, cause: RefusalCause, said: str = "") -> str:
    """Return why the value that consumers of a ManagedPat read does not sign in; `said`: what a service said of it."""
    secret = f"secret {pat.secret_name} in {pat.vault}"
    likely = {
        RefusalCause.SECRET_MISSING: f"{secret} is gone. Recover it in the vault, or rotate the PAT by hand",
        RefusalCause.SECRET_DISABLED: f"{secret} is disabled. Enable its newest version, or rotate the PAT by hand",
        RefusalCause.SECRET_CHANGED: f"{secret} holds something that is not the value of the current PAT. Find out who "
        "writes it",
        RefusalCause.WRONG_IDENTITY: f"the value in {secret} is the PAT of another user. Find out who writes it",
        RefusalCause.ACCESS_LOST: f"its user no longer has any access in {pat.organization}",
        RefusalCause.PAT_EXPIRED: "the PAT has expired",
        RefusalCause.PAT_REVOKED: "the PAT was revoked outside rotator",
        RefusalCause.OWNER_MUST_SIGN_IN: f"Azure DevOps lists the PAT as active and refuses its value. The user of "
        f"{pat.account} probably has to sign in to Azure DevOps in a browser, as after a new password",
        RefusalCause.SIGN_IN_REQUIRED: f"the sign-in of {pat.account} is refused too, so its user probably has a new "
        f"password or was disabled. Run `rotator login {pat.account}`",
        RefusalCause.CAUSE_UNKNOWN: "Azure DevOps did not say why",
    }[cause]
    return f"consumers read a value that does not sign in: {likely}" + (f" ({said})" if said else "")


def explain_sight(sight: Sight) -> str:
    """Return what a secret holds, in words."""
    match sight.holding:
        case Holding.ABSENT:
            return "nothing yet"
        case Holding.OURS:
            return "what rotator wrote"
        case Holding.UNKNOWN_ROTATION:
            return (
                f"a value from a rotation that this database does not know ({sight.rotation_id}, for {sight.name}); "
                "nothing is rotated until `rotator inventory rebuild` has explained it"
            )
        case Holding.USERS_PAT:
            return f"a PAT of {sight.user}, but nothing shows which one"
        case Holding.SOMETHING_ELSE:
            if not sight.pat_shaped:
                return "a value that does not look like a PAT, so rotator did not try it"
            if sight.user is None:
                return "something that looks like a PAT but does not sign in"
            return f"a PAT that signs in as {sight.user}, not as {sight.expected}"


def say_lacks_window(lack: HeldBack, turn: datetime) -> str:
    """Say of a PAT that no window opens in time, or that a change freeze leaves none, and what happens then."""
    if lack.by is HeldBackBy.CHANGE_FREEZE:
        return f"its change freeze ({lack.reason}) lasts too long: it will be rotated {say_moment(turn)} all the same"
    return f"no window opens in time before its expiry: it will be rotated {say_moment(turn)}, outside its windows"


def say_ends_with_all(count: int = 1) -> str:
    """Say why so many PATs, valid for all organizations, stop working on that day and not by their own expiry."""
    return (
        f"{'it is' if count == 1 else 'they are'} valid for all organizations, "
        f"and no such PAT works from {ALL_ORGANIZATIONS_END:%Y-%m-%d} on"
    )


def explain_wish(decision: Decision, *, names_lifetime: bool = True) -> Failure | None:
    """Return what the policy has against a PAT that a person asks for: there is nothing to replace by hand.

    `names_lifetime`: so the lifetime is what the person chose, and not what the policy makes of it.
    """
    failure, obstacle = explain_decision(decision), decision.obstacle
    if failure is None or obstacle is None:
        return None
    if names_lifetime and obstacle.kind in (ObstacleKind.OVERLAP_TOO_LONG, ObstacleKind.DUE_IMMEDIATELY):
        least = f"the overlap of {say_duration(obstacle.overlap)} and rotate_before ({obstacle.rotate_before})"
        return replace(failure, fix=f"Ask for a longer lifetime: {least} of rule {obstacle.rule} must fit into it.")
    if obstacle.kind is not ObstacleKind.SCOPE_DENIED:
        return failure
    fix = f"Ask for other scopes, or take {', '.join(obstacle.scopes)} out of guardrails.deny_scopes."
    return replace(failure, fix=fix)


def _say_obstacle(obstacle: Obstacle) -> tuple[str, str]:
    longest = say_duration(obstacle.lifetime)
    match obstacle.kind:
        case ObstacleKind.NO_RULE:
            return "no rule in the policy matches it", "Add a rule that matches it to the policy, or forget it."
        case ObstacleKind.SCOPE_DENIED:
            full = " (full access)" if obstacle.scopes == (FULL_ACCESS,) else ""
            return (
                f"its scope {', '.join(obstacle.scopes)}{full} is denied by guardrails.deny_scopes",
                _REPLACE,
            )
        case ObstacleKind.DUE_IMMEDIATELY:
            return (
                f"a new one may live {longest} at most, and would be due again immediately "
                f"(rotate_before {obstacle.rotate_before})",
                f"Set rotate_before of rule {obstacle.rule} below {longest}, or to a percentage.",
            )
        case ObstacleKind.OVERLAP_TOO_LONG:
            return (
                f"the overlap of {say_duration(obstacle.overlap)} is longer than the {longest} that a new one may live",
                f"Set overlap of rule {obstacle.rule} below {longest}.",
            )
        case ObstacleKind.ALL_ORGANIZATIONS:
            return say_ends_with_all(), _SPLIT
        case ObstacleKind.SEVERAL_ORGANIZATIONS:
            reach = f"it is valid for {obstacle.organizations} organizations"
            return f"{reach}, but the API creates PATs for one only", _SPLIT
        case ObstacleKind.LIFETIME_TOO_LONG:
            return (
                f"guardrails.max_lifetime allows {longest} at most",
                "Ask for a shorter lifetime, or raise guardrails.max_lifetime in the policy.",
            )
        case ObstacleKind.OTHER_ORGANIZATION:
            return (
                "it belongs to a different organization from the one in the inventory",
                "Forget it here and adopt it under the organization it is valid for.",
            )
