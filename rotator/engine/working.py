"""What a run does with one ManagedPat under its claim, in the order of the states."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from rotator.domain.events.rotations import FailureCleared, SettlingContinued
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Failure, ManagedPat, ManagedPatState
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.plan import has_past_failure, is_denied, is_waiting, may_be_granted
from rotator.domain.policy import PAUSED, Decision, Verdict
from rotator.domain.rotation import RotationState
from rotator.domain.settling import is_settling, make_settled_at
from rotator.domain.timetable import HeldBack
from rotator.domain.urgency import is_near_expiry
from rotator.engine.absence import check_listed, check_refused
from rotator.engine.canary_record import end_canary
from rotator.engine.claiming import ClaimedPat
from rotator.engine.context import RunContext, RunMode
from rotator.engine.explaining import explain_decision
from rotator.engine.holds import find_hold, make_failure_event
from rotator.engine.in_force import load_in_force, put_in_force
from rotator.engine.intents import enter_unknown, leave_if_written
from rotator.engine.left_behind import revoke_left_pat
from rotator.engine.listing import ServerView
from rotator.engine.losses import check_attempts
from rotator.engine.minting import begin_mint, mint_clone
from rotator.engine.overlapping import (
    confirm_stored,
    is_overlap_over,
    is_predecessor_dead,
    is_predecessor_expired,
    make_overlap_error,
    restart_overlap,
)
from rotator.engine.pace import Turns
from rotator.engine.preflight import begin_rotation, inspect_source
from rotator.engine.reconciling import Reconciliation, apply_findings
from rotator.engine.recovering import recover
from rotator.engine.report import OutcomeFields, OutcomeKind, OutcomeReason, PatOutcome, RunReport
from rotator.engine.restoring import Restored, find_late_write, make_kept, restore_committed
from rotator.engine.retiring import retire_predecessor
from rotator.engine.revoking import revoke_again
from rotator.engine.settling import is_late_settled
from rotator.engine.storing import store_value
from rotator.engine.verifying import verify_clone
from rotator.errors import (
    AllPausedError,
    ClaimLostError,
    CloneLostError,
    DatabaseError,
    FailureKind,
    ForeignWriteError,
    PatGoneError,
    PlanRefusedError,
    PostponedError,
    RotationError,
    RotatorError,
)


class PatWork:
    """The work of one run: undo what was late, recover what was interrupted, then retire or rotate."""

    def __init__(
        self,
        run: RunContext,
        view: ServerView,
        report: RunReport,
        found: Reconciliation,
        turns: Turns,
    ) -> None:
        self.run, self.view, self.report = run, view, report
        self._found, self._turns = found, turns
        self._is_by_hand = run.mode is RunMode.BY_HAND

    def work(self, held: ClaimedPat) -> None:
        """Do everything that this run has to do with one ManagedPat. Raise whatever goes wrong.

        VerificationError `late_write_kept` at the end when consumers still read a late write. Where the record says so
        already and waits, it is only reported: to say it anew would put off what is due each time. A record that is
        blocked waits for a person anyway, for a reason that tells more.
        """
        is_kept = self._undo_late(held)
        try:
            self._work(held, is_kept=is_kept)
        except PatGoneError as gone:
            self._replace_gone(held, gone)
        if is_kept and not held.pat.blocked and find_late_write(self.run, held.pat) is not None:
            error, failure = make_kept(held.pat), held.pat.last_failure
            if (
                failure is None
                or failure.kind is not error.kind
                or not is_waiting(held.pat, self.run.services.clock.now())
            ):
                raise error
            self.report.add(PatOutcome.of_error(OutcomeKind.FAILED, held.pat, error))

    def _work(self, held: ClaimedPat, *, is_kept: bool) -> None:
        was_rotated = held.has_open_rotation and held.rotation.state is RotationState.OVERLAPPING
        try:
            apply_findings(held, self.view, self._found)
        except CloneLostError:
            self._report_lost_clone(held)
        is_given_up = False
        if held.has_open_rotation and held.rotation.state is not RotationState.OVERLAPPING:
            self._recover(held)
            is_given_up = held.rotation.state is RotationState.ABANDONED
        self._revoke_again(held)
        if held.pat.is_canary:
            end_canary(held)
            return
        if self.run.mode is RunMode.RECOVER:
            return
        if self._is_by_hand and held.has_open_rotation and is_settling(held.rotation):
            raise RotationError(
                f"an interrupted rotation is still settling ({held.rotation.state.value})",
                code="rotation_settling",
                fix="Its last request may still take effect: run `rotator once` again when the settle time is over.",
            )
        self._retire(held)
        if held.has_open_rotation:
            if was_rotated and self._is_by_hand:
                raise make_overlap_error(held.pat.name)  # by another run, since a person's command looked
            return
        self._rotate_if_due(held, is_kept=is_kept, is_given_up=is_given_up)

    def _rotate_if_due(self, held: ClaimedPat, *, is_kept: bool, is_given_up: bool) -> None:
        now, decision = self.run.services.clock.now(), self._decide(held.pat)
        # What consumers read cannot be undone: a rotation mends that, so it does not wait for another try. Neither
        # does a PAT near its expiry whose interrupted rotation was just given up: the next run may come too late.
        is_last_chance = (
            is_given_up and not held.pat.blocked and is_near_expiry(held.pat.valid_from, held.pat.valid_to, now)
        )
        is_waited_for = not (is_kept or is_last_chance) and is_waiting(held.pat, now)
        is_wanted = held.pat.state is ManagedPatState.ACTIVE and not is_waited_for
        is_due = is_wanted and decision.verdict is Verdict.DUE
        is_freed = self._is_by_hand or (is_kept and decision.held_back is not PAUSED)
        if is_due and decision.held_back is not None and not is_freed:
            self._report_held(held, decision.held_back, load_in_force(self.run).find_turn(held.pat, now, now))
        elif self._is_by_hand or is_due:
            self._rotate(held, decision)
            self._retire(held)
        elif not is_kept and held.pat.state is ManagedPatState.ACTIVE:
            self._clear_failure(held, decision)

    def _clear_failure(self, held: ClaimedPat, decision: Decision) -> None:
        now = self.run.services.clock.now()
        if has_past_failure(held.pat, decision, now):
            held.save(held.pat.healed(), FailureCleared())
        elif may_be_granted(held.pat, decision, now):
            self._clear_denial(held)

    def _report_postponed(self, held: ClaimedPat, error: PostponedError) -> None:
        if isinstance(error, AllPausedError):
            self._report_held(held, PAUSED, None)
        else:
            self.report.add(PatOutcome.of(OutcomeKind.POSTPONED, held.pat))

    def _report_held(self, held: ClaimedPat, back: HeldBack, until: datetime | None) -> None:
        fields = OutcomeFields(reason=OutcomeReason(back.by.value), held_back=back, held_until=until)
        self.report.add(PatOutcome.of(OutcomeKind.HELD, held.pat, **fields))

    def _replace_gone(self, held: ClaimedPat, error: PatGoneError) -> None:
        """Replace a PAT that vanished before its time at once, if its rule says so. Otherwise raise what was found."""
        hold, is_active = find_hold(error), held.pat.state is ManagedPatState.ACTIVE
        gone = replace(held.pat.healed(), hold=hold, last_failure=Failure.of(error))
        if self.run.mode is not RunMode.DUE or held.has_open_rotation or not is_active:
            raise error
        decision = self._decide(gone)
        if not decision.is_leak or decision.held_back is not None:
            raise error
        check_refused(held, error)
        held.save(gone, make_failure_event(error, blocked=False))
        self._rotate(held, decision)
        self._retire(held)

    def _rotate(self, held: ClaimedPat, decision: Decision) -> None:
        failure = explain_decision(decision, held.pat)
        if failure is not None:
            raise PlanRefusedError(failure.message, code=failure.code, fix=failure.fix, kind=failure.kind)
        if not self._is_by_hand:
            check_attempts(held)
        source, before = inspect_source(held, self.view, decision), held.pat.as_ending().valid_to
        try:
            if not self._is_by_hand and not self._turns.take(held.pat.name, held.renew):
                self.report.add(PatOutcome.of(OutcomeKind.POSTPONED, held.pat))
                return
            replaced = begin_rotation(held, source)
        except ClaimLostError:
            if held.has_open_rotation:
                raise
            # Nothing was begun yet: another run took it over while this one looked and waited for its turn.
            self.report.add(PatOutcome.of(OutcomeKind.HELD, held.pat))
            return
        try:
            begin_mint(held, source)
        except PostponedError as error:
            self._report_postponed(held, error)
            return
        with held.holding_value():
            value = mint_clone(held, source)
            verify_clone(held, self.view, value)
            store_value(held, value, replaced)
            is_dead = held.rotation.has_predecessor and is_predecessor_dead(held)
            confirm_stored(held, self.view, value)
        is_awaiting = bool(self.run.policy.find_awaited(held.rotation))
        why_dead = OutcomeReason.VANISHED if decision.is_leak else OutcomeReason.PREDECESSOR_GONE
        reason = why_dead if is_dead else OutcomeReason.HOOK_AWAITED if is_awaiting else None
        outcome = PatOutcome.of(
            OutcomeKind.ROTATED if held.rotation.has_predecessor else OutcomeKind.CREATED,
            held.pat,
            decision=decision,
            reason=reason,
            secret_name=held.pat.secret_name,
            left_id=None if source.owner_works else held.rotation.predecessor_id,
            overlap_until=self._find_end_of_old(held, source.despite) if reason is None else None,
            ends=(before, held.pat.valid_to) if decision.is_wanted and held.rotation.has_predecessor else None,
            is_paused=held.pat.state is ManagedPatState.PAUSED,
            despite=source.despite,
        )
        self.report.add(outcome)

    def _find_end_of_old(self, held: ClaimedPat, despite: HeldBack | None) -> datetime | None:
        """Return when a run revokes the old PAT, if it ever does by itself. It reads nothing, as a stop may be set."""
        until, now = held.rotation.overlap_until, self.run.services.clock.now()
        policy = replace(self.run.policy, is_paused=despite == PAUSED)
        if until is None or held.rotation.keeps_predecessor:
            return None
        return policy.find_retirement(held.pat, held.rotation, until, now)

    def _revoke_again(self, held: ClaimedPat) -> None:
        """Ask again for the revocation of what lives on. What goes wrong here holds up no rotation: it is reported.

        ForeignWriteError when somebody else writes the secret; the guard of an open rotation will see that for itself.
        """
        for pending in self._found.find_alive(held.pat):
            try:
                revoke_again(held, self.view, pending)
            except DatabaseError:
                raise
            except RotatorError as error:
                if isinstance(error, ForeignWriteError) and not held.has_open_rotation:
                    raise
                self.view.note_error(pending.account, pending.organization, error)
                self.report.add(PatOutcome.of_error(OutcomeKind.FAILED, held.pat, error))

    def _undo_late(self, held: ClaimedPat) -> bool:
        """Revoke what late mints created, and put back what late writes replaced. Return whether that must wait.

        Not while whoever sent such a mint, and whom this database may have forgotten, can still write its value.
        """
        alike = {} if held.pat.is_canary else self._found.alike.get(held.pat.name, {})
        versions = self.run.services.secrets.fetch_versions(held.location) if alike else ()
        for account, pats in alike.items():
            enter_unknown(held, versions, pats, account)
        for rotation, late_pat in self._found.late.get(held.pat.name, []):
            if held.has_open_rotation or not is_late_settled(rotation, self.run.services):
                continue
            if not leave_if_written(held, rotation, late_pat):
                revoke_left_pat(held, rotation, late_pat, RevocationKind.LATE)
                reason, revoked_id = OutcomeReason.LATE_MINT_REVOKED, late_pat.authorization_id
                self.report.add(PatOutcome.of(OutcomeKind.RECOVERED, held.pat, reason=reason, revoked_id=revoked_id))
        if held.pat.name not in self._found.late_stores:
            return False
        restored = self._restore(held)
        self._clear_denial(held)
        return restored is Restored.KEPT

    def _clear_denial(self, held: ClaimedPat) -> None:
        """Clear that the vault denied something before, if it no longer does; raise what it says.

        What is not due gets no other occasion for that.
        """
        if is_denied(held.pat) and not is_waiting(held.pat, self.run.services.clock.now()):
            self.run.services.secrets.prove_access(held.location)
            held.save(held.pat.healed(), FailureCleared())

    def _restore(self, held: ClaimedPat) -> Restored:
        restored = restore_committed(held)
        if restored is Restored.DONE:
            reason = OutcomeReason.VALUE_RESTORED
            self.report.add(PatOutcome.of(OutcomeKind.RECOVERED, held.pat, reason=reason))
            failure = held.pat.last_failure
            if failure is not None and failure.kind is FailureKind.LATE_WRITE_KEPT and not held.pat.blocked:
                held.save(held.pat.healed(), FailureCleared())
        return restored

    def _recover(self, held: ClaimedPat) -> None:
        before = held.rotation.state
        try:
            recover(held, self.view)
        except CloneLostError:
            self._report_lost_clone(held)
            return
        rotation = held.rotation
        if is_settling(rotation):
            self.run.progress(SettlingContinued(state=rotation.state.value), held.pat.name)
            if self._is_by_hand:
                return  # it is reported as a failure: the rotation that was asked for cannot begin
            kind = OutcomeKind.SETTLING
        elif rotation.state is before:
            return
        else:
            kind = OutcomeKind.ABANDONED if rotation.state is RotationState.ABANDONED else OutcomeKind.RECOVERED
        outcome = PatOutcome.of(
            kind,
            held.pat,
            reason=OutcomeReason.INTERRUPTED,
            rotation_id=rotation.id,
            state_before=before,
            revoked_id=rotation.new_authorization_id if kind is OutcomeKind.ABANDONED else None,
            settles_until=make_settled_at(rotation, held.pat, self.run.services.timing.settle)
            if kind is OutcomeKind.SETTLING
            else None,
        )
        self.report.add(outcome)

    def _report_lost_clone(self, held: ClaimedPat) -> None:
        """Report it, and put back what consumers can use: the old PAT's value. PatGoneError if that is gone too."""
        reason, lost_id = OutcomeReason.CLONE_REVOKED_ELSEWHERE, held.rotation.new_authorization_id
        self.report.add(PatOutcome.of(OutcomeKind.ABANDONED, held.pat, reason=reason, revoked_id=lost_id))
        if held.pat.has_pat and held.pat.authorization_id == lost_id:
            check_listed(held, self.view)
        self._restore(held)

    def _retire(self, held: ClaimedPat) -> None:
        """Revoke the old PAT if its overlap is over. If the clone turns out to be lost, report it."""
        is_open = held.has_open_rotation and held.rotation.state is RotationState.OVERLAPPING
        if is_open:
            restart_overlap(held)
        if not is_open or not (is_overlap_over(held) or is_predecessor_expired(held, self.view)):
            return
        policy, now, rotation = load_in_force(self.run), self.run.services.clock.now(), held.rotation
        back = None if self._is_by_hand else policy.find_revocation_held_back(held.pat, rotation, now)
        if back is not None and rotation.overlap_until is not None:
            turn = policy.find_retirement(held.pat, rotation, rotation.overlap_until, now)
            self._report_held(held, back, turn)
            return
        try:
            is_revoked = retire_predecessor(held, self.view)
        except CloneLostError:
            self._report_lost_clone(held)
        except AllPausedError:
            self._report_held(held, PAUSED, None)
        else:
            if is_revoked:
                fields = OutcomeFields(revoked_id=rotation.predecessor_id, despite=policy.find_held_back(held.pat, now))
                self.report.add(PatOutcome.of(OutcomeKind.RETIRED, held.pat, **fields))
            elif held.rotation.keeps_predecessor and not rotation.keeps_predecessor:
                self.report.add(PatOutcome.of(OutcomeKind.RECOVERED, held.pat, left_id=rotation.predecessor_id))

    def _decide(self, pat: ManagedPat) -> Decision:
        """Return the policy's decision on a ManagedPat.

        When a person asks for it, what was learned of the server's maximum is tried again.
        """
        now = self.run.services.clock.now()
        with self.run.services.database.read() as reading:
            longest = None if self._is_by_hand else find_longest(reading.limits.load(), pat, now)
            policy = put_in_force(reading, self.run.policy)
        return policy.decide(pat.as_ending(), now=now, longest=longest)
