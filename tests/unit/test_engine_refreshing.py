"""A sign-in is kept fresh, and a refusal is remembered: nothing is asked in vain, and everything says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.logs import make_progress
from rotator.cli.output.status import (
    list_status_rows,
    render_forecasts,
    render_status_head,
    render_status_notes,
)
from rotator.domain.next_step import NextAction
from rotator.domain.policy import RuleAction
from rotator.domain.sign_in import SignInMemory
from rotator.engine.alarm import Alarm, Tolerance, find_findings, judge
from rotator.engine.auditing import Author
from rotator.engine.jobs import find_next_moment, refresh_sign_ins
from rotator.engine.noticing import Seen, notice
from rotator.engine.report import OutcomeKind
from rotator.engine.run_memory import load_run_times
from rotator.engine.signing_in import Forecast, SignInDesk, SignInSight, make_account_status
from rotator.engine.status import PatState, load_needed
from rotator.errors import SignInRequiredError, TransientError
from rotator.ports.sign_in import SignInStatus
from tests.support.engine import ACCOUNT, NAME, EngineWorld, make_world
from tests.support.engine_fakes import PersonsSignIn
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY

REVOKED = SignInRequiredError(
    f"account {ACCOUNT}: revoked (AADSTS50173)", account=ACCOUNT, code="sign_in_revoked", fix="Run it."
)
FREQUENCY = SignInRequiredError(f"account {ACCOUNT}: ended", account=ACCOUNT, code="sign_in_frequency", fix="Run it.")


def load_memory(world: EngineWorld) -> SignInMemory:
    """What is remembered of the account's sign-in."""
    with world.database.read() as reading:
        return reading.sign_ins.load(ACCOUNT)


def make_refused(generation: str = "1") -> EngineWorld:
    """A world whose account was refused in a run; the token cache stays as it is."""
    world = make_world()
    world.sign_in.generations[ACCOUNT] = generation
    world.sign_in.refusals[ACCOUNT] = REVOKED
    world.run()
    return world


def count_asked(world: EngineWorld) -> int:
    """How often Entra was asked for the account."""
    return world.sign_in.calls.count(ACCOUNT)


def test_refused_account_is_left_alone_for_six_hours() -> None:
    """Nothing is asked of Entra or of Azure DevOps, each run says why, and it is told once."""
    world = make_refused()
    before = len(world.pats.calls)
    for _ in range(5):
        world.advance(hours=1)
        report = world.run()
        refresh_sign_ins(world.make_run())
        assert next(outcome.failure.code for outcome in report.outcomes if outcome.failure) == "sign_in_revoked"
    assert (count_asked(world), len(world.pats.calls)) == (1, before)
    world.advance(hours=1)
    world.run()
    assert count_asked(world) == 2
    assert [name for name, _ in world.told].count("sign_in_lapsed") == 1
    assert world.events(ACCOUNT) == ["sign_in_lapsed failed"]


def test_refused_account_is_asked_again_when_the_token_cache_has_another_sign_in() -> None:
    world = make_refused()
    world.sign_in.refusals.clear()
    world.run()
    assert count_asked(world) == 1
    world.sign_in.generations[ACCOUNT] = "2"
    world.run()
    assert (count_asked(world), load_memory(world).refusal) == (2, None)
    assert world.events(ACCOUNT) == ["sign_in_lapsed failed", "sign_in_restored succeeded"]
    assert world.states() == ["overlapping"]


def test_person_who_names_a_pat_has_its_account_asked_at_once() -> None:
    world = make_refused()
    world.sign_in.refusals.clear()
    world.rotate(NAME)
    assert world.states() == ["overlapping"]


def test_account_that_azure_devops_refuses_is_left_alone_too() -> None:
    world = make_world()
    world.sign_in.generations[ACCOUNT] = "1"
    world.pats.fail("fetch_pats", REVOKED)
    world.run()
    before = len(world.pats.calls)
    world.advance(hours=1)
    world.run()
    assert len(world.pats.calls) == before
    assert load_memory(world).refusal is not None


def test_entra_that_cannot_be_asked_pauses_nothing() -> None:
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = TransientError("busy", service="entra", operation="refresh")
    for _ in range(3):
        world.run()
    assert (count_asked(world), load_memory(world)) == (3, SignInMemory(ACCOUNT))


def test_sign_in_that_ends_is_warned_of_once_at_each_step() -> None:
    """By the refresh job too; a new sign-in begins anew."""
    world = make_world()
    began = world.clock.now()
    with world.database.begin() as work:
        work.sign_ins.save(SignInMemory(ACCOUNT, interactive_at=began, refreshed_at=began, lifespan=30 * DAY))
    told = []
    for _ in range(29 * 4):
        world.advance(hours=6)
        world.sign_in.refreshed_at[ACCOUNT] = world.clock.now()
        refresh_sign_ins(world.make_run())
    told = [line["days"] for name, line in world.told if name == "sign_in_end_foreseen"]
    assert told == [21, 7, 1]
    assert world.events(ACCOUNT) == ["sign_in_end_foreseen unknown"] * 3


@pytest.mark.parametrize("ahead", [400 * DAY, 20 * DAY, -400 * DAY])
def test_wrong_clock_neither_teaches_nor_unteaches(ahead: timedelta) -> None:
    """Neither by a refresh nor by a refusal, and it warns of no end. What is known afterwards is what was before."""
    world = make_world()
    now = world.clock.now()
    learned = SignInMemory(ACCOUNT, interactive_at=now - 10 * DAY, refreshed_at=now, lifespan=30 * DAY)
    with world.database.begin() as work:
        work.sign_ins.save(learned)
    world.host_clock.ahead = ahead
    world.sign_in.refreshed_at[ACCOUNT] = now + ahead
    refresh_sign_ins(world.make_run())
    assert load_memory(world) == learned
    world.sign_in.refusals[ACCOUNT] = FREQUENCY
    refresh_sign_ins(world.make_run())
    assert (load_memory(world).lifespan, load_memory(world).refreshed_at) == (30 * DAY, now)
    assert load_memory(world).refusal is not None
    world.sign_in.refusals.clear()
    refresh_sign_ins(world.make_run())
    assert load_memory(world) == learned
    world.host_clock.ahead = timedelta(0)
    world.advance(hours=1)
    world.sign_in.refreshed_at[ACCOUNT] = world.clock.now()
    refresh_sign_ins(world.make_run())
    assert load_memory(world) == replace(learned, refreshed_at=now + timedelta(hours=1), warned_days=21)


@pytest.mark.parametrize("is_renewed", [True, False])
def test_time_that_a_fast_clock_has_written_counts_no_more(is_renewed: bool) -> None:
    """In the database, and in the token cache until Entra is asked again."""
    world = make_world()
    now = world.clock.now()
    with world.database.begin() as work:
        later = now + 400 * DAY
        work.sign_ins.save(SignInMemory(ACCOUNT, interactive_at=later, refreshed_at=later, lifespan=30 * DAY))
    world.sign_in.refreshed_at[ACCOUNT] = now if is_renewed else later
    refresh_sign_ins(world.make_run())
    expected = SignInMemory(ACCOUNT, refreshed_at=now if is_renewed else None, lifespan=30 * DAY)
    assert load_memory(world) == expected


def test_sign_in_by_a_person_under_a_slow_clock_is_not_dated() -> None:
    """Else the next refresh would seem to outlive every sign-in before, and its end to show how long they last."""
    world = make_world()
    with world.database.begin() as work:
        work.sign_ins.save(SignInMemory(ACCOUNT, lifespan=30 * DAY))
    run = world.make_run()
    desk = SignInDesk(
        world.database, world.host_clock, world.witnesses, PersonsSignIn(), Author("anna", "1", make_progress())
    )
    for ahead in (-400 * DAY, 400 * DAY, timedelta(0)):
        world.host_clock.ahead = ahead
        desk.sign_in(ACCOUNT, "browser", lambda sign_ins: sign_ins.status(ACCOUNT))
        at = None if ahead else world.clock.now()
        assert load_memory(world) == SignInMemory(ACCOUNT, interactive_at=at, refreshed_at=at, lifespan=30 * DAY)
        world.host_clock.ahead = timedelta(0)
        world.sign_in.refreshed_at[ACCOUNT] = world.clock.now()
        refresh_sign_ins(run)
        assert load_memory(world).lifespan == 30 * DAY


def test_status_says_once_what_waits_for_a_sign_in() -> None:
    world = make_refused()
    world.add_managed("later", days_left=20)
    world.add_managed("other", account="release-bot", days_left=20)
    rows, now = world.show_status(), world.clock.now()
    states = {row.name: (row.state, row.next_action) for row in rows}
    waits = (PatState.BLOCKED, NextAction.SIGN_IN)
    assert states == {NAME: waits, "later": waits, "other": (PatState.OK, NextAction.ROTATE)}
    assert {row.last_error.code for row in rows if row.last_error} == {"sign_in_required"}
    with world.database.read() as reading:
        conditions, needed, runs = reading.conditions.load(), load_needed(reading), load_run_times(reading)
    assert list(render_status_head(runs, conditions, now, needed, rows)) == [
        "build-bot must sign in again (AADSTS50173, since 2026-11-27 09:00Z): 2 PATs wait, the first expires in "
        "5 days.",
        "    fix: Run it.",
        "No run has succeeded yet.",
    ]
    assert list(render_status_notes(rows)) == []
    assert find_next_moment(world.make_run()) is not None  # that of the other account
    assert (
        judge(find_findings(rows, [], conditions, runs, now, Tolerance(timedelta(hours=3)))) is Alarm.ATTENTION
    )  # no run ever began
    world.advance(days=10)
    expired = {row.name: row.state for row in world.show_status()}
    assert expired == {NAME: PatState.EXPIRED, "later": PatState.BLOCKED, "other": PatState.OK}


def test_nobody_signs_in_again_who_never_did() -> None:
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("nobody is signed in", account=ACCOUNT, code="not_signed_in")
    world.run()
    with world.database.read() as reading:
        head = render_status_head(
            load_run_times(reading), reading.conditions.load(), world.clock.now(), load_needed(reading)
        )
        assert next(head).startswith("build-bot must sign in (not signed in, since ")


@pytest.mark.parametrize(
    ("generation", "refused", "is_signed_in"), [("1", True, False), ("2", True, True), ("1", False, True)]
)
def test_nobody_is_called_signed_in_whom_entra_refused(generation: str, refused: bool, is_signed_in: bool) -> None:
    """Unless the token cache holds another sign-in since."""
    world = make_refused("1") if refused else make_world()
    status = SignInStatus(ACCOUNT, "build-bot@contoso.com", refreshed_at=world.clock.now(), generation=generation)
    sight = SignInSight(status, load_memory(world))
    assert sight.is_signed_in(world.clock.now()) is is_signed_in
    assert SignInSight(None, load_memory(world)).is_signed_in(world.clock.now()) is (False if refused else None)


def test_status_forecasts_what_falls_due_before_a_sign_in_ends() -> None:
    world = make_world(NAME, "second")
    world.add_managed("later", days_left=29)
    now = world.clock.now()
    memory = SignInMemory(ACCOUNT, interactive_at=now - 24 * DAY, refreshed_at=now, lifespan=30 * DAY)
    account = make_account_status(SignInSight(None, memory), world.show_status())
    assert account.forecast == Forecast(due_before=2, due_after=1)
    assert list(render_forecasts([account], now)) == [
        "The sign-in of build-bot ends in 6 days (2026-12-03 09:00Z): 2 PATs fall due before that, 1 after it.",
        "    fix: Sign in before then: `rotator login build-bot`.",
    ]


def test_refresh_job_finds_what_a_cached_token_hides() -> None:
    """A run uses the token that there is; the job asks Entra for another one."""
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = REVOKED
    world.sign_in.cached.add(ACCOUNT)
    world.run()
    assert load_memory(world).refusal is None
    refresh_sign_ins(world.make_run())
    assert load_memory(world).refusal is not None
    assert [name for name, _ in world.told].count("sign_in_lapsed") == 1


def test_pat_to_be_replaced_by_hand_says_so_although_its_account_must_sign_in() -> None:
    """The person who signs in does not replace it, and a check must not keep silent about it."""
    world = make_world(policy=make_policy(replace(RULE, action=RuleAction.ALERT)))
    world.sign_in.refusals[ACCOUNT] = REVOKED
    world.run()
    [row] = [row for row in world.show_status() if row.name == NAME]
    assert row.last_error is not None
    assert (row.next_action, row.last_error.code) == (NextAction.REPLACE_BY_HAND, "sign_in_required")
    assert next(list_status_rows([row], world.clock.now()))[-1] == "replace by hand, sign in"
    assert list(render_status_notes([row])) == []


def test_cached_token_ends_no_refusal() -> None:
    """Neither in a command by hand nor in a run that began before the refusal was met."""
    world = make_world()
    world.sign_in.refusals[ACCOUNT] = REVOKED
    world.sign_in.cached.add(ACCOUNT)
    refresh_sign_ins(world.make_run())
    assert not world.rotate(NAME).of_kind(OutcomeKind.ROTATED)
    assert load_memory(world).refusal is not None
    notice(world.make_run(), Seen({}, {(ACCOUNT, ""): ()}, frozenset(), ()))
    assert [name for name, _ in world.told] == ["sign_in_lapsed", "policy_changed"]
    world.sign_in.refusals.clear()
    world.sign_in.generations[ACCOUNT] = "2"
    world.run()
    assert load_memory(world).refusal is None
    assert "sign_in_restored" in [name for name, _ in world.told]


def test_token_at_hand_is_no_refresh_when_entra_cannot_be_asked() -> None:
    """The job says so, and nothing is believed of the sign-in. The account is not down: the token will do."""
    world = make_world()
    world.sign_in.unasked.add(ACCOUNT)
    accounts = len(world.accounts)
    result = refresh_sign_ins(world.make_run())
    assert (result.counts, result.exit_code) == ({"refreshed": accounts - 1, "failed": 1}, 1)
    assert (result.is_down, world.events(ACCOUNT)) == (True, [])
    world.sign_in.unasked.clear()
    result = refresh_sign_ins(world.make_run())
    assert (result.counts, result.exit_code, result.is_down) == ({"refreshed": accounts, "failed": 0}, 0, False)


def test_token_at_hand_ends_no_refusal_when_entra_cannot_be_asked() -> None:
    world = make_refused()
    world.sign_in.refusals.clear()
    world.sign_in.unasked.add(ACCOUNT)
    world.advance(hours=7)
    refresh_sign_ins(world.make_run())
    assert load_memory(world).refusal is not None
    assert world.events(ACCOUNT) == ["sign_in_lapsed failed"]
