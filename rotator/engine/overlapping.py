"""What consumers will read is read back, and the overlap of old and new starts (`stored`, `overlapping`)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from rotator.domain.account import Identity
from rotator.domain.clocks import BootMoment
from rotator.domain.events.event import Event
from rotator.domain.events.inventory import PatCreated, PatMoved, PatUpdated
from rotator.domain.events.rotations import (
    LifetimeRestored,
    LifetimeShortened,
    OverlapReleased,
    OverlapStarted,
    RotationCompleted,
    VanishedPatReplaced,
)
from rotator.domain.managed_pat import Hold, ManagedPat, ManagedPatState
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.secret_value import SecretValue
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import list_moments
from rotator.engine.context import RunMode
from rotator.engine.freezing import freeze
from rotator.engine.holds import OVERLAP_NOT_OVER
from rotator.engine.listing import ServerView
from rotator.engine.lost_clone import return_if_clone_lost
from rotator.engine.moments import find_latest, read_clocks, read_moments
from rotator.engine.provenance import (
    make_foreign,
)
from rotator.engine.reading import fetch_served, is_forged, is_ours
from rotator.engine.replacing import identify
from rotator.engine.restoring import undo_late_write
from rotator.engine.settling import find_unsettled
from rotator.errors import (
    RotationError,
    UsageError,
    VerificationError,
)
from rotator.ports.secret_store import StoredSecret


def confirm_stored(held: ClaimedPat, view: ServerView, value: SecretValue | None) -> None:
    """Read back what consumers will read and start the overlap; from here on the clone is the current PAT.

    The first PAT of a ManagedPat has no predecessor, and so no overlap: its rotation is completed. After a predecessor
    that counts as dead there is nothing to wait for: the overlap is over at once. Where a write of the old value
    may still take effect, no overlap is shorter than that. Where hooks must succeed first, `awaiting` begins it anew.
    `value` is None after a restart: then the only copy is in the vault, proven ours by its tags.
    CloneLostError when somebody revoked the clone meanwhile.
    """
    run, rotation = held.run, held.rotation
    latest = _read_back(held, view)
    if latest is None or not is_ours(held, latest) or _is_other(held, latest, value):
        raise freeze(held, make_foreign(held, latest))
    if value is None:
        _verify_again(held, view, latest)
    if rotation.new_authorization_id is None or rotation.new_valid_to is None or rotation.new_valid_from is None:
        raise RotationError("a stored rotation without a clone", code="internal")
    was_revoked = held.pat.hold is Hold.REVOKED_BY_HAND
    pat = replace(
        held.pat.healed().as_before(),
        account=rotation.account,
        state=ManagedPatState.ACTIVE if was_revoked else held.pat.state,
        authorization_id=rotation.new_authorization_id,
        display_name=rotation.display_name,
        scope=rotation.scope,
        all_organizations=False,
        valid_from=rotation.new_valid_from,
        valid_to=rotation.new_valid_to,
        secret_version=latest.version.version,
        taken_over=False,
    )
    meant = run.policy.find_meant_lifetime(held.pat, pat)
    pat = replace(pat, short_lived=run.policy.is_short(pat), meant_lifetime=meant)
    if not rotation.has_predecessor:
        created = PatCreated(
            authorization_id=pat.authorization_id,
            secret_version=latest.version.version,
            scope=pat.scope,
            all_organizations=pat.all_organizations,
        )
        held.step(RotationState.COMPLETED, created, RotationCompleted(), pat=pat, secret_version=latest.version.version)
        return
    unsettled, moments = held.load(
        lambda reading: (find_unsettled(held, rotation.predecessor_id, reading), read_moments(run, reading))
    )
    is_dead = is_predecessor_dead(held)
    overlap = timedelta(0) if is_dead else max(rotation.overlap, unsettled)
    awaited = () if is_dead else run.policy.find_hooks_to_await(pat)
    until, began = max(moments) + overlap, held.services.boot.read_boot()
    is_leak = _is_replacing_vanished(held) and run.mode is not RunMode.BY_HAND
    replaced = VanishedPatReplaced(predecessor_id=rotation.predecessor_id)
    updated = PatUpdated(
        display_name=pat.display_name,
        scope=pat.scope,
        valid_to=pat.valid_to,
        all_organizations=pat.all_organizations,
    )
    moved = PatMoved(before=rotation.predecessor_place[0], scope=pat.scope, all_organizations=pat.all_organizations)
    held.step(
        RotationState.OVERLAPPING,
        *([updated] if replace(held.pat, wanted_account=None).is_update_wanted else []),
        *([moved] if rotation.is_move else []),
        OverlapStarted(overlap_until=until),
        *([replaced] if is_leak else []),
        *_make_lifetime_events(held.pat, pat),
        pat=pat,
        overlap=overlap,
        overlap_until=until,
        overlap_began=began,
        secret_version=latest.version.version,
        awaited_hooks=awaited,
        keeps_predecessor=rotation.keeps_predecessor or is_dead,
    )


def _is_other(held: ClaimedPat, latest: StoredSecret, value: SecretValue | None) -> bool:
    """Whether consumers read another value than the rotation wrote, although it has our tags."""
    if value is None:
        return is_forged(held.services.secrets, held.location, latest, held.rotation.secret_version)
    return not value.same_as(latest.value)


def _read_back(held: ClaimedPat, view: ServerView) -> StoredSecret | None:
    """Return what consumers read now, once an older write of ours that took effect over this one is undone."""
    latest = fetch_served(held)
    is_undone = not is_ours(held, latest) and undo_late_write(held, view, latest)
    return fetch_served(held) if is_undone else latest


def _make_lifetime_events(before: ManagedPat, pat: ManagedPat) -> tuple[Event, ...]:
    """Return the event that reports a clone whose lifetime is shorter than its rule asks for, or that this is over."""
    if pat.short_lived:
        return (LifetimeShortened(valid_to=pat.valid_to),)
    return (LifetimeRestored(),) if before.short_lived else ()


def make_overlap(held: ClaimedPat, overlap: timedelta) -> tuple[datetime, BootMoment]:
    """Return until when an overlap lasts that begins now, by the latest clock at hand, and now by the boot clock."""
    return max(list_moments(held)) + overlap, held.services.boot.read_boot()


def restart_overlap(held: ClaimedPat) -> None:
    """Begin the overlap anew when a wrong clock has dated its end so late that no overlap can last till then.

    Every clock at hand must say so, a doubted one too: where two are slow alike, the third is the doubted one.
    Begin it also when the settings no longer require the hooks that it waited for: consumers get their whole overlap.
    """
    awaited = held.rotation.awaited_hooks
    if awaited and not held.run.policy.find_awaited(held.rotation):
        until, began = make_overlap(held, held.rotation.overlap)
        held.learn(OverlapReleased(overlap_until=until), awaited_hooks=(), overlap_until=until, overlap_began=began)
    elif held.rotation.is_misdated(held.services.clock.now()) and held.rotation.is_misdated(
        held.load(partial(find_latest, held.run))
    ):
        until, began = make_overlap(held, held.rotation.overlap)
        held.learn(overlap_until=until, overlap_began=began)


def is_predecessor_dead(held: ClaimedPat) -> bool:
    """Whether the old PAT counts as dead: it was revoked by hand, or vanished and is replaced without an overlap.

    That is no proof, so it is not revoked at once: it is left behind unless it is proven gone. Ask while the record
    still says so.
    """
    return held.pat.hold is Hold.REVOKED_BY_HAND or _is_replacing_vanished(held)


def _is_replacing_vanished(held: ClaimedPat) -> bool:
    return held.pat.hold is Hold.REVOKED_ELSEWHERE and not held.rotation.overlap


def is_overlap_over(held: ClaimedPat) -> bool:
    """Whether the overlap has ended by every clock at hand and, within one boot of the host, by the boot clock too.

    Where the rule asks for none, no clock is asked: the services' clocks tell whole seconds only. It has not begun
    before the hooks that must succeed have succeeded.
    """
    rotation = held.rotation
    if held.run.policy.find_awaited(rotation):
        return False
    until = rotation.overlap_until
    if until is not None and not rotation.overlap:
        return True
    if until is None or held.services.clock.now() < until or min(list_moments(held)) < until:
        return False
    passed = held.services.boot.read_boot().since(rotation.overlap_began)
    return passed is None or passed >= rotation.overlap


def is_predecessor_expired(held: ClaimedPat, view: ServerView) -> bool:
    """Whether the old PAT has expired: by every clock at hand, none of them doubted, and two listings lack it.

    Then there is nothing to wait for, and nothing to revoke.
    """
    rotation, end = held.rotation, held.rotation.predecessor_valid_to
    if rotation.is_move and not view.can_work(*rotation.predecessor_place):
        return False
    if held.services.clock.now() < end or min(list_moments(held)) < end:
        return False
    if held.load(lambda reading: read_clocks(held.run, reading)).is_wrong:
        return False
    place = rotation.predecessor_place
    listings = (view.fetch_listing(*place), view.fetch_again(*place))
    old = rotation.predecessor_id
    return not any(listing.find(old) or listing.may_hide(old) for listing in listings)


def make_overlap_error(name: str, *, is_over: bool = False) -> RotationError:
    """Make the error for when a PAT is to be rotated whose predecessor is not revoked yet.

    `is_over`: the overlap is over, and the next run revokes it.
    """
    if is_over:
        return RotationError(
            f"{name} was already rotated, and its old PAT is not revoked yet",
            code=OVERLAP_NOT_OVER,
            fix="The overlap is over: `rotator once` revokes the old PAT. Then rotate again.",
        )
    return RotationError(
        f"{name} was already rotated, and its old PAT is still in its overlap",
        code=OVERLAP_NOT_OVER,
        fix=f"Wait for the overlap to end, or end it now with `rotator revoke {name} --previous`.",
    )


def make_unfinished_error(rotation: Rotation) -> UsageError:
    """Make the error for what a person asks of a ManagedPat whose rotation is not finished."""
    fix = "Run `rotator once` until it is finished, then try again."
    if rotation.state is RotationState.OVERLAPPING:
        fix = f"Wait for the end of its overlap, or end it now with `rotator revoke {rotation.name} --previous`."
    return UsageError(f"{rotation.name} has an unfinished rotation ({rotation.state.value})", fix=fix)


def identify_current(held: ClaimedPat, latest: StoredSecret) -> Identity:
    """Return who the value that consumers read signs in as: the rotation at hand wrote it, by its tags."""
    rotation = held.rotation
    written = latest.version.version == rotation.secret_version
    return identify(held.run, rotation.organization, latest.value, is_ours=written)


def _verify_again(held: ClaimedPat, view: ServerView, latest: StoredSecret) -> None:
    try:
        identify_current(held, latest)
    except VerificationError:
        return_if_clone_lost(held, view)
        raise
