"""The one word per ManagedPat, and the times beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.policy import Guardrails, RuleAction
from rotator.engine.keeping import pause
from rotator.engine.next_words import say_next
from rotator.engine.status import ATTENTION, PatStatus, load_effective
from rotator.errors import DeniedError, RotatorError
from tests.support.engine import ACCOUNT, CANARY, NAME, SCOPE, EngineWorld, make_world
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy


def look(world: EngineWorld) -> dict[str, PatStatus]:
    """The status by name; no server is asked and nothing is changed."""
    before, calls = world.database.dump(), len(world.timeline)
    rows = world.show_status()
    assert world.database.dump() == before
    assert len(world.timeline) == calls
    assert CANARY not in repr(rows)
    return {row.name: row for row in rows}


def overlap(world: EngineWorld) -> None:
    world.run()


def be_interrupted(world: EngineWorld) -> None:
    world.run_and_die(after="minted")


def expire(world: EngineWorld) -> None:
    world.advance(days=5)


def fail(world: EngineWorld) -> None:
    world.pats.fail("fetch_pat", make_busy())
    world.run()


def block(world: EngineWorld) -> None:
    world.secrets.denied.add("set")
    world.run()


def be_paused(world: EngineWorld) -> None:
    pause(world.make_run(), NAME)


def deny(world: EngineWorld) -> None:
    world.policy = make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",)))


def alert(world: EngineWorld) -> None:
    world.policy = make_policy(replace(RULE, action=RuleAction.ALERT))


@pytest.mark.parametrize(
    ("arrange", "state"),
    [
        (lambda world: None, "due"),
        (alert, "due"),
        (be_interrupted, "due"),
        (overlap, "overlapping"),
        (expire, "expired"),
        (fail, "failed"),
        (block, "blocked"),
        (deny, "blocked"),
        (be_paused, "paused"),
    ],
)
def test_state_is_the_word_that_fits_first(arrange: Callable[[EngineWorld], None], state: str) -> None:
    world = make_world()
    arrange(world)
    assert look(world)[NAME].state == state


@pytest.mark.parametrize("arrange", [fail, block, be_paused, deny])
def test_expired_comes_before_every_other_word(arrange: Callable[[EngineWorld], None]) -> None:
    world = make_world()
    arrange(world)
    expire(world)
    assert look(world)[NAME].state == "expired"


def test_pat_is_ok_and_tells_when_it_rotates_when_not_due() -> None:
    world = make_world()
    record = world.add_managed("fresh", days_left=20)
    row = look(world)["fresh"]
    assert row.state == "ok"
    assert row.rotate_after == record.valid_to - timedelta(days=7.5)
    assert row.revoke_after is None
    assert row.scopes == ("vso.code", "vso.packaging")
    assert (row.expires_at, row.valid_from) == (record.valid_to, record.valid_from)
    assert row.last_error is None


def test_overlapping_pat_tells_when_the_old_one_goes() -> None:
    world = make_world()
    overlap(world)
    row = look(world)[NAME]
    assert row.revoke_after == world.clock.now() + timedelta(hours=24)
    assert row.authorization_id == world.live_ids()[1]


def mint_unanswered(world: EngineWorld) -> None:
    world.run_and_die(after="mint_started")


def revoke_unanswered(world: EngineWorld) -> None:
    world.run()
    world.advance(hours=24)
    world.run_and_die(after="retiring")


@pytest.mark.parametrize(
    ("arrange", "action", "hours"),
    [
        (lambda world: None, "rotate", None),
        (alert, "replace_by_hand", None),
        (overlap, "retire", 24),
        (be_interrupted, "retry", 0),
        (mint_unanswered, "settle", 1 / 6),
        (revoke_unanswered, "confirm_revocation", 0),
        (fail, "retry", 1 / 12),
        (be_paused, "none", None),
        (deny, "none", None),
    ],
)
def test_next_action_is_what_a_run_would_do_then(
    arrange: Callable[[EngineWorld], None], action: str, hours: float | None
) -> None:
    world = make_world()
    due_at = look(world)[NAME].rotate_after
    arrange(world)
    row = look(world)[NAME]
    assert row.next_action == action
    if hours is not None:
        due_at = world.clock.now() + timedelta(hours=hours)
    assert row.next_at == (None if action == "none" else due_at)


def test_reason_and_fix_are_shown_when_blocked_by_policy() -> None:
    world = make_world()
    deny(world)
    error = look(world)[NAME].last_error
    assert error is not None
    assert "guardrails.deny_scopes" in error.message
    assert error.fix


def test_untracked_pats_come_last_and_once_when_a_run_has_seen_them() -> None:
    world = make_world()
    world.add_managed("other", organization="fabrikam", days_left=9)
    end = world.clock.now() + timedelta(days=1)
    world.pats.add_pat(ACCOUNT, None, "everywhere", SCOPE, end)
    world.run()
    rows = world.show_status()
    assert [(row.name, row.state.value) for row in rows] == [
        ("other", "ok"),
        (NAME, "overlapping"),
        ("everywhere", "untracked"),
    ]
    assert (rows[-1].vault, rows[-1].secret_name, rows[-1].rotate_after) == (None, None, None)


def test_pat_that_an_unanswered_mint_made_is_not_called_untracked() -> None:
    """Its run died before it knew the PAT, and another one looked everywhere before it could take over."""
    world = make_world()
    world.database.dies_before = "minted"
    with pytest.raises(ProcessDied):
        world.run()
    world.database.revive()
    world.run()
    assert world.states() == ["minting"]
    with world.database.read() as reading:
        assert len(reading.inventory.load_untracked()) == 1
    assert [row.name for row in world.show_status()] == [NAME]


def test_attention_is_asked_for_when_a_human_may_have_to_act() -> None:
    assert {state.value for state in ATTENTION} == {"expired", "blocked", "failed"}


def fail_by_hand(world: EngineWorld, error: RotatorError) -> None:
    """A person's rotation of a PAT that is not due fails."""
    world.run()
    world.finish()
    world.secrets.fail("prove_writable", error)
    world.rotate(NAME)
    world.heal()
    assert world.record().last_failure is not None


def test_failure_is_forgotten_when_nothing_is_due_any_more_and_the_wait_is_over() -> None:
    world = make_world()
    fail_by_hand(world, make_busy("prove_writable", "key_vault"))
    world.run()
    assert world.record().failures == 1
    world.advance(minutes=6)
    world.run()
    assert (world.record().last_failure, world.record().failures, world.record().retry_at) == (None, 0, None)
    assert world.events()[-1] == "failure_cleared succeeded"
    lines = len(world.events())
    world.run()
    assert len(world.events()) == lines


def test_failure_stays_when_a_person_has_to_act() -> None:
    world = make_world()
    fail_by_hand(world, DeniedError("no", service="key_vault", operation="prove_writable", status=403))
    world.advance(hours=2)
    world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "denied"


def test_failure_stays_when_the_pat_is_paused_or_due() -> None:
    world = make_world()
    world.secrets.fail("prove_writable", make_busy("prove_writable", "key_vault"), times=30)
    world.run()
    world.advance(minutes=6)
    world.run()
    assert world.record().failures == 2
    pause(world.make_run(), NAME)
    world.advance(days=1)
    world.run()
    assert world.record().failures == 2


def test_failure_of_a_look_for_a_late_write_is_forgotten_when_the_next_look_succeeds() -> None:
    world = make_world()
    world.secrets.postpone_store()
    world.run()
    world.finish()
    world.secrets.fail("fetch_latest", make_busy("fetch_latest", "key_vault"))
    world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "transient"
    world.advance(minutes=6)
    world.run()
    assert world.record().last_failure is None


def test_clone_is_no_stray_when_the_run_that_saw_it_revoked_it() -> None:
    """A late mint is listed when the run looks, and revoked in the same run."""
    world = make_world()
    world.pats.postpone_mint()
    world.pats.fail("mint")
    world.run()
    world.advance(minutes=11)
    world.run()
    world.pats.apply_late()
    world.advance(hours=1)
    world.run()
    assert len(world.revoked_ids()) == 1
    assert list(look(world)) == [NAME]


def test_records_are_shown_as_they_are_in_effect() -> None:
    """Blocked where the policy forbids it, as `status` says, unless a person paused it."""
    world = make_world(NAME, "other")
    pause(world.make_run(), "other")
    denying = make_policy(RULE, guardrails=Guardrails(deny_scopes=("vso.code",)))
    forbidden, paused = load_effective(world.database, denying, world.clock.now())
    assert (forbidden.name, forbidden.blocked) == (NAME, True)
    assert forbidden.last_failure is not None
    assert "deny_scopes" in forbidden.last_failure.message
    assert not paused.blocked
    assert load_effective(world.database, world.policy, world.clock.now()) == (world.record(), world.record("other"))


def test_status_says_what_a_run_waits_for_and_not_that_it_is_to_be_done_now() -> None:
    """By its claim: when that is over, because the process died, the next run has to look and to settle."""
    world = make_world()
    world.run_and_die(before="minted")

    def say() -> str:
        return say_next(look(world)[NAME], world.clock.now())

    assert say() == "a run waits for its new PAT"
    world.advance(minutes=5.1)
    assert say() == "waits until 09:10Z: a lost request may still take effect"
    world.advance(minutes=5)
    assert say() == "look again at the next run"
    world = make_world()
    world.run_and_die(after="verified")
    assert say() == "a run rotates it"
    world.advance(minutes=5.1)
    assert say() == "try again at the next run"
