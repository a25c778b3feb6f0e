"""What the first rotation may write over: nothing, what is ours, and the very version that a person saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.managed_pat import is_pat_shaped
from rotator.domain.policy import RuleAction
from rotator.domain.sight import Holding
from rotator.engine.adopting import AdoptionPlan, adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.explaining import explain_sight
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.report import OutcomeKind
from rotator.engine.tags import INTENT_TAG, OUR_TAGS, RESTORED_TAG, ROTATION_TAG
from rotator.ports.secret_store import MOST_TAGS, SecretLocation, SecretVersion
from tests.support.engine import (
    ACCOUNT,
    LIFETIME,
    NAME,
    ORGANIZATION,
    SCOPE,
    VAULT,
    EngineWorld,
    codes_of,
    make_world,
    names_of,
)
from tests.support.engine_scenarios import make_busy
from tests.support.policies import RULE, make_policy

PLACE = SecretLocation(VAULT, "contoso-deploy", ACCOUNT)
CONNECTION = "Server=tcp:db.contoso.com;Password=of-somebody-else"
REPLACE = Choice(replace_foreign=True)


@pytest.fixture
def world() -> EngineWorld:
    """A world with one PAT that nobody manages, `deploy`, which would be due at once."""
    world = make_world()
    end = world.clock.now() + timedelta(days=5)
    world.pats.add_pat(ACCOUNT, ORGANIZATION, "deploy", SCOPE, end, valid_from=end - LIFETIME)
    return world


def value_of(world: EngineWorld, name: str) -> str:
    """The value of the newest PAT of that display name."""
    return world.pats.live_pats(name)[-1].value


def adopt_now(world: EngineWorld, *references: str, choice: Choice | None = None) -> AdoptionPlan:
    run = world.make_run()
    return adopt(run, propose(run, list(references or ("deploy",)), everything=False, choice=choice))


def newest(world: EngineWorld) -> SecretVersion:
    return world.secrets.versions_of(PLACE)[0].version


def check_untouched(world: EngineWorld, value: str) -> None:
    """Nothing was minted for `deploy`, and its secret is as somebody else left it, tags included."""
    [only] = [stored for stored in world.secrets.versions_of(PLACE) if stored.value.reveal() == value]
    assert world.secrets.versions_of(PLACE)[0] == only
    assert INTENT_TAG not in only.version.tags
    assert len(world.pats.live_pats("deploy")) == 1


def test_first_rotation_creates_the_secret_when_there_was_none(world: EngineWorld) -> None:
    plan = adopt_now(world)
    assert plan.proposals[0].sight is not None
    assert (plan.proposals[0].sight.holding, plan.proposals[0].record.confirmed_version) == (Holding.ABSENT, None)
    assert "deploy" in names_of(world.run(), OutcomeKind.ROTATED)
    world.finish("deploy")


def test_first_rotation_replaces_a_pat_of_the_user_when_it_was_seen_at_adopting(world: EngineWorld) -> None:
    seen = world.secrets.write_foreign(PLACE, value_of(world, "deploy"))
    [proposal] = adopt_now(world).proposals
    assert proposal.sight is not None
    assert proposal.sight.holding is Holding.USERS_PAT
    assert "nothing shows which one" in explain_sight(proposal.sight)
    assert world.record("deploy").confirmed_version == seen
    assert "deploy" in names_of(world.run(), OutcomeKind.ROTATED)
    world.finish("deploy")
    assert world.record("deploy").confirmed_version is None


def test_something_else_is_refused_and_sent_nowhere_when_it_does_not_look_like_a_pat(world: EngineWorld) -> None:
    world.secrets.write_foreign(PLACE, CONNECTION)
    plan = adopt_now(world)
    assert plan.proposals == ()
    [refusal] = plan.refusals
    assert "does not look like a PAT" in explain_refusal(refusal).message
    assert "--replace-foreign" in explain_refusal(refusal).fix
    assert CONNECTION not in repr(plan)
    assert world.pats.tried == []


def test_pat_of_another_user_is_refused_when_it_is_in_the_secret(world: EngineWorld) -> None:
    other = world.pats.add_pat("release-bot", ORGANIZATION, "theirs", SCOPE, world.clock.now() + timedelta(days=9))
    world.secrets.write_foreign(PLACE, other.value)
    [refusal] = adopt_now(world).refusals
    assert "signs in as Release-Bot" in explain_refusal(refusal).message


def test_dead_pat_is_refused_when_nothing_proves_whose_it_was(world: EngineWorld) -> None:
    dead = "a" * 52
    assert is_pat_shaped(dead)
    world.secrets.write_foreign(PLACE, dead)
    assert adopt_now(world).proposals == ()
    assert len(adopt_now(world, choice=REPLACE).proposals) == 1


def test_something_else_is_replaced_when_a_person_confirmed_this_version(world: EngineWorld) -> None:
    seen = world.secrets.write_foreign(PLACE, CONNECTION)
    adopt_now(world, choice=REPLACE)
    assert world.record("deploy").confirmed_version == seen
    assert "deploy" in names_of(world.run(), OutcomeKind.ROTATED)
    world.finish("deploy")


@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("before", [None, "a person's PAT"])
def test_nothing_is_minted_when_the_secret_was_written_after_adopting(
    world: EngineWorld, before: str | None, by_hand: bool
) -> None:
    """The very version that was seen, and no later one; a rotation by hand confirms nothing."""
    if before is not None:
        world.secrets.write_foreign(PLACE, value_of(world, "deploy"))
    adopt_now(world)
    world.secrets.write_foreign(PLACE, CONNECTION)
    report = world.rotate("deploy") if by_hand else world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["secret_unconfirmed"]
    failure = world.record("deploy").last_failure
    assert failure is not None
    assert f"`rotator inventory adopt {world.record('deploy').authorization_id}`" in failure.fix
    assert ("was changed since a person looked at it" in failure.message) == (before is not None)
    assert ("holds something that nobody has confirmed yet" in failure.message) == (before is None)
    check_untouched(world, CONNECTION)


@pytest.mark.parametrize(
    ("value", "choice"), [(CONNECTION, REPLACE), (None, None)], ids=["something else", "a PAT of the user"]
)
def test_blocked_pat_is_rotated_when_it_is_adopted_again(
    world: EngineWorld, value: str | None, choice: Choice | None
) -> None:
    """As records that were adopted before versions were confirmed: nothing is confirmed."""
    adopt_now(world)
    world.secrets.write_foreign(PLACE, value or value_of(world, "deploy"))
    world.run()
    assert world.record("deploy").blocked
    plan = adopt_now(world, choice=choice)
    assert (plan.proposals, plan.refusals, len(plan.confirmations)) == ((), (), 1)
    assert not world.record("deploy").blocked
    assert world.events("deploy")[-2:] == ["secret_confirmed succeeded", "failure_cleared succeeded"]
    assert "deploy" in names_of(world.run(), OutcomeKind.ROTATED)
    world.finish("deploy")


def test_nothing_is_confirmed_when_something_else_is_adopted_again_without_the_flag(world: EngineWorld) -> None:
    adopt_now(world)
    world.secrets.write_foreign(PLACE, CONNECTION)
    [refusal] = adopt_now(world).refusals
    assert "--replace-foreign" in explain_refusal(refusal).fix
    assert world.record("deploy").confirmed_version is None


def test_secret_that_was_ours_stays_frozen_when_it_is_adopted_again_without_the_flag() -> None:
    world = make_world()
    world.run()
    foreign = world.secrets.write_foreign(world.location(), value_of(world, NAME))
    world.advance(hours=25)
    world.run()
    assert world.record().hold is not None
    current = world.record().authorization_id
    plan = adopt_now(world, current)
    assert (plan.refusals, plan.confirmations, len(plan.managed)) == ((), (), 1)
    assert adopt_now(world, current, choice=REPLACE).confirmations != ()
    assert (world.record().hold, world.record().confirmed_version) == (None, foreign)
    world.advance(days=25)
    assert NAME in names_of(world.run(), OutcomeKind.ROTATED)


def test_adopting_again_is_refused_when_another_name_or_secret_is_chosen() -> None:
    world = make_world()
    for choice in (Choice(name="other"), Choice(secret_name="other")):
        [refusal] = adopt_now(world, NAME, choice=choice).refusals
        assert "managed already" in explain_refusal(refusal).message
    assert adopt_now(world, NAME, choice=Choice(NAME, "Contoso-NPM-feed")).refusals == ()


def test_confirmation_waits_when_a_run_works_on_the_pat(world: EngineWorld) -> None:
    adopt_now(world)
    world.secrets.write_foreign(PLACE, CONNECTION)
    run = world.make_run()
    plan = propose(run, ["deploy"], everything=False, choice=REPLACE)
    with world.database.begin() as work:
        work.claims.claim("deploy", "another run", now=work.now(), span=world.timing.lease)
    assert ["is working on" in explain_refusal(refusal).message for refusal in adopt(run, plan).refusals] == [True]


def test_secret_is_ours_when_its_pat_was_forgotten_and_is_adopted_again() -> None:
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    current = world.record().authorization_id
    world.forget()
    [proposal] = adopt_now(world, current).proposals
    assert proposal.sight is not None
    assert proposal.sight.holding is Holding.OURS
    world.advance(days=25)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]


def test_nothing_is_adopted_when_its_vault_cannot_be_read(world: EngineWorld) -> None:
    world.secrets.fail("fetch_latest", make_busy("fetch_latest", "key_vault"))
    [refusal] = adopt_now(world).refusals
    assert explain_refusal(refusal).message == "key_vault is busy"
    world.pats.fail("verify", make_busy("verify"))
    world.secrets.write_foreign(PLACE, value_of(world, "deploy"))
    [refusal] = adopt_now(world).refusals
    assert explain_refusal(refusal).message == "azure_devops is busy"


def test_secret_is_not_looked_at_when_its_rule_never_writes_it() -> None:
    world = make_world(policy=make_policy(replace(RULE, action=RuleAction.ALERT)))
    world.pats.add_pat(ACCOUNT, ORGANIZATION, "deploy", SCOPE, world.clock.now() + timedelta(days=9))
    world.secrets.write_foreign(PLACE, CONNECTION)
    [proposal] = adopt_now(world).proposals
    assert proposal.sight is None
    assert world.count("fetch_latest") == 0


# Others' tags.


def test_tags_of_others_are_carried_over_when_ours_are_written(world: EngineWorld) -> None:
    owner = {"owner": "team-build", "rotator-rotation-ID": "not ours", "cost-center": "42"}
    world.secrets.write_foreign(PLACE, value_of(world, "deploy"), owner)
    adopt_now(world)
    for _ in range(2):
        world.run()
        assert newest(world).tags.items() >= owner.items()
        assert ROTATION_TAG in newest(world).tags
        world.advance(days=25)
        world.run()
    assert len([stored for stored in world.secrets.versions_of(PLACE) if ROTATION_TAG in stored.version.tags]) > 1


def test_tags_that_do_not_fit_are_told_when_there_are_too_many(world: EngineWorld) -> None:
    room = MOST_TAGS - len(OUR_TAGS)
    many = {f"tag-{number:02}": "theirs" for number in range(room + 3)}
    dropped = sorted(many)[room:]
    world.secrets.write_foreign(PLACE, value_of(world, "deploy"), many)
    [proposal] = adopt_now(world).proposals
    assert proposal.sight is not None
    assert proposal.sight.dropped_tags == tuple(dropped)
    assert "deploy" in names_of(world.run(), OutcomeKind.ROTATED)
    assert "secret_tags_dropped failed" in world.events("deploy")
    assert [fields["tags"] for name, fields in world.told if name == "secret_tags_dropped"] == [", ".join(dropped)]
    assert newest(world).tags.keys() & many.keys() == set(sorted(many)[:room])
    world.finish("deploy")


def test_every_tag_fits_when_a_carried_version_is_restored_and_marked_again() -> None:
    assert {INTENT_TAG, RESTORED_TAG} < set(OUR_TAGS)
    assert len(OUR_TAGS) < MOST_TAGS


# What is read from a vault and is not ours.


def test_foreign_value_is_sent_nowhere_when_a_late_write_is_undone() -> None:
    """What lies below a late write may be anything."""
    world = make_world()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.heal()
    world.secrets.write_foreign(world.location(), CONNECTION)
    world.advance(minutes=11)
    world.run()
    world.secrets.apply_late()
    world.advance(hours=7)
    world.run()
    assert CONNECTION not in world.pats.tried


def test_value_of_somebody_else_stays_unconfirmed_when_it_is_put_back_over_a_late_write() -> None:
    """That rotator wrote it again does not make it a value that may be replaced."""
    world = make_world()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.heal()
    theirs = world.pats.add_pat(ACCOUNT, ORGANIZATION, "by-hand", SCOPE, world.clock.now() + timedelta(days=30))
    tags = {f"tag-{number:02}": "theirs" for number in range(MOST_TAGS)}
    world.secrets.write_foreign(world.location(), theirs.value, tags)
    world.advance(minutes=11)
    assert codes_of(world.run(), OutcomeKind.BLOCKED) == ["secret_unconfirmed"]
    assert world.secrets.apply_late() == 1
    for _ in range(2):
        world.advance(hours=7)
        world.run()
        assert world.latest().value.reveal() == theirs.value
        failure = world.record().last_failure
        assert failure is not None
        assert failure.code == "secret_unconfirmed"
    adopt_now(world, world.record().authorization_id)
    assert names_of(world.run(), OutcomeKind.ROTATED) == [NAME]
    world.finish()


def test_older_versions_of_others_stay_readable_when_the_rule_disables_ours() -> None:
    world = make_world(policy=make_policy(replace(RULE, disable_previous=True)))
    record = world.add_managed("deploy")
    place = SecretLocation.of(record)
    theirs = world.secrets.write_foreign(place, CONNECTION)
    seen = world.secrets.write_foreign(place, value_of(world, "deploy"))
    with world.database.begin() as work:
        claim = work.claims.claim("deploy", "a person", now=work.now(), span=world.timing.lease)
        work.inventory.save(replace(record, confirmed_version=seen), claim)
        work.claims.release(claim)
    world.run()
    world.advance(hours=25)
    world.run()
    enabled = {stored.version.version: stored.version.enabled for stored in world.secrets.versions_of(place)}
    assert (enabled[theirs], enabled[seen]) == (True, False)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: world.secrets.write_foreign(PLACE, CONNECTION, enabled=False),
        lambda world: world.secrets.denied.add("get"),
    ],
    ids=["disabled", "denied"],
)
def test_nothing_is_adopted_when_nobody_can_see_what_the_secret_holds(
    world: EngineWorld, spoil: Callable[[EngineWorld], object]
) -> None:
    spoil(world)
    plan = adopt_now(world, choice=REPLACE)
    assert plan.proposals == ()
    assert all(explain_refusal(refusal).fix for refusal in plan.refusals)
