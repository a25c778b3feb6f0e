"""One whole run: refresh, reconcile, recover, rotate, retire; one token's failure never stops the next."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

from rotator.domain.backoff import make_backoff
from rotator.domain.events.inventory import PatLeftBehind
from rotator.domain.events.rotations import FailureCleared, RotationBlocked, RotationFailed, SettlingContinued
from rotator.domain.managed_pat import Failure, ManagedPatState
from rotator.domain.plan import CHANGES, ActionKind, Plan
from rotator.domain.policy import Decision, Verdict
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import record_policy
from rotator.engine.claiming import ClaimedPat, check_managed, claimed
from rotator.engine.context import RunContext
from rotator.engine.holds import find_hold
from rotator.engine.left_behind import revoke_left_pat
from rotator.engine.listing import ServerView
from rotator.engine.minting import begin_mint, begin_rotation, check_attempts, inspect_source, mint_clone, verify_clone
from rotator.engine.noticing import make_down_event, notice_vault
from rotator.engine.pace import Turns, count_places
from rotator.engine.planning import has_past_failure, is_waiting, make_plan
from rotator.engine.reconciling import Reconciliation, apply_findings, reconcile
from rotator.engine.recovering import is_settling, make_settled_at, recover
from rotator.engine.report import OutcomeKind, OutcomeReason, PatOutcome, RunReport
from rotator.engine.restoring import restore_committed
from rotator.engine.retiring import is_overlap_over, retire_predecessor
from rotator.engine.storing import confirm_stored, store_value
from rotator.errors import (
    CloneLostError,
    DatabaseError,
    DeniedError,
    ForeignWriteError,
    InternalError,
    LeaseHeldError,
    LeaseLostError,
    PlanRefusedError,
    PostponedError,
    RejectedError,
    RotationError,
    RotatorError,
    StoppedError,
)

HUMAN_ERRORS = (PlanRefusedError, RejectedError, DeniedError, ForeignWriteError)


class Cycle:
    """One run over the inventory, or over the few ManagedPats that a person named.

    `by_hand` rotates whatever it is given, due or not; `recover_only` leaves alone what was not interrupted.
    """

    def __init__(self, run: RunContext, *, by_hand: bool = False, recover_only: bool = False) -> None:
        self.run = run
        self.view = ServerView(run)
        self.report = RunReport(run.run_id)
        self._by_hand = by_hand
        self._recover_only = recover_only
        self._turns = Turns([], 0)

    @contextmanager
    def until_stopped(self) -> Iterator[None]:
        """A stop ends what is inside; the report keeps what was done until then, and says so."""
        try:
            yield
        except StoppedError:
            self.report.is_stopped = True

    def work_on(self, names: list[str], found: Reconciliation) -> None:
        """Work on each ManagedPat, the most urgent first, `max_parallel` at a time in threads of their own."""
        services = self.run.services
        with services.database.read() as reading:
            places = count_places(reading, self.run.policy.guardrails, services.clock.now())
        self._turns = Turns(names, places)
        if services.max_parallel == 1:
            for name in names:
                self._take_turn(name, found)
            return
        pool = ThreadPoolExecutor(max_workers=services.max_parallel, thread_name_prefix="pat")
        try:
            futures = [pool.submit(self._take_turn, name, found) for name in names]
            for future in futures:
                future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def note_down(self, found: Reconciliation) -> None:
        """Report the accounts and organizations that could not be looked at, and which PATs were left behind."""
        for (account, organization), error in found.down.items():
            self.report.add(PatOutcome.of_down(account, organization, error))
            self.run.progress(*make_down_event((account, organization), error))
        for left in found.left_behind:
            told = PatLeftBehind(name=left.rotation.name, kind=left.kind.value)
            self.run.progress(told, left.pat.authorization_id)

    def _take_turn(self, name: str, found: Reconciliation) -> None:
        try:
            self._isolate(name, found)
        finally:
            self._turns.leave(name)

    def _isolate(self, name: str, found: Reconciliation) -> None:
        with self.run.services.database.read() as reading:
            pat = check_managed(reading, name)
        try:
            self.view.refresh_account(pat.account)
            with claimed(self.run, name) as held:
                pat = held.pat
                self._guarded(held, found)
        except LeaseHeldError:
            self.report.add(PatOutcome.of(OutcomeKind.HELD, pat))
        except DatabaseError as error:
            self.report.add(PatOutcome.of_error(OutcomeKind.FAILED, pat, error))
            if not isinstance(error, LeaseLostError):
                raise
        except RotatorError as error:
            self.report.add(PatOutcome.of_error(OutcomeKind.FAILED, pat, error))

    def _guarded(self, held: ClaimedPat, found: Reconciliation) -> None:
        """Work on one claimed PAT; whatever goes wrong is written on its record, except a broken database."""
        try:
            self._work(held, found)
        except DatabaseError:
            raise
        except RotatorError as error:
            self.view.note_error(held.pat.account, error)
            self._note_failure(held, error)
        except Exception as error:
            self._note_failure(held, _make_internal(error))

    def _work(self, held: ClaimedPat, found: Reconciliation) -> None:
        self._undo_late(held, found)
        try:
            apply_findings(held, self.view, found, by_hand=self._by_hand)
        except CloneLostError:
            self._report_lost_clone(held)
        if held.has_open_rotation and held.rotation.state is not RotationState.OVERLAPPING:
            self._recover(held)
        if self._recover_only:
            return
        if self._by_hand and held.has_open_rotation and is_settling(held.rotation):
            raise RotationError(
                f"an interrupted rotation is settling while {held.rotation.state.value}",
                code="rotation_settling",
                fix="Its last request may still take effect: run `rotator once` again when the settle time is over.",
            )
        self._retire(held)
        decision = None if held.has_open_rotation else self._decide(held)
        if decision is not None:
            self._rotate(held, decision)
            self._retire(held)
        elif has_past_failure(held.pat, self.run.services.clock.now()) and not held.has_open_rotation:
            cleared = held.pat.healed()
            held.save(cleared, FailureCleared())

    def _undo_late(self, held: ClaimedPat, found: Reconciliation) -> None:
        """Revoke what was minted, and put back what was written over, by requests that nobody waited for any more."""
        for rotation, landed in found.late.get(held.pat.name, []):
            if not held.has_open_rotation:
                revoke_left_pat(held, rotation, landed, "late")
                reason, revoked_id = OutcomeReason.LATE_MINT_REVOKED, landed.authorization_id
                self.report.add(PatOutcome.of(OutcomeKind.RECOVERED, held.pat, reason=reason, revoked_id=revoked_id))
        if held.pat.name in found.late_stores and restore_committed(held):
            reason = OutcomeReason.VALUE_RESTORED
            self.report.add(PatOutcome.of(OutcomeKind.RECOVERED, held.pat, reason=reason))

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
            if self._by_hand:
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
            settles_until=make_settled_at(held) if kind is OutcomeKind.SETTLING else None,
        )
        self.report.add(outcome)

    def _report_lost_clone(self, held: ClaimedPat) -> None:
        reason, lost_id = OutcomeReason.CLONE_REVOKED_ELSEWHERE, held.rotation.new_authorization_id
        self.report.add(PatOutcome.of(OutcomeKind.ABANDONED, held.pat, reason=reason, revoked_id=lost_id))

    def _retire(self, held: ClaimedPat) -> None:
        """Revoke the old PAT if its overlap is over; when the clone turns out lost, say so and let a new one come."""
        is_open = held.has_open_rotation and held.rotation.state is RotationState.OVERLAPPING
        if not is_open or not is_overlap_over(held):
            return
        try:
            retire_predecessor(held, self.view)
        except CloneLostError:
            self._report_lost_clone(held)
        else:
            self.report.add(PatOutcome.of(OutcomeKind.RETIRED, held.pat, revoked_id=held.rotation.predecessor_id))
            notice_vault(self.run, held.pat, None)

    def _decide(self, held: ClaimedPat) -> Decision | None:
        """What the policy says of a ManagedPat that is to be rotated now; None when it is to be left alone."""
        pat, now = held.pat, self.run.services.clock.now()
        if not self._by_hand and (pat.state is not ManagedPatState.ACTIVE or is_waiting(pat, now)):
            return None
        with self.run.services.database.read() as reading:
            longest = reading.limits.load().get((pat.account, pat.organization))
        decision = self.run.policy.decide(pat, now=now, longest=longest)
        return decision if self._by_hand or decision.verdict is Verdict.DUE else None

    def _rotate(self, held: ClaimedPat, decision: Decision) -> None:
        failure = decision.failure
        if failure is not None:
            raise PlanRefusedError(failure.message, code=failure.code, fix=failure.fix)
        if not self._by_hand:
            check_attempts(held)
        source = inspect_source(held, self.view, decision, by_hand=self._by_hand)
        if not self._by_hand and not self._turns.take(held.pat.name):
            self.report.add(PatOutcome.of(OutcomeKind.POSTPONED, held.pat))
            return
        begin_rotation(held, source, by_hand=self._by_hand)
        try:
            begin_mint(held, source, by_hand=self._by_hand)
        except PostponedError:
            self.report.add(PatOutcome.of(OutcomeKind.POSTPONED, held.pat))
            return
        with self.run.services.stop.finishing(self.run.services.timing.stop_within):
            value = mint_clone(held, source)
            verify_clone(held, self.view, value)
            store_value(held, value)
            confirm_stored(held, self.view, value)
        until = held.rotation.overlap_until
        self.report.add(PatOutcome.of(OutcomeKind.ROTATED, held.pat, decision=decision, overlap_until=until))
        notice_vault(self.run, held.pat, None)

    def _note_failure(self, held: ClaimedPat, error: RotatorError) -> None:
        blocked = isinstance(error, HUMAN_ERRORS)
        pat, now = held.pat, self.run.services.clock.now()
        self.report.add(PatOutcome.of_error(OutcomeKind.BLOCKED if blocked else OutcomeKind.FAILED, pat, error))
        noted = replace(
            pat,
            failures=pat.failures + 1,
            retry_at=_make_retry_at(self.run, pat.failures + 1, now),
            last_failure=Failure.of(error),
            blocked=blocked,
            hold=find_hold(error) or pat.hold,
        )
        event = RotationBlocked if blocked else RotationFailed
        held.save(noted, event(code=error.code, message=error.message))
        notice_vault(self.run, pat, error)


def _make_retry_at(run: RunContext, failures: int, now: datetime) -> datetime:
    timing = run.services.timing
    return now + make_backoff(failures, first=timing.first_retry, longest=timing.longest_retry)


def _make_internal(error: Exception) -> InternalError:
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
    return InternalError(
        f"a bug in rotator, {type(error).__name__} at {where}; the other PATs were processed",
        fix="Report it with the log of this run; the journal holds where it stopped.",
    )


def run_once(run: RunContext) -> RunReport:
    """One whole cycle over everything that has something to do."""
    cycle = Cycle(run)
    with cycle.until_stopped():
        with run.services.database.begin() as work:
            record_policy(run, work)
        found = reconcile(run, cycle.view)
        cycle.note_down(found)
        plan = make_plan(run)
        names = [action.pat.name for action in plan.actions if action.kind in CHANGES]
        names += sorted((found.changed | found.late_stores | _find_past_failures(plan)) - set(names))
        cycle.work_on(names, found)
    return cycle.report


def _find_past_failures(plan: Plan) -> set[str]:
    """The names of those that have nothing to do any more and still carry a failure that is to be tried again."""
    idle = (action.pat for action in plan.actions if action.kind is ActionKind.NONE)
    return {pat.name for pat in idle if pat.state is ManagedPatState.ACTIVE and has_past_failure(pat, plan.made_at)}


def recover_interrupted(run: RunContext) -> RunReport:
    """Bring every interrupted rotation to a safe end and undo what landed late; rotate and retire nothing."""
    cycle = Cycle(run, recover_only=True)
    with cycle.until_stopped():
        found = reconcile(run, cycle.view)
        cycle.note_down(found)
        names = [action.pat.name for action in make_plan(run).of_kind(ActionKind.RECOVER)]
        cycle.work_on(sorted({*names, *found.late, *found.late_stores}), found)
    return cycle.report


def rotate_by_hand(run: RunContext, names: list[str]) -> RunReport:
    """Rotate these ManagedPats now, due or not, blocked or not; the guardrails hold all the same."""
    cycle = Cycle(run, by_hand=True)
    with cycle.until_stopped():
        _check_rotatable(run, names)
        cycle.work_on(names, Reconciliation())
    return cycle.report


def _check_rotatable(run: RunContext, names: list[str]) -> None:
    with run.services.database.begin() as work:
        record_policy(run, work)
        for name in names:
            check_managed(work, name)
        overlapping = {r.name for r in work.journal.load_open() if r.state is RotationState.OVERLAPPING}
    for name in names:
        if name in overlapping:
            raise RotationError(
                f"{name} was rotated already and its old PAT is still in its overlap",
                code="overlap_not_over",
                fix=f"Wait for the overlap, or end it now with `rotator revoke {name} --previous`.",
            )
