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
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.sight import Holding, Sight
from rotator.domain.timetable import HeldBack, HeldBackBy
from rotator.domain.words import say_duration, say_moment
from rotator.engine.left_behind import LEFT_BEHIND, LeftBehind, LeftBehindKind
from rotator.errors import FailureKind

_SPLIT = (
    "Create one PAT per organization with the same scopes, adopt them, and move the consumers to them. Then `rotator "
    "revoke NAME` and `rotator inventory forget NAME` end this one."
)
_REPLACE = (
    "Create a PAT with only the scopes its consumers need. For it to have the name and secret of this one: `rotator "
    "inventory forget NAME`, `rotator inventory adopt ID --as NAME --secret SECRET`, `rotator rotate NAME`, and revoke "
    "this one in Azure DevOps when nobody uses it. Otherwise adopt it and move the consumers; then `rotator revoke "
    "NAME` and `rotator inventory forget NAME` end this one."
)
_RUN_FIRST = "Run `rotator once` first."


def explain_decision(decision: Decision) -> Failure | None:
    """Return what blocks a ManagedPat by the policy; None when nothing does."""
    if decision.obstacle is None:
        return None
    return replace(explain_obstacle(decision.obstacle), code=FORBIDDEN, kind=FailureKind.FORBIDDEN)


def say_way_on(pat: ManagedPat, policy: Policy, now: datetime) -> str:
    """Say, as a part of a sentence, how consumers of a PAT that is gone get another one."""
    name, obstacle = pat.name, find_obstacle(pat, policy.decide(pat.as_ending(), now=now, longest=None))
    if obstacle is None:
        return f"`rotator rotate {name}` makes a new one"
    message, fix = _say_obstacle(obstacle)
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


def explain_obstacle(obstacle: Obstacle) -> Failure:
    """Return what is in the way of rotating a PAT, and who must do what."""
    message, fix = _say_obstacle(obstacle)
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


def explain_refusal(refusal: Refusal) -> Failure:
    """Return why a PAT cannot be adopted, or a record cannot be rebuilt, and who must do what."""
    if refusal.failure is not None:
        return refusal.failure
    said = _say_accounted(refusal) or _say_choice(refusal) or _say_rebuild(refusal)
    return Failure(refusal.kind.value, *said)


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


def _say_accounted(refusal: Refusal) -> tuple[str, str] | None:
    """Say that something accounts for the PAT already."""
    name, identifier = refusal.name, refusal.reference
    match refusal.kind:
        case RefusalKind.MANAGED:
            return (
                f"it is managed already, as {name}",
                f"To give it another name: `rotator inventory rename {name} NEW`.",
            )
        case RefusalKind.ROTATING:
            return f"an unfinished rotation of {name} uses it", _RUN_FIRST
        case RefusalKind.MANAGED_BEFORE:
            return (
                "it was managed before, and a person forgot it",
                f"To manage it again: `rotator inventory adopt {identifier}`.",
            )
        case RefusalKind.KEPT:
            return (
                f"a rotation of {name} replaced it, and did not revoke it",
                f"When nobody uses it any more: `rotator recover --revoke {identifier}`.",
            )
        case RefusalKind.LEFT_BEHIND:
            return (
                f"a failed rotation of {name} left it behind",
                f"If nobody uses it: `rotator recover --revoke {identifier}`. To adopt it as another PAT, "
                f"`rotator inventory forget {name}` first.",
            )
        case RefusalKind.REVOCATION_PENDING:
            return (
                f"it should have been revoked for {name}; each run tries again",
                "If it is needed, adopt it by its id.",
            )
        case RefusalKind.BEING_REVOKED:
            what = "its PAT" if refusal.secret_name else "it"
            if not name:
                return f"{what} is being revoked by an administrator", "If it still works in an hour, try again."
            return f"{what} is being revoked for {name}", "If it is needed, try again in a few minutes."
        case RefusalKind.SENT_MINT:
            return f"a rotation of {name} may have made it", _RUN_FIRST
        case RefusalKind.POSSIBLE_MINT:
            return (
                f"a rotation of {name} may have made it, or a person",
                f"If a person uses it, adopt it by its id; if nobody does: `rotator recover --revoke {identifier}`.",
            )
        case _:
            return None


def _say_choice(refusal: Refusal) -> tuple[str, str] | None:
    """Say that what was asked for is not clear, not covered or not free."""
    match refusal.kind:
        case RefusalKind.AMBIGUOUS:
            ids = ", ".join(f"{i} ({place})" for i, place in zip(refusal.ids, refusal.organizations, strict=True))
            return (
                f'{len(refusal.ids)} PATs are called "{refusal.reference}": {ids}',
                "Name the one you mean by its authorization id.",
            )
        case RefusalKind.UNKNOWN:
            return (
                "no untracked active PAT has this authorization id or display name",
                "`rotator scan` lists the PATs.",
            )
        case RefusalKind.UNSEEN:
            return (
                "it is in none of the lists that could be fetched",
                "Fix what could not be checked, as said below, then try again.",
            )
        case RefusalKind.NO_RULE | RefusalKind.IGNORED:
            is_ignored = refusal.kind is RefusalKind.IGNORED
            why = f"rule {refusal.rule} says ignore" if is_ignored else "no rule in the policy covers it"
            return why, "Change the policy so that a rule covers it."
        case RefusalKind.NAME_TAKEN:
            return f"the name {refusal.name} is taken", "Choose another one."
        case RefusalKind.PLACE_TAKEN:
            whose = (
                f"would be that of {', '.join(refusal.ids)} too"
                if refusal.ids
                else f"belongs to {refusal.name} already"
            )
            return (
                f"secret {refusal.secret_name} in {refusal.vault} {whose}",
                f"Make secret_name of rule {refusal.rule} distinct, with {{name}}, or choose one with --secret.",
            )
        case RefusalKind.ELSEWHERE:
            return (
                f"it is managed already, as {refusal.name}, with secret {refusal.secret_name} in {refusal.vault}",
                f"To give it another secret, `rotator inventory forget {refusal.name}` first. Its consumers must read "
                "the new secret before the overlap of its first rotation there is over.",
            )
        case RefusalKind.MISPLACED:
            return (
                f"it is a PAT of {', '.join(refusal.organizations)}, not of the account or organization that was given",
                "Correct it, or leave both out.",
            )
        case RefusalKind.SOMETHING_ELSE:
            holds = explain_sight(refusal.sight) if refusal.sight is not None else "something else"
            return (
                f"secret {refusal.secret_name} in {refusal.vault} holds {holds}",
                f"If it may be overwritten: `rotator inventory adopt {refusal.reference} --replace-foreign`, with --as "
                "and --secret as you gave them; else choose another secret with --secret NAME.",
            )
        case RefusalKind.OCCUPIED | RefusalKind.LIST_INCOMPLETE:
            return _say_occupied(refusal)
        case RefusalKind.SAME_NAME:
            return (
                f'"{refusal.display_name}" would have the same name as {", ".join(refusal.ids)}, and rotator '
                "cannot tell which one consumers use",
                f"Choose for each: `rotator inventory adopt {refusal.reference} --as NAME --secret NAME`.",
            )
        case _:
            return None


def _say_occupied(refusal: Refusal) -> tuple[str, str]:
    sight, other = refusal.sight, "else choose another secret with --secret NAME."
    place, adopt = f"secret {refusal.secret_name} in {refusal.vault}", f"`rotator inventory adopt {refusal.reference}`"
    if refusal.kind is RefusalKind.LIST_INCOMPLETE:
        return (
            f"{place} holds a PAT of the account's user, which may be the one that could not be read in the server's "
            "list",
            f"If it holds this PAT: {adopt}; {other}",
        )
    holds = explain_sight(sight) if sight is not None else "something"
    if sight is not None and sight.holding is Holding.OURS:
        holds += f" for another PAT, {sight.authorization_id or 'which nothing names'}"
    return f"{place} holds {holds}", f"If it may be overwritten: {adopt}; {other}"


def _say_rebuild(refusal: Refusal) -> tuple[str, str]:
    """Say why no record can be made from a secret."""
    place = f"secret {refusal.secret_name} in {refusal.vault}"
    dead = f"{place} holds {', '.join(refusal.ids)}, which the server does not list as active"
    match refusal.kind:
        case RefusalKind.FOREIGN_TAGS:
            return f"{place} has tags that rotator does not write", (
                "Find out who writes this secret, then adopt its PAT."
            )
        case RefusalKind.PAT_GONE:
            return dead, "Create a PAT, write its value to the secret and adopt it, or find out who revoked this one."
        case RefusalKind.ROTATION_KNOWN:
            return dead, "The database knows the rotation that wrote it: `rotator once` says what to do."
        case RefusalKind.STILL_VALID:
            return dead, (
                "It still authenticates, so another user's installation shares the secret: remove it from one of them."
            )
        case RefusalKind.VALUE_COPIED:
            return (
                f"the newest version of {place} has rotator's tags, but not the value that rotator wrote with them",
                (
                    "Find out which tool copies or rolls back this secret, and stop it. Then run "
                    f"`rotator rotate {refusal.reference}` if the PAT is managed; if not, write the right value "
                    "without tags and adopt its PAT."
                ),
            )
        case RefusalKind.TWO_SECRETS:
            return f"{place} names it, and so does {refusal.other_secret}", (
                f"Remove the tags of the one that is no longer used, or `rotator inventory forget {refusal.reference}`."
            )
        case RefusalKind.ACCOUNT_RENAMED:
            return f'{place} was written for account "{refusal.name}", which the settings do not name', (
                "If the account was renamed, give it its old name back in rotator.yaml, then rebuild again."
            )
        case RefusalKind.MANAGED_AS:
            return f"its PAT or its secret is managed already, as {refusal.name}", (
                f"`rotator inventory forget {refusal.name}`, then rebuild again."
            )
        case _:
            return "its PAT belongs to a rotation of another managed PAT", (
                "Run `rotator once` until it is finished, then rebuild again."
            )
