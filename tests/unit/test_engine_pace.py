"""`guardrails.max_rotations_per_hour`: what the journal counts, who goes first, and who is not held back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Pat
from rotator.domain.plan import ActionKind
from rotator.domain.policy import Guardrails
from rotator.engine.context import Timing
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.pace import Turns
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind, RunReport
from rotator.errors import ClaimHeldError
from rotator.ports.claims import Claim
from rotator.ports.clock import Clock
from rotator.ports.database import UnitOfWork
from rotator.ports.permit import Permit
from rotator.ports.secret_store import SecretLocation, SecretVersion
from tests.support.engine import EngineWorld, make_world, names_of
from tests.support.engine_fakes import ScriptedPats
from tests.support.fake_secret_store import FakeSecretStore
from tests.support.policies import RULE, make_policy


def make_limited(*names: str, most: int) -> EngineWorld:
    """A world whose policy allows so many rotations an hour; all names are due."""
    policy = make_policy(RULE, guardrails=Guardrails(max_rotations_per_hour=most))
    return make_world(*names, policy=policy)


def rotated_in(report: RunReport) -> list[str]:
    """Who was rotated."""
    return names_of(report, OutcomeKind.ROTATED)


def test_rest_is_postponed_when_the_hour_has_its_most_rotations() -> None:
    world = make_limited("a", "b", "c", most=2)
    report = world.run()
    assert rotated_in(report) == ["a", "b"]
    assert names_of(report, OutcomeKind.POSTPONED) == ["c"]
    assert world.count("mint") == 2
    assert world.states("c") == []
    assert find_code_of_report(report) == 0


def test_limit_is_shared_when_several_runs_fall_into_one_hour() -> None:
    world = make_limited("a", "b", "c", "d", most=2)
    world.policy = make_policy(RULE, guardrails=Guardrails(max_rotations_per_hour=1))
    assert rotated_in(world.run()) == ["a"]
    world.policy = make_policy(RULE, guardrails=Guardrails(max_rotations_per_hour=2))
    world.advance(minutes=30)
    assert names_of(report := world.run(), OutcomeKind.POSTPONED) == ["c", "d"]
    assert rotated_in(report) == ["b"]
    world.advance(minutes=29, seconds=59)
    assert names_of(world.run(), OutcomeKind.POSTPONED) == ["c", "d"]
    world.advance(seconds=1)
    assert names_of(report := world.run(), OutcomeKind.POSTPONED) == ["d"]
    assert rotated_in(report) == ["c"]
    world.advance(minutes=30)
    assert rotated_in(world.run()) == ["d"]


def test_rotation_by_hand_is_not_held_back_and_counts_when_the_hour_is_full() -> None:
    world = make_limited("a", "b", "c", most=1)
    assert rotated_in(world.rotate("a", "b")) == ["a", "b"]
    report = world.run()
    assert (rotated_in(report), names_of(report, OutcomeKind.POSTPONED)) == ([], ["c"])
    world.advance(hours=1)
    assert rotated_in(world.run()) == ["c"]


def test_mint_counts_when_its_answer_was_lost() -> None:
    world = make_limited("a", "b", most=1)
    world.pats.fail("mint", after_effect=True)
    report = world.run()
    assert names_of(report, OutcomeKind.FAILED) == ["a"]
    assert names_of(report, OutcomeKind.POSTPONED) == ["b"]


def test_revocation_of_a_late_mint_is_not_counted_as_another_mint() -> None:
    world = make_limited("a", "b", most=2)
    world.pats.postpone_mint()
    world.run()
    world.advance(minutes=11)
    world.run()
    world.pats.apply_late()
    world.advance(hours=24)
    world.run()
    with world.database.begin() as work:
        assert work.journal.count_mints(world.clock.now().replace(year=2000), world.clock.now()) == 3
    assert world.count("mint") == 3


def test_plan_postpones_what_the_journal_leaves_no_place_for() -> None:
    world = make_limited("a", "b", "c", most=2)
    assert make_plan(world.make_run()).postponed == ("c",)
    world.rotate("a")
    plan = make_plan(world.make_run())
    assert [action.pat.name for action in plan.of_kind(ActionKind.ROTATE)] == ["b", "c"]
    assert plan.postponed == ("c",)
    world.rotate("b")
    assert make_plan(world.make_run()).postponed == ("c",)
    world.add_managed("first", days_left=1)
    assert make_plan(world.make_run()).postponed == ("first", "c")
    world.advance(hours=1)
    assert make_plan(world.make_run()).postponed == ()


class RivalStore(FakeSecretStore):
    """A vault that something else happens beside, once, while a run asks whether it may write."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.meanwhile: list[Callable[[], object]] = []

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        if self.meanwhile:
            self.meanwhile.pop()()
        return super().prove_writable(location, intent, permit=permit)


def test_nothing_is_minted_when_another_process_takes_the_last_place_meanwhile() -> None:
    world = make_limited("a", "b", most=1)
    world.secrets = rival = RivalStore(world.clock)
    rival.meanwhile.append(lambda: world.rotate("b"))
    report = world.run()
    assert (rotated_in(report), names_of(report, OutcomeKind.POSTPONED)) == ([], ["a"])
    assert world.count("mint") == 1
    assert [(r.state.value, r.failure and r.failure.code) for r in world.rotations("a")] == [("abandoned", "postponed")]
    record = world.record("a")
    assert (record.failures, record.last_failure, record.blocked) == (0, None, False)
    world.advance(hours=1)
    assert rotated_in(world.run()) == ["a"]


def test_limit_holds_when_two_runs_of_many_threads_race() -> None:
    names = [f"pat-{number:02}" for number in range(12)]
    world = make_limited(*names, most=5)
    world.max_parallel = 4
    world.database._lock_timeout = 30
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda _: world.run(), range(2)))
    rotated = [name for report in reports for name in rotated_in(report)]
    assert len(rotated) == len(set(rotated)) == world.count("mint") == 5


def test_nearest_expiries_get_the_places_when_threads_share_the_work() -> None:
    world = make_limited(most=3)
    for number in range(12):
        world.add_managed(f"pat-{number:02}", days_left=1 + number / 4)
    world.max_parallel = 8
    world.database._lock_timeout = 30
    report = world.run()
    assert sorted(rotated_in(report)) == ["pat-00", "pat-01", "pat-02"]
    assert len(names_of(report, OutcomeKind.POSTPONED)) == 10


def test_turn_waits_for_the_more_urgent_when_places_are_few() -> None:
    turns = Turns(["a", "b", "c"], 2)
    with ThreadPoolExecutor(1) as pool:
        last = pool.submit(turns.take, "c")
        assert turns.take("b")
        assert not last.done()
        turns.leave("a")
        assert last.result(timeout=30)


def test_turn_is_refused_when_the_more_urgent_took_every_place() -> None:
    turns = Turns(["a", "b", "c"], 1)
    with ThreadPoolExecutor(2) as pool:
        later = [pool.submit(turns.take, name) for name in ("b", "c")]
        assert turns.take("a")
        assert [future.result(timeout=30) for future in later] == [False, False]


def test_claim_is_renewed_while_a_turn_is_waited_for() -> None:
    renewed = threading.Event()
    turns = Turns(["a", "b"], 1, pulse=0.01)
    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(turns.take, "b", renewed.set)
        assert renewed.wait(30)
        turns.leave("a")
        assert later.result(timeout=30)


class TurnWatcher:
    """Tells when the thread that looks at `b` has renewed its claim."""

    def __init__(self, thread: dict[str, str]) -> None:
        self._thread = thread
        self.renewed = threading.Event()

    def meet(self, moment: str) -> None:
        """See the protocol."""

    def meet_transaction(self, work: UnitOfWork) -> None:
        """See the protocol."""

    def meet_commit(self, marks: list[str]) -> None:
        """See the protocol: a commit without a mark renews a claim."""
        if not marks and self._thread.get("b") == threading.current_thread().name:
            self.renewed.set()


class PacedPats(ScriptedPats):
    """Calls `look` with the id that is asked for."""

    def __init__(self, world: EngineWorld, look: Callable[[str], None]) -> None:
        super().__init__(world.clock)
        self.__dict__.update(vars(world.pats))
        self._look = look

    def fetch_pat(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """See the port."""
        self._look(authorization_id)
        return super().fetch_pat(account, organization, authorization_id)


def test_waiting_pat_keeps_its_claim_when_the_more_urgent_one_takes_longer_than_a_lease() -> None:
    world = make_limited("a", "b", most=1)
    world.max_parallel, world.timing = 2, Timing(lease=timedelta(milliseconds=300))
    world.database._lock_timeout = 30
    looked = threading.Event()
    threads: dict[str, str] = {}
    world.database.watcher = watcher = TurnWatcher(threads)
    first, second = world.record("a").authorization_id, world.record("b").authorization_id

    def look(identifier: str) -> None:
        if identifier == second:
            threads["b"] = threading.current_thread().name
            looked.set()
        elif identifier == first and not threads.get("done"):
            threads["done"] = "yes"
            assert looked.wait(30)
            for _ in range(3):
                watcher.renewed.clear()
                assert watcher.renewed.wait(30)
                world.advance(milliseconds=200)
            with pytest.raises(ClaimHeldError), world.database.begin() as work:
                work.claims.claim("b", "a rival", now=work.now(), span=world.timing.lease)

    world.pats = PacedPats(world, look)
    report = world.run()
    assert rotated_in(report) == ["a"]
    assert names_of(report, OutcomeKind.POSTPONED) == ["b"]
    assert names_of(report, OutcomeKind.FAILED, OutcomeKind.HELD) == []


def test_pat_is_held_and_not_failed_when_its_claim_is_lost_before_anything_was_sent() -> None:
    """Another run took it over meanwhile: it does the work."""
    world, taken = make_world("a"), list[Claim]()

    def take_over(_: str) -> None:
        world.advance(minutes=6)
        with world.database.begin() as work:
            taken.append(work.claims.claim("a", "a rival", now=work.now(), span=world.timing.lease))

    world.pats = PacedPats(world, take_over)
    report = world.run()
    assert (len(taken), names_of(report, OutcomeKind.HELD)) == (1, ["a"])
    assert names_of(report, OutcomeKind.FAILED) == []
    assert world.record("a").last_failure is None
    assert world.count("mint") == 0
