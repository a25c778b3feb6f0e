"""A mint that the database has lost: recognised by the intent in the vault, and revoked only when nobody can use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.events.rotations import RotationFailed
from rotator.domain.intent import LONGEST_TEXT, Intent, read_intents, write_intents
from rotator.domain.managed_pat import Hold
from rotator.domain.refusal import RefusalKind
from rotator.domain.secret_value import SecretValue
from rotator.engine.auditing import load_events
from rotator.engine.keeping import forget
from rotator.engine.left_behind import load_left_behind, revoke_left_behind
from rotator.engine.looking import look
from rotator.engine.rebuilding import rebuild
from rotator.engine.tags import INTENT_TAG
from rotator.engine.updating import make_change, update
from rotator.ports.audit_log import AuditFilter
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretVersion, StoredSecret
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.engine_fakes import ProcessDied
from tests.support.engine_restores import lose
from tests.support.engine_scenarios import lose_update
from tests.support.records import make_rotation

SETTLE = {"minutes": 11}
FOUND = "unknown_intent_found unknown"


def make_lost_mint(arrange: Callable[[EngineWorld], object] = lambda world: None) -> tuple[EngineWorld, str]:
    """A database from before a mint whose answer was lost too; the id of what that made."""
    world = make_world()
    arrange(world)
    restore = world.database.back_up()
    world.pats.fail("mint", after_effect=True)
    world.run()
    lost = world.pats.live_pats()[-1].pat.authorization_id
    restore()
    return world, lost


def make_written_over(restore_at: str | None = None) -> tuple[EngineWorld, str]:
    """A database from before a rotation whose value a person has written over since; the id of its clone.

    With `restore_at`, from the commit with that mark.
    """
    world = make_world()
    restores = [world.database.back_up()]
    if restore_at is not None:
        world.database.interrupts[restore_at] = lambda: restores.append(world.database.back_up())
    world.run()
    clone = world.live_ids()[-1]
    theirs = world.pats.add_pat("build-bot", "contoso", "by-hand", "vso.code", world.clock.now() + timedelta(days=20))
    version = world.secrets.write_foreign(world.location(), theirs.value)
    restores[-1]()
    world.advance(minutes=6)
    confirm(world, version)
    return world, clone


def confirm(world: EngineWorld, version: str) -> None:
    """A person says that what is in the secret may be replaced."""
    record = world.record()
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "a person", now=work.now(), span=world.timing.lease)
        work.inventory.save(replace(record, confirmed_version=version), claim)
        work.claims.release(claim)


def find_told(world: EngineWorld) -> set[str]:
    """The ids of the PATs about which `rotator status` tells a person to act."""
    return {row.authorization_id for row in world.show_status() if row.last_error is not None}


def read_tag(world: EngineWorld) -> list[str]:
    """The ids of the intents on the newest version that has any."""
    texts = [stored.version.tags.get(INTENT_TAG) for stored in world.secrets.versions_of(world.location())]
    return [intent.rotation_id for intent in read_intents(next(text for text in texts if text))]


def retag(world: EngineWorld, text: str) -> None:
    """Somebody writes another intent beside the newest version."""
    secret = world.secrets._secrets[world.location().vault, world.location().name]
    newest = secret.versions[-1]
    version: SecretVersion = replace(newest.version, tags={**newest.version.tags, INTENT_TAG: text})
    secret.versions[-1] = StoredSecret(version, newest.value)


def test_mint_is_revoked_when_the_database_that_knew_of_it_was_replaced() -> None:
    world, lost = make_lost_mint()
    world.run()
    assert FOUND in world.events()
    assert lost not in world.revoked_ids()
    world.finish()
    assert world.revoked_ids().count(lost) == 1


def forge(world: EngineWorld, key: SecretValue | None) -> str:
    """Somebody who may write tags plants an intent for a PAT that a person made; the id of that PAT."""
    theirs = world.add_lookalike(world.clock.now() + timedelta(days=20)).pat
    forged = replace(
        make_rotation(),
        id="f" * 32,
        organization="contoso",
        display_name=NAME,
        scope=theirs.scope,
        vault=world.record().vault,
        secret_name=world.record().secret_name,
        planned_valid_to=theirs.valid_to,
        created_at=world.clock.now(),
    )
    retag(world, str(Intent.of(forged, key)))
    return theirs.authorization_id


@pytest.mark.parametrize("key", [None, SecretValue("a guess")])
def test_forged_intent_is_ignored_when_intents_are_signed(key: SecretValue | None) -> None:
    """Else whoever may write tags could have any PAT with a managed one's look revoked."""
    world = make_world()
    world.marker_key = SecretValue("the key of the marks")
    theirs = forge(world, key)
    for _ in range(4):
        world.run()
        world.advance(hours=13)
    assert world.states() == ["completed"]
    assert FOUND not in world.events()
    assert theirs not in world.revoked_ids()


def test_signed_intent_is_found_again() -> None:
    world = make_world()
    world.marker_key = SecretValue("the key of the marks")
    theirs = forge(world, world.marker_key)
    world.run()
    assert FOUND in world.events()
    assert theirs in world.live_ids()


def test_intent_is_ignored_beside_another_secret() -> None:
    """A copied tag proves nothing: two records with alike metadata are never taken for each other."""
    world, lost = make_lost_mint()
    text = world.latest().version.tags[INTENT_TAG]
    retag(world, "")
    record = world.record()
    with world.database.begin() as work:
        claim = work.claims.claim(NAME, "a person", now=work.now(), span=world.timing.lease)
        work.inventory.remove(NAME, claim)
        work.inventory.add(replace(record, secret_name="contoso-other"))
    version = world.secrets.write_foreign(world.location(), "a" * 52)
    confirm(world, version)
    retag(world, text)
    world.run()
    assert FOUND not in world.events()
    assert lost not in world.revoked_ids()


def test_mint_is_revoked_when_nothing_is_due_any_more() -> None:
    """A person asked for that rotation; the older database does not."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    restore = world.database.back_up()
    world.pats.fail("mint", after_effect=True)
    world.rotate(NAME)
    lost = world.live_ids()[-1]
    restore()
    world.run()
    assert lost not in world.revoked_ids()
    world.advance(**SETTLE)
    world.run()
    assert world.revoked_ids()[-1] == lost
    world.finish()
    assert world.count("mint") == 2


def test_mint_that_lands_late_is_revoked_when_the_database_was_replaced() -> None:
    world = make_world()
    restore = world.database.back_up()
    world.pats.postpone_mint()
    world.run()
    restore()
    world.run()
    world.pats.apply_late()
    late = world.live_ids()[-1]
    world.finish()
    assert late in world.revoked_ids()


def test_every_mint_is_revoked_when_the_database_has_lost_several() -> None:
    """The second one's intent is written beside the first one's, not over it."""
    world = make_world()
    restore = world.database.back_up()
    world.pats.postpone_mint()
    world.run()
    world.advance(**SETTLE)
    world.pats.fail("mint", after_effect=True)
    world.run()
    world.pats.apply_late()
    lost = set(world.live_ids()[1:])
    assert len(lost) == 2
    restore()
    world.run()
    assert world.events().count(FOUND) == 2
    world.finish()
    assert lost <= set(world.revoked_ids())


def test_intents_are_left_out_of_the_tag_when_nothing_can_come_of_them() -> None:
    """The second one's clone is known, and revoked; of the first and the third a PAT may still come, late."""
    world = make_world()
    world.pats.organizations["contoso"].mint_error = "invalidScope"
    world.run()
    world.heal()
    world.pats.fail("mint", after_effect=True)
    world.rotate(NAME)
    world.run()
    world.pats.fail("mint")
    world.rotate(NAME)
    world.advance(**SETTLE)
    world.rotate(NAME)
    first, second, third, last = world.rotations()[0], *world.rotations()[-3:]
    assert [r.new_authorization_id is None for r in (first, second, third, last)] == [True, False, True, False]
    assert read_tag(world) == [last.id, third.id, first.id]


def test_nothing_is_revoked_when_the_vault_hands_out_what_was_minted() -> None:
    """Its write lands after the intent was noticed: then the database is behind, which a rebuild mends."""
    world = make_world()
    restore = world.database.back_up()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    minted = world.live_ids()[-1]
    world.heal()
    restore()
    world.run()
    world.secrets.apply_late()
    world.advance(hours=25)
    for _ in range(3):
        world.run()
        world.advance(**SETTLE)
    assert minted not in world.revoked_ids()
    assert world.is_live()
    replacement = world.record().authorization_id
    run = world.make_run()
    rebuild(run, look(run))
    world.finish(besides=(replacement,))
    assert world.record().authorization_id == minted


def test_nothing_is_revoked_when_all_reads_of_one_moment_hide_that_consumers_use_it() -> None:
    """The intent was found by an old read, before the write was seen; all reads of that moment may be old too."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    minted = world.live_ids()[-1]
    restore()
    world.advance(minutes=6)
    world.secrets.is_stale = lambda: FOUND not in world.events()
    world.run()
    world.advance(minutes=30)
    begun = world.clock.now()
    world.secrets.is_stale = lambda: world.clock.now() == begun
    world.run()
    assert minted in world.live_ids()
    assert world.record().hold is Hold.DATABASE_BEHIND
    run = world.make_run()
    rebuild(run, look(run))
    world.finish()
    assert world.record().authorization_id == minted


def test_clone_is_reported_when_its_value_was_written_over_and_the_database_was_replaced() -> None:
    """Its consumers may hold it: only a person has it revoked."""
    world, clone = make_written_over()
    world.finish(besides=(clone,))
    assert world.events().count(FOUND) == 1
    assert clone in find_told(world)
    assert clone not in world.revoked_ids()
    revoke_left_behind(world.make_run(), clone)
    world.finish()
    assert world.revoked_ids().count(clone) == 1


def test_clone_is_reported_when_nothing_is_due_after_its_value_was_written_over() -> None:
    """A person forgot the PAT, and adopted one with the same look that lives long."""
    world, clone = make_written_over()
    theirs = world.add_lookalike(world.clock.now() + timedelta(days=29))
    version = world.secrets.write_foreign(world.location(), theirs.value)
    record = replace(world.record(), authorization_id=theirs.pat.authorization_id, valid_to=theirs.pat.valid_to)
    world.forget()
    with world.database.begin() as work:
        work.inventory.add(replace(record, valid_from=theirs.pat.valid_from, confirmed_version=version))
    world.run()
    assert clone in find_told(world)
    assert world.count("mint") == 1


def test_clone_of_an_update_is_reported_before_what_wrote_over_its_value_blocks_the_next_rotation() -> None:
    """It is found among all PATs of the account, as its display name is none that this database knows."""
    world = make_world()
    world.finish()
    world.advance(days=23)
    restore = world.database.back_up()
    world.watch(lambda: update(world.make_run(), make_change(NAME, display_name="other", scopes=(), lifetime=None)))
    [clone] = world.live_ids("other")
    world.secrets.write_foreign(world.location(), "theirs")
    restore()
    world.advance(minutes=6)
    world.run()
    assert world.record().hold is Hold.FOREIGN_WRITE
    world.run()
    assert clone in find_told(world)


@pytest.mark.parametrize("mark", ["planned", "mint_started", "minted", "store_started"])
def test_clone_is_accounted_for_when_the_older_database_holds_its_rotation_as_unfinished(mark: str) -> None:
    world, clone = make_written_over(mark)
    for _ in range(6):
        world.advance(hours=7)
        world.run()
    assert clone in {*find_told(world), *world.revoked_ids()}


@pytest.mark.parametrize("mark", ["mint_started", "minted"])
def test_clone_is_not_given_up_when_the_older_database_does_not_know_that_it_was_stored(mark: str) -> None:
    """Consumers may hold the value that somebody wrote over."""
    world, clone = make_written_over(mark)
    for _ in range(3):
        world.advance(**SETTLE)
        world.run()
    assert clone in find_told(world)
    assert clone not in world.revoked_ids()
    assert world.states()[0] == "failed"
    failure = world.rotations()[0].failure
    assert failure is not None
    events = [event.entry for event in load_events(world.database, AuditFilter(event=RotationFailed.type.name))]
    told = [(entry.details["code"], entry.details["message"]) for entry in events]
    assert told == [("database_behind", failure.message)]


def test_clone_is_left_to_a_rebuild_when_nobody_wrote_over_its_value() -> None:
    world = make_world()
    restore = world.database.back_up()
    world.run()
    restore()
    world.run()
    assert FOUND not in world.events()
    assert world.record().hold is Hold.DATABASE_BEHIND


@pytest.mark.parametrize("lands_late", [False, True])
def test_clone_is_reported_when_its_value_was_written_over_after_its_intent_was_found(lands_late: bool) -> None:
    """The look that found the intent was one version old, or the write had not taken effect yet."""
    world = make_world()
    restore = world.database.back_up()
    if lands_late:
        world.secrets.postpone_store()
        world.secrets.fail("store", skip=1, times=30)
    world.run()
    clone = world.live_ids()[-1]
    world.heal()
    restore()
    world.advance(minutes=6)
    world.secrets.is_stale = lambda: not lands_late
    world.run()
    assert FOUND in world.events()
    world.secrets.is_stale = lambda: False
    world.secrets.apply_late()
    theirs = world.pats.add_pat("build-bot", "contoso", "by-hand", "vso.code", world.clock.now() + timedelta(days=20))
    world.secrets.write_foreign(world.location(), theirs.value)
    for _ in range(4):
        world.advance(hours=7)
        world.run()
    assert clone not in world.revoked_ids()
    assert clone in find_told(world)
    revoke_left_behind(world.make_run(), clone)
    assert world.revoked_ids().count(clone) == 1


def test_clone_is_no_loss_when_another_record_has_it() -> None:
    """Somebody adopted it under another name, after its value was written over."""
    world, clone = make_written_over()
    record, kept = world.record(), world.pats.pats[clone].pat
    with world.database.begin() as work:
        work.inventory.add(
            replace(
                record,
                name="npm-other",
                authorization_id=clone,
                secret_name="npm-other",
                valid_from=kept.valid_from,
                valid_to=kept.valid_to,
            )
        )
    world.run()
    assert FOUND not in world.events()


def test_lookalike_of_a_person_is_left_alone_when_the_database_has_lost_a_mint() -> None:
    """Of the name and the scopes, with an expiry beside the planned second."""
    world, lost = make_lost_mint()
    theirs = world.add_lookalike(world.pats.pats[lost].pat.valid_to - timedelta(seconds=1)).pat.authorization_id
    world.finish(besides=(theirs,))
    assert lost in world.revoked_ids()
    assert theirs not in world.revoked_ids()


def test_neither_is_revoked_when_two_have_the_look_of_a_mint_that_was_lost() -> None:
    world, lost = make_lost_mint()
    theirs = world.add_lookalike(world.pats.pats[lost].pat.valid_to).pat.authorization_id
    world.finish(besides=(theirs, lost))
    assert not {lost, theirs} & set(world.revoked_ids())
    told = {row.authorization_id for row in world.show_status() if row.last_error is not None}
    assert {lost, theirs} <= told


def test_mint_is_reported_when_the_server_shortened_its_life() -> None:
    def shorten(world: EngineWorld) -> None:
        world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)

    world, lost = make_lost_mint(shorten)
    world.finish(besides=(lost,))
    assert lost not in world.revoked_ids()
    assert any("left_behind" in event and values.get("authorization_id") == lost for event, values in world.told)


def test_mint_is_revoked_when_its_display_name_was_marked() -> None:
    def mark(world: EngineWorld) -> None:
        world.marker_key = SecretValue("a key")

    world, lost = make_lost_mint(mark)
    assert " #rot-" in world.pats.pats[lost].pat.display_name
    for _ in range(3):
        world.run()
        world.advance(hours=25)
    assert lost in world.revoked_ids()


def test_mint_of_an_update_is_revoked_when_the_database_does_not_know_what_was_wanted() -> None:
    world = make_world()
    restore = world.database.back_up()
    lost = lose_update(world)
    restore()
    world.finish()
    assert lost in world.revoked_ids()


def test_mint_is_found_when_the_older_database_holds_its_rotation_as_planned() -> None:
    world = make_world()
    restores: list[Callable[[], None]] = []
    world.database.interrupts["prove_writable"] = lambda: None
    world.database.interrupts["planned"] = lambda: restores.append(world.database.back_up())
    world.pats.fail("mint", after_effect=True)
    world.run()
    lost = world.live_ids()[-1]
    restores[0]()
    world.advance(minutes=6)
    world.finish()
    assert lost in world.revoked_ids()


@pytest.mark.parametrize("text", ["id-9", "id-9:1:2", "::", "id-9:1:9999999999:zz", "a " * 100])
def test_tag_of_somebody_else_changes_nothing_when_it_is_no_intent(text: str) -> None:
    world = make_world()
    retag(world, text)
    world.run()
    assert world.states() == ["overlapping"]
    assert FOUND not in world.events()


def test_intent_is_forgotten_when_its_expiry_is_over() -> None:
    world, lost = make_lost_mint()
    world.pats.pats[lost].revoked = True
    tag = world.latest().version.tags[INTENT_TAG]
    retag(world, tag.replace(tag.split(":")[2], str(int(world.clock.now().timestamp()) - 1)))
    world.run()
    assert FOUND not in world.events()


def test_intent_is_known_when_its_rotation_belongs_to_another_record() -> None:
    """The secret was given to a ManagedPat that was forgotten since; its rotations keep their name."""
    world = make_world()
    world.pats.fail("mint")
    world.run()
    record = world.record()
    world.forget()
    with world.database.begin() as work:
        work.inventory.add(replace(record, name="npm-again", last_failure=None, retry_at=None, failures=0))
    world.run()
    assert [event for event in world.events(None) if event == FOUND] == []
    assert world.states("npm-again") == ["overlapping"]


def test_tag_keeps_the_newest_intents_when_there_is_no_room_for_all() -> None:
    world, _ = make_lost_mint()
    [intent, *_] = read_intents(world.latest().version.tags[INTENT_TAG])
    many = [
        replace(intent, rotation_id=f"{number:032x}", planned_at=intent.planned_at + timedelta(minutes=number))
        for number in range(9)
    ]
    text = write_intents(many)
    assert len(text) <= LONGEST_TEXT
    assert read_intents(text) == tuple(reversed(many))[:4]
    assert isinstance(intent, Intent)


def test_intents_of_others_stay_in_the_tag_when_the_clock_is_set_years_ahead_in_the_middle_of_a_run() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    (sent,) = read_tag(world)
    world.advance(**SETTLE)

    def set_ahead() -> None:
        world.host_clock.ahead = world.database.skew = timedelta(days=3650)

    world.database.interrupts["planned"] = set_ahead
    world.run()
    world.heal()
    assert sent in read_tag(world)[1:]


def test_mint_of_an_update_is_revoked_although_nothing_is_due_in_the_older_database() -> None:
    """Its scopes are none that this database knows."""
    world = make_world()
    world.run()
    world.finish()
    restore = world.database.back_up()
    world.pats.fail("mint", after_effect=True)
    change = make_change(NAME, display_name=None, scopes=("vso.build",), lifetime=None)
    world.watch(lambda: update(world.make_run(), change))
    [lost] = [fake.pat.authorization_id for fake in world.pats.live_pats() if fake.pat.scope == "vso.build"]
    restore()
    for _ in range(3):
        world.advance(hours=7)
        world.run()
    assert lost in world.revoked_ids()
    world.finish()


@pytest.mark.parametrize("is_killed", [False, True])
def test_mint_of_an_update_is_revoked_after_a_rebuild_although_its_name_is_none_of_ours(is_killed: bool) -> None:
    """Nothing is due then, and no list shows an untracked PAT of the record's name.

    A rebuild that was killed after it had written the record is made up for by the next one.
    """
    world = make_world()
    restore = world.database.back_up()
    world.run()
    world.finish()
    lost = lose_update(world)
    restore()
    run = world.make_run()
    if is_killed:
        world.database.dies_after = "inventory_rebuilt"
        with pytest.raises(ProcessDied):
            rebuild(run, look(run))
        world.database.revive()
        world.advance(minutes=11)
        run = world.make_run()
    rebuild(run, look(run))
    for _ in range(3):
        world.advance(hours=7)
        world.run()
    assert lost in world.revoked_ids()
    world.finish()


def test_mint_that_an_old_read_hid_lives_until_the_overlap_of_what_replaced_it_is_over() -> None:
    """The old PAT that the older database knew of expires before: consumers hold the other one."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    hidden = world.live_ids()[-1]
    restore()
    world.advance(days=4)
    world.pats.pats[world.record().authorization_id].pat = replace(
        world.pats.pats[world.record().authorization_id].pat, valid_to=world.clock.now() + timedelta(hours=6)
    )
    world.secrets.is_stale = lambda: world.count("store") < 2
    world.run()
    world.secrets.is_stale = lambda: False
    assert world.count("store") == 2
    for _ in range(3):
        world.advance(hours=7)
        world.run()
        assert hidden in world.live_ids()
    world.advance(hours=7)
    world.run()
    assert hidden in world.revoked_ids()
    world.finish()


def test_pat_below_a_write_that_took_effect_late_is_left_behind_when_a_rebuild_takes_that() -> None:
    """The database was restored to before both rotations, and what the older one wrote came on top of the newer one."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    older = world.latest()
    world.advance(hours=25)
    world.run()
    world.rotate(NAME)
    newer = world.record().authorization_id
    world.secrets.write_foreign(world.location(), older.value.reveal(), dict(older.version.tags))
    restore()
    world.advance(minutes=6)
    rebuild(world.make_run(), look(world.make_run()))
    assert world.record().authorization_id != newer
    world.run()
    with world.database.read() as reading:
        left = [found.pat.authorization_id for found in load_left_behind(reading, world.clock.now())]
    assert left == [newer]


@pytest.mark.parametrize("days_ahead", [0, 40])
def test_mint_is_reported_when_the_database_was_lost_and_the_value_in_the_secret_is_dead(days_ahead: int) -> None:
    """No record can be made from that secret, so no run will revoke what the mint made: a person has to know.

    So they do although the rebuild ran on a host that was fast: its intent is not dropped as if it had expired.
    """
    world = make_world()
    world.run()
    world.finish()
    world.pats.fail("mint", after_effect=True)
    world.rotate(NAME)
    lost = world.live_ids()[-1]
    world.pats.revoke(ACCOUNT, ORGANIZATION, world.record().authorization_id, permit=unclaimed)
    lose(world)
    world.host_clock.ahead = timedelta(days=days_ahead)
    for _ in range(2):
        run = world.make_run()
        plan = look(run)
        assert [refusal.kind for refusal in plan.refusals] == [RefusalKind.PAT_GONE]
        rebuild(run, plan)
    world.heal()
    assert world.events().count(FOUND) == 1
    world.run()
    assert lost in find_told(world)
    assert lost not in world.revoked_ids()
    with world.database.read() as reading:
        assert reading.inventory.load_all() == ()


def test_mint_of_an_update_is_reported_when_a_rebuild_refuses_the_secret_and_its_record_is_forgotten() -> None:
    """The value in the secret is dead, and no list shows an untracked PAT of the record's name."""
    world = make_world()
    restore = world.database.back_up()
    world.run()
    world.finish()
    lost = lose_update(world)
    world.pats.revoke(ACCOUNT, ORGANIZATION, world.record().authorization_id, permit=unclaimed)
    restore()
    run = world.make_run()
    plan = look(run)
    assert [refusal.kind for refusal in plan.refusals] == [RefusalKind.PAT_GONE]
    rebuild(run, plan)
    forget(world.make_run(), NAME)
    world.run()
    assert lost in find_told(world)
