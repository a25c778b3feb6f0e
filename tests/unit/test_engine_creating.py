"""A PAT that is created under management: a rotation without a predecessor, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from rotator.domain.next_step import NextAction
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Match, RuleAction
from rotator.domain.secret_value import SecretValue
from rotator.domain.threshold import Threshold
from rotator.engine.creating import Order, create, make_order, propose
from rotator.engine.jobs import reconcile_all, work_due
from rotator.engine.keeping import forget, pause, resume, revoke_current, revoke_previous
from rotator.engine.looking import look
from rotator.engine.measuring import RotationTally, measure
from rotator.engine.planning import make_plan
from rotator.engine.pulse import Pulse
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import recover_interrupted
from rotator.engine.status import PatState
from rotator.engine.status_memory import StatusMemory
from rotator.engine.tags import ROTATION_TAG
from rotator.errors import (
    DeniedError,
    ForeignWriteError,
    PlanRefusedError,
    RotatorError,
    TransientError,
    UsageError,
    VerificationError,
)
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation
from tests.support.engine import (
    ACCOUNT,
    MUTATIONS,
    ORGANIZATION,
    OVERLAP,
    VAULT,
    EngineWorld,
    codes_of,
    make_world,
    names_of,
)
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_scenarios import FAULTS, make_busy
from tests.support.policies import RULE, make_policy

Arrange = Callable[[EngineWorld], object]
NEW = "deploy"
ORDER = make_order(NEW, ACCOUNT, ORGANIZATION, ("vso.release", "vso.code"), timedelta(days=20))
PLACE = SecretLocation(VAULT, f"{ORGANIZATION}-{NEW}", ACCOUNT)


def make_empty() -> EngineWorld:
    """A world in which nothing is due: `npm-feed` was rotated."""
    world = make_world()
    world.run()
    world.timeline.clear()
    return world


def order(world: EngineWorld, wanted: Order = ORDER) -> RunReport:
    """One `rotator create`."""
    return world.watch(lambda: create(world.make_run(), wanted))


def is_managed(world: EngineWorld, name: str = NEW) -> bool:
    """Whether there is a record."""
    with world.database.read() as reading:
        return bool(reading.inventory.find_names([name]))


def check_created(world: EngineWorld) -> None:
    """One live PAT, which the vault hands out; nothing open, no failure, and it is not due."""
    world.check_rest(NEW)
    record = world.record(NEW)
    assert (record.display_name, record.scope) == (NEW, "vso.code vso.release")
    assert record.last_failure is None
    assert [row.state for row in world.show_status() if row.name == NEW] == [PatState.OK]


def test_create_mints_proves_stores_and_reads_back_when_all_is_well() -> None:
    world = make_empty()
    report = order(world)
    assert names_of(report, OutcomeKind.CREATED) == [NEW]
    check_created(world)
    assert world.states(NEW) == ["completed"]
    [rotation] = world.rotations(NEW)
    assert (rotation.predecessor_id, rotation.overlap_until) == ("", None)
    assert world.events(NEW) == [
        "creation_started intended",
        "rotation_planned intended",
        "mint_started intended",
        "pat_minted succeeded",
        "pat_verified succeeded",
        "store_started intended",
        "secret_stored succeeded",
        "pat_created succeeded",
        "rotation_completed succeeded",
    ]
    assert "revoke" not in world.timeline


def test_created_pat_lives_as_long_as_it_was_asked_for_and_is_rotated_like_any_other() -> None:
    world = make_empty()
    order(world)
    first = world.record(NEW)
    assert timedelta(days=20) - timedelta(minutes=10) <= first.lifetime <= timedelta(days=20)
    world.advance(days=18)
    world.run()
    world.advance(hours=25)
    world.run()
    world.check_rest(NEW)
    assert world.record(NEW).authorization_id != first.authorization_id
    assert world.states(NEW) == ["completed", "completed"]


def test_creation_may_choose_vault_and_secret_when_the_policy_names_the_vault() -> None:
    world = make_empty()
    order(world, replace(ORDER, vault=VAULT.upper().replace("HTTPS", "https"), secret_name="release"))
    assert (world.record(NEW).vault, world.record(NEW).secret_name) == (VAULT, "release")
    check_created(world)


def test_creation_is_due_under_a_rule_that_only_alerts() -> None:
    world = make_empty()
    world.policy = make_policy(replace(RULE, action=RuleAction.ALERT, overlap=OVERLAP))
    assert names_of(order(world), OutcomeKind.CREATED) == [NEW]


def deny(**changes: Any) -> Arrange:
    """Change the guardrails."""

    def change(world: EngineWorld) -> None:
        world.policy = replace(world.policy, guardrails=replace(world.policy.guardrails, **changes))

    return change


def ignore(world: EngineWorld) -> None:
    """The policy's only rule says ignore."""
    world.policy = make_policy(replace(RULE, action=RuleAction.IGNORE))


def uncover(world: EngineWorld) -> None:
    """The policy's only rule is for another organization."""
    world.policy = make_policy(replace(RULE, match=Match(organization="fabrikam")))


def storm(world: EngineWorld) -> None:
    """What lives 20 days would be due at once."""
    world.policy = make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=25))))


def name_alike(world: EngineWorld) -> None:
    """A person's PAT has the display name."""
    world.add_lookalike(world.clock.now() + timedelta(days=5), NEW)


def occupy(world: EngineWorld) -> None:
    """The secret holds a connection string."""
    world.secrets.write_foreign(PLACE, "Server=db;")


def share(world: EngineWorld) -> None:
    """Another installation wrote the secret."""
    world.secrets.store(
        PLACE, SecretValue("x"), expires_at=world.clock.now(), tags={ROTATION_TAG: "theirs"}, permit=unclaimed
    )


REFUSALS: dict[str, tuple[Arrange, Order, str]] = {
    "scope": (deny(deny_scopes=("vso.release",)), ORDER, "blocked"),
    "lifetime": (deny(max_lifetime=timedelta(days=19)), ORDER, "lifetime_too_long"),
    "ignored": (ignore, ORDER, "uncovered"),
    "uncovered": (uncover, ORDER, "uncovered"),
    "storm": (storm, ORDER, "blocked"),
    "vault": (deny(), replace(ORDER, vault="https://elsewhere.vault.azure.net"), "vault_not_allowed"),
    "name": (deny(), replace(ORDER, name="npm-feed"), "name_taken"),
    "secret-of-another": (deny(), replace(ORDER, secret_name="CONTOSO-npm-feed"), "secret_taken"),
    "display-name": (name_alike, ORDER, "display_name_taken"),
    "secret-in-use": (occupy, ORDER, "secret_occupied"),
    "secret-of-another-installation": (share, ORDER, "database_behind"),
}


@pytest.mark.parametrize("why", REFUSALS)
def test_creation_is_refused_before_anything_is_written_or_sent(why: str) -> None:
    arrange, wanted, code = REFUSALS[why]
    world = make_empty()
    arrange(world)
    before = world.secrets.versions_of(PLACE), world.database.dump().count("ManagedPat(")
    world.timeline.clear()
    with pytest.raises((PlanRefusedError, ForeignWriteError)) as drafted:
        propose(world.make_run(), wanted)
    with pytest.raises((PlanRefusedError, ForeignWriteError)) as refused:
        order(world, wanted)
    assert drafted.value.code == refused.value.code == code
    assert refused.value.fix
    assert "by hand" not in refused.value.fix  # there is nothing to replace yet
    assert world.events(wanted.name)[-1] == "creation_refused failed"
    assert not MUTATIONS & set(world.timeline)
    assert (world.secrets.versions_of(PLACE), world.database.dump().count("ManagedPat(")) == before


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (replace(ORDER, account="nobody"), "no account"),
        (replace(ORDER, organization="elsewhere"), "no organization"),
        (replace(ORDER, organization="all"), "no organization"),
    ],
)
def test_creation_for_an_unknown_place_is_a_mistake_of_usage(wanted: Order, said: str) -> None:
    world = make_empty()
    with pytest.raises(UsageError, match=said) as mistaken:
        order(world, wanted)
    assert mistaken.value.fix
    assert not is_managed(world)


@pytest.mark.parametrize(("name", "secret"), [("Deploy", None), ("", None), ("deploy", "a_b")])
def test_order_is_refused_when_a_name_can_be_none(name: str, secret: str | None) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        make_order(name, ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=1), secret_name=secret)


def reject_mint(world: EngineWorld) -> None:
    """The organization creates no PATs."""
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"


def clamp(world: EngineWorld) -> None:
    """The server grants an hour: due again at once."""
    world.policy = make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=2))))
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(hours=1)


def deny_vault(world: EngineWorld) -> None:
    """The vault takes nothing."""
    denied = DeniedError("no", service="key_vault", operation="store", status=403, code="vault_denied", fix="Allow it.")
    world.secrets.fail("store", denied, times=30)


@pytest.mark.parametrize(
    ("arrange", "code", "made"),
    [(reject_mint, "global_pat_policy", 0), (clamp, "lifetime_clamped", 1), (deny_vault, "vault_denied", 1)],
)
def test_refused_creation_leaves_no_record_and_no_pat_but_an_audit_trail(
    arrange: Arrange, code: str, made: int
) -> None:
    world = make_empty()
    arrange(world)
    report = order(world)
    assert codes_of(report, OutcomeKind.BLOCKED) == [code]
    assert not is_managed(world)
    assert world.live_ids(NEW) == []
    assert world.count("revoke") == made
    assert world.events(NEW)[0] == "creation_started intended"
    assert world.events(NEW)[-1] == "creation_dropped failed"
    world.heal()
    world.policy = make_policy(replace(RULE, overlap=timedelta(minutes=5)))
    assert names_of(order(world), OutcomeKind.CREATED) == [NEW]


def test_creation_that_froze_keeps_its_record_because_a_pat_of_it_lives() -> None:
    world = make_empty()
    world.database.interrupts["stored"] = lambda: world.secrets.write_foreign(PLACE, "another")
    report = order(world)
    assert codes_of(report, OutcomeKind.BLOCKED) == ["foreign_write"]
    assert world.states(NEW) == ["failed"]
    assert is_managed(world)
    [left] = world.live_ids(NEW)
    world.run()
    assert [row.state for row in world.show_status() if row.authorization_id == left] == [PatState.UNTRACKED]


@pytest.mark.parametrize("fault", FAULTS)
def test_creation_that_met_a_fault_is_finished_by_the_next_runs(fault: str) -> None:
    world = make_empty()
    FAULTS[fault](world)
    order(world)
    assert is_managed(world)
    world.heal()
    world.pats.apply_late()
    world.finish(NEW)
    check_created(world)


MARKS = ("creation_started", "planned", "minting", "minted", "verified", "storing", "stored", "completed")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mark", MARKS)
def test_killed_creation_is_finished_by_the_next_runs_and_leaves_one_pat(mark: str, when: str) -> None:
    world = make_empty()
    world.database.dies_before, world.database.dies_after = (mark, None) if when == "before" else (None, mark)
    with pytest.raises(ProcessDied):
        order(world)
    world.database.revive()
    world.advance(minutes=11)
    if (mark, when) == ("creation_started", "before"):
        assert not is_managed(world)
        order(world)
    world.run()
    world.finish(NEW)
    check_created(world)
    assert world.events(NEW).count("pat_created succeeded") == 1


@pytest.mark.parametrize("mark", ["revoke_started", "abandoned"])
def test_creation_whose_recovery_is_killed_too_leaves_one_pat(mark: str) -> None:
    world = make_empty()
    world.database.dies_after = "minted"
    with pytest.raises(ProcessDied):
        order(world)
    world.database.revive()
    world.advance(minutes=11)
    world.run_and_die(after=mark)
    world.advance(minutes=11)
    world.run()
    world.finish(NEW)
    check_created(world)
    assert len([fake for fake in world.pats.pats.values() if fake.pat.display_name == NEW]) == 2


def make_begun() -> EngineWorld:
    """A creation that was killed before its mint: a record without a PAT."""
    world = make_empty()
    world.database.dies_before = "minting"
    with pytest.raises(ProcessDied):
        order(world)
    world.database.revive()
    world.advance(minutes=11)
    return world


def test_record_without_a_pat_is_due_and_reported_as_such() -> None:
    world = make_begun()
    [row] = [row for row in world.show_status() if row.name == NEW]
    assert (row.state, row.authorization_id, row.next_action) == (PatState.DUE, "", NextAction.RETRY)
    world.run()
    check_created(world)


def test_plan_says_that_a_first_pat_is_to_be_created_when_nothing_is_open() -> None:
    world = make_empty()
    world.database.dies_after = "creation_started"
    with pytest.raises(ProcessDied):
        order(world)
    world.database.revive()
    world.clock.advance(world.timing.lease)
    [action] = [action for action in make_plan(world.make_run()).actions if action.pat.name == NEW]
    assert (action.kind, action.reason, action.retires_at) == (ActionKind.ROTATE, ActionReason.TO_BE_CREATED, None)
    [row] = [row for row in world.show_status() if row.name == NEW]
    assert (row.state, row.next_action) == (PatState.DUE, NextAction.ROTATE)


def test_record_without_a_pat_never_expires_and_is_no_missing_pat() -> None:
    world = make_begun()
    world.run_and_die(before="minting")
    world.advance(days=40)
    assert [row.state for row in world.show_status() if row.name == NEW] == [PatState.DUE]
    world.run()
    assert world.record(NEW).last_failure is None
    check_created(world)


def test_two_creations_at_once_are_two_records_without_a_pat() -> None:
    world = make_begun()
    world.database.dies_before = "minting"
    with pytest.raises(ProcessDied):
        order(world, replace(ORDER, name="release"))
    world.database.revive()
    world.advance(minutes=11)
    world.run()
    for name in (NEW, "release"):
        world.check_rest(name)


def test_creation_begun_already_is_refused_with_its_fix() -> None:
    world = make_begun()
    with pytest.raises(PlanRefusedError, match="being created already") as refused:
        order(world)
    assert (refused.value.code, refused.value.fix) == ("name_taken", "`rotator once` continues it.")


def test_creation_can_be_given_up_paused_and_taken_up_again_but_not_revoked() -> None:
    world = make_begun()
    world.watch(lambda: recover_interrupted(world.make_run()))
    with pytest.raises(UsageError, match="no PAT yet"):
        revoke_current(world.make_run(), NEW)
    with pytest.raises(UsageError, match="no old PAT"):
        revoke_previous(world.make_run(), NEW)
    pause(world.make_run(), NEW)
    world.run()
    assert [row.state for row in world.show_status() if row.name == NEW] == [PatState.PAUSED]
    resume(world.make_run(), NEW)
    forget(world.make_run(), NEW)
    assert not is_managed(world)
    assert names_of(order(world), OutcomeKind.CREATED) == [NEW]
    check_created(world)


def test_rotating_by_hand_goes_on_with_a_creation() -> None:
    world = make_begun()
    assert names_of(world.rotate(NEW), OutcomeKind.CREATED) == [NEW]
    check_created(world)


def test_refused_creation_stays_blocked_when_nobody_is_there() -> None:
    world = make_begun()
    reject_mint(world)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["global_pat_policy"]
    assert [row.state for row in world.show_status() if row.name == NEW] == [PatState.BLOCKED]
    world.check_promises()


def test_creation_writes_over_nothing_foreign_even_when_it_came_in_between() -> None:
    world = make_begun()
    occupy(world)
    for act in (world.run, lambda: world.rotate(NEW)):
        assert codes_of(act(), OutcomeKind.BLOCKED) == ["secret_occupied"]
    assert world.secrets.versions_of(PLACE)[0].value.reveal() == "Server=db;"
    assert world.live_ids(NEW) == []


def test_clone_that_was_revoked_before_the_read_back_is_made_again() -> None:
    world = make_empty()
    world.database.dies_after = "stored"
    with pytest.raises(ProcessDied):
        order(world)
    world.database.revive()
    world.pats.live_pats(NEW)[0].revoked = True
    world.advance(minutes=11)
    assert names_of(world.run(), OutcomeKind.ABANDONED, OutcomeKind.CREATED) == [NEW, NEW]
    world.finish(NEW)
    check_created(world)


def test_late_write_of_a_creation_that_was_given_up_is_undone() -> None:
    world = make_empty()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    order(world)
    world.heal()
    world.advance(minutes=11)
    world.run()
    assert world.secrets.apply_late() == 1
    assert not world.is_live(NEW)
    world.advance(minutes=11)
    world.run()
    check_created(world)


def test_creation_is_tried_again_although_each_run_finds_a_late_write_that_nothing_can_undo() -> None:
    """To tell of it must not put the next attempt off each time."""
    world = make_empty()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    order(world)
    world.heal()
    world.advance(minutes=11)
    world.pats.fail("verify", VerificationError("refused", code="verification_failed"), times=300)
    world.run()
    assert world.secrets.apply_late() == 1
    for _ in range(12):
        world.advance(minutes=30)
        world.run()
    assert world.count("mint") < 12
    assert world.record(NEW).failures > 1
    world.heal()
    for _ in range(4):
        world.advance(hours=7)
        world.run()
    check_created(world)


def test_lost_database_is_rebuilt_from_the_tags_of_a_created_pat() -> None:
    world = make_empty()
    restore = world.database.back_up()
    order(world)
    current = world.record(NEW).authorization_id
    restore()
    assert not is_managed(world)
    run = world.make_run()
    rebuild(run, look(run))
    assert world.record(NEW).authorization_id == current
    world.finish(NEW)


def test_rebuild_finishes_a_creation_whose_value_is_in_the_vault() -> None:
    world = make_empty()
    world.database.dies_before = "stored"
    with pytest.raises(ProcessDied):
        order(world)
    world.database.revive()
    world.advance(minutes=11)
    run = world.make_run()
    rebuild(run, look(run))
    world.check_rest(NEW)
    world.finish(NEW)


def test_creation_by_hand_counts_and_is_not_held_back() -> None:
    world = make_empty()
    deny(max_rotations_per_hour=1)(world)
    assert names_of(order(world), OutcomeKind.CREATED) == [NEW]


def test_creation_is_held_back_in_a_run_when_the_hour_is_used_up() -> None:
    world = make_begun()
    deny(max_rotations_per_hour=1)(world)
    assert names_of(world.run(), OutcomeKind.POSTPONED) == [NEW]
    assert is_managed(world)


def test_order_is_refused_when_the_server_cannot_be_asked() -> None:
    world = make_empty()
    world.pats.fail("fetch_pats", make_busy("fetch_pats"))
    with pytest.raises(TransientError):
        order(world)
    assert not is_managed(world)


def test_record_stays_when_the_pat_of_a_refused_creation_lives_on() -> None:
    """Its revocation had no effect: each run asks again, and says so."""
    world = make_empty()
    denied = DeniedError("no", service="key_vault", operation="store", code="vault_denied", status=403)
    world.secrets.fail("store", denied)
    world.pats.ignores_revoke = lambda authorization_id: True
    assert codes_of(order(world), OutcomeKind.BLOCKED) == ["vault_denied"]
    assert is_managed(world)
    (lost,) = [fake.pat.authorization_id for fake in world.pats.live_pats() if fake.pat.display_name == NEW]
    world.pats.ignores_revoke = lambda authorization_id: False
    world.advance(minutes=6)
    world.run()
    assert lost not in world.live_ids()


def test_orphan_is_told_when_a_mint_was_refused_and_took_effect_where_nothing_is_managed() -> None:
    """The record is dropped, and its place is looked at until the mint can take effect no more."""
    world = make_empty()
    wanted = make_order(NEW, ACCOUNT, "fabrikam", ("vso.code",), timedelta(days=20))
    refused = DeniedError("no", service="azure_devops", operation="mint", code="denied", status=403)
    world.pats.fail("mint", refused, after_effect=True)
    assert codes_of(order(world, wanted), OutcomeKind.BLOCKED) == ["denied"]
    (orphan,) = [fake.pat.authorization_id for fake in world.pats.live_pats() if fake.pat.display_name == NEW]
    assert not is_managed(world)
    for _ in range(2):
        world.advance(hours=2)
        world.run()
        assert world.events(orphan) == ["pat_left_behind unknown"]
    assert [row.state for row in world.show_status() if row.authorization_id == orphan] == [PatState.UNTRACKED]
    world.advance(days=21)
    world.run()
    assert world.events(orphan)[-1] == "left_behind_resolved succeeded"


@pytest.mark.parametrize("moment", ["creation_started", "minting", "storing"])
def test_daemon_leaves_a_running_creation_alone_and_nobody_calls_it_due(moment: str) -> None:
    """From the commit that writes the record: nothing is looked at or claimed, and the record has nothing to do."""
    world, seen = make_empty(), list[object]()

    def look_around() -> None:
        before, run = list(world.timeline), world.make_run()
        seen.append(work_due(run, Pulse("daemon-1", world.clock.now())).counts)
        assert world.timeline == before
        [row] = [row for row in world.show_status() if row.name == NEW]
        seen.append((row.state, row.next_action, row.next_at))
        measured = measure(run, world.database, (), RotationTally(), StatusMemory())
        seen.extend(pat.state for pat in measured.pats if pat.name == NEW)
        seen.append(reconcile_all(run).exit_code)

    world.database.interrupts[moment] = look_around
    report = order(world)
    assert seen == [{}, (PatState.OK, NextAction.NONE, None), "ok", 0]
    assert names_of(report, OutcomeKind.CREATED) == [NEW]
    check_created(world)


def test_creation_whose_process_died_is_due_and_the_daemon_ends_it() -> None:
    world = make_empty()
    world.database.dies_after = "creation_started"
    with pytest.raises(ProcessDied):
        create(world.make_run(), ORDER)
    world.database.revive()
    world.clock.advance(world.timing.lease)
    assert [row.state for row in world.show_status() if row.name == NEW] == [PatState.DUE]
    assert work_due(world.make_run(), Pulse("daemon-1", world.clock.now())).counts == {"created": 1}
    check_created(world)


def test_created_pat_write_without_answer_is_looked_for_after_a_clock_jump() -> None:
    """The first of two writes gets no answer; the clock is set back before the creation is noted as over."""
    world = make_world()
    world.run()
    world.finish()
    world.secrets.postpone_store()

    def set_back() -> bool:
        world.host_clock.ahead = timedelta(days=-30)
        return False

    world.secrets.ignores_store = set_back
    with suppress(RotatorError):
        create(world.make_run(), make_order(NEW, ACCOUNT, ORGANIZATION, ("vso.release",), timedelta(days=20)))
    world.heal()
    world.advance(minutes=6)
    world.run()
    assert world.states(NEW) == ["completed"]
    world.rotate(NEW)
    world.finish(NEW)
    assert world.secrets.apply_late() == 1
    world.run()
    world.check_served(NEW)


def test_order_has_the_vault_and_the_secret_that_a_person_chose() -> None:
    order = make_order(NEW, ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=20), vault="v", secret_name="mine")
    assert (order.vault, order.secret_name) == ("v", "mine")
