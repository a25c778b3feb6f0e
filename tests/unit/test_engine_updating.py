"""A ManagedPat gets another display name, other scopes or another lifetime: by a rotation, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.next_step import NextAction
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Guardrails, Match, RuleAction
from rotator.domain.threshold import Threshold
from rotator.engine.auditing import load_events
from rotator.engine.keeping import pause, resume
from rotator.engine.left_behind import load_left_behind
from rotator.engine.looking import look
from rotator.engine.planning import make_plan
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind, RunReport
from rotator.engine.run import recover_interrupted
from rotator.engine.status import PatState
from rotator.engine.tags import ROTATION_TAG
from rotator.engine.updating import Change, find_earlier_end, make_change, preview, update
from rotator.errors import (
    DatabaseBehindError,
    DeniedError,
    NotManagedError,
    PlanRefusedError,
    RejectedError,
    RotationError,
    RotatorError,
    TransientError,
    UsageError,
)
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import (
    ACCOUNT,
    MUTATIONS,
    NAME,
    ORGANIZATION,
    OVERLAP,
    SCOPE,
    EngineWorld,
    codes_of,
    make_world,
    names_of,
)
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_scenarios import FAULTS
from tests.support.policies import RULE, make_policy

Arrange = Callable[[EngineWorld], object]
OTHER = "npm-publish"
SCOPES = ("vso.packaging_write", "vso.release")
CHANGE = make_change(NAME, display_name=OTHER, scopes=SCOPES, lifetime=timedelta(days=20))


def make_current() -> EngineWorld:
    """A world in which nothing is due, and only the current PAT lives."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    world.check_rest()
    world.timeline.clear()
    return world


def change(world: EngineWorld, wanted: Change = CHANGE) -> RunReport:
    """One `rotator update`."""
    return world.watch(lambda: update(world.make_run(), wanted))


def check_updated(world: EngineWorld) -> None:
    """The record, the server and the vault say what was wanted, and the old PAT is gone."""
    record = world.record()
    assert (record.display_name, record.scopes, record.is_update_wanted) == (OTHER, SCOPES, False)
    assert timedelta(days=20) - timedelta(minutes=10) <= record.lifetime <= timedelta(days=20)
    assert record.last_failure is None
    assert world.live_ids(NAME) == []
    [alive] = world.pats.live_pats(OTHER)
    assert (alive.pat.authorization_id, alive.pat.scopes) == (record.authorization_id, SCOPES)
    assert world.latest().value.reveal() == alive.value
    assert not any(rotation.is_open for rotation in world.rotations())


def end_overlap(world: EngineWorld) -> None:
    """Run until the old PAT is revoked; consumers read a live one all the time."""
    for _ in range(6):
        world.advance(hours=7)
        world.run()
        assert world.latest().version.enabled
        assert world.latest().value.reveal() in {fake.value for fake in world.pats.live_pats()}


def test_update_rotates_to_what_is_wanted_and_retires_the_old_one_after_the_overlap() -> None:
    world = make_current()
    old = world.record().authorization_id
    assert names_of(change(world), OutcomeKind.ROTATED) == [NAME]
    assert world.states()[-1] == "overlapping"
    assert world.live_ids(NAME) == [old]
    record = world.record()
    assert (record.display_name, record.scopes) == (OTHER, SCOPES)
    assert world.events()[-9:] == [
        "update_started intended",
        "rotation_planned intended",
        "mint_started intended",
        "pat_minted succeeded",
        "pat_verified succeeded",
        "store_started intended",
        "secret_stored succeeded",
        "pat_updated succeeded",
        "overlap_started succeeded",
    ]
    end_overlap(world)
    check_updated(world)


@pytest.mark.parametrize(
    ("wanted", "display_name", "scopes", "days"),
    [
        (replace(CHANGE, scopes=None, lifetime=None), OTHER, ("vso.code", "vso.packaging"), 30),
        (replace(CHANGE, display_name=None, lifetime=None), NAME, SCOPES, 30),
        (replace(CHANGE, display_name=None, scopes=None), NAME, ("vso.code", "vso.packaging"), 20),
    ],
)
def test_update_leaves_alone_what_was_not_asked_for(
    wanted: Change, display_name: str, scopes: tuple[str, ...], days: int
) -> None:
    world = make_current()
    change(world, wanted)
    record = world.record()
    assert (record.display_name, record.scopes) == (display_name, scopes)
    assert timedelta(days=days) - record.lifetime < timedelta(minutes=20)
    end_overlap(world)
    assert len(world.pats.live_pats()) == 1


def test_wanted_lifetime_comes_before_that_of_the_rule_until_the_next_rotation() -> None:
    world = make_current()
    world.policy = make_policy(replace(RULE, lifetime=timedelta(days=40), overlap=OVERLAP))
    change(world)
    assert world.record().lifetime <= timedelta(days=20)
    end_overlap(world)
    world.rotate(NAME)
    assert timedelta(days=40) - world.record().lifetime < timedelta(minutes=20)


@pytest.mark.parametrize(
    "wanted",
    [
        Change(NAME, display_name=NAME, scopes=("vso.code", "vso.packaging"), lifetime=timedelta(days=30)),
        make_change(NAME, display_name=None, scopes=tuple(SCOPE.split()), lifetime=None),
    ],
)
def test_update_does_nothing_when_it_is_so_already(wanted: Change) -> None:
    world = make_current()
    before = world.database.dump()
    assert change(world, wanted).outcomes == ()
    assert not MUTATIONS & set(world.timeline)
    assert world.database.dump().count("AuditEvent(") == before.count("AuditEvent(")


def test_update_repeated_in_its_overlap_does_nothing() -> None:
    world = make_current()
    change(world)
    assert change(world).outcomes == ()
    with pytest.raises(RotationError, match="still in its overlap"):
        change(world, replace(CHANGE, display_name="third"))


def test_update_again_from_a_name_to_the_first_one() -> None:
    world = make_current()
    change(world)
    end_overlap(world)
    change(world, make_change(NAME, display_name=NAME, scopes=tuple(SCOPE.split()), lifetime=timedelta(days=30)))
    end_overlap(world)
    world.check_rest()


def test_update_keeps_the_mark_of_the_rotation_out_of_the_comparison() -> None:
    from rotator.domain.secret_value import SecretValue

    world = make_current()
    world.marker_key = SecretValue("a key")
    change(world)
    assert world.record().display_name.startswith(f"{OTHER} #rot-")
    assert change(world).outcomes == ()


def deny_scope(world: EngineWorld) -> None:
    """A guardrail forbids one of the scopes."""
    world.policy = replace(world.policy, guardrails=Guardrails(deny_scopes=("vso.release",)))


def cap(world: EngineWorld) -> None:
    """A guardrail allows less."""
    world.policy = replace(world.policy, guardrails=Guardrails(max_lifetime=timedelta(days=19)))


def uncover(world: EngineWorld) -> None:
    """The policy covers the old name only."""
    world.policy = make_policy(replace(RULE, match=Match(display_name=NAME), overlap=OVERLAP))


def ignore(world: EngineWorld) -> None:
    """A rule says that the new name is to be ignored."""
    first = replace(RULE, name="hands-off", match=Match(display_name=OTHER), action=RuleAction.IGNORE)
    world.policy = make_policy(first, replace(RULE, overlap=OVERLAP))


def storm(world: EngineWorld) -> None:
    """What lives 20 days would be due at once."""
    world.policy = make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=25)), overlap=OVERLAP))


def name_alike(world: EngineWorld) -> None:
    """A person's PAT has the new name."""
    world.add_lookalike(world.clock.now() + timedelta(days=5), OTHER)


@pytest.mark.parametrize(
    ("arrange", "code"),
    [
        (deny_scope, "blocked"),
        (cap, "lifetime_too_long"),
        (uncover, "blocked"),
        (ignore, "uncovered"),
        (storm, "blocked"),
        (name_alike, "display_name_taken"),
    ],
)
def test_update_is_refused_before_anything_is_sent_and_the_record_stays(arrange: Arrange, code: str) -> None:
    world = make_current()
    arrange(world)
    before = world.record()
    with pytest.raises(PlanRefusedError) as refused:
        change(world)
    assert refused.value.code == code
    assert refused.value.fix
    assert replace(world.record(), epoch=before.epoch) == before
    assert not MUTATIONS & set(world.timeline)
    assert "update_dropped failed" in world.events()[-2:]  # then its clone may be seen gone


def test_update_to_the_display_name_that_a_person_gave_this_pat_on_the_server_is_no_conflict() -> None:
    world = make_current()
    own = world.pats.pats[world.record().authorization_id]
    own.pat = replace(own.pat, display_name=OTHER)
    assert names_of(change(world), OutcomeKind.ROTATED) == [NAME]
    assert len(world.live_ids(OTHER)) == 2


def test_update_of_the_display_name_alone_keeps_the_scopes_that_the_server_has() -> None:
    """A person changed them there since the last look."""
    world = make_current()
    own = world.pats.pats[world.record().authorization_id]
    own.pat = replace(own.pat, scope="vso.code")
    change(world, make_change(NAME, display_name=OTHER, scopes=(), lifetime=None))
    [clone] = world.pats.live_pats(OTHER)
    assert clone.pat.scope == "vso.code"


def reject_mint(world: EngineWorld) -> None:
    """The server refuses the scopes."""
    rejected = RejectedError("no such scope", service="azure_devops", operation="mint", status=400, fix="Ask for less.")
    world.pats.fail("mint", rejected)


def clamp(world: EngineWorld) -> None:
    """The server grants an hour: due again at once."""
    world.policy = make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=2)), overlap=OVERLAP))
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(hours=1)


def deny_vault(world: EngineWorld) -> None:
    """The vault takes nothing."""
    denied = DeniedError("no", service="key_vault", operation="store", status=403, code="vault_denied", fix="Allow it.")
    world.secrets.fail("store", denied, times=30)


@pytest.mark.parametrize("arrange", [reject_mint, clamp, deny_vault])
def test_refused_update_leaves_the_pat_as_it_is_and_blocks_nothing(arrange: Arrange) -> None:
    world = make_current()
    arrange(world)
    before = world.record()
    assert names_of(change(world), OutcomeKind.BLOCKED) == [NAME]
    assert replace(world.record(), epoch=before.epoch) == before
    assert "update_dropped failed" in world.events()[-2:]  # then its clone may be seen gone
    assert not world.pats.live_pats(OTHER)
    world.heal()
    world.finish()
    assert world.record().authorization_id == before.authorization_id


def test_update_that_a_run_cannot_make_does_not_keep_the_pat_from_being_rotated() -> None:
    world = make_current()
    world.database.dies_after = "update_started"
    with pytest.raises(ProcessDied):
        change(world)
    world.database.revive()
    world.advance(days=26)
    reject_mint(world)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["rejected"]
    assert not world.record().is_update_wanted
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert world.record().display_name == NAME


@pytest.mark.parametrize("arrange", [deny_scope, uncover, ignore])
def test_update_that_the_policy_forbids_since_does_not_keep_the_pat_from_being_rotated(arrange: Arrange) -> None:
    world = make_current()
    world.database.dies_after = "update_started"
    with pytest.raises(ProcessDied):
        change(world)
    world.database.revive()
    arrange(world)
    assert [row.state for row in world.show_status()] == [PatState.OK]
    world.advance(days=26)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    assert (world.record().display_name, world.record().is_update_wanted) == (NAME, False)


@pytest.mark.parametrize("fault", FAULTS)
def test_update_that_met_a_fault_is_finished_by_the_next_runs(fault: str) -> None:
    world = make_current()
    FAULTS[fault](world)
    change(world)
    world.heal()
    world.pats.apply_late()
    end_overlap(world)
    check_updated(world)


MARKS = ("update_started", "planned", "minting", "minted", "verified", "storing", "stored", "overlapping")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("mark", MARKS)
def test_killed_update_is_finished_by_the_next_runs(mark: str, when: str) -> None:
    world = make_current()
    world.database.dies_before, world.database.dies_after = (mark, None) if when == "before" else (None, mark)
    with pytest.raises(ProcessDied):
        change(world)
    world.database.revive()
    world.advance(minutes=11)
    if (mark, when) == ("update_started", "before"):
        assert not world.record().is_update_wanted
        change(world)
    world.run()
    end_overlap(world)
    check_updated(world)
    assert world.events().count("pat_updated succeeded") == 1


def make_begun() -> EngineWorld:
    """An update that was killed before its rotation began."""
    world = make_current()
    world.database.dies_after = "update_started"
    with pytest.raises(ProcessDied):
        change(world)
    world.database.revive()
    world.advance(minutes=11)
    return world


def test_plan_and_status_say_that_an_update_is_to_be_made() -> None:
    world = make_begun()
    [action] = make_plan(world.make_run()).actions
    assert (action.kind, action.reason) == (ActionKind.ROTATE, ActionReason.TO_BE_UPDATED)
    [row] = world.show_status()
    assert (row.state, row.next_action) == (PatState.DUE, NextAction.ROTATE)


def test_update_is_taken_back_when_a_person_wants_it_as_it_is() -> None:
    world = make_begun()
    present = make_change(NAME, display_name=NAME, scopes=tuple(SCOPE.split()), lifetime=timedelta(days=30))
    assert change(world, present).outcomes == ()
    assert not world.record().is_update_wanted
    assert "update_dropped failed" in world.events()[-2:]  # then its clone may be seen gone
    (dropped,) = load_events(world.database, AuditFilter(subject=NAME, event="update_dropped"))
    assert dropped.entry.details["message"] == "a person wants it as it is"
    world.finish()


def test_update_keeps_what_an_earlier_one_wanted_and_no_run_has_made_yet() -> None:
    """Fewer scopes, whose rotation was interrupted, and then another lifetime."""
    world = make_current()
    world.pats.fail("mint")
    change(world, make_change(NAME, display_name=None, scopes=("vso.code",), lifetime=None))
    world.heal()
    world.advance(minutes=12)
    world.watch(lambda: recover_interrupted(world.make_run()))
    assert world.record().wanted_scope == "vso.code"
    shorter = make_change(NAME, display_name=None, scopes=(), lifetime=timedelta(days=10))
    shown = preview(world.make_run(), shorter).wanted.as_wanted()
    assert (shown.display_name, shown.scopes, shown.wanted_lifetime) == (NAME, ("vso.code",), timedelta(days=10))
    change(world, shorter)
    record = world.record()
    assert (record.display_name, record.scope, record.is_update_wanted) == (NAME, "vso.code", False)
    assert record.lifetime <= timedelta(days=10)
    with world.database.read() as reading:
        [started] = reading.audit.load_newest(1, AuditFilter(subject=NAME, event="update_started"))
    assert (started.entry.details["scope"], started.entry.details["lifetime"]) == ("vso.code", "10d")


def test_update_keeps_what_else_was_wanted_when_a_person_takes_a_part_of_it_back() -> None:
    world = make_begun()
    change(world, make_change(NAME, display_name=NAME, scopes=(), lifetime=None))
    record = world.record()
    assert (record.display_name, record.scopes, record.is_update_wanted) == (NAME, SCOPES, False)
    assert record.lifetime <= timedelta(days=20)


def test_update_waits_while_its_pat_is_paused() -> None:
    world = make_begun()
    pause(world.make_run(), NAME)
    world.run()
    assert world.record().is_update_wanted
    resume(world.make_run(), NAME)
    world.run()
    assert not world.record().is_update_wanted


def test_update_of_a_pat_under_a_rule_that_only_alerts_is_finished_by_a_run() -> None:
    world = make_begun()
    world.policy = make_policy(replace(RULE, action=RuleAction.ALERT, overlap=OVERLAP))
    world.run()
    end_overlap(world)
    check_updated(world)


def test_update_is_refused_while_a_rotation_is_not_finished_and_for_an_unknown_name() -> None:
    world = make_current()
    with pytest.raises(NotManagedError):
        change(world, replace(CHANGE, name="ghost"))
    world.pats.fail("mint")
    world.rotate(NAME)
    with pytest.raises(RotationError, match="not finished") as refused:
        change(world)
    assert refused.value.code == "rotation_not_finished"
    assert not world.record().is_update_wanted


@pytest.mark.parametrize("display_name", ["", " padded", "a\nb", "npm #rot-0123456789abcdef"])
def test_change_is_refused_when_a_display_name_can_be_none(display_name: str) -> None:
    with pytest.raises(UsageError, match="cannot be"):
        make_change(NAME, display_name=display_name, scopes=(), lifetime=None)


def test_change_is_refused_when_it_changes_nothing() -> None:
    with pytest.raises(UsageError, match="should change about"):
        make_change(NAME, display_name=None, scopes=(), lifetime=None)


def test_old_name_and_scopes_are_back_when_the_clone_is_revoked_outside() -> None:
    world = make_current()
    old = world.record()
    change(world)
    world.pats.pats[world.record().authorization_id].revoked = True
    world.advance(minutes=5)
    assert names_of(world.run(), OutcomeKind.ABANDONED) == [NAME]
    record = world.record()
    assert record.authorization_id == old.authorization_id
    assert (record.display_name, record.scopes) == (old.display_name, old.scopes)


def test_late_write_of_an_update_that_was_given_up_is_undone() -> None:
    world = make_current()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    change(world)
    world.heal()
    world.advance(minutes=11)
    world.run()
    assert world.secrets.apply_late() == 1
    world.advance(minutes=11)
    world.run()
    end_overlap(world)
    check_updated(world)


def test_rebuild_in_the_overlap_of_an_update_knows_the_old_pat_by_the_version_before() -> None:
    world = make_current()
    restore = world.database.back_up()
    change(world)
    restore()
    run = world.make_run()
    rebuild(run, look(run))
    assert world.states()[-1] == "overlapping"
    end_overlap(world)
    check_updated(world)
    with world.database.read() as reading:
        assert load_left_behind(reading, world.clock.now()) == ()


def test_update_of_one_pat_leaves_another_of_the_same_account_alone() -> None:
    world = make_world(NAME, "ci-build")
    world.run()
    world.advance(hours=25)
    world.run()
    other = world.record("ci-build")
    change(world)
    end_overlap(world)
    assert replace(world.record("ci-build"), epoch=other.epoch) == other
    assert world.record().account == ACCOUNT


def test_rebuild_in_the_overlap_of_the_first_update_knows_the_old_pat_by_the_record() -> None:
    world = make_world()
    restore = world.database.back_up()
    change(world)
    restore()
    run = world.make_run()
    rebuild(run, look(run))
    assert world.states()[-1] == "overlapping"
    end_overlap(world)
    check_updated(world)


def test_preview_says_what_an_update_would_do_and_changes_nothing() -> None:
    world = make_current()
    before = world.database.dump()
    seen = preview(world.make_run(), CHANGE)
    assert (seen.wanted.wanted_display_name, seen.wanted.wanted_lifetime) == (OTHER, timedelta(days=20))
    assert seen.action is not None
    assert (seen.action.kind, seen.action.reason) == (ActionKind.ROTATE, ActionReason.TO_BE_UPDATED)
    assert seen.action.expires_at == world.clock.now() + timedelta(days=20)
    assert seen.action.retires_at == world.clock.now() + OVERLAP
    assert world.database.dump() == before
    assert not MUTATIONS & set(world.timeline)
    same = make_change(NAME, display_name=NAME, scopes=(), lifetime=None)
    assert preview(world.make_run(), same).action is None


@pytest.mark.parametrize(
    ("arrange", "error"),
    [
        (lambda world: world.forget(), NotManagedError),
        (lambda world: world.rotate(NAME), RotationError),
        (
            lambda world: world.pats.add_pat(ACCOUNT, ORGANIZATION, OTHER, SCOPE, world.record().valid_to),
            PlanRefusedError,
        ),
        (lambda world: setattr(world, "policy", make_policy()), PlanRefusedError),
        (
            lambda world: world.secrets.write_foreign(world.location(), "x", {ROTATION_TAG: "unknown"}),
            DatabaseBehindError,
        ),
        (lambda world: world.pats.fail("fetch_pats"), TransientError),
    ],
)
def test_preview_is_refused_as_the_update_would_be(arrange: Arrange, error: type[RotatorError]) -> None:
    world = make_current()
    arrange(world)
    before = world.database.dump()
    with pytest.raises(error):
        preview(world.make_run(), CHANGE)
    assert world.database.dump() == before


def test_lifetime_that_is_too_short_for_the_rule_is_to_be_longer_and_its_overlap_stays() -> None:
    world = make_current()
    for lifetime in (timedelta(minutes=5), timedelta(hours=24)):
        with pytest.raises(PlanRefusedError) as refused:
            update(world.make_run(), Change(NAME, lifetime=lifetime))
        assert refused.value.fix.startswith("Ask for a longer lifetime")
        assert "Set overlap" not in refused.value.fix


def test_report_says_when_the_old_and_the_new_pat_expire_where_a_person_changed_it() -> None:
    world = make_current()
    before, shorter = world.record().valid_to, Change(NAME, lifetime=timedelta(days=10))
    ends = find_earlier_end(world.make_run(), shorter)
    assert ends == (before, world.clock.now() + timedelta(days=10))
    assert find_earlier_end(world.make_run(), Change(NAME, lifetime=timedelta(days=40))) is None
    [outcome] = change(world, shorter).of_kind(OutcomeKind.ROTATED)
    assert outcome.ends == (before, world.record().valid_to)
