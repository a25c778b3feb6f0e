"""The mint at its edges: how often it is tried, what it asks for, what it learns from the answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import Hold
from rotator.domain.policy import RuleAction
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.losses import MAX_LOST_PER_DAY
from rotator.engine.report import OutcomeKind
from rotator.engine.run import run_once
from rotator.errors import VerificationError
from rotator.ports.pat_service import MintedPat
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.engine_fakes import CountingEntropy
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY


def give_up_clones(world: EngineWorld, number: int) -> None:
    """Clones that are minted and revoked again, one every seven hours."""
    refused = VerificationError("the probe was refused", code="verification_failed")
    world.pats.fail("verify", refused, times=100_000)
    for _ in range(number):
        world.run()
        world.advance(hours=7)


def test_attempts_go_on_when_the_first_of_three_lost_clones_is_older_than_a_day() -> None:
    world = make_world()
    give_up_clones(world, 4)
    assert world.states() == ["abandoned"] * 3
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "too_many_attempts"
    world.heal()
    world.run()
    assert world.states()[-1] == "overlapping"


def test_attempts_go_on_although_a_wrong_clock_dated_the_end_of_lost_clones() -> None:
    world = make_world()
    give_up_clones(world, 1)
    world.heal()
    [lost] = world.rotations()
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "a run", now=work.now(), span=world.timing.lease)
        for number in range(MAX_LOST_PER_DAY + 1):
            ahead = replace(lost, id=f"ahead-{number}", tried_store=True, updated_at=lost.updated_at + 400 * DAY)
            work.journal.insert(ahead, claim)
        work.claims.release(claim)
    world.run()
    assert world.states()[-1] == "overlapping"


def test_attempts_go_on_when_nothing_was_minted_in_the_others() -> None:
    world = make_world()
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"
    for _ in range(4):
        world.rotate(NAME)
        world.advance(hours=1)
    assert world.states() == ["abandoned"] * 4


def test_attempts_go_on_when_the_others_were_completed() -> None:
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(minutes=1))))
    for _ in range(3):
        world.rotate(NAME)
        world.advance(minutes=2)
        world.run()
    assert world.states() == ["completed"] * 3
    give_up_clones(world, 1)
    world.rotate(NAME)
    assert world.states() == ["completed"] * 3 + ["abandoned"]


def test_pat_is_rotated_and_not_called_revoked_when_it_expires_this_moment() -> None:
    world = make_world("other")
    world.add_managed(NAME, days_left=0)
    world.run()
    assert world.states() == ["completed"]
    assert "overlap_started succeeded" in world.events()


def test_refusal_names_the_pat_when_the_server_has_forgotten_it() -> None:
    world = make_world()
    del world.pats.pats[world.record().authorization_id]
    world.run()
    world.advance(hours=7)
    (entry,) = world.run().of_kind(OutcomeKind.BLOCKED)
    assert entry.failure is not None
    assert (entry.name, entry.failure.message.partition(":")[0]) == (NAME, "it was revoked outside rotator")


def test_refusal_says_expired_when_the_hosts_clock_lags_behind_the_servers() -> None:
    """By less than what the clock guard minds. The server forgets what has expired."""
    world = make_world("other")
    record = world.add_managed(NAME, days_left=60 / 86400)
    world.host_clock.ahead = timedelta(seconds=-50)
    world.advance(seconds=62)
    del world.pats.pats[record.authorization_id]
    (entry,) = world.run().of_kind(OutcomeKind.BLOCKED)
    assert entry.failure is not None
    assert entry.failure.message.startswith("it expired on")
    assert world.record().hold is Hold.REVOKED_ELSEWHERE


def test_rotation_is_dated_when_it_is_planned() -> None:
    world = make_world()
    world.advance(minutes=5)
    world.run_and_die(after="planned")
    rotation = world.rotations()[0]
    assert rotation.created_at == rotation.updated_at == world.clock.now()


class RecordingEntropy(CountingEntropy):
    """Remembers between which bounds it was asked to pick."""

    def __init__(self) -> None:
        super().__init__()
        self.bounds: list[tuple[int, int]] = []

    def pick(self, low: int, high: int) -> int:
        """See the port."""
        self.bounds.append((low, high))
        return super().pick(low, high)


def test_expiry_is_offset_by_four_to_eight_minutes_when_the_lifetime_is_a_month() -> None:
    world = make_world()
    entropy = RecordingEntropy()
    world.watch(lambda: run_once(world.make_run(replace(world.make_services(), entropy=entropy))))
    assert entropy.bounds == [(240, 479)]


@pytest.mark.parametrize(("short", "learned"), [(2, False), (3, True)])
def test_maximum_is_learned_when_the_answer_is_shorter_than_clocks_explain(short: int, learned: bool) -> None:
    world = make_world()
    world.pats.change_minted = lambda minted: shorten(world, minted, short)
    world.run()
    with world.database.begin() as work:
        assert ((ACCOUNT, ORGANIZATION) in work.limits.load()) is learned


def shorten(world: EngineWorld, minted: MintedPat, seconds: int) -> MintedPat:
    """The answer with an earlier expiry, as the server has it too."""
    pat = replace(minted.pat, valid_to=minted.pat.valid_to - timedelta(seconds=seconds))
    world.pats.pats[pat.authorization_id].pat = pat
    return replace(minted, pat=pat)


def test_attempts_go_on_when_a_pat_left_behind_was_revoked_by_hand() -> None:
    """Two clones were lost; revoking a PAT left behind is no third."""
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    world.run()
    near = world.live_ids()[1]
    world.advance(minutes=11)
    give_up_clones(world, 2)
    revoke_left_behind(world.make_run(), near)
    assert world.states() == ["abandoned"] * 4
    world.heal()
    world.run()
    assert world.states()[-1] == "overlapping"


def test_expired_pat_is_not_cloned_when_it_was_for_another_organization() -> None:
    """It is in no listing that could tell."""
    world = make_world("other")
    record = world.add_managed(NAME, days_left=-1)
    fake = world.pats.pats[record.authorization_id]
    fake.pat = replace(fake.pat, target_accounts=(world.pats.organizations["fabrikam"].id,))
    world.run()
    assert [entry[0] for entry in world.pats.calls if entry[2] == NAME] == []
    assert world.record().blocked


def test_pat_is_not_cloned_when_its_rule_ignores_it_and_a_person_asks() -> None:
    """A rule that ignores plans no lifetime for a clone."""
    world = make_world(policy=make_policy(replace(RULE, action=RuleAction.IGNORE)))
    (entry,) = world.rotate(NAME).of_kind(OutcomeKind.BLOCKED)
    assert entry.failure is not None
    assert entry.failure.message == "rule ci says ignore"
    assert world.states() == []
