"""The figures for monitoring: what our own records say, and nothing that has gone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from math import inf

import pytest

from rotator.adapters.request_counter import ProcessRequestCounter
from rotator.domain.clocks import HOST
from rotator.domain.events.event import Event
from rotator.domain.events.inventory import PatLeftBehind
from rotator.domain.events.places import (
    AccountDown,
    AuditBroken,
    ClockDoubted,
    OrganizationDown,
    OrganizationRestored,
    SignInLapsed,
    SignInRestored,
    VaultDown,
)
from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, JobRun
from rotator.domain.measurements import JobFigures, Measurements, PatFigures, SourceKind
from rotator.domain.pending_revocation import TELL_AFTER
from rotator.domain.policy import Match, RuleAction
from rotator.domain.request_count import RequestOutcome
from rotator.engine.auditing import record
from rotator.engine.jobs import refresh_sign_ins, verify_audit
from rotator.engine.keeping import pause
from rotator.engine.measuring import RotationTally, find_unready, measure, save_requests
from rotator.engine.periods import do_in_period
from rotator.engine.run import run_once
from rotator.engine.run_memory import run_and_remember
from rotator.engine.status_memory import StatusMemory
from rotator.errors import SignInRequiredError
from rotator.ports.sign_in import SignInStatus
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, OVERLAP, VAULT, EngineWorld, make_world
from tests.support.engine_fakes import CommitFault
from tests.support.policies import RULE, make_policy

NOBODY: tuple[SignInStatus, ...] = ()


def measure_world(world: EngineWorld, *sign_ins: SignInStatus, tally: RotationTally | None = None) -> Measurements:
    """Measure now."""
    return measure(world.make_run(), world.database, sign_ins, tally or RotationTally(), StatusMemory())


def make_small_world() -> EngineWorld:
    """One account, in one organization."""
    world = make_world()
    world.accounts = (replace(world.accounts[0], organizations=(ORGANIZATION,)),)
    return world


def work(world: EngineWorld) -> None:
    """One run of `rotator once`, remembered."""
    run_and_remember(world.make_run(), run_once)


def tell(world: EngineWorld, subject: str, event: Event) -> None:
    """Record that this happened, which begins a condition."""
    with world.database.begin() as unit:
        record(unit, world.make_run(), subject, event, world.clock.now())


def find_job(measured: Measurements, job: JobName) -> JobFigures:
    """The figures of one job."""
    [found] = [found for found in measured.jobs if found.job is job]
    return found


def list_down(measured: Measurements) -> list[tuple[SourceKind, str]]:
    """The sources that are down."""
    return [(found.kind, found.source) for found in measured.sources if not found.is_up]


def test_pat_has_the_word_of_status_its_expiry_and_when_it_is_due() -> None:
    """What is forgotten has no figures any more."""
    world = make_world()
    world.add_managed("fresh", days_left=20)
    rows = {row.name: row for row in world.show_status()}
    measured = measure_world(world)
    assert measured.pats == tuple(
        PatFigures(name, ACCOUNT, ORGANIZATION, rows[name].state.value, rows[name].expires_at, rows[name].rotate_after)
        for name in ("fresh", NAME)
    )
    assert [pat.state for pat in measured.pats] == ["ok", "due"]
    ids = [world.record(name).record_id for name in ("fresh", NAME)]
    assert [pat.name for pat in measured.hide_names().pats] == ids
    assert None not in ids
    work(world)
    assert [pat.state for pat in measure_world(world).pats] == ["ok", "overlapping"]
    world.forget("fresh")
    assert [pat.name for pat in measure_world(world).pats] == [NAME]


def test_pat_whose_account_must_sign_in_has_the_word_of_status() -> None:
    """Blocked, unless it has another reason to be left alone, or a person replaces it anyway."""
    by_hand = replace(RULE, name="by-hand", match=Match(display_name="manual"), action=RuleAction.ALERT)
    world = make_world(policy=make_policy(by_hand, RULE))
    world.add_managed("fresh", days_left=20)
    world.add_managed("manual", days_left=5)
    world.add_managed("paused", days_left=5)
    world.add_managed("late", days_left=0.5)
    world.add_managed("other", account="release-bot", days_left=20)
    pause(world.make_run(), "paused")
    tell(world, ACCOUNT, SignInLapsed(code="x"))
    world.clock.advance(timedelta(days=1))
    found = {pat.name: pat.state for pat in measure_world(world).pats}
    assert found == {row.name: row.state.value for row in world.show_status()}
    assert found == {
        NAME: "blocked",
        "fresh": "blocked",
        "manual": "due",
        "paused": "paused",
        "late": "expired",
        "other": "ok",
    }


def test_rotations_are_counted_since_the_beginning() -> None:
    """By what the audit log tells, whoever did them; a tally that goes on counts what one that begins anew counts."""
    world, tally = make_world(), RotationTally()
    nothing = dict.fromkeys(("completed", "abandoned", "failed", "blocked", "frozen", "closed"), 0)
    assert measure_world(world, tally=tally).rotations == nothing
    work(world)
    assert measure_world(world, tally=tally).rotations == nothing
    world.clock.advance(OVERLAP)
    work(world)
    world.pats.organizations[ORGANIZATION].mint_error = "invalidScope"
    world.add_managed("other")
    work(world)
    expected = {**nothing, "completed": 1, "abandoned": 1, "blocked": 1}
    for _ in range(2):
        assert measure_world(world, tally=tally).rotations == expected
    assert measure_world(world).rotations == expected


def test_rotations_are_counted_anew_when_an_older_database_is_there() -> None:
    """A backup was restored under a running daemon."""
    older, tally = make_world(), RotationTally()
    newer = make_world()
    work(newer)
    newer.clock.advance(OVERLAP)
    work(newer)
    assert measure_world(newer, tally=tally).rotations["completed"] == 1
    assert measure_world(older, tally=tally).rotations["completed"] == 0


def test_sources_are_up_unless_the_last_look_found_them_down() -> None:
    """Before any look nothing is said of them."""
    world = make_small_world()
    assert measure_world(world).sources == ()
    work(world)
    measured = measure_world(world)
    assert [(found.kind.value, found.source, found.is_up) for found in measured.sources] == [
        ("entra", ACCOUNT, True),
        ("azure_devops", f"{ACCOUNT}/{ORGANIZATION}", True),
        ("key_vault", VAULT, True),
    ]
    tell(world, ACCOUNT, SignInLapsed(code="x"))
    assert list_down(measure_world(world)) == [("entra", ACCOUNT)]
    tell(world, ACCOUNT, SignInRestored())
    assert list_down(measure_world(world)) == []
    tell(world, ACCOUNT, AccountDown(code="x"))
    tell(world, f"{ACCOUNT}/{ORGANIZATION}", OrganizationDown(code="x"))
    tell(world, VAULT, VaultDown(code="x"))
    assert list_down(measure_world(world)) == [(found.kind, found.source) for found in measured.sources]


def test_entra_is_no_source_while_it_cannot_be_asked_for_new_tokens() -> None:
    """Although those at hand may still do."""
    world = make_small_world()
    work(world)
    for is_away in (True, False):
        world.advance(hours=1)
        world.sign_in.unasked = {ACCOUNT} if is_away else set()
        world.sign_in.refreshed_at[ACCOUNT] = world.clock.now() - timedelta(hours=is_away)
        do_in_period(world.make_run(), JobName.REFRESH, world.clock.now(), "host", refresh_sign_ins)
        assert list_down(measure_world(world)) == ([(SourceKind.ENTRA, ACCOUNT)] if is_away else [])
    world.advance(hours=1)
    world.sign_in.unasked = {ACCOUNT}
    do_in_period(world.make_run(), JobName.REFRESH, world.clock.now(), "host", refresh_sign_ins)
    assert list_down(measure_world(world)) == [(SourceKind.ENTRA, ACCOUNT)]
    world.advance(minutes=1)
    world.sign_in.refreshed_at[ACCOUNT] = world.clock.now()
    work(world)  # a run needed tokens, and got them
    assert list_down(measure_world(world)) == []


def test_what_is_not_looked_at_while_an_account_must_sign_in_stays_as_it_was_found() -> None:
    """Nobody has found it down. That nothing works there is the account's: it says so itself, and needs a person."""
    world = make_small_world()
    work(world)
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("the sign-in was revoked", account=ACCOUNT, fix="Sign in.")
    world.advance(hours=1)
    work(world)
    measured = measure_world(world)
    assert list_down(measured) == [("entra", ACCOUNT)]
    assert [found.needs_person for found in measured.accounts] == [True]
    tell(world, f"{ACCOUNT}/{ORGANIZATION}", OrganizationDown(code="x"))
    work(world)
    assert list_down(measure_world(world)) == [("entra", ACCOUNT), ("azure_devops", f"{ACCOUNT}/{ORGANIZATION}")]


def test_organization_that_nobody_has_looked_at_yet_is_not_known() -> None:
    """Its account is not signed in; once it is, the first look tells."""
    world = make_small_world()
    world.accounts += (replace(world.accounts[0], name="other"),)
    world.sign_in.refusals["other"] = SignInRequiredError("nobody is signed in", account="other", fix="Sign in.")
    work(world)
    places = {found.source for found in measure_world(world).sources if found.kind is SourceKind.AZURE_DEVOPS}
    assert places == {f"{ACCOUNT}/{ORGANIZATION}"}
    world.sign_in.refusals.clear()
    world.advance(hours=7)
    work(world)
    places = {found.source for found in measure_world(world).sources if found.kind is SourceKind.AZURE_DEVOPS}
    assert places == {f"{ACCOUNT}/{ORGANIZATION}", f"other/{ORGANIZATION}"}


def test_account_needs_a_person_after_a_refusal_and_when_nobody_is_signed_in() -> None:
    """A sign-in that lapsed unused needs one too. Without the token cache, the refusal is what is known."""
    world = make_small_world()
    now = world.clock.now()
    signed_in = SignInStatus(ACCOUNT, "bot@contoso.com", refreshed_at=now)
    for sign_ins, needs_person in (
        ((), False),
        ((signed_in,), False),
        ((SignInStatus(ACCOUNT, None),), True),
        ((SignInStatus(ACCOUNT, "bot@contoso.com", refreshed_at=now - timedelta(days=91)),), True),
    ):
        [found] = measure_world(world, *sign_ins).accounts
        assert found.needs_person == needs_person
    assert measure_world(world, signed_in).accounts[0].refreshed_at == now
    tell(world, ACCOUNT, SignInLapsed(code="x"))
    measured = measure_world(world, signed_in)
    assert measured.accounts[0].needs_person
    assert list_down(measured) == []
    assert find_unready(measured) == (f"no account can be used: {ACCOUNT} must sign in",)


def test_installation_is_ready_while_one_account_can_be_used() -> None:
    world = make_small_world()
    assert find_unready(measure_world(world)) == ()
    tell(world, ACCOUNT, AccountDown(code="x"))
    assert find_unready(measure_world(world)) == (f"no account can be used: {ACCOUNT} cannot be used now",)
    world.accounts += (replace(world.accounts[0], name="other"),)
    assert find_unready(measure_world(world)) == ()


def test_installation_is_not_ready_while_no_organization_can_be_worked_with() -> None:
    """One organization that can be is enough, whatever the others say."""
    world = make_small_world()
    world.accounts = (replace(world.accounts[0], organizations=(ORGANIZATION, "fabrikam")),)
    tell(world, f"{ACCOUNT}/{ORGANIZATION}", OrganizationDown(code="x"))
    assert find_unready(measure_world(world)) == ()
    tell(world, f"{ACCOUNT}/fabrikam", OrganizationDown(code="x"))
    shut_out = f"none of the organizations of {ACCOUNT} can be worked with"
    assert find_unready(measure_world(world)) == (f"no account can be used: {shut_out}",)
    world.accounts += (replace(world.accounts[0], name="other"),)
    tell(world, "other", SignInLapsed(code="x"))
    said = f"no account can be used: {shut_out}; other must sign in"
    assert find_unready(measure_world(world)) == (said,)
    tell(world, f"{ACCOUNT}/fabrikam", OrganizationRestored())
    assert find_unready(measure_world(world)) == ()


def test_job_has_its_last_success_and_how_long_its_last_run_took() -> None:
    world = make_world()
    began = world.clock.now()
    assert measure_world(world).jobs == tuple(JobFigures(job, None, None) for job in JobName)
    second = timedelta(seconds=1)
    runs = (
        JobRun(JobName.REFRESH, began, "d", began, began + 3 * second, JobOutcome.SUCCEEDED),
        JobRun(JobName.REFRESH, began + 5 * second, "d", began + 5 * second, began + 9 * second, JobOutcome.FAILED),
        JobRun(JobName.WORK, began, "d", began, began + 2 * second, JobOutcome.SUCCEEDED),
    )
    world.clock.advance(10 * second)
    with world.database.begin() as unit:
        for run in runs:
            unit.job_runs.end(run)
    measured = measure_world(world)
    assert find_job(measured, JobName.REFRESH) == JobFigures(JobName.REFRESH, began + 3 * second, 4 * second)
    assert find_job(measured, JobName.WORK) == JobFigures(JobName.WORK, began + 2 * second, 2 * second)
    beat = Heartbeat("d", began, began + 9 * second, began + 7 * second, began + 8 * second)
    with world.database.begin() as unit:
        unit.job_runs.beat(beat)
    measured = measure_world(world)
    assert find_job(measured, JobName.WORK) == JobFigures(JobName.WORK, began + 8 * second, second)
    assert find_job(measured, JobName.HEARTBEAT) == JobFigures(JobName.HEARTBEAT, began + 9 * second, None)


def test_chain_is_said_to_hold_once_it_was_verified() -> None:
    world = make_world()
    measured = measure_world(world)
    assert (measured.is_chain_ok, measured.verified_at) == (None, None)
    work(world)
    began, ended = world.clock.now(), world.clock.now() + timedelta(seconds=1)
    verify_audit(world.make_run())
    with world.database.begin() as unit:
        unit.job_runs.end(JobRun(JobName.VERIFY_AUDIT, began, "d", began, ended, JobOutcome.SUCCEEDED))
    world.clock.advance(timedelta(seconds=5))
    measured = measure_world(world)
    assert (measured.is_chain_ok, measured.verified_at) == (True, ended)
    tell(world, "audit_log", AuditBroken(sequence=1))
    measured = measure_world(world)
    assert (measured.is_chain_ok, measured.verified_at) == (False, ended)


def test_what_waits_for_proof_or_for_a_person_is_counted() -> None:
    world = make_world()
    work(world)
    world.clock.advance(OVERLAP)
    world.pats.ignores_revoke = lambda authorization_id: True
    work(world)
    measured = measure_world(world)
    assert (measured.pending_revocations, measured.unconfirmed_revocations) == (1, 0)
    world.clock.advance(TELL_AFTER)
    measured = measure_world(world)
    assert (measured.pending_revocations, measured.unconfirmed_revocations) == (1, 1)
    tell(world, "some-id", PatLeftBehind(name=NAME, kind="failed_rotation"))
    assert measure_world(world).left_behind == 1


@pytest.mark.parametrize(
    ("ahead", "skew", "is_wrong"),
    [
        ({"entra": 0, "azure_devops": 0}, 0.0, False),
        ({"entra": -10, "azure_devops": -20}, 15.0, False),
        ({"entra": 3600, "azure_devops": 3600}, -3600.0, True),
        ({"entra": 3600, "azure_devops": -3600}, inf, True),
        ({}, None, False),
    ],
)
def test_skew_is_how_far_the_host_is_ahead_of_the_others(
    ahead: dict[str, int], skew: float | None, is_wrong: bool
) -> None:
    world = make_world()
    world.witnesses.ahead = {name: timedelta(seconds=seconds) for name, seconds in ahead.items()}
    measured = measure_world(world)
    assert (measured.skew, measured.is_clock_wrong) == (skew, is_wrong)
    assert bool(find_unready(measured)) == is_wrong


def test_clock_is_wrong_while_that_lasts_although_nobody_is_heard_now() -> None:
    world = make_world()
    tell(world, HOST, ClockDoubted(seconds=3600))
    world.witnesses.ahead = {}
    measured = measure_world(world)
    assert (measured.skew, measured.is_clock_wrong) == (None, True)


def test_measuring_writes_nothing() -> None:
    world = make_world()
    work(world)
    before = world.database.begun
    measure_world(world)
    assert world.database.begun == before


def test_requests_are_counted_over_processes_and_kept_while_they_cannot_be_saved() -> None:
    """What was sent meanwhile is added, too."""
    world, counter = make_world(), ProcessRequestCounter()
    note = counter.make_listener("entra")
    for status in (200, 302, 400, 429, 503, None):
        note(status)
    world.database.faults[world.database.begun + 1] = CommitFault.LOCKED
    save_requests(world.database, counter)
    assert measure_world(world).requests == {}
    note(200)
    save_requests(world.database, counter)
    save_requests(world.database, counter)
    expected = {
        ("entra", RequestOutcome.SUCCEEDED): 3,
        ("entra", RequestOutcome.REFUSED): 1,
        ("entra", RequestOutcome.THROTTLED): 1,
        ("entra", RequestOutcome.FAILED): 1,
        ("entra", RequestOutcome.UNANSWERED): 1,
    }
    assert measure_world(world).requests == expected
    other = ProcessRequestCounter()
    other.make_listener("entra")(None)
    other.make_listener("key_vault")(200)
    save_requests(world.database, other)
    more = {("entra", RequestOutcome.UNANSWERED): 2, ("key_vault", RequestOutcome.SUCCEEDED): 1}
    assert measure_world(world).requests == expected | more
