"""The answer to a mint is evidence, not truth: it counts once the server, asked by id, shows that PAT as ours."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.events.rotations import MintAnswerDoubted
from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import Pat
from rotator.domain.rotation import Likeness, Rotation, compare_mint
from rotator.engine.accounting import load_namers
from rotator.engine.claiming import ClaimedPat
from rotator.engine.waiting import Patience
from rotator.errors import RotatorError, TransientError, UnknownOutcomeError
from rotator.ports.database import UnitOfWork
from rotator.ports.pat_service import PatFilter, PatList

_ROUNDING = timedelta(seconds=5)
"""By how much what is known of the clock of Azure DevOps may be off: it tells whole seconds, some seconds late."""


def prove_answer(held: ClaimedPat, answered: Pat, organization_id: str | None) -> Pat:
    """Return the PAT that a mint's answer names, as the server shows it when asked by id.

    It is new, nobody else's, and has this rotation's name, scopes and organization, and its planned expiry or, where
    a lifetime was shortened, an earlier one that the answer has too; then it must not be older than the rotation.
    UnknownOutcomeError otherwise: the answer may belong to another request, so nothing is revoked on its word, and
    the mint is looked for as if it was lost.
    """
    rotation, identifier = held.rotation, answered.authorization_id.lower()
    if identifier in rotation.known_ids or identifier == rotation.predecessor_id.lower():
        raise _doubt(held, identifier, "listed_before")
    keepers = held.load(lambda reading: load_namers(reading, [identifier]))
    if identifier in keepers.minted_ids or keepers.find_by_id(identifier) is not None:
        raise _doubt(held, identifier, "in_use")
    made = _fetch_made(held, identifier)
    likeness = compare_mint(made, rotation, organization_id, held.services.marker_key)
    if likeness is Likeness.NEAR and made.valid_to == answered.valid_to:
        _check_shortened(held, made, organization_id)
    elif likeness is not Likeness.OURS:
        raise _doubt(held, identifier, "not_like_ours")
    return made


def _check_shortened(held: ClaimedPat, made: Pat, organization_id: str | None) -> None:
    """Look at the whole list before a shorter expiry is believed: a person may have made one like it just now.

    Or before, unseen by the list before the mint: but a clone is no older than the request for it, by the clock of
    Azure DevOps, which dated it. Where that was not heard, it is no older than its rotation, as far as clocks may
    differ. The list must show the PAT that the answer names, and none with the exact second that was asked for. An
    entry that could not be read before the mint either is not the new one. Doubted or not, the lifetime is learned:
    where lists lag, the next mint asks for no more than the server grants, so the exact second proves its answer.
    """
    rotation, identifier = held.rotation, made.authorization_id.lower()
    if made.valid_from < _find_earliest(held):
        raise _doubt(held, identifier, "older", made.lifetime)
    listed = _fetch_list_with(held, identifier)
    if listed is None:
        raise _doubt(held, identifier, "not_listed", made.lifetime)
    if _find_newly_unreadable(rotation, listed) or any(
        compare_mint(pat, rotation, organization_id) is Likeness.OURS for pat in listed
    ):
        raise _doubt(held, identifier, "another_may_be_ours", made.lifetime)


def _find_newly_unreadable(rotation: Rotation, listed: PatList) -> Counter[str]:
    """Return the entries that cannot be read, and could before the mint, or were not there."""
    return Counter(map(str.lower, listed.unreadable)) - Counter(rotation.known_ids)


def _find_earliest(held: ClaimedPat) -> datetime:
    """Return the earliest moment at which the mint can have made a PAT, by the clock that dates it."""
    services, rotation = held.services, held.rotation
    theirs = services.witnesses.read_witnesses().get("azure_devops")
    earliest = rotation.created_at - 2 * MOST_SKEW
    if theirs is None or rotation.mint_begun_at is None:
        return earliest
    return max(earliest, rotation.mint_begun_at + (theirs - services.clock.now()) - _ROUNDING)


def _fetch_list_with(held: ClaimedPat, identifier: str) -> PatList | None:
    """Return a list that shows that PAT; None when none does: a list may lag behind.

    It is asked for again for a while, also where an entry that may be the new one cannot be read.
    """
    run, rotation = held.run, held.rotation
    patience = Patience(run.services.boot, run.services.stop, run.services.timing.store_patience)
    found = None
    while True:
        listed = run.services.pats.fetch_pats(rotation.account, rotation.organization, PatFilter.ACTIVE)
        if any(pat.authorization_id.lower() == identifier for pat in listed):
            found = listed
        if (found is listed and not _find_newly_unreadable(rotation, listed)) or not patience.wait():
            return found


def _fetch_made(held: ClaimedPat, identifier: str) -> Pat:
    """Return what the server says of the id, asked again for a while: a new PAT may take a moment to show."""
    run, rotation = held.run, held.rotation
    patience = Patience(run.services.boot, run.services.stop, run.services.timing.store_patience)
    while True:
        wait, cause = None, None
        try:
            made = run.services.pats.fetch_pat(rotation.account, rotation.organization, identifier)
            if made is not None:
                return made
        except TransientError as error:
            wait, cause = error.retry_after, error
        except RotatorError as error:
            raise _doubt(held, identifier, error.code) from error
        if not patience.wait(wait):
            raise _doubt(held, identifier, "not_shown") from cause


def _doubt(held: ClaimedPat, identifier: str, doubt: str, granted: timedelta | None = None) -> UnknownOutcomeError:
    """Record that the answer proves nothing, and what lifetime it grants; return the error to raise."""
    rotation, now = held.rotation, held.services.clock.now()

    def learn(work: UnitOfWork) -> None:
        if granted is not None:
            work.limits.save(rotation.account, rotation.organization, LifetimeLimit(granted, now))

    held.record(MintAnswerDoubted(authorization_id=identifier, doubt=doubt), write=learn)
    return UnknownOutcomeError(
        f"Azure DevOps answered the mint with PAT {identifier}, which is not proven to be the new one ({doubt})",
        service="azure_devops",
        operation="mint",
        code="mint_answer_doubted",
        fix="Nothing was revoked because of this answer; the next run looks for the new PAT in the list.",
    )
