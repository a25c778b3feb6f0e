"""The secret of another record, which somebody else wrote, may hold an old PAT: whether that keeps it from its end."""

from __future__ import annotations

import pytest

from rotator.engine.auditing import load_events
from rotator.engine.keeping import revoke_previous
from rotator.engine.report import OutcomeKind
from rotator.errors import PlanRefusedError, VerificationError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import EngineWorld, codes_of, make_world


@pytest.fixture
def world() -> EngineWorld:
    """A PAT that was rotated twice: its first value is revoked, and its third is due."""
    made = make_world("a")
    made.finish("a")
    made.advance(days=24)
    made.finish("a")
    for name in ("b", "c"):
        made.add_managed(name)
    made.run()
    made.advance(days=24)
    return made


def copy(world: EngineWorld, name: str, number: int) -> str:
    """Somebody writes a value that the secret of "a" holds, counted from the newest, into another managed secret."""
    stored = world.secrets.versions_of(world.location("a"))[number]
    world.secrets.write_foreign(world.location(name), stored.value.reveal())
    return stored.value.reveal()


def is_alive(world: EngineWorld, value: str) -> bool:
    """Whether the PAT of that value lives."""
    return any(fake.value == value for fake in world.pats.live_pats())


def rotate(world: EngineWorld) -> None:
    """Rotate "a" until its overlap is over."""
    for _ in range(4):
        world.run()
        world.advance(hours=13)
    world.run()
    assert world.states("a")[-1] == "completed"


def test_old_pat_stays_when_one_of_several_foreign_secrets_holds_it(world: EngineWorld) -> None:
    """One that holds a value which is refused comes before it; and one of the versions below ours is disabled."""
    copy(world, "b", 2)
    old = copy(world, "c", 0)
    world.secrets.disable_foreign(world.location("a"), 1)
    [kept] = [fake.pat.authorization_id for fake in world.pats.pats.values() if fake.value == old]
    rotate(world)
    assert is_alive(world, old)
    [event] = load_events(world.database, AuditFilter(event="predecessor_kept", subject="a"))
    details = event.entry.details
    assert (details["authorization_id"], details["read_in"]) == (kept, world.record("c").secret_name)


def test_old_pat_is_revoked_when_foreign_secrets_hold_only_values_that_are_refused(world: EngineWorld) -> None:
    old = world.latest("a").value.reveal()
    copy(world, "b", 1)
    rotate(world)
    assert not is_alive(world, old)


def test_old_pat_is_revoked_when_a_foreign_secret_holds_the_new_one(world: EngineWorld) -> None:
    old = copy(world, "b", 0)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    copy(world, "b", 0)
    rotate(world)
    assert world.latest("b").value.same_as(world.latest("a").value)
    assert not is_alive(world, old)


def test_old_pat_counts_as_read_when_azure_devops_refuses_its_user_with_403_meanwhile(world: EngineWorld) -> None:
    """Then the value is genuine: who reads it, perhaps on a host that is let in, uses it."""
    old = copy(world, "b", 0)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["foreign_write"]
    world.advance(hours=1)
    world.pats.fail("verify", VerificationError("forbidden", code="verification_forbidden", fix=""), skip=1)
    with pytest.raises(PlanRefusedError, match="-b in"):
        revoke_previous(world.make_run(), "a")
    assert is_alive(world, old)
