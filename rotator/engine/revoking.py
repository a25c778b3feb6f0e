"""Pending revocations: looked for until they are proven, requested again while their PATs live.

A 2xx to a DELETE proves nothing, and neither does one list that lacks the PAT.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from rotator.domain.answer_ids import AnswerIds
from rotator.domain.backoff import make_backoff
from rotator.domain.clocks import MOST_SKEW
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.revocations import (
    PatRevoked,
    RevocationDropped,
    RevocationFailed,
    RevocationRequested,
    RevocationResolved,
    RevokeStarted,
)
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.rotation import Rotation, RotationState, Trace
from rotator.domain.urgency import FIRST_RETRY, LONGEST_RETRY
from rotator.engine.accounting import find_other_keeper, get_ids
from rotator.engine.auditing import find_lasting, record
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import check_clocks
from rotator.engine.context import RunContext
from rotator.engine.copies import fetch_enabled
from rotator.engine.listing import Listing, ServerView
from rotator.engine.moments import read_clocks
from rotator.engine.provenance import Writer, find_behind, find_writer, seems_stripped
from rotator.engine.queue import enter
from rotator.engine.reading import fetch_known_newest, is_forged
from rotator.engine.records import drop_untracked
from rotator.engine.replacing import check_identity, identify, signs_in
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.engine.waiting import keep_books
from rotator.errors import (
    DeniedError,
    ForeignWriteError,
    PlanRefusedError,
    RejectedError,
    RemoteError,
    RotatorError,
    SignInRequiredError,
)
from rotator.ports.database import Reading, UnitOfWork
from rotator.ports.secret_store import SecretLocation, SecretVersion, StoredSecret

UNCONFIRMED = "revocation_unconfirmed"
"""The code of a request that is made because an earlier one had no effect."""

_PROMPT_REQUESTS = 3


@dataclass
class Sightings:
    """What a look at the server found of pending revocations.

    `gone` are proven, `alive` are listed as active, or their values sign in. `missed` were not listed, which proves
    nothing the first time.
    """

    gone: list[PendingRevocation] = field(default_factory=list)
    alive: list[PendingRevocation] = field(default_factory=list)
    missed: list[PendingRevocation] = field(default_factory=list)


def make_pending(
    held: ClaimedPat, kind: RevocationKind, authorization_id: str, valid_to: datetime, rotation: Rotation | None
) -> PendingRevocation:
    """Make what is pending once the request to revoke a PAT, of that rotation if it is one's, was answered."""
    pat, now = held.pat, held.services.clock.now()
    return PendingRevocation(
        authorization_id=authorization_id,
        name=pat.name,
        account=pat.account if rotation is None else rotation.find_owner(authorization_id),
        organization=pat.organization,
        vault=pat.vault,
        secret_name=pat.secret_name,
        kind=kind,
        valid_to=valid_to,
        since=now,
        requested_at=now,
        rotation_id=None if rotation is None else rotation.id,
    )


def send_revocation(held: ClaimedPat, place: tuple[str, str], authorization_id: str) -> AnswerIds:
    """Send the request to revoke a PAT of an account and organization. Return the ids of the answer.

    What goes wrong is recorded, with its ids, and raised.
    """
    try:
        return held.services.pats.revoke(*place, authorization_id, permit=held.check_claim)
    except (RemoteError, SignInRequiredError) as error:
        error.asked = place
        if isinstance(error, RemoteError):
            held.note_answer(error.answer_ids)
        is_refused = isinstance(error, DeniedError | RejectedError | SignInRequiredError)
        held.save(held.pat, RevocationFailed(authorization_id=authorization_id, code=error.code, refused=is_refused))
        raise


def sort_pending(
    run: RunContext, view: ServerView, listing: Listing, pending: Iterable[PendingRevocation], into: Sightings
) -> None:
    """Look for pending revocations of one account and organization, more closely where its list lacks their PATs.

    A PAT is gone when the server calls it revoked or expired, or when two looks, with time between them, found it in no
    list, and no value that we wrote for it signs in: a server that does not know its id may be behind. By a clock that
    is wrong no time has passed between two looks, and the first one is not dated.
    """
    now, absent = run.services.clock.now(), []
    for item in pending:
        if listing.find(item.authorization_id) is not None:
            into.alive.append(item)
        else:
            absent.append(item)
    place = (listing.account, listing.organization)
    sightings = view.look_for_revoked(*place, [item.authorization_id for item in absent]) if absent else {}
    is_dated = bool(absent) and not _is_clock_wrong(run)
    for item in absent:
        seen = sightings[item.authorization_id]
        was_missed = is_dated and _was_missed(item, now, run.services.timing.settle)
        may_be_gone = was_missed and seen.pat is None and not _is_hidden(seen.is_hidden, listing, item)
        lives = _signs_in(run, item) if may_be_gone and not seen.is_proven else seen.pat is not None
        if lives is None and item.valid_to <= now:
            lives = False  # it has expired, by a clock that is not wrong
        if seen.is_proven or (may_be_gone and lives is False):
            into.gone.append(item)
        elif lives:
            into.alive.append(item)
        elif is_dated:
            into.missed.append(item)


def _signs_in(run: RunContext, item: PendingRevocation) -> bool | None:
    """Whether the value that a rotation wrote for the PAT is accepted; None when it cannot be tried now."""
    with run.services.database.read() as reading:
        naming = reading.journal.load_traces([item.authorization_id])
    made = [trace for trace in naming if trace.new_authorization_id == item.authorization_id]
    try:
        return any(_signs_in_from(run, item, trace) for trace in made)
    except RotatorError:
        return None  # nothing is known now; it stays pending, which every report says


def _signs_in_from(run: RunContext, item: PendingRevocation, made: Trace) -> bool:
    location = SecretLocation(made.vault, made.secret_name, made.account)
    return signs_in(run, item.organization, location, made.secret_version)


def _is_clock_wrong(run: RunContext) -> bool:
    with run.services.database.read() as reading:
        return read_clocks(run, reading).is_wrong


def _was_missed(item: PendingRevocation, now: datetime, settle: timedelta) -> bool:
    """Whether a look so long ago did not find it either."""
    return item.missed_at is not None and now - item.missed_at >= settle


def _is_hidden(is_hidden: bool, listing: Listing, item: PendingRevocation) -> bool:
    return is_hidden or listing.may_hide(item.authorization_id)


def save_sightings(run: RunContext, found: Sightings) -> None:
    """Store what a look found: what is proven ends, and so does what a record accounts for again."""
    with run.services.database.read() as reading:
        if not _find_endings(reading, found) and not any(_find_misses(found)):
            return
    keep_books(run.services, partial(_write_sightings, run, found))


def confirm_requested(run: RunContext, view: ServerView, since: datetime) -> None:
    """Look for what was requested since then among the PATs that the server calls revoked, and no more calls active.

    Where it cannot be asked now, they stay pending for the next run.
    """
    found, pairs = Sightings(), dict[tuple[str, str], list[PendingRevocation]]()
    for item in load_pending(run):
        if item.requested_at >= since - MOST_SKEW:  # that is the database's clock, and `since` the host's
            pairs.setdefault((item.account, item.organization), []).append(item)
    for pair, items in pairs.items():
        try:
            revoked = view.fetch_revoked_again(*pair)
            named = [item for item in items if item.authorization_id in revoked]
            active = view.fetch_again(*pair).ids if named else ()
        except RotatorError:
            continue  # nothing is known now; they stay pending, which every report says
        found.gone += [item for item in named if item.authorization_id not in active]
    if found.gone:
        save_sightings(run, found)


def load_pending(run: RunContext) -> tuple[PendingRevocation, ...]:
    """Load all pending revocations."""

    def load() -> tuple[PendingRevocation, ...]:
        with run.services.database.read() as reading:
            return reading.revocations.load()

    return keep_books(run.services, load)


def is_confirmed(run: RunContext, authorization_id: str) -> bool:
    """Whether a revocation that was requested is proven, or over for another reason."""

    def load() -> bool:
        with run.services.database.read() as reading:
            return not reading.revocations.load_by_ids([authorization_id])

    return keep_books(run.services, load)


def revoke_again(held: ClaimedPat, view: ServerView, pending: PendingRevocation) -> None:
    """Request a revocation once more, whose PAT still lives, under the whole guard.

    Does nothing while a rotation is under way whose requests come first, or soon after several requests in vain. What a
    person revoked by hand is kept for no overlap: once its successor is stored, nothing holds it back.
    PlanRefusedError when something accounts for the PAT, or the secret holds another value; ForeignWriteError when
    somebody else wrote that.
    """
    now = held.services.clock.now()
    if held.has_open_rotation:
        is_waiting = held.rotation.state is not RotationState.OVERLAPPING
        is_kept = pending.authorization_id in get_ids(held.rotation) and pending.kind is not RevocationKind.BY_HAND
        if is_waiting or is_kept:
            return
    # A request that a wrong clock dated in the future does not hold this one back.
    if pending.requested_at <= now + MOST_SKEW and now < pending.requested_at + _make_wait(pending.requests):
        return
    _guard(held, view, pending)
    check_clocks(held.run, revokes=True)
    started = RevokeStarted(authorization_id=pending.authorization_id, why=pending.kind.value, code=UNCONFIRMED)
    held.request(pending, started, lambda reading: _check_unused(reading, held.pat, pending))
    place = (pending.account, pending.organization)
    held.note_answer(send_revocation(held, place, pending.authorization_id))
    held.save(held.pat, RevocationRequested(authorization_id=pending.authorization_id, why=pending.kind.value))


def _make_wait(requests: int) -> timedelta:
    """How long after so many requests in vain the next one is made: the first few without a wait."""
    if requests < _PROMPT_REQUESTS:
        return timedelta(0)
    return make_backoff(requests - _PROMPT_REQUESTS + 1, first=FIRST_RETRY, longest=LONGEST_RETRY)


def accounts_again(record: ManagedPat, pending: PendingRevocation) -> bool:
    """Whether a record says that its PAT, which was to be revoked, is in use.

    What a person revoked stays so, whatever failed since: adopting it by its id, or a rebuild, takes it back.
    """
    was_revoked = pending.belongs_to(record) and pending.kind is RevocationKind.BY_HAND
    return record.authorization_id == pending.authorization_id and not was_revoked


def _guard(held: ClaimedPat, view: ServerView, pending: PendingRevocation) -> None:
    """Check by the vault that consumers do not need the PAT: the guard before every DELETE.

    It asks the secret that the PAT was in, as the account that it belongs to: no namesake's.
    """
    if not pending.belongs_to(held.pat):
        raise _refuse(pending, f"{held.pat.name} is another managed PAT now")
    if held.pat.authorization_id == pending.authorization_id:
        return  # a person revoked the one in use
    latest = fetch_known_newest(held)
    named = _find_named(held.pat, latest.version) if latest is not None else None
    if pending.kind is RevocationKind.ABANDONED:
        _check_not_served(held, pending, latest, named)
        return
    if latest is None or named != held.pat.authorization_id:
        raise _make_not_ours(held, pending, latest)
    written = latest.version.version == held.pat.secret_version
    found = identify(held.run, held.pat.organization, latest.value, is_ours=written)
    check_identity(held.pat, found, view.fetch_identity(held.pat.account, held.pat.organization))
    if view.is_revoked(held.pat.account, held.pat.organization, held.pat.authorization_id):
        raise _refuse(pending, f"{held.pat.authorization_id}, which replaced it, is revoked itself")
    secrets, known = held.services.secrets, held.pat.secret_version
    if is_forged(secrets, held.location, latest, known):
        if known is None or fetch_enabled(secrets, held.location, known) is None:
            raise _refuse(pending, f"the value of secret {held.pat.secret_name} cannot be compared with ours")
        raise _make_written(held.pat, pending, "holds another value, which somebody wrote with rotator's tags")


def _check_not_served(
    held: ClaimedPat, pending: PendingRevocation, latest: StoredSecret | None, named: str | None
) -> None:
    """Check what the first DELETE of a clone is checked for: consumers do not read it, and our journal is whole."""
    if latest is None:
        return
    is_stripped = latest.version.version != held.pat.secret_version and seems_stripped(latest.version, pending.valid_to)
    if named == pending.authorization_id or is_stripped:
        raise _refuse(pending, "the vault hands it out")
    if behind := find_behind(held, latest.version):
        raise behind


def _find_named(pat: ManagedPat, version: SecretVersion) -> str | None:
    """Return the PAT whose value a version holds: by its id if the record knows it, else by its tags."""
    return pat.authorization_id if version.version == pat.secret_version else version.tags.get(AUTHORIZATION_TAG)


def _make_not_ours(held: ClaimedPat, pending: PendingRevocation, latest: StoredSecret | None) -> RotatorError:
    """Make the error for a secret that does not hold the current PAT's value: only another writer's is frozen for."""
    pat = held.pat
    is_foreign = latest is not None and find_writer(held.run, pat, latest.version) is Writer.FOREIGN
    if latest is None or not is_foreign or latest.version.version == pat.confirmed_version:
        return _refuse(pending, f"secret {pat.secret_name} does not hold the value of {pat.authorization_id}")
    return _make_written(pat, pending, "was written by somebody else")


def _make_written(pat: ManagedPat, pending: PendingRevocation, what: str) -> ForeignWriteError:
    return ForeignWriteError(
        f"secret {pat.secret_name} in {pat.vault} {what}; "
        f"{pending.authorization_id}, which is still active, was not revoked",
        fix=f"Find out who writes this secret, then `rotator rotate {pat.name}`.",
    )


def _check_unused(reading: Reading, pat: ManagedPat, pending: PendingRevocation) -> None:
    """Refuse when something accounts for the PAT, or when it is not to be revoked any more."""
    asked = {item.authorization_id for item in reading.revocations.load_for([pat.name]) if item.belongs_to(pat)}
    if pending.authorization_id not in asked:
        raise _refuse(pending, "its revocation is over by now")
    keeper = find_other_keeper(reading, pending.authorization_id, pat.name)
    if keeper is not None and (keeper.record is None or accounts_again(keeper.record, pending)):
        raise _refuse(pending, f"{keeper.name} accounts for it")


def _refuse(pending: PendingRevocation, reason: str) -> PlanRefusedError:
    return PlanRefusedError(
        f"{pending.authorization_id} was to be revoked again, but {reason}; nothing was revoked",
        code="clone_in_use",
        fix="Find out with `rotator scan` who uses it.",
    )


def _find_endings(reading: Reading, found: Sightings) -> list[tuple[PendingRevocation, Event]]:
    """Return what is over now, each with the event that says so."""
    pending = {item.authorization_id: item for item in reading.revocations.load()}
    endings: list[tuple[PendingRevocation, Event]] = []
    for record_ in reading.inventory.load_by_ids(pending):
        item = pending[record_.authorization_id]
        if accounts_again(record_, item):
            del pending[item.authorization_id]
            endings.append((item, RevocationDropped(authorization_id=item.authorization_id, by=record_.name)))
    for seen in found.gone:
        if seen.authorization_id in pending:
            endings.append((seen, PatRevoked(authorization_id=seen.authorization_id, why=seen.kind.value)))
    return endings


def _find_misses(found: Sightings) -> list[PendingRevocation]:
    """Return those whose first miss is to be noted or taken back."""
    return [item for item in found.missed if item.missed_at is None] + [
        item for item in found.alive if item.missed_at is not None
    ]


def _write_sightings(run: RunContext, found: Sightings) -> None:
    now = run.services.clock.now()
    with run.services.database.begin() as work:
        endings = [
            (item, event) for item, event in _find_endings(work, found) if work.revocations.end(item.authorization_id)
        ]
        for item in found.missed:
            work.revocations.note_missed(item.authorization_id, item.missed_at or now)
        for item in found.alive:
            work.revocations.note_missed(item.authorization_id, None)
        drop_untracked(work, [item.authorization_id for item, event in endings if isinstance(event, PatRevoked)])
        enter(work, run, work.queue.load_free({item.name for item, _ in endings}))
        lasting = find_lasting(work, ConditionKind.REVOCATION_PENDING)
        for item, event in endings:
            record_ending(work, run, item, event, now)
            if item.authorization_id in lasting:
                record(work, run, item.authorization_id, RevocationResolved(), now)


def record_dropped(work: UnitOfWork, run: RunContext, item: PendingRevocation, name: str, now: datetime) -> None:
    """Write into the audit log that a PAT is not to be revoked any more: the ManagedPat called `name` uses it."""
    record_ending(work, run, item, RevocationDropped(authorization_id=item.authorization_id, by=name), now)


def record_ending(work: UnitOfWork, run: RunContext, item: PendingRevocation, event: Event, now: datetime) -> None:
    """Write into the audit log how a pending revocation ended."""
    place = {"account": item.account, "organization": item.organization}
    rotation = {} if item.rotation_id is None else {"rotation_id": item.rotation_id}
    record(work, run, item.name, event, now, **place, **rotation)
