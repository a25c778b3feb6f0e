"""What our own records know of one case of a problem, beyond its kind: for the words of a notification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rotator.domain.account import Account
from rotator.domain.cases import (
    REPLACED_BY_HAND,
    WaitingCall,
    advise_damaged_cache,
    advise_hook,
    advise_lost_sign_in,
    advise_no_sign_in,
    advise_not_adopted,
    advise_pending,
    advise_refused_account,
    advise_refused_value,
    advise_replacement,
    advise_short_lifetime,
    advise_vanished,
    advise_written_secret,
    find_place_for,
    say_calls,
    say_pending,
    say_unmanaged,
)
from rotator.domain.condition import ConditionKind
from rotator.domain.hook import HookCall
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.marker import strip_mark
from rotator.domain.notification import Affected, Hurt
from rotator.domain.plan import find_obstacle
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.sign_in import NOT_SIGNED_IN
from rotator.domain.telling import Notice
from rotator.engine.auditing import find_lasting
from rotator.engine.context import RunContext
from rotator.engine.explaining import say_way_on
from rotator.engine.hooking import MOST_TRIES
from rotator.ports.database import Reading

_REFUSES_ACCOUNT = frozenset({"denied", "access_denied", "bearer_refused"})
_WRITTEN_BY_OTHERS = frozenset({"foreign_write", "secret_unconfirmed"})


def know_case(
    run: RunContext, reading: Reading, notice: Notice, affected: Affected, pats: Sequence[ManagedPat]
) -> Affected:
    """Return what a cause does with what is known of this very case."""
    kind, subjects = notice.cause.kind, notice.subjects
    match kind:
        case ConditionKind.SIGN_IN_NEEDED:
            return _know_sign_in(run, reading, subjects, affected)
        case ConditionKind.TOKEN_CACHE_DAMAGED:
            is_file = subjects[0].startswith("/")
            return replace(affected, advice=advise_damaged_cache(subjects[0], run.services.accounts, is_file=is_file))
        case ConditionKind.REVOCATION_PENDING:
            return _know_pending(run, reading, subjects, affected)
        case ConditionKind.ADOPTION_BLOCKED:
            return _know_adoption(run, reading, subjects, affected)
        case ConditionKind.PAT_LEFT_BEHIND:
            return _know_left_behind(reading, subjects, affected)
        case ConditionKind.ORGANIZATION_DOWN if notice.code in _REFUSES_ACCOUNT:
            organization = subjects[0].partition("/")[2] or subjects[0]
            refused = advise_refused_account(organization, affected.failure)
            return replace(affected, hurt=Hurt.PERHAPS, advice=refused)
        case ConditionKind.PAT_EXPIRING if _is_replaced(notice) and len({*_have_vaults(pats)}) == 1:
            return replace(affected, advice=advise_replacement(has_vault=_have_vaults(pats)[0]))
        case ConditionKind.VAULT_DOWN:
            return replace(affected, hurt=Hurt.PERHAPS)
        case ConditionKind.ROTATION_BLOCKED:
            is_written = notice.cause.code in _WRITTEN_BY_OTHERS
            advice = advise_written_secret(affected.failure) if is_written else affected.advice
            return replace(affected, hurt=_find_hurt(reading, notice, affected, pats), advice=advice)
        case ConditionKind.PAT_VANISHED | ConditionKind.PROBE_FAILING | ConditionKind.LIFETIME_SHORTENED if pats:
            return _know_pat(run, reading, notice, affected, pats)
        case _:
            return affected


def _is_replaced(notice: Notice) -> bool:
    return REPLACED_BY_HAND in (notice.cause.code, notice.code)


def _have_vaults(pats: Sequence[ManagedPat]) -> list[bool]:
    return [bool(pat.vault) for pat in pats]


def _find_hurt(reading: Reading, notice: Notice, affected: Affected, pats: Sequence[ManagedPat]) -> Hurt:
    """Say of PATs that are not rotated whether consumers fail already: nobody knows what others write to a secret."""
    results = reading.probes.load_results([pat.name for pat in pats])
    if any(works is False for works in results.values()):
        return Hurt.NOW
    return Hurt.PERHAPS if notice.cause.code in _WRITTEN_BY_OTHERS else affected.hurt


def _know_sign_in(run: RunContext, reading: Reading, subjects: Sequence[str], affected: Affected) -> Affected:
    account = find_account(run, subjects[0])
    if account is None or affected.failure is None or affected.failure.code != NOT_SIGNED_IN:
        return affected
    damaged = sorted(find_lasting(reading, ConditionKind.TOKEN_CACHE_DAMAGED))
    advice = advise_lost_sign_in(account, damaged[0]) if damaged else advise_no_sign_in(account.username)
    return replace(affected, advice=advice)


def _know_pat(
    run: RunContext, reading: Reading, notice: Notice, affected: Affected, pats: Sequence[ManagedPat]
) -> Affected:
    pat, kind, now = pats[0], notice.cause.kind, run.services.clock.now()
    rule = run.policy.rule_for(pat)
    if kind is ConditionKind.PROBE_FAILING:
        advice = advise_refused_value(pat, notice.cause.code, find_account(run, pat.account))
        return replace(affected, hurt=Hurt.NOW, advice=advice)
    if kind is ConditionKind.PAT_VANISHED:
        is_forbidden = find_obstacle(pat, run.policy.decide(pat, now=now, longest=None)) is not None
        advice = advise_vanished(pat, None if is_forbidden else rule, say_way_on(pat, run.policy, now))
        return replace(affected, hurt=Hurt.NOW, advice=advice)
    decision = run.policy.decide(pat, now=now, longest=find_longest(reading.limits.load(), pat, now))
    wanted = (None if rule is None else rule.lifetime) or pat.meant_lifetime
    advice = advise_short_lifetime(pat, rule, wanted, decision.rotate_after)
    return replace(affected, hurt_at=affected.first_expires_at, advice=advice)


def _know_pending(run: RunContext, reading: Reading, subjects: Sequence[str], affected: Affected) -> Affected:
    items = reading.revocations.load_by_ids(subjects)
    if not items:
        return affected
    named = reading.journal.load_traces([item.authorization_id for item in items])
    minted = {trace.new_authorization_id: trace.display_name for trace in named}
    replaced = {trace.predecessor_id: strip_mark(trace.display_name) for trace in named}
    names = {
        item.authorization_id: minted.get(item.authorization_id) or replaced.get(item.authorization_id) or item.name
        for item in items
    }
    about = tuple(say_pending(item, names[item.authorization_id]) for item in items)
    first = next((item for item in items if item.authorization_id == subjects[0]), items[0])
    pat, account = reading.inventory.load(first.name), find_account(run, first.account)
    user = f"the user of {first.account}" if account is None else account.username
    current = pat if pat is not None and first.belongs_to(pat) else None
    advice = advise_pending(first, names[first.authorization_id], user, current)
    return replace(affected, about=about, advice=advice)


def _know_left_behind(reading: Reading, subjects: Sequence[str], affected: Affected) -> Affected:
    found = [item for item in reading.inventory.load_untracked() if item.pat.authorization_id in subjects]
    about = tuple(say_unmanaged(item.pat, item.account, item.organization) for item in found)
    ends = min((item.pat.valid_to for item in found), default=None)
    return replace(affected, about=about, hurt=Hurt.LATER if found else Hurt.UNKNOWN, hurt_at=ends)


def _know_adoption(run: RunContext, reading: Reading, subjects: Sequence[str], affected: Affected) -> Affected:
    found = {item.pat.authorization_id: item for item in reading.inventory.load_untracked() if item.waits is not None}
    items = [found[subject] for subject in subjects if subject in found]
    if not items:
        return affected
    rules = {
        item.pat.authorization_id: run.policy.find_rule(
            account=item.account,
            organization=item.organization,
            display_name=item.pat.display_name,
            scopes=item.pat.scopes,
        )
        for item in items
    }
    about = tuple(
        say_unmanaged(item.pat, item.account, item.organization, rules[item.pat.authorization_id]) for item in items
    )
    first = items[0]
    advice = affected.advice
    if first.waits is not None:
        place = find_place_for(first.pat, first.account, first.organization, rules[first.pat.authorization_id])
        advice = advise_not_adopted(first.pat, first.organization, first.waits, place)
    hurt_at = min(item.pat.as_ending().valid_to for item in items)
    return replace(affected, failure=first.waits, about=about, hurt_at=hurt_at, advice=advice)


def know_hook(run: RunContext, reading: Reading, notice: Notice, affected: Affected) -> Affected:
    """Return what the failing hooks do: which calls wait, and until when consumers can use the old PATs."""
    held = [
        _know_call(run, reading, call)
        for subject in notice.subjects
        for call in reading.outbox.load_calls(subject)
        if call.is_waiting and call.failure is not None
    ]
    ends = [call.old_until for call in held if call.old_until is not None]
    hurt = Hurt.LATER if len(ends) == len(held) > 0 else Hurt.UNKNOWN
    if any(call.is_old_gone for call in held):
        hurt = Hurt.PERHAPS
    hurt_at = min(ends) if hurt is Hurt.LATER else None
    affected = replace(affected, about=say_calls(held), hurt=hurt, hurt_at=hurt_at)
    if len(notice.subjects) > 1 or not held:
        return affected
    return replace(affected, advice=advise_hook(notice.subjects[0], held, MOST_TRIES))


def _know_call(run: RunContext, reading: Reading, call: HookCall) -> WaitingCall:
    event, until = call.event, None
    rotations = reading.journal.load_for(event.name) if event.name else ()
    rotation = next((found for found in rotations if found.id == event.rotation_id), None)
    holds = rotation is not None and rotation.is_open and _may_hold(run, call, rotation)
    if rotation is not None and rotation.is_open:
        until = rotation.predecessor_valid_to if holds else rotation.overlap_until
    return WaitingCall(
        event.event,
        event.name,
        call.tries,
        call.retry_at,
        until,
        holds=holds,
        is_old_gone=rotation is not None and _is_old_revoked(rotation),
        place=f"account {event.account}, organization {event.organization}, secret {event.secret_name}",
    )


def _is_old_revoked(rotation: Rotation) -> bool:
    return rotation.state is RotationState.COMPLETED and not rotation.keeps_predecessor


def _may_hold(run: RunContext, call: HookCall, rotation: Rotation) -> bool:
    """Whether the old PAT waits for this call to succeed, or will once the new one is read back."""
    if call.hook not in run.policy.list_required_hooks():
        return False
    return rotation.state is RotationState.STORED or call.hook in rotation.awaited_hooks


def find_account(run: RunContext, name: str) -> Account | None:
    """Return an account of the settings."""
    return next((account for account in run.services.accounts if account.name == name), None)
