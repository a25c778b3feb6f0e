"""A managed PAT that a listing lacks. One listing proves nothing, and a warning about it ends when it is seen."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.events.inventory import PatReappeared
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.managed_pat import Hold, ManagedPat, Pat
from rotator.domain.plan import is_waiting
from rotator.domain.words import say_moment
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.listing import ServerView
from rotator.engine.provenance import find_behind
from rotator.engine.reading import DISABLED, fetch_history
from rotator.engine.replacing import identify
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.errors import NotListedError, PatGoneError, RejectedError, RevokedByHandError, VerificationError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading

_SIGNS_IN_WITHOUT_RIGHTS = "verification_forbidden"


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
    way_on = f"`rotator rotate {pat.name}` makes a new one"
    if gone and held.load(lambda reading: _was_revoked_by_hand(reading, pat)):
        raise RevokedByHandError(
            "it was revoked with `rotator revoke`, although the answer was lost",
            fix=f"{way_on}, `rotator inventory forget {pat.name}` drops it.",
        )
    if gone and pat.valid_to <= max(list_moments(held)):
        raise PatGoneError(
            f"it expired on {say_moment(pat.valid_to)}, by a clock that is ahead of this host's",
            fix=f"If consumers still need it, {way_on}; and set the clock of this host.",
        )
    if gone:
        raise PatGoneError(
            "it was revoked outside rotator: the server no longer lists it as active",
            fix=f"If consumers still need it, {way_on}; otherwise run `rotator inventory forget {pat.name}`.",
        )
    raise NotListedError(
        "the server does not list it as active, but does not call it revoked either, which proves nothing yet",
        fix="Nothing to do: a later run looks again.",
    )


def _signs_in(held: ClaimedPat) -> bool:
    """Whether the value that we wrote for the current PAT is accepted: then it lives, whatever the lists say.

    A value without our tags proves nothing: it may be that of another PAT.
    """
    pat, secrets = held.pat, held.services.secrets
    try:
        found = secrets.fetch_version(held.location, pat.secret_version) if pat.secret_version is not None else None
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        return False
    if found is None or found.version.tags.get(AUTHORIZATION_TAG) != pat.authorization_id:
        return False
    try:
        identify(held.run, pat.organization, found.value, is_ours=True)
    except VerificationError:
        return False
    return True


def check_refused(held: ClaimedPat) -> None:
    """Raise NotListedError unless what consumers read is refused, or they read nothing: only that proves a leak."""
    pat = held.pat
    try:
        found = held.services.secrets.fetch_latest(held.location)
    except RejectedError as error:
        if error.code != DISABLED:
            raise
        return
    if found is None:
        return
    try:
        identify(held.run, pat.organization, found.value, is_ours=found.version.version == pat.secret_version)
    except VerificationError as error:
        if error.code != _SIGNS_IN_WITHOUT_RIGHTS:
            return
    raise NotListedError(
        "the server does not list it as active, but the value that consumers read still signs in",
        fix="Nothing to do: a later run looks again.",
    )


def _was_revoked_by_hand(reading: Reading, pat: ManagedPat) -> bool:
    """Whether we ourselves began to revoke its current PAT, under whatever name its record had then."""
    wanted = AuditFilter(event=RevokeStarted.type.name, authorization_id=pat.authorization_id)
    return bool(reading.audit.load_newest(1, wanted))


def _check_not_behind(held: ClaimedPat) -> None:
    versions = fetch_history(held.services.secrets, held.location)
    error = find_behind(held, versions[0] if versions else None)
    if error is not None:
        raise error


def clear_if_seen(held: ClaimedPat) -> None:
    """Clear what the record says about a missing PAT that is listed now; any other hold stays."""
    pat = held.pat
    if pat.is_called_missing:
        hold = None if pat.hold is Hold.REVOKED_ELSEWHERE else pat.hold
        held.save(replace(pat.healed(), hold=hold), PatReappeared(authorization_id=pat.authorization_id))
