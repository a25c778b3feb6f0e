"""Stories of the engine for `trails.py`: each yields the reports and refusals of its runs, then its world."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

from rotator.domain.secret_value import SecretValue
from rotator.domain.threshold import Threshold
from rotator.engine.creating import create, make_order
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.looking import Rebuild
from rotator.engine.report import RunReport
from rotator.engine.tags import ROTATION_TAG
from rotator.engine.updating import make_change, update
from rotator.errors import DeniedError, RotatorError, VerificationError
from rotator.ports.pat_service import MintedPat
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.engine_scenarios import make_busy, make_given_up_store, make_late_store, make_overlapping
from tests.support.policies import RULE, make_policy

Told = Iterator[EngineWorld | RunReport | Rebuild | RotatorError]
STORIES: dict[str, Callable[[], Told]] = {}
"""By their titles, in the order of the page."""


def story(act: Callable[[], Told]) -> Callable[[], Told]:
    """Enter a story under its function's name."""
    STORIES[act.__name__.replace("_", " ")] = act
    return act


def refuse(world: EngineWorld, act: Callable[[], object]) -> RotatorError:
    """The error that an act ends with."""
    try:
        act()
    except RotatorError as error:
        world.check_promises(str(error))
        return error
    raise AssertionError("it was not refused")


def go_on(world: EngineWorld, **span: float) -> RunReport:
    """Some time later another run."""
    world.advance(**span)
    return world.run()


def make_refused() -> VerificationError:
    """What the probe of a PAT that does not authenticate raises."""
    return VerificationError("the probe was refused", code="verification_failed", fix="See to it.")


@story
def rotated_and_the_older_versions_disabled() -> Told:
    world = make_overlapping(hours=23.9, disabling=True)
    yield world.run()
    yield go_on(world, hours=0.1)
    yield world


def order_new(world: EngineWorld) -> RunReport:
    """One `rotator create deploy`."""
    order = make_order("deploy", ACCOUNT, ORGANIZATION, ("vso.code",), timedelta(days=20))
    return world.watch(lambda: create(world.make_run(), order))


@story
def created_by_hand() -> Told:
    world = make_world()
    yield world.run()
    yield order_new(world)
    yield world


@story
def creation_refused_and_then_finished_by_a_run() -> Told:
    world = make_world()
    yield world.run()
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"
    yield order_new(world)
    world.heal()
    world.pats.fail("mint", after_effect=True)
    yield order_new(world)
    yield refuse(world, lambda: order_new(world))
    yield go_on(world, minutes=11)
    yield world


@story
def updated_by_hand_after_it_was_refused() -> Told:
    world = make_world()
    wanted = make_change(NAME, display_name="npm-publish", scopes=("vso.code",), lifetime=timedelta(days=20))
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"
    yield world.watch(lambda: update(world.make_run(), wanted))
    world.heal()
    yield world.watch(lambda: update(world.make_run(), wanted))
    yield world.watch(lambda: update(world.make_run(), wanted))
    yield go_on(world, hours=25)
    yield world


@story
def mint_found_although_its_answer_was_lost() -> Told:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    yield world.run()
    yield go_on(world, minutes=1)
    yield world


@story
def mint_not_created() -> Told:
    world = make_world()
    world.pats.fail("mint")
    yield world.run()
    yield go_on(world, minutes=1)
    yield go_on(world, minutes=11)
    yield world


@story
def near_match_left_behind_and_revoked_by_hand() -> Told:
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    yield world.run()
    yield go_on(world, minutes=11)
    near = world.live_ids()[1]
    yield refuse(world, lambda: revoke_left_behind(world.make_run(), near))
    yield go_on(world, hours=25)
    revoke_left_behind(world.make_run(), near)
    yield refuse(world, lambda: revoke_left_behind(world.make_run(), near))
    yield world


@story
def two_like_the_lost_mint() -> Told:
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    yield world.run()
    planned = world.rotations()[0].planned_valid_to
    assert planned is not None
    world.add_lookalike(planned)
    yield go_on(world, minutes=1)
    yield world


@story
def late_mint() -> Told:
    world = make_world()
    world.pats.postpone_mint()
    yield world.run()
    yield go_on(world, minutes=11)
    world.pats.apply_late()
    yield go_on(world, hours=25)
    yield go_on(world, minutes=1)
    yield world


@story
def killed_before_anything_was_sent() -> Told:
    yield from kill_after("planned")


@story
def killed_with_the_value_in_memory() -> Told:
    yield from kill_after("verified")


@story
def killed_when_stored() -> Told:
    yield from kill_after("stored")


@story
def killed_while_giving_up() -> Told:
    world = make_world()
    world.run_and_die(after="minted")
    world.advance(minutes=6)
    world.run_and_die(after="abandoning")
    yield go_on(world, minutes=6)
    yield world


@story
def killed_before_the_old_one_was_revoked() -> Told:
    yield from kill_overlapping("retiring", "after")


@story
def killed_after_the_old_one_was_revoked() -> Told:
    yield from kill_overlapping("completed", "before")


def kill_after(mark: str) -> Told:
    """A first run killed at a commit, and the one that recovers."""
    world = make_world()
    world.run_and_die(after=mark)
    yield go_on(world, minutes=6)
    yield world


def kill_overlapping(mark: str, side: str) -> Told:
    """A run killed while it retires the old PAT, and the one that recovers."""
    world = make_overlapping()
    world.run_and_die(**{side: mark})
    yield go_on(world, minutes=6)
    yield world


@story
def vault_ill_for_a_while() -> Told:
    world = make_world()
    world.secrets.fail("store", make_busy("store", "key_vault"), times=3)
    yield world.run()
    yield world


@story
def store_without_an_answer_found() -> Told:
    world = make_world()
    world.secrets.fail("store", after_effect=True, times=30)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), skip=1, times=30)
    yield world.run()
    world.heal()
    yield go_on(world, minutes=1)
    yield world


@story
def store_given_up() -> Told:
    world = make_given_up_store()
    yield world.run()
    yield world


@story
def late_store_undone() -> Told:
    world = make_late_store()
    yield go_on(world, hours=1)
    yield world


@story
def late_store_undone_by_the_guard() -> Told:
    world = make_given_up_store()
    world.run()
    world.advance(days=8)
    world.secrets.apply_late()
    yield world.run()
    yield world


@story
def store_refused() -> Told:
    world = make_world()
    world.secrets.fail("store", DeniedError("no", service="key_vault", operation="store", status=403, code="denied"))
    yield world.run()
    yield world


@story
def secret_written_by_somebody_else_in_the_overlap() -> Told:
    world = make_overlapping()
    world.secrets.write_foreign(world.location(), "theirs")
    yield world.run()
    yield go_on(world, hours=7)
    yield world


@story
def secret_written_by_somebody_else_before() -> Told:
    world = make_overlapping()
    world.run()
    world.secrets.write_foreign(world.location(), "theirs")
    yield go_on(world, days=24)
    yield world.rotate(NAME)
    yield world


@story
def secret_written_by_an_unknown_rotation() -> Told:
    world = make_world()
    world.secrets.write_foreign(world.location(), "x", {ROTATION_TAG: "f" * 32})
    yield world.run()
    yield world


@story
def clone_in_use_that_the_database_calls_unused() -> Told:
    world = make_world()
    world.database.interrupts["minted"] = lambda: write_clone(world)
    world.run_and_die(after="verified")
    yield go_on(world, minutes=6)
    yield world


def write_clone(world: EngineWorld) -> None:
    """The vault hands out the clone of the open rotation, as if a later database had stored it."""
    clone = world.rotations()[-1].new_authorization_id or ""
    tags = {"rotator-authorization-id": clone, ROTATION_TAG: world.rotations()[-1].id}
    world.secrets.write_foreign(world.location(), world.pats.pats[clone].value, tags)


@story
def clone_revoked_by_hand() -> Told:
    world = make_overlapping()
    world.pats.pats[world.live_ids()[1]].revoked = True
    yield world.run()
    yield world


@story
def clone_and_old_one_revoked_by_hand() -> Told:
    world = make_overlapping(hours=1)
    for found in world.live_ids():
        world.pats.pats[found].revoked = True
    yield world.run()
    yield go_on(world, hours=1)
    yield world.rotate(NAME)
    yield world


@story
def old_one_recorded_as_in_use() -> Told:
    world = make_overlapping()
    old = world.live_ids()[0]
    other = world.add_managed("other", days_left=29)
    world.forget("other")
    with world.database.begin() as work:
        work.inventory.add(replace(other, authorization_id=old))
    yield world.run()
    yield world


@story
def value_of_another_user_under_our_tags() -> Told:
    world = make_overlapping()
    other = world.pats.add_pat("release-bot", "contoso", "theirs", "vso.code", world.record().valid_to)
    world.secrets.write_foreign(world.location(), other.value, dict(world.latest().version.tags))
    yield world.run()
    yield world


@story
def described_otherwise_by_the_server() -> Told:
    world = make_world()
    world.add_managed("fresh", days_left=20)
    fake = world.pats.pats[world.record("fresh").authorization_id]
    fake.pat = replace(fake.pat, display_name="renamed", scope="vso.code", valid_to=fake.pat.valid_to)
    yield world.run()
    yield world


@story
def revoked_by_hand_before_it_is_due() -> Told:
    world = make_overlapping()
    world.run()
    world.pats.pats[world.record().authorization_id].revoked = True
    yield go_on(world, hours=1)
    yield go_on(world, hours=1)
    yield world.rotate(NAME)
    yield world


@story
def clamped_below_the_threshold() -> Told:
    world = make_world(policy=make_policy(replace(RULE, rotate_before=Threshold(duration=timedelta(days=7)))))
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=5)
    yield world.run()
    yield go_on(world, hours=1)
    yield world


@story
def clamped_and_long_enough() -> Told:
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    yield world.run()
    yield world


def answer_mint(change: Callable[[MintedPat], MintedPat]) -> Told:
    """A run whose mint is answered with something else than was made."""
    world = make_world()
    world.pats.change_minted = change
    yield world.run()
    yield world


@story
def minted_without_a_value() -> Told:
    yield from answer_mint(lambda minted: replace(minted, value=None))


@story
def minted_with_other_scopes() -> Told:
    yield from answer_mint(lambda minted: replace(minted, pat=replace(minted.pat, scope="vso.code")))


@story
def minted_with_another_name() -> Told:
    yield from answer_mint(lambda minted: replace(minted, pat=replace(minted.pat, display_name="x")))


@story
def minted_for_other_organizations() -> Told:
    yield from answer_mint(lambda minted: replace(minted, pat=replace(minted.pat, target_accounts=None)))


@story
def minted_as_the_old_one() -> Told:
    world = make_world()
    old = world.record().authorization_id
    world.pats.change_minted = lambda minted: replace(minted, pat=replace(minted.pat, authorization_id=old))
    yield world.run()
    yield world


@story
def mint_refused() -> Told:
    world = make_world()
    world.pats.organizations[ORGANIZATION].mint_error = "globalPATCreationBlocked"
    yield world.run()
    yield world


@story
def clone_of_another_user() -> Told:
    world = make_world()
    other = world.pats.add_pat("release-bot", "contoso", "theirs", "vso.code", world.record().valid_to)
    world.pats.change_minted = lambda minted: MintedPat(minted.pat, SecretValue(other.value))
    yield world.run()
    yield world


@story
def clone_that_never_authenticates() -> Told:
    world = make_world()
    world.pats.fail("verify", make_refused(), times=100_000)
    for _ in range(4):
        yield go_on(world, hours=7)
    yield world.rotate(NAME)
    yield world


@story
def account_whose_sign_in_ended() -> Told:
    world = make_world("a", "b")
    world.sign_in.refusals[ACCOUNT] = make_busy("refresh", "entra")
    yield world.run()
    yield world


@story
def listed_clone_that_does_not_authenticate_any_more() -> Told:
    world = make_overlapping()
    world.pats.fail("verify", make_refused(), times=100)
    yield world.run()
    world.heal()
    yield go_on(world, hours=1)
    yield world


@story
def stored_clone_that_does_not_authenticate_after_a_death() -> Told:
    world = make_world()
    world.run_and_die(after="stored")
    world.advance(minutes=6)
    world.pats.fail("verify", make_refused(), times=100)
    yield world.run()
    yield world


@story
def given_up_write_took_effect_before_its_clone_was_revoked() -> Told:
    world = make_given_up_store()
    world.run_and_die(after="abandoning")
    world.secrets.apply_late()
    yield go_on(world, minutes=6)
    yield world


@story
def late_store_over_a_finished_rotation() -> Told:
    world = make_given_up_store()
    world.run()
    world.advance(hours=24)
    world.run()
    world.secrets.apply_late()
    yield go_on(world, hours=1)
    yield world


@story
def late_store_over_a_clone_that_was_revoked() -> Told:
    world = make_late_store()
    world.pats.pats[world.record().authorization_id].revoked = True
    world.pats.pats[world.rotations()[0].predecessor_id].revoked = True
    yield go_on(world, hours=25)
    yield world


@story
def server_busy_while_the_clone_was_probed() -> Told:
    world = make_world()
    world.pats.fail("verify", make_busy("verify"), times=2)
    yield world.run()
    yield world
