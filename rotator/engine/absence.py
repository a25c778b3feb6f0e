"""A managed PAT that a listing lacks. One listing proves nothing, and a warning about it ends when it is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events.event import Event
from rotator.domain.events.inventory import PatAdopted, PatReappeared, PatUnlisted
from rotator.domain.events.revocations import RevocationFailed, RevocationRequested, RevokeStarted
from rotator.domain.events.rotations import FailureCleared
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Hold, ManagedPat, ManagedPatState, Pat
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.plan import is_waiting
from rotator.domain.policy import Verdict
from rotator.domain.words import say_moment
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.context import RunContext, RunMode
from rotator.engine.explaining import say_next_of_revoked, say_way_on
from rotator.engine.listing import ServerView, Sighting
from rotator.engine.moments import find_earliest
from rotator.engine.provenance import find_behind
from rotator.engine.reading import DISABLED, fetch_history
from rotator.engine.replacing import SIGNS_IN_WITHOUT_RIGHTS, identify, signs_in
from rotator.engine.requested import get_span
from rotator.errors import (
    ForeignValueError,
    NotListedError,
    PatGoneError,
    RejectedError,
    RevokedByHandError,
    RotatorError,
    VerificationError,
)
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading

_LONGEST_UNSEEN = timedelta(days=7)
"""How long after a person's request without an answer an absence counts as its effect."""
_SIGNS_OF_LIFE = (PatReappeared, PatAdopted)


def check_listed(held: ClaimedPat, view: ServerView) -> Pat:
    """Return a PAT that a listing lacked, as a second listing has it.

    PatGoneError when the server calls it revoked or expired, or when it does not know its id or a look some time ago
    missed it too, and the value that we wrote for it does not sign in. NotListedError while nothing is proven.
    DatabaseBehindError when the vault says that we rotated it ourselves.
    """
    pat = held.pat
    seen = view.look_for(pat.account, pat.organization, pat.authorization_id)
    if seen.pat is not None:
        return seen.pat
    _check_not_behind(held)
    is_hidden = seen.is_hidden or view.fetch_listing(pat.account, pat.organization).may_hide(pat.authorization_id)
    was_missed = pat.is_called_missing and not is_waiting(pat, held.services.clock.now())
    gone = seen.is_gone or pat.hold is Hold.REVOKED_ELSEWHERE or (was_missed and not is_hidden)
    if gone and not seen.is_proven:
        gone = not _signs_in(held)
    if gone:
        raise _make_gone(held, seen)
    raise NotListedError(
        "the server does not list it as active, but does not call it revoked either, which proves nothing yet",
        fix="Nothing to do: a later run looks again.",
    )


def _make_gone(held: ClaimedPat, seen: Sighting) -> PatGoneError:
    """Make the error for a PAT that counts as gone: it says no more than what is known."""
    pat = held.pat
    way_on = say_way_on(pat, held.run.policy, held.services.clock.now())
    if pat.hold is Hold.REVOKED_BY_HAND or held.load(lambda reading: _was_revoked_by_hand(held.run, reading, pat)):
        return RevokedByHandError(
            "it was revoked with `rotator revoke`, although the answer was lost",
            fix=say_next_of_revoked(pat, held.run.policy, held.services.clock.now()),
        )
    if pat.valid_to <= max(list_moments(held)):
        return PatGoneError(
            f"it expired on {say_moment(pat.valid_to)}, by a clock that is ahead of this host's",
            fix=f"If consumers still need it, {way_on}; and set the clock of this host.",
        )
    if seen.is_gone and held.load(lambda reading: _was_replaced_once(reading, pat)):
        return PatGoneError(
            "its revocation took effect late: rotator asked for it when a clone had replaced it, and got no answer",
            fix=f"If consumers still need it, {way_on}; otherwise run `rotator inventory forget {pat.name}`.",
        )
    if seen.is_gone:
        return PatGoneError(
            "it was revoked outside rotator: the server no longer lists it as active",
            fix=f"If consumers still need it, {way_on}; otherwise run `rotator inventory forget {pat.name}`.",
        )
    return PatGoneError(
        "lists taken some time apart lack it, but the server knows it and does not call it revoked",
        fix=f"Try its value. If that no longer works and consumers still need it, {way_on}; if it works, nothing is to "
        "be done: a later run finds the PAT in the list again.",
    )


def _signs_in(held: ClaimedPat) -> bool:
    """Whether the value that we wrote for the current PAT is accepted."""
    pat = held.pat
    return signs_in(held.run, pat.organization, held.location, pat.secret_version)


def check_refused(held: ClaimedPat, gone: PatGoneError) -> None:
    """Raise unless the value that consumers read was tried and refused: nothing else proves a leak.

    NotListedError when it signs in; `gone`, for people to decide, when there is no value that may be tried.
    """
    pat = held.pat
    try:
        found = held.services.secrets.fetch_latest(held.location)
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        raise gone from error
    if found is None:
        raise gone
    try:
        identify(held.run, pat.organization, found.value, is_ours=found.version.version == pat.secret_version)
    except ForeignValueError as error:
        raise gone from error
    except VerificationError as error:
        if error.code != SIGNS_IN_WITHOUT_RIGHTS:
            return
    raise NotListedError(
        "the server does not list it as active, but the value that consumers read still signs in",
        fix="Nothing to do: a later run looks again.",
    )


def _was_revoked_by_hand(run: RunContext, reading: Reading, pat: ManagedPat) -> bool:
    """Whether a person's request may be why the current PAT is gone, under whatever name its record had then.

    The newest request must be that of a person, not long ago and not refused; and nothing may have shown the PAT alive
    since it could take effect.
    """
    request = _load_newest(reading, pat, RevokeStarted)
    if request is None or request.entry.details["why"] != RevocationKind.BY_HAND:
        return False
    if request.occurred_at < find_earliest(run, reading) - _LONGEST_UNSEEN:
        return False
    failed = _load_newest(reading, pat, RevocationFailed)
    if failed is not None and failed.sequence > request.sequence and failed.entry.details.get("refused"):
        return False
    signs = [_load_newest(reading, pat, event) for event in _SIGNS_OF_LIFE]
    in_effect = request.occurred_at + get_span(run)
    return not any(seen is not None and seen.occurred_at >= in_effect for seen in signs)


def _was_replaced_once(reading: Reading, pat: ManagedPat) -> bool:
    """Whether the newest request to revoke the current PAT was that of a rotation that had replaced it."""
    request = _load_newest(reading, pat, RevokeStarted)
    return request is not None and request.entry.details["why"] == RevocationKind.ROTATED


def _load_newest(reading: Reading, pat: ManagedPat, event: type[Event]) -> AuditEvent | None:
    """Load the newest event of a kind that names the current PAT."""
    wanted = AuditFilter(event=event.type.name, authorization_id=pat.authorization_id)
    return next(iter(reading.audit.load_newest(1, wanted)), None)


def _check_not_behind(held: ClaimedPat) -> None:
    versions = fetch_history(held.services.secrets, held.location)
    error = find_behind(held, versions[0] if versions else None)
    if error is not None:
        raise error


def clear_if_seen(held: ClaimedPat) -> None:
    """Clear what the record says about a missing PAT that is listed now; any other hold stays.

    So does that a person revoked it, if that was answered: then only the list may be behind.
    """
    pat = held.pat
    is_in_vain = pat.hold is Hold.REVOKED_BY_HAND and not held.load(lambda reading: _was_answered(reading, pat))
    if pat.is_called_missing or is_in_vain:
        hold = None if is_in_vain or pat.hold is Hold.REVOKED_ELSEWHERE else pat.hold
        # What the policy has against it is not over, and its record is not blocked by that.
        cleared = [FailureCleared()] if pat.blocked else []
        held.save(replace(pat.healed(), hold=hold), *cleared, PatReappeared(authorization_id=pat.authorization_id))


def find_unlisted(held: ClaimedPat, error: RotatorError) -> PatUnlisted | None:
    """Return what to tell of a PAT that a list lacks while nothing is to be done for it; else None: a failure is told.

    No rotation of it has failed then, and what was told of it before still holds.
    """
    pat, run = held.pat, held.run
    if not isinstance(error, NotListedError) or run.mode is RunMode.BY_HAND or pat.blocked or pat.hold is not None:
        return None
    now, limits = run.services.clock.now(), held.load(lambda reading: reading.limits.load())
    decision = run.policy.decide(pat.as_ending(), now=now, longest=find_longest(limits, pat, now))
    is_due = pat.state is ManagedPatState.ACTIVE and decision.verdict is Verdict.DUE
    if is_due or held.has_open_rotation:
        return None
    return PatUnlisted(authorization_id=pat.authorization_id, message=error.message)


def _was_answered(reading: Reading, pat: ManagedPat) -> bool:
    pending = reading.revocations.load_by_ids([pat.authorization_id])
    if any(item.kind is RevocationKind.BY_HAND for item in pending):
        return True  # an earlier one was; this one repeats it
    request, answer = _load_newest(reading, pat, RevokeStarted), _load_newest(reading, pat, RevocationRequested)
    return answer is not None and (request is None or answer.sequence > request.sequence)
