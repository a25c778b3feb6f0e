"""A PAT that the policy forbids to rotate and that is dead: it is told as dead, whatever a person has tried since."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Hold, ManagedPatState
from rotator.domain.plan import ActionKind
from rotator.domain.policy import Guardrails
from rotator.engine.keeping import resume, revoke_current
from rotator.engine.planning import make_plan
from rotator.engine.report import OutcomeKind
from rotator.engine.status import PatState
from rotator.errors import UsageError
from tests.support.engine import NAME, EngineWorld, codes_of, make_world
from tests.support.policies import RULE, make_policy

DENIED = make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",)))


def make_forbidden(*, everywhere: bool = False) -> EngineWorld:
    """A world with a PAT that is not due and may not be rotated, by its scopes or as it is `everywhere` valid."""
    world = EngineWorld(make_policy(RULE) if everywhere else DENIED, make_world().accounts)
    world.add_managed(NAME, days_left=20)
    if everywhere:
        fake = world.pats.pats[world.record().authorization_id]
        fake.pat = replace(fake.pat, target_accounts=None)
    world.run()
    return world


def list_lasting(world: EngineWorld) -> set[ConditionKind]:
    with world.database.read() as reading:
        return {found.kind for found in reading.conditions.load() if found.subject == NAME}


def check_told_as_dead(world: EngineWorld) -> None:
    """The record, what lasts, the plan and the status say that it is gone, and no fix names a command in vain."""
    assert world.record().hold is Hold.REVOKED_ELSEWHERE
    assert ConditionKind.PAT_VANISHED in list_lasting(world)
    assert ConditionKind.ROTATION_BLOCKED not in list_lasting(world)
    (row,), (action,) = world.show_status(), make_plan(world.make_run()).actions
    assert action.kind is ActionKind.BLOCKED
    for failure in (row.last_error, action.failure):
        assert failure is not None
        assert (failure.code, "makes a new one" in failure.fix) == ("revoked_elsewhere", False)
        assert f"rotator inventory forget {NAME}" in failure.fix


@pytest.mark.parametrize("everywhere", [False, True], ids=["its scopes are denied", "it is valid everywhere"])
@pytest.mark.parametrize("is_tried_first", [False, True], ids=["", "refused before"])
def test_dead_pat_that_the_policy_forbids_stays_told_as_dead_when_a_person_tries_to_rotate_it(
    is_tried_first: bool, everywhere: bool
) -> None:
    world = make_forbidden(everywhere=everywhere)
    if is_tried_first:
        world.rotate(NAME)
    world.pats.pats[world.record().authorization_id].revoked = True
    world.advance(minutes=6)
    world.run()
    check_told_as_dead(world)
    refusal = "all_organizations" if everywhere else "blocked"
    assert codes_of(world.rotate(NAME), OutcomeKind.BLOCKED) == [refusal]
    check_told_as_dead(world)
    for _ in range(3):
        world.advance(hours=7)
        world.run()
        check_told_as_dead(world)
    assert world.count("mint") == 0


@pytest.mark.parametrize("everywhere", [False, True], ids=["its scopes are denied", "it is valid everywhere"])
def test_pat_that_a_person_revoked_stays_paused_when_the_policy_refuses_a_new_one(everywhere: bool) -> None:
    world = make_forbidden(everywhere=everywhere)
    revoke_current(world.make_run(), NAME)
    before = world.record()
    assert before.last_failure is not None
    assert "makes a new one" not in before.last_failure.fix
    world.rotate(NAME)
    world.advance(hours=7)
    world.run()
    assert world.record().last_failure == before.last_failure
    assert (world.record().state, world.record().blocked) == (ManagedPatState.PAUSED, False)
    (row,) = world.show_status()
    assert (row.state, row.last_error) == (PatState.PAUSED, before.last_failure)
    assert list_lasting(world) == set()
    with pytest.raises(UsageError) as refused:
        resume(world.make_run(), NAME)
    assert "makes a new one" not in refused.value.fix


def test_refusal_of_a_command_is_told_where_nothing_worse_is_known() -> None:
    world = make_forbidden()
    world.advance(minutes=1)
    world.rotate(NAME)
    assert ConditionKind.ROTATION_BLOCKED in list_lasting(world)
    assert world.show_status()[0].state is PatState.BLOCKED


def test_fix_of_what_keeps_a_dead_pat_from_being_replaced_takes_the_place_of_one_that_does_not_work() -> None:
    """Its secret holds what nobody has confirmed: the record's fix must not send people to `rotate` again and again."""
    world = make_world()
    world.secrets.write_foreign(world.location(), "theirs")
    world.pats.pats[world.record().authorization_id].revoked = True
    world.run()
    assert world.record().hold is Hold.REVOKED_ELSEWHERE
    assert codes_of(world.rotate(NAME), OutcomeKind.BLOCKED) == ["secret_unconfirmed"]
    (row,) = world.show_status()
    assert row.last_error is not None
    assert row.last_error.code == "secret_unconfirmed"
