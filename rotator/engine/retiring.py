"""The end of an overlap: the guard, then the DELETE of the old PAT; and its recovery (`retiring`, `completed`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Unpack

from rotator.domain.account import Identity
from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.events.event import Event
from rotator.domain.events.revocations import PatRevoked, RevocationRequested, RevokeStarted
from rotator.domain.events.rotations import (
    PredecessorExpired,
    PredecessorKept,
    RotationCompleted,
    SecretVersionDisabled,
)
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.policy import Verdict
from rotator.domain.rotation import (
    RotationChanges,
    RotationState,
)
from rotator.domain.sign_in import GONE_USERS
from rotator.engine.accounting import find_other_keeper
from rotator.engine.awaiting import make_awaiting_error
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import check_clocks, list_moments
from rotator.engine.context import RunMode
from rotator.engine.copies import was_interrupted
from rotator.engine.elsewhere import find_reader
from rotator.engine.freezing import freeze
from rotator.engine.holds import OVERLAP_NOT_OVER
from rotator.engine.in_force import check_not_paused
from rotator.engine.listing import ServerView
from rotator.engine.lost_clone import return_if_clone_lost
from rotator.engine.overlapping import identify_current, is_overlap_over, is_predecessor_expired
from rotator.engine.provenance import (
    Writer,
    find_behind,
    load_provenance,
    make_foreign,
)
from rotator.engine.reading import fetch_newest, fetch_served, is_forged, is_ours
from rotator.engine.records import add_moved
from rotator.engine.replacing import check_identity
from rotator.engine.restoring import begin_overlap_anew, undo_late_write
from rotator.engine.revoking import UNCONFIRMED, make_pending, send_revocation
from rotator.engine.tags import ROTATION_TAG
from rotator.errors import (
    ForeignValueError,
    PlanRefusedError,
    RotationError,
    SignInRequiredError,
    VerificationError,
)
from rotator.ports.database import UnitOfWork
from rotator.ports.secret_store import StoredSecret


def retire_predecessor(held: ClaimedPat, view: ServerView, *, is_asked: bool = False) -> bool:
    """Revoke the old PAT once everything proves that nobody needs it. Return False when none was to be revoked.

    That is so when it has expired, which ends the overlap, when it was gone already, and when it is left behind: a rule
    had taken it over, and nobody said that its users read the secret; or it counted as dead, and is not proven gone; or
    it belongs to an account that cannot work (RotationError while a person may sign that in again); or another secret
    of ours holds it too. A person may ask for its end (`is_asked`). A run by hand ends the overlap early; the rest of
    the guard still applies. The rotation is closed with the answer, and the revocation is pending until it is proven.
    """
    rotation = held.rotation
    is_overlapping = rotation.state is RotationState.OVERLAPPING
    is_expired = is_overlapping and is_predecessor_expired(held, view)
    is_early = is_overlapping and not is_expired and not is_overlap_over(held)
    awaited = held.run.policy.find_awaited(rotation)
    if is_overlapping and not is_expired and awaited:
        raise make_awaiting_error(held.pat.name, awaited)
    if is_early and held.run.mode is not RunMode.BY_HAND:
        raise RotationError("the overlap is not over", code=OVERLAP_NOT_OVER)
    guard_revocation(held, view)
    if is_expired:
        complete(held, PredecessorExpired(authorization_id=rotation.predecessor_id))
        return False
    if rotation.is_move and not is_asked and not _can_owner_work(held, view):
        _leave_with_account(held)
        return False
    if _is_gone_already(held, view):
        complete(held, keeps_predecessor=False)
        return False
    if is_overlapping and _leave_if_kept(held, is_asked=is_asked):
        return False
    check_clocks(held.run, revokes=True)
    _announce(held)
    ids = send_revocation(held, rotation.predecessor_place, rotation.predecessor_id)
    old, kind = rotation.predecessor_id, RevocationKind.ROTATED
    pending = make_pending(held, kind, old, rotation.predecessor_valid_to, rotation)
    complete(held, RevocationRequested(authorization_id=old, why=kind.value), pending=pending, ids=ids)
    return True


def _announce(held: ClaimedPat) -> None:
    """Journal that the request is about to be sent, each time: it may still take effect for a while."""
    back, is_by_hand = held.find_held_back(), held.run.mode is RunMode.BY_HAND
    old, why = held.rotation.predecessor_id, RevocationKind.ROTATED.value
    if held.rotation.state is RotationState.OVERLAPPING:
        started = RevokeStarted(authorization_id=old, why=why, despite=None if back is None else back.by.value)
        held.step(RotationState.RETIRING, started, admit=None if is_by_hand else check_not_paused)
    else:
        held.learn(RevokeStarted(authorization_id=old, why=why, code=UNCONFIRMED))


def _is_gone_already(held: ClaimedPat, view: ServerView) -> bool:
    """Whether there is nothing to revoke after no overlap: the old PAT is gone, or its revocation is pending."""
    rotation = held.rotation
    if rotation.overlap:
        return False
    old = rotation.predecessor_id
    if held.load(lambda reading: bool(reading.revocations.load_by_ids([old]))):
        return True
    return view.look_for(*rotation.predecessor_place, old).is_proven


def _can_owner_work(held: ClaimedPat, view: ServerView) -> bool:
    """Whether the account that the old PAT belongs to can revoke it. RotationError while a person may sign it in again.

    Nothing waits for a user who has left, nor where the current PAT is due: an open rotation would keep it from that.
    """
    account, organization = held.rotation.predecessor_place
    try:
        return view.can_work(account, organization, is_lapse_raised=True)
    except SignInRequiredError as error:
        pat, now = held.pat.as_ending(), held.services.clock.now()
        is_due = held.run.policy.decide(pat, now=now, longest=None).verdict is Verdict.DUE
        if error.code in GONE_USERS or is_due:
            return False
        raise RotationError(
            f"its overlap is over, but its old PAT ({held.rotation.predecessor_id}) is of {account}, which a person "
            "must sign in",
            code="old_account_signed_out",
            fix=f"Run `rotator login {account}`: a later run then revokes the old PAT. If its user has left, remove "
            f"{account} from the settings when no PAT is managed for it: the old PAT is then left behind, for an "
            "administrator to revoke.",
        ) from error


def _leave_if_kept(held: ClaimedPat, *, is_asked: bool) -> bool:
    """Leave the old PAT behind where it is to be kept, unless a person asks for its end, or another secret holds it.

    That is told to a person who asks for its end. Return whether it was left behind.
    """
    old = held.rotation.predecessor_id
    if held.rotation.keeps_predecessor and not is_asked:
        complete(held, PredecessorKept(authorization_id=old))
        return True
    reader = find_reader(held)
    if reader is None:
        return False
    if is_asked:
        raise PlanRefusedError(
            f"secret {reader.secret_name} in {reader.vault} of {reader.name} holds the value of {old} too, which "
            "somebody wrote there; nothing was revoked",
            code="predecessor_in_use",
            fix=f"Stop that writer, then `rotator rotate {reader.name}`.",
        )
    complete(held, PredecessorKept(authorization_id=old, read_in=reader.secret_name), keeps_predecessor=True)
    return True


def _leave_with_account(held: ClaimedPat) -> None:
    """Close a rotation that moved its ManagedPat, and leave the old PAT behind: its account can revoke nothing."""
    rotation = held.rotation
    kept = PredecessorKept(authorization_id=rotation.predecessor_id, cannot_work=rotation.predecessor_place[0])
    complete(held, kept, admit=partial(add_moved, rotation), keeps_predecessor=True)


def recover_retirement(held: ClaimedPat, view: ServerView) -> None:
    """See whether the DELETE was carried out; if that is not proven, go through the whole guard again."""
    rotation = held.rotation
    is_reachable = not rotation.is_move or view.can_work(*rotation.predecessor_place)
    if is_reachable and view.look_for(*rotation.predecessor_place, rotation.predecessor_id).is_proven:
        latest = fetch_newest(held.services.secrets, held.pat)
        behind = find_behind(held, latest.version if latest is not None else None)
        if behind is not None:
            raise freeze(held, behind)
        if latest is not None and _is_copied(held, latest):
            raise freeze(held, make_foreign(held, latest))
        complete(held, PatRevoked(authorization_id=rotation.predecessor_id, why=RevocationKind.ROTATED.value))
    else:
        retire_predecessor(held, view)


def _is_copied(held: ClaimedPat, latest: StoredSecret) -> bool:
    """Whether consumers read what somebody wrote under this rotation's tags. What has others may be an old read."""
    is_tagged = latest.version.tags.get(ROTATION_TAG) == held.rotation.id
    return is_tagged and is_forged(held.services.secrets, held.location, latest, held.rotation.secret_version)


def guard_revocation(held: ClaimedPat, view: ServerView) -> None:
    """Check everything that must be true before a DELETE, and raise if it is not; freeze on a foreign write.

    The id is the predecessor that our own database recorded and nobody's current PAT; the vault hands out our
    clone, by its tags; that value authenticates, as the expected user, and is the one that we wrote; and the server
    does not call our clone revoked, whose value may sign in for a while after that.
    """
    rotation = held.rotation
    name = held.pat.name
    keeper = held.confirm(lambda reading: find_other_keeper(reading, rotation.predecessor_id, name))
    if keeper is not None or held.pat.authorization_id != rotation.new_authorization_id:
        error = PlanRefusedError(
            "the PAT to retire is recorded as in use; nothing was revoked",
            code="predecessor_in_use",
            fix="The inventory was changed by hand or restored from a backup: compare it with `rotator scan`.",
        )
        raise freeze(held, error)
    latest = fetch_served(held, twice=True)
    if latest is None or not is_ours(held, latest):
        if undo_late_write(held, view, latest):
            raise RotationError(
                "a late write of ours was undone, so the overlap starts again",
                code="overlap_restarted",
                fix="Nothing to do: the old PAT is revoked when the new overlap is over.",
            )
        raise freeze(held, make_foreign(held, latest))
    found = _verify_current(held, view, latest)
    check_identity(held.pat, found, view.fetch_identity(rotation.account, rotation.organization))
    if is_forged(held.services.secrets, held.location, latest, rotation.secret_version):
        raise freeze(held, make_foreign(held, latest))
    _check_not_revoked(held, view)
    _restart_if_interrupted(held, latest)


def _check_not_revoked(held: ClaimedPat, view: ServerView) -> None:
    rotation, clone = held.rotation, held.rotation.new_authorization_id or ""
    if view.is_revoked(rotation.account, rotation.organization, clone):
        return_if_clone_lost(held, view)
        raise VerificationError(
            f"the server calls {clone} revoked, although its value still signs in; nothing was revoked",
            fix="Nothing to do: a later run decides which PAT consumers get.",
        )


def _restart_if_interrupted(held: ClaimedPat, latest: StoredSecret) -> None:
    """Let the overlap begin anew when consumers could read another value less than an overlap ago.

    So it is when a tool rolls the secret back and forward again.
    """
    known, newest, put_back_at = held.rotation.secret_version, latest.version.version, latest.version.created_at
    if known is None or known == newest or not was_interrupted(held, latest, known):
        return
    if put_back_at is not None and min(list_moments(held)) >= put_back_at + held.rotation.overlap:
        return
    held.save(replace(held.pat, secret_version=newest))
    begin_overlap_anew(held, newest)
    raise RotationError(
        f"somebody wrote another value into secret {held.pat.secret_name} and then put ours back, "
        "so the overlap starts again",
        code="overlap_restarted",
        fix="Nothing to do: the old PAT is revoked when the new overlap is over.",
    )


def _verify_current(held: ClaimedPat, view: ServerView, latest: StoredSecret) -> Identity:
    """Return who the value in the vault authenticates as. A clone that was revoked outside gives way to its old PAT."""
    try:
        return identify_current(held, latest)
    except ForeignValueError:
        raise
    except VerificationError as error:
        return_if_clone_lost(held, view)
        if is_forged(held.services.secrets, held.location, latest, held.rotation.secret_version):
            raise freeze(held, make_foreign(held, latest)) from error
        raise


def complete(
    held: ClaimedPat,
    *events: Event,
    pending: PendingRevocation | None = None,
    ids: AnswerIds = NO_IDS,
    admit: Callable[[UnitOfWork], None] | None = None,
    **changes: Unpack[RotationChanges],
) -> None:
    """Close the rotation with what became of its old PAT; first disable older versions if the rule says so.

    `pending`: its revocation was answered, with these `ids`, and is not proven. `admit`: as in `ClaimedPat.step`.
    """
    if held.rotation.disable_previous:
        _disable_older(held)
    held.note_answer(ids)
    held.step(
        RotationState.COMPLETED,
        *events,
        RotationCompleted(),
        pat=replace(held.pat.healed(), confirmed_version=None),
        pending=pending,
        admit=admit,
        **changes,
    )


def _disable_older(held: ClaimedPat) -> None:
    """Disable the versions older than ours that rotator wrote or a person confirmed; others are left alone."""
    secrets = held.services.secrets
    versions = secrets.fetch_versions(held.location)
    provenance = load_provenance(held.run, held.pat, versions)
    ours = next((n for n, item in enumerate(versions) if item.version == held.rotation.secret_version), len(versions))
    for item in versions[ours + 1 :]:
        may_disable = provenance.find_writer(item) is not Writer.FOREIGN or item.version == held.pat.confirmed_version
        if item.enabled and may_disable:
            held.note_answer(secrets.disable(held.location, item.version, permit=held.check_claim))
            held.record(SecretVersionDisabled(secret_version=item.version))
