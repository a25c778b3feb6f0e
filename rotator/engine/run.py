"""One run: sign-ins refreshed, the server looked at, then each ManagedPat worked on under its claim."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

from rotator.domain.clocks import Verdict as ClockVerdict
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.next_step import Matter, choose
from rotator.domain.plan import CHANGES, Action, ActionKind, get_urgency
from rotator.domain.policy import Decision, Verdict
from rotator.engine.absence import find_unlisted
from rotator.engine.beginning import begin_run
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.clocks import is_urgent, make_skew_error, notice_clocks, reckon, redate
from rotator.engine.context import RunContext, RunMode
from rotator.engine.failover import reconcile_timeline
from rotator.engine.forgotten import close_forgotten
from rotator.engine.holds import find_next_hold, is_only_asked, list_cleared, make_failure_event, make_retry_at
from rotator.engine.in_force import load_in_force, put_in_force
from rotator.engine.isolating import naming_bugs
from rotator.engine.listing import ServerView
from rotator.engine.lives import watch_silent
from rotator.engine.moments import read_clocks
from rotator.engine.pace import Turns, count_places
from rotator.engine.queue import leave_held, load_due, load_matters
from rotator.engine.reconciling import Pair, Reconciliation, look_at, reconcile
from rotator.engine.report import OutcomeFields, OutcomeKind, OutcomeReason, PatOutcome, RunReport, RunSkewedError
from rotator.engine.revoking import confirm_requested, load_pending
from rotator.engine.silence import Silences
from rotator.engine.still_overlapping import check_overlap, leave_out
from rotator.engine.subjects import find_place_down
from rotator.engine.taking_over import take_over
from rotator.engine.vaults import VaultNotes
from rotator.engine.wishes import drop_move, drop_wish, is_refused_update, prove_reachable
from rotator.engine.working import PatWork
from rotator.errors import (
    ClaimHeldError,
    ClockSkewError,
    DatabaseError,
    DeniedError,
    ForeignValueError,
    ForeignWriteError,
    NotManagedError,
    PlanRefusedError,
    RejectedError,
    RotatorError,
    StoppedError,
)
from rotator.ports.claims import Claim

_MENDS = frozenset({ActionKind.ROTATE, ActionKind.RECOVER})
HUMAN_ERRORS = (PlanRefusedError, RejectedError, DeniedError, ForeignValueError, ForeignWriteError)


class Run:
    """One run: what it looked at, whom it works on, and what came of it. One PAT's failure never stops the next."""

    def __init__(self, run: RunContext) -> None:
        self.vaults = VaultNotes(run)
        self.run = run = self.vaults.run
        self.view = ServerView(run, remembers=True)
        self.silences = Silences(max(2, run.services.max_parallel))
        self.report = RunReport(run.run_id)
        self._down: set[Pair] = set()
        self.begun: dict[str, Claim] = {}  # the claims that this run has already, by name
        self._began_at = run.services.clock.now()

    @contextmanager
    def until_stopped(self) -> Iterator[None]:
        """End what is inside on a stop; the report keeps what was done until then, and says that it was stopped."""
        try:
            yield
        except StoppedError:
            self.report.is_stopped = True

    def work_on(self, names: list[str], found: Reconciliation) -> None:
        """Work on each ManagedPat, the most urgent first, `max_parallel` at a time in threads of their own."""
        self._work_on(names, found)
        for vault, answered in self.vaults.list_working():
            try:
                self.vaults.end(vault, answered)
            except StoppedError:
                return  # the next run does it: what was to be done here is done
            except DatabaseError as error:
                self.report.add(PatOutcome(OutcomeKind.FAILED, vault, "", "", failure=Failure.of(error)))

    def _work_on(self, names: list[str], found: Reconciliation) -> None:
        services = self.run.services
        with services.database.read() as reading:
            places = count_places(reading, self.run.policy.guardrails, services.clock.now())
            pats = [pat for pat in map(reading.inventory.load, names) if pat is not None]
        turns = Turns([pat.name for pat in pats], places, services.timing.lease.total_seconds() / 3)
        work = PatWork(self.run, self.view, self.report, found, turns)
        if services.max_parallel == 1:
            for pat in pats:
                self._take_turn(pat, turns, work)
            return
        pool = ThreadPoolExecutor(max_workers=services.max_parallel, thread_name_prefix="pat")
        try:
            futures = [pool.submit(self._take_turn, pat, turns, work) for pat in pats]
            for future in futures:
                future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def guard_clocks(self, names: Sequence[str] | None = None) -> None:
        """Raise ClockSkewError when the host's clock is wrong; first rotate what cannot wait, of these names or all.

        That is reckoned by the witnesses' time. The error tells what came of it, and has the report.
        """
        verdict, before = notice_clocks(self.run), len(self.report.outcomes)
        if verdict.is_wrong:
            self._work_by_witnesses(verdict, names)
            raise RunSkewedError(make_skew_error(verdict, self.report.outcomes[before:]), self.report)

    def catch_up(self) -> None:
        """Rotate what cannot wait, by the witnesses' time, if the host's clock was set wrong during the run."""
        with self.run.services.database.read() as reading:
            if not read_clocks(self.run, reading).is_wrong:
                return
        if (verdict := notice_clocks(self.run)).is_wrong:
            self._work_by_witnesses(verdict, None)

    def _work_by_witnesses(self, verdict: ClockVerdict, names: Sequence[str] | None) -> None:
        """Rotate what cannot wait, of these names or all, by a clock that the witnesses put right."""
        for reckoned in reckon(self.run, verdict):
            other = Run(reckoned)
            other.report = self.report
            other.work_on(_list_urgent(reckoned, names), Reconciliation())

    def reconcile_timeline(self) -> None:
        """After a failover of the database, see which records are older than their secrets, and report those."""
        reconcile_timeline(self.run, self._note_failure)

    def listen(self, names: Sequence[str]) -> None:
        """Ask the services about these ManagedPats' accounts, so that their clocks are heard.

        What does not answer is asked again when its ManagedPat is worked on, and fails that.
        """
        with self.run.services.database.read() as reading:
            pats = [pat for pat in map(reading.inventory.load, names) if pat is not None]
        for account, organization in sorted({(pat.next_account, pat.organization) for pat in pats}):
            try:
                with naming_bugs():
                    self.view.fetch_identity(account, organization)
            except RotatorError as error:
                self.view.note_error(account, organization, error)

    def close_forgotten(self) -> None:
        """Close and report the rotations whose record is gone."""
        for rotation in close_forgotten(self.run):
            self.report.add(PatOutcome.of_forgotten(rotation))

    def note_down(self, found: Reconciliation) -> None:
        """Report the accounts and organizations that could not be looked at. What changed there is reported already."""
        self.report.is_down, self._down = bool(found.down), set(found.down)
        for (account, organization), error in found.down.items():
            self.report.add(PatOutcome.of_down(account, organization, error))

    def take_over(self, found: Reconciliation) -> None:
        """Take over what a rule asks for. What goes wrong is reported, and stops no rotation but for the database's."""
        try:
            with naming_bugs():
                taken = take_over(self.run, self.view, found)
        except DatabaseError:
            raise
        except RotatorError as error:
            self.report.add(PatOutcome(OutcomeKind.FAILED, "policy", "", "", failure=Failure.of(error)))
            return
        for proposal in taken.adopted:
            decision = Decision(Verdict.NOT_DUE, proposal.rule)
            self.report.add(PatOutcome.of(OutcomeKind.ADOPTED, proposal.record, decision=decision))
        for (listing, pat), failure in taken.unreadable:
            self.report.add(PatOutcome.of_unread(pat, listing.account, listing.organization, failure))
        for (account, organization), down in taken.down.items():
            self.report.add(PatOutcome.of_down(account, organization, down))

    def confirm_revocations(self, names: Collection[str] | None = None) -> None:
        """See what the revocations of this run came to; report those that are not proven, of `names` or of all."""
        with suppress(StoppedError):  # what was to be done here is done: after a stop the next run looks
            self._confirm_revocations(names)

    def _confirm_revocations(self, names: Collection[str] | None) -> None:
        confirm_requested(self.run, self.view, self._began_at)
        for item in load_pending(self.run):
            with self.run.services.database.read() as reading:
                pat = reading.inventory.load(item.name)
            if pat is not None and item.belongs_to(pat) and (names is None or pat.name in names):
                fields = OutcomeFields(
                    reason=OutcomeReason.REVOCATION_UNCONFIRMED,
                    rotation_id=item.rotation_id,
                    pending_id=item.authorization_id,
                )
                self.report.add(PatOutcome.of(OutcomeKind.SETTLING, pat, **fields))

    def _take_turn(self, pat: ManagedPat, turns: Turns, work: PatWork) -> None:
        try:
            self._isolate(pat, work)
        finally:
            turns.leave(pat.name)

    def _isolate(self, pat: ManagedPat, work: PatWork) -> None:
        """Work on one PAT; whatever goes wrong, the database included, fails that PAT alone."""
        try:
            with naming_bugs():
                lost = prove_reachable(self.run, self.view, pat)
                with claimed(self.run, pat.name, self.begun.get(pat.name)) as held:
                    if lost is not None:
                        drop_move(held, pat, lost)
                    pat = held.pat
                    self._guarded(held, work)
        except ClaimHeldError:
            self.report.add(PatOutcome.of(OutcomeKind.HELD, pat))
        except NotManagedError as error:
            # Forgotten since this run was planned: there is nothing left to do, unless a person named it.
            if self.run.mode is RunMode.BY_HAND:
                self.report.add(PatOutcome.of_error(OutcomeKind.FAILED, pat, error))
        except RotatorError as error:
            self.report.add(
                PatOutcome.of_error(OutcomeKind.FAILED, pat, error, find_place_down(pat, error, self._down))
            )

    def _guarded(self, held: ClaimedPat, work: PatWork) -> None:
        """Work on one claimed PAT. Whatever goes wrong is noted on its record, except a fault of the database."""
        try:
            with naming_bugs(), self.vaults.seeing_written(held):
                self.silences.check(held)
                work.work(held)
            self.silences.note_success(held.pat)
        except DatabaseError:
            raise
        except ClockSkewError as error:
            # Nothing is noted on the record: the time to try again would be a wrong one.
            failed = PatOutcome.of_error(OutcomeKind.FAILED, held.pat, error)
            self.report.add(replace(failed, reason=OutcomeReason.CLOCK_SKEWED))
        except RotatorError as error:
            self.view.note_error(held.pat.next_account, held.pat.organization, error)
            self.silences.note_error(held.pat, error)
            self._note_failure(held, error)

    def _note_failure(self, held: ClaimedPat, error: RotatorError) -> None:
        blocked = isinstance(error, HUMAN_ERRORS)
        pat, now, kind = held.pat, self.run.services.clock.now(), OutcomeKind.BLOCKED if blocked else OutcomeKind.FAILED
        place = find_place_down(pat, error, self._down)
        self.report.add(PatOutcome.of_error(kind, pat, error, place))
        if blocked and is_refused_update(held, error):
            drop_wish(held, error)
            return
        if is_only_asked(held, error):
            return
        noted = replace(pat, failures=pat.failures + 1, retry_at=make_retry_at(pat, now))
        held.note_answer(error.answer_ids)
        if place and pat.blocked and not blocked:
            held.save(noted)  # what is down is told separately, and does not show that what needs a person is over
        else:
            noted = replace(noted, last_failure=Failure.of(error), blocked=blocked, hold=find_next_hold(pat, error))
            event = find_unlisted(held, error) or make_failure_event(error, blocked=blocked, down=place)
            held.save(noted, *list_cleared(pat, error), event)
        self.vaults.note_error(pat, error)


def run_once(run: RunContext) -> RunReport:
    """Look everywhere, and work on what that found and on everything else that has something to do."""
    return _look_and_work(run, lambda: [*load_due(run), *_load_interrupted(run)])


def work_on_look(run: RunContext) -> RunReport:
    """Look everywhere, and work on what that found. What is due by the queue is left to `work_on_due`."""
    return _look_and_work(run, list)


def _look_and_work(run: RunContext, load: Callable[[], list[Matter]]) -> RunReport:
    this = Run(run)
    with this.until_stopped():
        begin_run(run)
        watch_silent(run)
        this.close_forgotten()
        found = reconcile(run, this.view)
        this.note_down(found)
        this.reconcile_timeline()
        this.guard_clocks()
        this.take_over(found)
        names = _order(run, load())
        this.work_on([*names, *sorted(found.names - set(names))], found)
        this.catch_up()
        this.confirm_revocations()
        redate(run)
    return this.report


def work_on_due(run: RunContext) -> RunReport:
    """Work on what is due by the queue and nobody works on. If nothing is, nobody is asked and nothing is written."""
    this = Run(run)
    with this.until_stopped():
        begin_run(run)
        _work_on_matters(run, this, leave_held(run, load_due(run)))
    return this.report


def work_on_named(run: RunContext, names: Sequence[str]) -> RunReport:
    """Look where these ManagedPats are, due or not, and work on what that found."""
    this = Run(run)
    with this.until_stopped():
        with run.services.database.read() as reading:
            matters = load_matters(reading, reading.inventory.load_named(names))
        _work_on_matters(run, this, matters)
    return this.report


def _work_on_matters(run: RunContext, this: Run, matters: Sequence[Matter]) -> None:
    if not matters:
        return
    found = look_at(run, this.view, matters)
    this.note_down(found)
    this.reconcile_timeline()
    this.guard_clocks()
    names = _order(run, matters)
    this.work_on(names, found)
    this.catch_up()
    this.confirm_revocations(names)


def _order(run: RunContext, matters: Iterable[Matter]) -> list[str]:
    """Return the names of what is due, each once: the most urgent changes first, then what is only to be looked at."""
    now = run.services.clock.now()
    with run.services.database.read() as reading:
        limits, policy = reading.limits.load(), put_in_force(reading, run.policy)
    changes, others = list[Action](), list[str]()
    for matter in {matter.pat.name: matter for matter in matters}.values():
        action = choose(matter, policy, limits, now)
        if action.kind in CHANGES:
            changes.append(action)
        else:
            others.append(matter.pat.name)
    return [*(action.pat.name for action in sorted(changes, key=get_urgency)), *sorted(others)]


def _load_interrupted(run: RunContext) -> list[Matter]:
    """Load what is to be recovered, settled or not: the rotations that are not finished and not in their overlap."""
    now = run.services.clock.now()
    with run.services.database.read() as reading:
        names = [rotation.name for rotation in reading.journal.load_open()]
        matters = load_matters(reading, filter(None, map(reading.inventory.load, names)))
    return [matter for matter in matters if choose(matter, run.policy, {}, now).kind is ActionKind.RECOVER]


def _list_urgent(run: RunContext, names: Sequence[str] | None) -> list[str]:
    """Return what cannot wait until the clock is set: of what is due, or of these names."""
    now = run.services.clock.now()
    if names is None:
        due = [matter for matter in load_due(run) if is_urgent(matter.pat.as_ending(), now)]
        policy = load_in_force(run)
        return _order(run, [matter for matter in due if choose(matter, policy, {}, now).kind in _MENDS])
    with run.services.database.read() as reading:
        pats = [pat.as_ending() for pat in map(reading.inventory.load, names) if pat is not None]
    return [pat.name for pat in pats if is_urgent(pat, now)]


def recover_interrupted(run: RunContext) -> RunReport:
    """Bring every interrupted rotation to a safe end and undo what took effect late; rotate and retire nothing."""
    this = Run(replace(run, mode=RunMode.RECOVER))
    with this.until_stopped():
        this.close_forgotten()
        found = reconcile(run, this.view)
        this.note_down(found)
        this.reconcile_timeline()
        this.guard_clocks([])
        names = [matter.pat.name for matter in _load_interrupted(run)]
        pending = {item.name for item in found.revocations.alive if not item.is_detached}
        this.work_on(sorted({*names, *found.late, *found.late_stores, *pending}), found)
        this.confirm_revocations()
    return this.report


def rotate_by_hand(run: RunContext, names: list[str]) -> RunReport:
    """Rotate these ManagedPats now, due or not, blocked or not. The guardrails still apply."""
    this = Run(replace(run, mode=RunMode.BY_HAND))
    with this.until_stopped():
        begin_run(run)
        refused = check_overlap(run, names)
        for outcome in refused:
            this.report.add(outcome)
        asked = list(leave_out(names, refused))
        this.listen(asked)
        this.guard_clocks(asked)
        this.work_on(asked, Reconciliation())
        this.confirm_revocations(asked)
    return this.report
