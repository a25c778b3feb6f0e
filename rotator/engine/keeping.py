"""What people do to ManagedPats by hand: pause, resume, forget, revoke."""

from __future__ import annotations

from dataclasses import replace

from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.inventory import PatForgotten, PatPaused, PatRenamed, PatResumed
from rotator.domain.events.probes import ProbeRestored
from rotator.domain.events.revocations import RevocationRequested, RevokeStarted
from rotator.domain.events.rotations import HooksOverruled
from rotator.domain.managed_pat import Failure, Hold, ManagedPat, ManagedPatState
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.words import say_moment
from rotator.engine.auditing import find_lasting, record_renamed
from rotator.engine.awaiting import make_awaiting_error
from rotator.engine.choices import make_choice
from rotator.engine.claiming import check_asked, check_managed, claimed
from rotator.engine.clocks import check_clocks
from rotator.engine.context import RunContext, RunMode
from rotator.engine.explaining import say_next_of_revoked
from rotator.engine.listing import ServerView
from rotator.engine.lives import outwait_silent
from rotator.engine.moments import find_earliest
from rotator.engine.overlapping import make_unfinished_error
from rotator.engine.reconciling import GONE_HOLDS
from rotator.engine.records import LATE_STORE_SPAN
from rotator.engine.retiring import retire_predecessor
from rotator.engine.revoking import confirm_requested, make_pending, send_revocation
from rotator.errors import FailureKind, UnknownOutcomeError, UsageError
from rotator.ports.database import Reading


def pause(run: RunContext, name: str) -> ManagedPat:
    """Keep a ManagedPat and stop rotating it; an open rotation is still finished.

    What blocks it now is no longer told; what blocks it later, because that rotation froze, is.
    """
    with claimed(run, name) as held:
        if held.pat.state is not ManagedPatState.PAUSED or held.pat.blocked:
            held.save(replace(held.pat, state=ManagedPatState.PAUSED, blocked=False), PatPaused())
        return held.pat


def resume(run: RunContext, name: str) -> ManagedPat:
    """Rotate a ManagedPat again, and forget what failed before."""
    with claimed(run, name) as held:
        if held.pat.hold is Hold.REVOKED_BY_HAND:
            raise UsageError(
                f"{name} was revoked with `rotator revoke`, so there is nothing to resume",
                fix=say_next_of_revoked(held.pat, run.policy, run.services.clock.now()),
            )
        record = _make_resumed(held.pat)
        if record != held.pat:
            held.save(record, PatResumed())
        return held.pat


def is_resumed(run: RunContext, name: str) -> bool:
    """Whether a ManagedPat is neither paused nor has failed, so that to resume it changes nothing."""
    with run.services.database.read() as reading:
        pat = reading.inventory.load(name)
    return pat is not None and pat == _make_resumed(pat)


def _make_resumed(pat: ManagedPat) -> ManagedPat:
    return replace(pat.healed(), state=ManagedPatState.ACTIVE)


def rename(run: RunContext, name: str, new_name: str) -> ManagedPat:
    """Give a ManagedPat another name in rotator, with its rotations, what is pending and what is wrong with it.

    Its secret keeps its name, and the PAT its own. UsageError when the new name cannot be one or is taken,
    ClaimHeldError while a run works on it.
    """
    make_choice(new_name, None)
    return outwait_silent(run, name, lambda: _rename(run, name, new_name))


def _rename(run: RunContext, name: str, new_name: str) -> ManagedPat:
    now = run.services.clock.now()
    with run.services.database.begin() as work:
        pat = check_managed(work, name)
        claim = work.claims.claim(name, run.claimant, now=work.now(), span=run.services.timing.lease)
        if new_name != name and any(rotation.name == new_name for rotation in work.journal.load_open()):
            raise UsageError(
                f"an unfinished rotation has the name {new_name}, and its record is gone",
                fix="Run `rotator once`: it closes that rotation.",
            )
        work.inventory.rename(name, new_name, claim)
        renamed = PatRenamed(old_name=name, new_name=new_name)
        record_renamed(work, run, renamed, now, account=pat.account, organization=pat.organization)
    return replace(pat, name=new_name)


def forget(run: RunContext, name: str, asked: ManagedPat | None = None) -> ManagedPat:
    """Take a ManagedPat out of the inventory; server and vault are left as they are.

    UsageError while a rotation is open: forgetting it would leave an orphan. So while a write to its secret may take
    effect late: nobody would put back the value that consumers read. And when the name is another record's than when a
    person was `asked` about it.
    """
    with claimed(run, name) as held:
        check_asked(held, asked)
        held.load(lambda reading: check_forgettable(run, reading, name))
        pat = held.pat
        held.remove(PatForgotten(authorization_id=pat.authorization_id, vault=pat.vault, secret_name=pat.secret_name))
        return pat


def check_forgettable(run: RunContext, reading: Reading, name: str) -> ManagedPat:
    """Return the record that `forget` would remove. NotManagedError when there is none, UsageError as it says."""
    pat = check_managed(reading, name)
    _check_finished(reading, name)
    _check_late_stores(run, reading, pat)
    return pat


def check_revocable(reading: Reading, name: str) -> ManagedPat:
    """Return the record whose PAT `revoke_current` would revoke. NotManagedError or UsageError when there is none."""
    pat = check_managed(reading, name)
    _check_finished(reading, name)
    _check_has_pat(pat)
    return pat


def _check_finished(reading: Reading, name: str) -> None:
    for rotation in reading.journal.load_open_for([name]):
        raise make_unfinished_error(rotation)


def _check_has_pat(pat: ManagedPat) -> None:
    if not pat.has_pat:
        raise UsageError(
            f"{pat.name} has no PAT yet: the first one is still to be made",
            fix=f"`rotator inventory forget {pat.name}` gives it up.",
        )


def _check_late_stores(run: RunContext, reading: Reading, pat: ManagedPat) -> None:
    """Raise UsageError while a write that got no answer may take effect over the value of a PAT that lives.

    By the earliest clock at hand: a host that is years ahead must not take either for over.
    """
    now = find_earliest(run, reading)
    if not pat.has_pat or pat.hold in GONE_HOLDS or pat.valid_to <= now:
        return
    late = reading.journal.load_late_stores(now - LATE_STORE_SPAN)
    ends = [r.updated_at + LATE_STORE_SPAN for r in late if r.place == pat.place and not _was_refused(r)]
    if ends:
        raise UsageError(
            f"a write to secret {pat.secret_name} got no answer and can still take effect; "
            f"while {pat.name} is managed, a run would put the right value back",
            code="late_write_possible",
            fix=f"`rotator inventory pause {pat.name}` stops its rotation; forget it after {say_moment(max(ends))}.",
        )


def _was_refused(rotation: Rotation) -> bool:
    failure = rotation.failure
    return failure is not None and failure.kind is FailureKind.WRITE_REFUSED


def check_overlapping(run: RunContext, reading: Reading, name: str, *, without_hook: bool = False) -> Rotation:
    """Return the rotation of a ManagedPat that is in its overlap. NotManagedError or UsageError unless there is one.

    RotationError while a hook must still succeed, unless a person wants it `without_hook`.
    """
    check_managed(reading, name)
    rotation = _check_overlap(name, next((found for found in reading.journal.load_for(name) if found.is_open), None))
    awaited = run.policy.find_awaited(rotation)
    if awaited and not without_hook:
        raise make_awaiting_error(name, awaited)
    return rotation


def _check_overlap(name: str, rotation: Rotation | None) -> Rotation:
    if rotation is None:
        raise UsageError(
            f"{name} has no old PAT in an overlap",
            code="no_overlap",
            fix="See `rotator status` for what is overlapping.",
        )
    if rotation.state is RotationState.RETIRING:
        raise UsageError(
            f"the revocation of the old PAT of {name} was begun, and what came of it is not known",
            fix="`rotator recover` looks, and revokes it if it lives.",
        )
    if rotation.state is not RotationState.OVERLAPPING:
        raise make_unfinished_error(rotation)
    return rotation


def revoke_previous(run: RunContext, name: str, asked: ManagedPat | None = None, *, without_hook: bool = False) -> str:
    """End the overlap now: revoke the old PAT, guarded as always. Return its id.

    It is pending until the server calls it revoked, as a rule at once. RotationError while a hook must still succeed,
    unless a person wants it `without_hook`: that is recorded first. UsageError when the record has another PAT than
    when a person was `asked` about it.
    """
    run, began = replace(run, mode=RunMode.BY_HAND), run.services.clock.now()
    view = ServerView(run)
    with claimed(run, name) as held:
        check_asked(held, asked, by_pat=True)
        _check_overlap(name, held.rotation if held.has_open_rotation else None)
        for place in ((held.pat.account, held.pat.organization), held.rotation.predecessor_place):
            view.prove_reachable(*place)
        awaited = run.policy.find_awaited(held.rotation)
        if awaited and without_hook:
            held.learn(HooksOverruled(hooks=", ".join(awaited)), awaited_hooks=())
        retire_predecessor(held, view, is_asked=True)
    confirm_requested(run, view, began)
    return held.rotation.predecessor_id


def revoke_current(run: RunContext, name: str, asked: ManagedPat | None = None) -> str:
    """Revoke the PAT that consumers use now, and pause the record. Return the id.

    It is pending until the server calls it revoked, as a rule at once. UsageError while a rotation is open, and when
    the record has another PAT than when a person was `asked` about it.
    """
    view, began, why = ServerView(run), run.services.clock.now(), RevocationKind.BY_HAND
    with claimed(run, name) as held:
        check_asked(held, asked, by_pat=True)
        pat = held.load(lambda reading: check_revocable(reading, name))
        view.fetch_identity(pat.account, pat.organization)
        check_clocks(run, revokes=True)
        back = held.find_held_back()
        despite = None if back is None else back.by.value
        held.save(pat, RevokeStarted(authorization_id=pat.authorization_id, why=why.value, despite=despite))
        try:
            held.note_answer(send_revocation(held, (pat.account, pat.organization), pat.authorization_id))
        except UnknownOutcomeError as error:
            error.fix = f"It may still be valid, and no run revokes what people use: run `rotator revoke {name}` again."
            raise
        failure = Failure(
            Hold.REVOKED_BY_HAND.value,
            "it was revoked with `rotator revoke`",
            say_next_of_revoked(pat, run.policy, run.services.clock.now()),
        )
        paused = replace(pat, state=ManagedPatState.PAUSED, blocked=False)
        record = replace(paused, last_failure=failure, hold=Hold.REVOKED_BY_HAND)
        ended: list[Event] = [PatPaused()] if paused != pat else []
        with run.services.database.read() as reading:
            if name in find_lasting(reading, ConditionKind.PROBE_FAILING):
                ended.append(ProbeRestored())
        requested = RevocationRequested(authorization_id=pat.authorization_id, why=why.value)
        pending = make_pending(held, why, pat.authorization_id, pat.valid_to, None)
        held.save(record, requested, *ended, pending=pending)
    confirm_requested(run, view, began)
    return pat.authorization_id
