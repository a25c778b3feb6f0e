"""What a PAT that lists lack is taken for, and what becomes of it: a list proves little, and so does an old request."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Hold, ManagedPat
from rotator.domain.policy import LeakAction
from rotator.engine.keeping import revoke_current
from rotator.errors import DeniedError, UnknownOutcomeError
from rotator.ports.secret_store import SecretLocation
from tests.support.engine import ACCOUNT, LIFETIME, NAME, ORGANIZATION, SCOPE, VAULT, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

REPLACING = make_policy(replace(RULE, on_leak=LeakAction.ROTATE))
NEW = "fresh"
EMPTY = ""
IN_A_TEXT = "https://bot:{value}@dev.azure.com/contoso"
DENIED = DeniedError("policy", service="azure_devops", operation="revoke_pat", code="denied", fix="Ask.", status=403)


def make_adopted(held: str) -> tuple[EngineWorld, str]:
    """A PAT that was adopted, with 25 of its 30 days left, and its id. Its users have it from elsewhere.

    Its secret is empty, or a person confirmed what it has: this text, with the value of the PAT or another one in it.
    """
    world = make_world(policy=REPLACING)
    end = world.clock.now() + timedelta(days=25)
    fake = world.pats.add_pat(ACCOUNT, ORGANIZATION, NEW, SCOPE, end, valid_from=end - LIFETIME)
    record = ManagedPat(
        name=NEW,
        account=ACCOUNT,
        organization=ORGANIZATION,
        authorization_id=fake.pat.authorization_id,
        display_name=NEW,
        scope=SCOPE,
        valid_from=fake.pat.valid_from,
        valid_to=fake.pat.valid_to,
        vault=VAULT,
        secret_name=f"{ORGANIZATION}-{NEW}",
    )
    if held:
        text = held.format(value=fake.value)
        record = replace(record, confirmed_version=world.secrets.write_foreign(SecretLocation.of(record), text))
    with world.database.begin() as work:
        work.inventory.add(record)
    world.run()
    return world, fake.pat.authorization_id


def make_rotated() -> tuple[EngineWorld, str]:
    """A PAT that rotator made, whose old one is revoked, and its id."""
    world = make_world(policy=REPLACING)
    world.run()
    world.advance(hours=25)
    world.run()
    return world, world.record().authorization_id


def hide(world: EngineWorld, authorization_id: str) -> None:
    """From now on no list of active PATs has it; by its id the server shows it, and does not call it revoked."""
    world.pats.change_listed = lambda listed: tuple(pat for pat in listed if pat.authorization_id != authorization_id)


def look_for_long(world: EngineWorld) -> None:
    for _ in range(4):
        world.advance(minutes=6)
        world.run()


@pytest.mark.parametrize("held", [EMPTY, IN_A_TEXT])
def test_live_pat_is_neither_replaced_nor_revoked_when_lists_lack_it_and_no_value_was_tried(held: str) -> None:
    world, current = make_adopted(held)
    hide(world, current)
    look_for_long(world)
    assert "pat_vanished failed" in world.events(NEW)
    world.pats.change_listed = None
    world.run()
    assert (world.record(NEW).authorization_id, world.record(NEW).hold) == (current, None)
    assert current not in world.revoked_ids()


def test_leaked_pat_without_a_value_to_try_is_told_and_not_replaced() -> None:
    world, current = make_adopted(EMPTY)
    world.pats.pats[current].revoked = True
    look_for_long(world)
    assert "pat_vanished failed" in world.events(NEW)
    assert world.record(NEW).authorization_id == current
    world.rotate(NEW)
    assert world.record(NEW).authorization_id in world.live_ids(NEW)


@pytest.mark.parametrize("is_gone", [False, True], ids=["it lives", "it is gone"])
def test_replaced_pat_is_left_behind_and_told_unless_it_is_proven_gone(is_gone: bool) -> None:
    """The value that its secret had is refused, but was that of another PAT: what lists lack for a while lives."""
    world, current = make_adopted("A" * 76 + "AZDO" + "A" * 4)
    if is_gone:
        world.pats.pats[current].revoked = True
    else:
        hide(world, current)
    look_for_long(world)
    assert world.record(NEW).authorization_id != current
    assert (world.states(NEW), world.revoked_ids()) == (["completed"], [])
    assert world.rotations(NEW)[0].keeps_predecessor is not is_gone
    world.pats.change_listed = None
    world.run()
    assert world.events(current) == ([] if is_gone else ["pat_left_behind unknown"])


def test_live_pat_is_not_called_revoked_when_only_lists_lack_it() -> None:
    world, current = make_adopted(EMPTY)
    hide(world, current)
    look_for_long(world)
    failure = world.record(NEW).last_failure
    assert failure is not None
    assert "revoked outside" not in failure.message
    assert "forget" not in failure.fix


def test_leak_is_told_and_replaced_when_a_person_once_tried_in_vain_to_revoke_that_pat() -> None:
    world, current = make_rotated()
    world.pats.fail("revoke", DENIED)
    with pytest.raises(DeniedError):
        revoke_current(world.make_run(), NAME)
    world.advance(days=3)
    world.run()
    assert current in world.live_ids()
    world.pats.pats[current].revoked = True
    look_for_long(world)
    assert "pat_vanished failed" in world.events()
    assert world.is_live()


def lose_request(world: EngineWorld, name: str, *, has_effect: bool) -> None:
    """A person asks to revoke it, and the answer is lost."""
    world.pats.fail("revoke", after_effect=has_effect)
    with pytest.raises(UnknownOutcomeError):
        revoke_current(world.make_run(), name)


def test_leak_is_told_and_replaced_when_a_request_of_a_person_that_got_no_answer_is_long_ago() -> None:
    world, current = make_rotated()
    lose_request(world, NAME, has_effect=False)
    world.advance(days=8)
    world.run()
    world.pats.pats[current].revoked = True
    look_for_long(world)
    assert "pat_vanished failed" in world.events()
    assert world.is_live()


def test_what_a_person_asked_for_stays_so_while_nothing_shows_the_pat() -> None:
    """Also when it becomes due, in its last week."""
    world, _ = make_adopted(EMPTY)
    lose_request(world, NEW, has_effect=True)
    for _ in range(4):
        world.run()
        assert world.record(NEW).hold is Hold.REVOKED_BY_HAND
        world.advance(days=8)
    assert "pat_vanished failed" not in world.events(NEW)


def test_pat_is_no_more_revoked_by_hand_when_it_is_listed_again() -> None:
    world, current = make_adopted(EMPTY)
    lose_request(world, NEW, has_effect=False)
    hide(world, current)
    look_for_long(world)
    assert world.record(NEW).hold is Hold.REVOKED_BY_HAND
    world.pats.change_listed = None
    world.advance(hours=1)
    world.run()
    assert (world.record(NEW).hold, world.record(NEW).last_failure) == (None, None)
    world.pats.pats[current].revoked = True  # now it leaked
    look_for_long(world)
    assert "pat_vanished failed" in world.events(NEW)


def test_what_a_person_revoked_stays_so_when_a_list_still_has_it() -> None:
    """The request was answered: it is pending, and a list may be behind."""
    world, current = make_adopted(EMPTY)
    world.pats.ignores_revoke = lambda _: True
    revoke_current(world.make_run(), NEW)
    world.advance(minutes=1)
    world.run()
    assert current in world.live_ids(NEW)
    assert world.record(NEW).hold is Hold.REVOKED_BY_HAND


@pytest.mark.parametrize("is_refused", [True, False], ids=["refused", "lost"])
def test_live_pat_is_not_revoked_at_once_when_a_person_rotates_it_after_a_revocation_in_vain(is_refused: bool) -> None:
    world, current = make_adopted(EMPTY)
    if is_refused:
        world.pats.fail("revoke", DENIED)
        with pytest.raises(DeniedError):
            revoke_current(world.make_run(), NEW)
    else:
        lose_request(world, NEW, has_effect=False)
    requested = world.revoked_ids().count(current)
    hide(world, current)
    look_for_long(world)
    world.rotate(NEW)
    world.pats.change_listed = None
    world.run()
    assert (world.revoked_ids().count(current), current in world.live_ids(NEW)) == (requested, True)
    assert world.events(current) == ([] if is_refused else ["pat_left_behind unknown"])
