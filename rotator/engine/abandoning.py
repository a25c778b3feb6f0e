"""Give up a clone of ours that cannot be used: revoke it, and never continue its rotation."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.events.revocations import RevocationRequested, RevokeStarted
from rotator.domain.events.rotations import RotationFailed
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.rotation import (
    RotationChanges,
    RotationKind,
    RotationState,
)
from rotator.engine.accounting import find_other_keeper
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import check_clocks
from rotator.engine.freezing import freeze
from rotator.engine.losses import make_alert
from rotator.engine.provenance import find_behind, is_written_by, is_written_over, seems_stripped
from rotator.engine.reading import fetch_history, fetch_newest
from rotator.engine.requested import find_ending
from rotator.engine.restoring import Restored, find_late_write, make_kept, restore_committed
from rotator.engine.revoking import make_pending, send_revocation
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.errors import (
    DatabaseBehindError,
    FailureKind,
    PlanRefusedError,
    RotationError,
    RotatorError,
    VerificationError,
)

LOST_VALUE = RotationError(
    "the run that minted the clone ended before the value was stored; the value is lost",
    code="value_lost",
    fix="rotator revokes the clone. A later run makes a new one if it is due; if it is not, a person who ordered it "
    "runs `rotator rotate` again.",
    kind=FailureKind.EXPLAINED_LOSS,
)
LOST_ANSWER = RotationError(
    "the answer to the mint was lost, and with it the value of the clone",
    code=LOST_VALUE.code,
    fix=LOST_VALUE.fix,
    kind=LOST_VALUE.kind,
)


def abandon(held: ClaimedPat, error: RotatorError, found: RotationChanges | None = None) -> None:
    """Decide to give the clone up, journal why and what was `found` of it, and revoke it."""
    changes: RotationChanges = {**(found or {}), "failure": Failure.of(error)}
    held.note_answer(error.answer_ids)
    doomed = changes.get("new_authorization_id", held.rotation.new_authorization_id)
    held.step(
        RotationState.ABANDONING,
        RevokeStarted(authorization_id=doomed, why="abandoned", code=error.code),
        **changes,
    )
    held.give_value_up()
    revoke_clone(held)


def abandon_unusable(
    held: ClaimedPat,
    code: str,
    message: str,
    fix: str = "rotator has revoked the new PAT, and will try again later.",
    kind: type[RotatorError] = VerificationError,
) -> RotatorError:
    """Give up a clone that is not what was asked for. Return the error to raise."""
    error = kind(message, code=code, fix=fix)
    abandon(held, error)
    return error


def revoke_clone(held: ClaimedPat) -> None:
    """Revoke the clone of a rotation that is `abandoning`, and close it. Repeating it is harmless.

    It is pending until it is proven. VerificationError `late_write_kept` while consumers may read the clone,
    and what they read before was not seen to sign in: unless there never was another.
    """
    rotation = held.rotation
    if rotation.tried_store:
        if restore_committed(held) is Restored.KEPT and rotation.has_predecessor and _is_served(held):
            raise make_kept(held.pat)
    else:
        _freeze_if_served(held)
    clone = rotation.new_authorization_id
    if clone is None or rotation.new_valid_to is None:
        raise RotationError("a clone to revoke without its id", code="internal")
    if rotation.tried_store and _leave_if_untagged(held, clone):
        return
    if not rotation.tried_store and rotation.kind is RotationKind.ROTATION and _leave_if_written_over(held, clone):
        return
    _freeze_if_accounted_for(held, clone)
    check_clocks(held.run, revokes=True)
    held.note_answer(send_revocation(held, (rotation.account, rotation.organization), clone))
    kind = RevocationKind.ABANDONED
    held.step(
        RotationState.ABANDONED,
        RevocationRequested(authorization_id=clone, why=kind.value),
        *make_alert(held),
        pat=explain_failure(held, rotation.failure),
        pending=make_pending(held, kind, clone, rotation.new_valid_to, rotation),
    )


def _is_served(held: ClaimedPat) -> bool:
    """Whether the late write that consumers read is that of this rotation, and not of an earlier one."""
    latest = find_late_write(held.run, held.pat)
    return latest is not None and is_written_by(latest.version, held.rotation)


def leave_clone(held: ClaimedPat) -> None:
    """Close the rotation, and leave its clone behind: consumers read it, and nothing else that they could read."""
    pat, clone = held.pat, held.rotation.new_authorization_id
    error = VerificationError(
        f"secret {pat.secret_name} in {pat.vault} holds {clone}, by a late write, and what was to be put back over it "
        "does not sign in; that PAT is left as it is",
        code="late_write_left",
        fix=f"Once consumers read another PAT and nobody uses that one: `rotator recover --revoke {clone}`.",
    )
    _leave(held, error)


def explain_failure(held: ClaimedPat, failure: Failure | None) -> ManagedPat | None:
    """Return the record of a rotation that is closed with this failure, where it still tells of an earlier one.

    When it is tried again, and what only a person can end, stays.
    """
    pat = held.pat
    if pat.blocked or pat.last_failure is None or failure is None:
        return None
    return replace(pat, last_failure=failure)


def _freeze_if_accounted_for(held: ClaimedPat, authorization_id: str) -> None:
    """Freeze when the clone is the current PAT of a record, or another ManagedPat's rotation accounts for it."""
    name = held.pat.name
    keeper = held.confirm(lambda reading: find_other_keeper(reading, authorization_id, name))
    if keeper is not None:
        error = PlanRefusedError(
            f"{authorization_id} was about to be revoked, but {keeper.name} accounts for it; nothing was revoked",
            code="clone_in_use",
            fix="See with `rotator scan` who uses it, then run `rotator inventory resume`.",
        )
        raise freeze(held, error)


def _leave_if_written_over(held: ClaimedPat, clone: str) -> bool:
    """Leave the clone behind when the vault holds its value below what somebody else wrote. Return whether it does.

    Then this database is older than that write, which no rebuild looks for, and consumers may use the clone.
    """
    if not is_written_over(fetch_history(held.services.secrets, held.location), clone):
        return False
    error = DatabaseBehindError(
        f"the value of {clone} was stored, which this database does not know, and somebody wrote over it",
        fix=f"If nobody uses that PAT: `rotator recover --revoke {clone}`.",
    )
    _leave(held, error)
    return True


def _leave_if_untagged(held: ClaimedPat, clone: str) -> bool:
    """Leave the clone behind when consumers read what seems to be its value, without our tags. Return whether it does.

    See `seems_stripped`.
    """
    rotation, latest = held.rotation, fetch_newest(held.services.secrets, held.pat)
    if latest is None or rotation.new_valid_to is None or not seems_stripped(latest.version, rotation.new_valid_to):
        return False
    error = VerificationError(
        f"the newest version of secret {rotation.secret_name} in {rotation.vault} expires when {clone} does, but "
        "somebody took rotator's tags off it; the clone was not revoked",
        code="clone_untagged",
        fix="Find out what writes the tags of this secret. Once nobody uses that PAT: "
        f"`rotator recover --revoke {clone}`.",
    )
    _leave(held, error)
    return True


def _leave(held: ClaimedPat, error: RotatorError) -> None:
    told = RotationFailed(code=error.code, message=error.message)
    changes: RotationChanges = {**find_ending(held), "failure": Failure.of(error)}
    held.step(RotationState.FAILED, told, **changes)


def _freeze_if_served(held: ClaimedPat) -> None:
    """Freeze when the vault hands out a clone that, as far as this database knows, was never written there.

    Then the database is older than the vault, perhaps restored from a backup, and the clone may be in use. The same
    holds when a rotation that we do not know came after it.
    """
    rotation = held.rotation
    latest = fetch_newest(held.services.secrets, held.pat)
    if latest is None:
        return
    error = find_behind(held, latest.version)
    if error is None and latest.version.tags.get(AUTHORIZATION_TAG) != rotation.new_authorization_id:
        return
    error = error or DatabaseBehindError(
        f"{rotation.new_authorization_id} was about to be revoked, but the vault hands it out; "
        "the database looks older than the vault",
        fix="Nothing was revoked. If the database was restored from a backup, run `rotator inventory rebuild`.",
    )
    raise freeze(held, error)
