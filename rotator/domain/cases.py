"""What a person reads about one case of a problem of which more is known than the runbook can say.

Each function makes the runbook's advice over for that case. Names, moments and commands are those of the case itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from rotator.domain.account import Account
from rotator.domain.advice import Advice
from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Failure, ManagedPat, Pat, make_name
from rotator.domain.marker import strip_mark
from rotator.domain.next_step import NextAction
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.policy import Rule
from rotator.domain.probe import RefusalCause
from rotator.domain.runbook import CONDITIONS
from rotator.domain.words import say_moment, say_names, say_span

REPLACED_BY_HAND = NextAction.REPLACE_BY_HAND.value
_MOST_PATS = 10
_TO_REVOKE = {
    RevocationKind.ROTATED: "old PAT",
    RevocationKind.ABANDONED: "unused new PAT",
    RevocationKind.LATE: "unused new PAT",
    RevocationKind.BY_HAND: "PAT that a person revoked",
}
_OVERWRITES = (
    "Adopting the PAT changes no secret at once, but its first rotation overwrites {place}; what is there now stays "
    "as an older version."
)
_WRITES = "Adopting the PAT changes no secret at once; its first rotation writes the new PAT to {place}."
_OF_SECRETS = ("something_else", "occupied", "list_incomplete", "place_taken")
"""Why a PAT was not adopted, where the secret is the cause."""
_OF_THE_PAT = ("blocked", "all_organizations", "several_organizations", "scope_denied", "due_immediately")
"""The same, where the PAT could not be rotated either."""


@dataclass(frozen=True)
class WaitingCall:
    """A call of a hook that failed. `old_until`: when the old PAT of its rotation is revoked or, if `holds`, expires.

    `holds`: the hook is required, and the old PAT is not revoked before it has succeeded. `is_old_gone`: the rotation
    is over. `place` says whose the PAT is, and where its value is.
    """

    event: str
    name: str | None
    tries: int
    retry_at: datetime | None
    old_until: datetime | None = None
    holds: bool = False
    is_old_gone: bool = False
    place: str = ""


def say_pats(pats: Sequence[ManagedPat], *, with_expiry: bool = True) -> tuple[str, ...]:
    """Return a line for each PAT: whose it is, and where its value is."""
    lines = [_say_pat(pat, with_expiry=with_expiry) for pat in pats[:_MOST_PATS]]
    more = len(pats) - _MOST_PATS
    return (*lines, f"PATs: {more} more") if more > 0 else tuple(lines)


def _say_pat(pat: ManagedPat, *, with_expiry: bool) -> str:
    expires = f", expires {say_moment(pat.as_ending().valid_to)}" if with_expiry and pat.has_pat else ""
    place = f"secret {pat.secret_name} in {pat.vault}"
    return f"PAT: {pat.name} (account {pat.account}, organization {pat.organization}, {place}{expires})"


def advise_lost_sign_in(account: Account, cache: str) -> Advice:
    """About an account that nobody is signed in for, because the token cache is damaged."""
    return replace(
        CONDITIONS[ConditionKind.SIGN_IN_NEEDED],
        one="{subject} is signed out, because the token cache is damaged",
        many="{count} accounts are signed out, because the token cache is damaged",
        meaning=f"Entra refused nothing: the stored sign-ins are lost, because {cache} is damaged. The notification "
        "about that token cache has the same cause. The next sign-in replaces the damaged cache.",
        fix=f"{account.username} must sign in again, on any device.",
    )


def advise_no_sign_in(who: str = "The person behind the account") -> Advice:
    """About an account that nobody is signed in for, and whose user is `who`."""
    return replace(
        CONDITIONS[ConditionKind.SIGN_IN_NEEDED],
        one="{subject} is not signed in",
        many="{count} accounts are not signed in",
        meaning="No sign-in of the account is stored: nobody has signed in yet, or somebody signed it out. Entra "
        "refused nothing.",
        fix=f"{who} must sign in, on any device.",
    )


def advise_damaged_cache(place: str, accounts: Sequence[Account], *, is_file: bool) -> Advice:
    """About a token cache that is damaged, and its backup too. With another key there is no such problem."""
    both = (
        f"Both {place} and its backup {place}.previous are damaged"
        if is_file
        else "The cache and its backup are damaged"
    )
    logins = ", ".join(f"`rotator login {account.name}` (as {account.username})" for account in accounts[:_MOST_PATS])
    more = f" and {len(accounts) - _MOST_PATS} more" if len(accounts) > _MOST_PATS else ""
    return replace(
        CONDITIONS[ConditionKind.TOKEN_CACHE_DAMAGED],
        meaning=f"{both}, so the sign-ins of all accounts are lost. The encryption key is not the cause.",
        fix=f"Sign every account in again: {logins}{more}. The first sign-in replaces the damaged cache; nothing has "
        "to be deleted.",
    )


def advise_vanished(pat: ManagedPat, rule: Rule | None, way_on: str) -> Advice:
    """About a PAT that somebody else revoked: whether rotator replaces it by itself, by its rule; else the `way_on`."""
    general = CONDITIONS[ConditionKind.PAT_VANISHED]
    place = f"secret {pat.secret_name} in {pat.vault}"
    find_out = (
        "Find out who revoked it: ask your team, and look at the mail of the account's user and at Azure DevOps' own "
        "audit log (`rotator audit reconcile`). If nobody in your team did, it may be public: call your security team."
    )
    if rule is not None and rule.replaces(pat):
        return replace(
            general,
            otherwise=f"Its rule says `on_leak: rotate`: rotator stores a new PAT in {place} by itself, and tells "
            "you when that is done. Until then consumers fail.",
            fix=f"If it is not done within some minutes, `rotator status {pat.name}` says what is in the way. "
            f"{find_out}",
        )
    return replace(
        general,
        otherwise=f"Consumers fail until a new PAT is in {place}. rotator stores none by itself, because the rule of "
        "the PAT does not say `on_leak: rotate`.",
        fix=f"If consumers still need it, {way_on}. "
        f"{find_out} If nobody needs it any more: `rotator inventory forget {pat.name}`.",
    )


def advise_replacement(*, has_vault: bool) -> Advice:
    """About a PAT that its rule leaves to a person: what to do depends on whether rotator could store a new one."""
    how = (
        "Run `rotator rotate {subject}`, which writes a new PAT to its secret."
        if has_vault
        else "It has no vault, so rotator cannot do it for you: make a new PAT in Azure DevOps, give it to the "
        "consumers, `rotator inventory forget {subject}`, and adopt the new one."
    )
    general = CONDITIONS[ConditionKind.PAT_EXPIRING]
    said = f"Its rule says `action: alert`: a person replaces it. {how}"
    return replace(general, reasons={**general.reasons, REPLACED_BY_HAND: said})


def advise_short_lifetime(
    pat: ManagedPat, rule: Rule | None, wanted: timedelta | None, next_at: datetime | None
) -> Advice:
    """About a PAT that lives shorter than its rule asks for: both lifetimes, and when it is renewed."""
    granted = say_span(pat.lifetime)
    instead = "" if wanted is None else f" instead of {say_span(wanted)}"
    by_itself = "" if next_at is None else f" rotator will renew it at {say_moment(next_at)}."
    which = "its rule" if rule is None else f"rule {rule.name}"
    said = "" if wanted is None else f"{which[0].upper()}{which[1:]} asks for {say_span(wanted)}; "
    return replace(
        CONDITIONS[ConditionKind.LIFETIME_SHORTENED],
        one=f"{{subject}} was renewed for only {granted}{instead}",
        meaning=f"{said}{pat.organization} granted only {granted}. The PAT works.{by_itself}",
        fix=f"Nothing to do now. If that renewal fails, consumers fail from {say_moment(pat.as_ending().valid_to)} on: "
        f"`rotator status {pat.name}` says why it failed, and `rotator rotate {pat.name}` tries again. Ask an Azure "
        f"DevOps administrator for the maximum lifetime of PATs in {pat.organization}: have it raised, or set "
        f"`lifetime` of {which} in rotator's policy to no more than that.",
    )


def advise_pending(item: PendingRevocation, display_name: str, user: str, pat: ManagedPat | None) -> Advice:
    """About a revocation that is not confirmed: which PAT it is, and which one must not be touched."""
    what, page = _TO_REVOKE[item.kind], f"https://dev.azure.com/{item.organization}/_usersSettings/tokens"
    asked = f"rotator asked Azure DevOps at {say_moment(item.since)} to revoke it"
    if item.requests > 1:
        last = say_moment(item.requested_at)
        asked = f"rotator has asked Azure DevOps {item.requests} times to revoke it, last at {last}"
    shown = "still lists it as active" if item.missed_at is None else "does not show yet that it is revoked"
    again = (
        "rotator only watches it now: its managed PAT was forgotten." if item.is_detached else "Each run asks again."
    )
    keep = "" if pat is None or not pat.has_pat else f" {_say_current(pat)}"
    once = "" if item.is_detached else "`rotator once` asks again now. "
    return replace(
        CONDITIONS[ConditionKind.REVOCATION_PENDING],
        one=f"the {what} of {item.name} is not revoked yet (id {{subject}})",
        meaning=f"{asked}. Azure DevOps accepted that, and {shown}. No consumer is affected.",
        otherwise=f"{again} Whoever has the value of the {what} can use it until it is revoked or expires.",
        fix=f"{once}If it lasts, sign in to Azure DevOps as {user}, open {page} and "
        f'revoke the PAT "{display_name}" that expires {say_moment(item.valid_to)}.{keep} This '
        "alert ends when rotator sees that it is gone.",
    )


def say_pending(item: PendingRevocation, display_name: str) -> str:
    """Return the line that names the PAT to be revoked."""
    said = f'"{display_name}", id {item.authorization_id}, expires {say_moment(item.valid_to)}'
    return f"To be revoked: {said} (account {item.account}, organization {item.organization})"


def _say_current(pat: ManagedPat) -> str:
    name = strip_mark(pat.display_name)
    return (
        f'Do not touch the one that expires {say_moment(pat.valid_to)} ("{name}", id {pat.authorization_id}): it is '
        f"the current PAT of {pat.name}, which consumers use."
    )


class Placed(Protocol):
    """A ManagedPat, or what is shown of one: whose it is, and where its value is."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def account(self) -> str:
        """Its account."""

    @property
    def organization(self) -> str:
        """Its organization."""

    @property
    def vault(self) -> str | None:
        """The vault of its secret."""

    @property
    def secret_name(self) -> str | None:
        """The name of its secret."""


def advise_refused_value(pat: Placed, cause: str, account: Account | None = None) -> Advice:
    """About a value that Azure DevOps refuses: what that cause needs."""
    general = CONDITIONS[ConditionKind.PROBE_FAILING]
    user = f"the user of {pat.account}" if account is None else account.username
    place = f"secret {pat.secret_name} in {pat.vault}"
    rotate = f"`rotator rotate {pat.name}` stores a new PAT there"
    writer = f"Find out who writes {place} (the log of the vault names him) and stop it. Then {rotate}."
    fixes: dict[str, tuple[str, str]] = {
        RefusalCause.OWNER_MUST_SIGN_IN: (
            f"Azure DevOps refuses {{subject}} until {user} signs in to it in a browser",
            f"Have {user} sign in at https://dev.azure.com/{pat.organization} in a browser. Do not rotate: a new PAT "
            "would be refused too. The daemon will try the value within about an hour, and tell you when it works.",
        ),
        RefusalCause.SIGN_IN_REQUIRED: (
            f"Azure DevOps refuses the value of {{subject}}, and Entra the sign-in of {pat.account}",
            f"Find out whether {user} has a new password or was disabled. If not disabled: `rotator login "
            f"{pat.account}`.",
        ),
        RefusalCause.SECRET_CHANGED: (f"somebody else wrote {place}: {{subject}} does not work", writer),
        RefusalCause.WRONG_IDENTITY: (
            f"somebody else wrote {place}: it holds another user's PAT, not {{subject}}",
            writer,
        ),
        RefusalCause.ACCESS_LOST: (
            f"{{subject}} is refused: {user} has no access to {pat.organization} any more",
            f"Add {user} to {pat.organization} again (Organization settings, Users). Do not rotate: a new PAT would be "
            "refused too.",
        ),
        RefusalCause.PAT_EXPIRED: (
            "{subject} has expired",
            f"Run `rotator rotate {pat.name}`: it stores a new PAT in {place}.",
        ),
        RefusalCause.PAT_REVOKED: (
            "{subject} was revoked outside rotator",
            f"Run `rotator rotate {pat.name}`: it stores a new PAT in {place}. Find out who revoked the old one.",
        ),
        RefusalCause.SECRET_MISSING: (
            f"{place} is gone: consumers cannot read {{subject}}",
            f"Recover it in the vault, or {rotate}.",
        ),
        RefusalCause.SECRET_DISABLED: (
            f"{place} is disabled: consumers cannot read {{subject}}",
            f"Enable its newest version in the vault, or {rotate}.",
        ),
    }
    if cause not in fixes:
        return general
    one, fix = fixes[cause]
    return replace(general, one=one, fix=fix)


def advise_hook(name: str, calls: Sequence[WaitingCall], most: int) -> Advice:
    """About a hook whose calls fail: which PATs waited for it, what becomes of them, and what ends it."""
    general = CONDITIONS[ConditionKind.HOOK_FAILING]
    held = sorted({call.name for call in calls if call.holds and call.name})
    others = sorted({call.name or call.event for call in calls if not call.holds})
    otherwise = []
    if held:
        whose = say_names(held)
        otherwise.append(
            f"The hook is required: rotator repeats it without limit, and does not revoke the old PAT of {whose} "
            "before it has succeeded. When that PAT expires, consumers that have not read the new one fail."
        )
    if others:
        tries = max(call.tries for call in calls if not call.holds)
        is_over = all(call.is_old_gone for call in calls if not call.holds)
        fate = "was revoked anyway" if is_over else "is revoked as planned, even if the hook never succeeds"
        fails = "fail until they do" if is_over else "fail once the old PAT is gone"
        otherwise.append(
            f"Consumers of {say_names(others)} that do not read the secret again {fails}. The hook is not required "
            f"there: the old PAT {fate}. Failed tries: {tries} of {most}; after the last one rotator drops the call."
        )
    retry = min((call.retry_at for call in calls if call.retry_at is not None), default=None)
    when = "" if retry is None else f", next at {say_moment(retry)}"
    return replace(
        general,
        meaning="This alert ends when every waiting call has succeeded"
        + (" or was dropped; restart the consumers of dropped ones yourself." if others else "."),
        otherwise=" ".join(otherwise),
        fix=f"{_say_restarts(calls)} what made the hook fail. rotator repeats the waiting calls{when}. "
        f"`rotator hooks test {name}` really runs the hook, with a made-up event, and shows whether it works now; it "
        "repeats none of them.",
    )


def _say_restarts(calls: Sequence[WaitingCall]) -> str:
    """Return what to do before the hook works again: where the old PAT is gone, consumers come first."""
    gone = sorted({call.name for call in calls if call.is_old_gone and call.name})
    if not gone:
        return "Correct"
    whose = "its old PAT is" if len(gone) == 1 else "their old PATs are"
    return f"First restart the consumers of {say_names(gone)} yourself: {whose} revoked already. Then correct"


def say_calls(calls: Sequence[WaitingCall]) -> tuple[str, ...]:
    """Return a line for each call of a hook that failed."""
    return tuple(_say_call(call) for call in calls[:_MOST_PATS])


def _say_call(call: WaitingCall) -> str:
    about = f"`{call.event}`" if call.name is None else f"`{call.event}` of {call.name} ({call.place})"
    said = f"Waits for the hook: {about}, failed tries: {call.tries}, {'required' if call.holds else 'not required'}"
    if call.is_old_gone:
        return f"{said}; its old PAT is revoked already, so consumers that have not read the new one fail"
    if call.old_until is None:
        return said
    return f"{said}; its old PAT {'expires' if call.holds else 'is revoked'} {say_moment(call.old_until)}"


def advise_refused_account(organization: str, failure: Failure | None) -> Advice:
    """About an account that an organization refuses: how to find out whether its PATs are refused too."""
    general = CONDITIONS[ConditionKind.ORGANIZATION_DOWN]
    fix = failure.fix if failure is not None and failure.fix else general.fix
    return replace(general, otherwise=general.otherwise.replace("ORGANIZATION", organization), fix=fix)


def advise_written_secret(failure: Failure | None) -> Advice:
    """About a secret that somebody else wrote: nobody knows what its consumers read."""
    general = CONDITIONS[ConditionKind.ROTATION_BLOCKED]
    return replace(
        general,
        otherwise="Consumers use the value that was written. If it does not work, they are failing now; if it is "
        "still this PAT, they fail when it expires; if it is another one that works, they fail when that one ends.",
        fix=failure.fix if failure is not None and failure.fix else general.fix,
    )


def advise_not_adopted(pat: Pat, organization: str, waits: Failure, place: str) -> Advice:
    """About a PAT that a rule asks to adopt: what is in the way, and what adopting does to the secret."""
    if waits.code in _OF_THE_PAT:
        effect = "Adopting the PAT does not help: rotator could not rotate it."
    else:
        effect = (_OVERWRITES if waits.code in _OF_SECRETS else _WRITES).format(place=place)
    name = _say_display_name(pat)
    return replace(
        CONDITIONS[ConditionKind.ADOPTION_BLOCKED],
        one=f"the PAT {name} in {organization} was not adopted",
        meaning=effect,
        otherwise=f"Consumers of {name} fail when it expires, because rotator does not rotate it.",
        fix=waits.fix,
    )


def say_unmanaged(pat: Pat, account: str, organization: str, rule: Rule | None = None) -> str:
    """Return the line that names a PAT which is not managed."""
    by_rule = "" if rule is None else f", rule {rule.name}"
    expires = say_moment(pat.as_ending().valid_to)
    return (
        f"PAT: {_say_display_name(pat)} (id {pat.authorization_id}, account {account}, organization {organization}"
        f"{by_rule}, expires {expires})"
    )


def find_place_for(pat: Pat, account: str, organization: str, rule: Rule | None) -> str:
    """Return where a rule would have the value of a PAT that is not managed yet."""
    if rule is None:
        return "the secret that its rule names"
    name = make_name(pat.display_name, organization, frozenset())
    secret = rule.make_secret_name(organization=organization, name=name, account=account)
    return f"secret {secret} in {rule.vault}"


def _say_display_name(pat: Pat) -> str:
    """Return what people call it, on one line."""
    return " ".join(strip_mark(pat.display_name).split())
