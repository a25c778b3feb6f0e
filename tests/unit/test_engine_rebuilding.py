"""A database that was restored from a backup, or lost: noticed, and made again from the vaults and the server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.database.watch import ClaimsWatch
from rotator.domain.events.inventory import PatResumed
from rotator.domain.events.revocations import RevokeStarted
from rotator.domain.job_run import Heartbeat
from rotator.domain.managed_pat import Pat
from rotator.domain.refusal import RefusalKind
from rotator.domain.rotation import RotationState
from rotator.engine.adopting import adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.claiming import claimed
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.keeping import forget, pause, rename, revoke_current
from rotator.engine.looking import UNCOVERED_OVERLAP, Rebuild, look
from rotator.engine.rebuilding import rebuild
from rotator.engine.report import OutcomeKind
from rotator.engine.tags import (
    ACCOUNT_TAG,
    AUTHORIZATION_TAG,
    NAME_TAG,
    ORGANIZATION_TAG,
    PREDECESSOR_TAG,
    ROTATION_TAG,
    RULE_TAG,
)
from rotator.errors import ClaimHeldError, RemoteError, SignInRequiredError, UsageError
from rotator.ports.claims import Claim
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation, StoredSecret
from tests.support.engine import (
    ACCOUNT,
    CANARY,
    MUTATIONS,
    NAME,
    ORGANIZATION,
    SCOPE,
    VAULT,
    EngineWorld,
    codes_of,
    make_world,
    names_of,
)
from tests.support.engine_restores import (
    lose,
    make_late_in_restored,
    make_lost,
    make_restored,
    make_restored_open,
)
from tests.support.engine_scenarios import make_busy, make_given_up_store, make_overlapping
from tests.support.policies import RULE, make_policy


def look_at(world: EngineWorld) -> Rebuild:
    """A dry run: nothing is changed, here or there."""
    before, calls = world.database.dump(), len(world.timeline)
    plan = look(world.make_run())
    assert world.database.dump() == before
    assert not MUTATIONS & set(world.timeline[calls:])
    assert CANARY not in repr(plan)
    check_told(plan)
    return plan


def do(world: EngineWorld) -> Rebuild:
    """A rebuild: the database alone is changed."""
    calls = len(world.timeline)
    run = world.make_run()
    plan = look(run)
    rebuild(run, plan)
    assert not MUTATIONS & set(world.timeline[calls:])
    assert CANARY not in world.database.dump()
    check_told(plan)
    return plan


def check_told(plan: Rebuild) -> None:
    """Each refusal says which secret, or which other record, is in the way, and what a person can do about it."""
    for refusal in plan.refusals:
        assert VAULT in explain_refusal(refusal).message or "its PAT" in explain_refusal(refusal).message
        assert explain_refusal(refusal).fix


def code_of(world: EngineWorld) -> str:
    """Why the one PAT was blocked or failed in a run."""
    report = world.run()
    [entry] = [*report.of_kind(OutcomeKind.BLOCKED), *report.of_kind(OutcomeKind.FAILED)]
    assert entry.failure is not None
    assert "rotator inventory rebuild" in entry.failure.fix
    assert find_code_of_report(report) != 0
    return entry.failure.code


@pytest.mark.parametrize("overlap_is_over", [False, True], ids=["in the overlap", "after it"])
def test_run_freezes_when_the_database_is_from_before_a_rotation(overlap_is_over: bool) -> None:
    """Whether the old PAT still lives or is gone already; then a rebuild makes everything good."""
    world = make_restored(overlap_is_over=overlap_is_over)
    old, revoked = world.record().authorization_id, world.revoked_ids()
    clone = world.live_ids()[-1]
    assert code_of(world) == "database_behind"
    world.run()
    assert (world.count("mint"), world.revoked_ids()) == (1, revoked)
    [item] = look_at(world).news
    assert item.before is not None
    assert (item.before.authorization_id, item.record.authorization_id) == (old, clone)
    assert (item.predecessor is None) is overlap_is_over
    do(world)
    world.check_served()
    assert world.events()[-1] == "inventory_rebuilt succeeded"
    assert find_code_of_report(world.run()) == 0
    world.finish()
    assert world.count("mint") == 1


def test_rebuild_watches_the_daemon_that_was_at_work_when_the_backup_was_made() -> None:
    """It is gone, but no process that begins has seen that: without `rotator once` none would ever be allowed to."""
    world = make_world()
    with world.database.begin() as work:
        beat = Heartbeat("start@a#1.1", work.now(), work.now(), binds_for=timedelta(minutes=1))
        work.claims.claim(NAME, "run-0@a#1.1", now=work.now(), span=world.timing.lease)
        work.job_runs.beat(beat)
    restore = world.database.back_up()
    with world.database.begin() as work:
        work.claims.release(Claim(NAME, "run-0@a#1.1", 1, work.now()))
    world.run()
    restore()
    world.clock.reboot()  # it is another host
    world.advance(hours=1)
    world.database.clocks.watch = ClaimsWatch()
    do(world)
    world.check_served()
    world.finish()
    assert world.count("mint") == 1


def test_old_pat_is_retired_after_a_whole_new_overlap_when_the_database_was_restored() -> None:
    world = make_restored()
    old = world.record().authorization_id
    world.advance(hours=20)
    do(world)
    [rotation] = world.rotations()
    assert rotation.state is RotationState.OVERLAPPING
    assert rotation.overlap_until == world.clock.now() + timedelta(hours=24)
    world.advance(hours=23)
    world.run()
    assert world.revoked_ids() == []
    world.advance(hours=2)
    assert names_of(world.run(), OutcomeKind.RETIRED) == [NAME]
    assert world.revoked_ids() == [old]
    world.finish()


# Where the rotation stood in the backup. Meanwhile it was completed, and another one may have followed.
BACKUPS = ["planned", "minting", "minted", "verified", "storing", "stored", "overlapping", "retiring"]


@pytest.mark.parametrize("mark", BACKUPS)
def test_rebuild_closes_what_the_restored_database_thinks_is_open(mark: str) -> None:
    """The backup is from the middle of a rotation; in truth that was completed and another overlaps by now."""
    world = make_restored_open(mark, followed=True)
    assert world.states() == [mark]
    revoked = world.revoked_ids()
    middle, newest = world.live_ids()
    do(world)
    assert world.states() == ["failed", "overlapping"]
    closed = world.rotations()[0].failure
    assert closed is not None
    assert (closed.code, bool(closed.message)) == ("rebuilt", True)
    assert world.record().authorization_id == newest
    assert world.rotations()[-1].predecessor_id == middle
    world.finish()
    assert world.revoked_ids() == [*revoked, middle]


@pytest.mark.parametrize("mark", BACKUPS)
def test_rebuild_goes_on_with_the_rotation_that_the_restored_database_has_open(mark: str) -> None:
    """The backup is from the middle of the newest rotation, which was completed: it is completed here too."""
    world = make_restored_open(mark, followed=False)
    revoked = world.revoked_ids()
    plan = do(world)
    if mark in ("overlapping", "retiring"):
        assert plan.news == ()
    else:
        assert world.states() == ["completed"]
    world.check_served()
    world.finish()
    assert set(world.revoked_ids()) == set(revoked)


@pytest.mark.parametrize("mark", BACKUPS)
def test_run_revokes_nothing_that_lives_when_the_restored_database_has_its_newest_rotation_open(mark: str) -> None:
    """Without a rebuild: it freezes or goes on, and what consumers read stays alive."""
    world = make_restored_open(mark, followed=False)
    alive = world.live_ids()
    for _ in range(3):
        world.run()
        world.advance(minutes=11)
    assert world.live_ids() == alive
    assert world.is_live()
    assert world.count("mint") == 1
    do(world)
    world.finish()


@pytest.mark.parametrize("mark", BACKUPS)
def test_run_freezes_when_the_restored_database_has_an_older_rotation_open(mark: str) -> None:
    """Its clone is the next rotation's old PAT, in an overlap that this database knows nothing of: it stays alive."""
    world = make_restored_open(mark, followed=True)
    alive = world.live_ids()
    assert code_of(world) == "database_behind"
    for _ in range(3):
        world.advance(minutes=11)
        world.run()
    failure = world.record().last_failure
    assert failure is not None
    assert failure.code == "database_behind"
    assert (world.live_ids(), world.count("mint")) == (alive, 2)
    assert world.is_live()
    do(world)
    world.finish()


def test_inventory_is_made_again_when_the_database_was_lost() -> None:
    """Every record that was ever rotated, whatever organization; nothing is minted or revoked by it."""
    world = make_world("a", "b")
    world.add_managed("c", organization="fabrikam")
    kept = {name: world.record(name) for name in "abc"}
    world.run()
    world.advance(hours=25)
    world.run()
    now = {name: world.record(name) for name in "abc"}
    assert all(now[name].authorization_id != kept[name].authorization_id for name in "abc")
    lose(world)
    revoked = world.revoked_ids()
    plan = do(world)
    assert (len(plan.news), plan.refusals, plan.errors) == (3, (), ())
    assert {name: replace(world.record(name), epoch=0) for name in "abc"} == {
        name: replace(now[name], epoch=0) for name in "abc"
    }
    assert [world.states(name) for name in "abc"] == [["completed"]] * 3
    assert find_code_of_report(world.run()) == 0
    assert (world.revoked_ids(), world.count("mint")) == (revoked, 3)
    for name in "abc":
        world.check_rest(name)


def test_lost_database_in_an_overlap_is_rebuilt_and_the_old_pat_retired_when_it_is_over() -> None:
    world = make_lost()
    old, clone = world.live_ids()
    do(world)
    assert (world.states(), world.record().authorization_id) == (["overlapping"], clone)
    world.advance(hours=25)
    world.run()
    assert world.revoked_ids() == [old]
    world.finish()


@pytest.mark.parametrize("is_rebooted", [False, True], ids=["in one boot", "in another boot"])
def test_rebuilt_overlap_lasts_when_the_clock_of_the_new_host_was_slow(is_rebooted: bool) -> None:
    """A new host's clock may not be set yet when the database is rebuilt: the overlap must not be over when it is."""
    world = make_lost()
    [old, _] = world.live_ids()
    world.host_clock.ahead = world.database.skew = timedelta(days=-2)
    do(world)
    world.host_clock.ahead = world.database.skew = timedelta(0)
    if is_rebooted:
        world.clock.reboot()
    world.advance(hours=23)
    world.run()
    assert world.revoked_ids() == []
    world.advance(hours=2)
    world.run()
    assert world.revoked_ids() == [old]
    world.finish()


def test_rebuild_changes_nothing_when_the_database_is_sound() -> None:
    """Nor when it is repeated."""
    world = make_world("a", "b")
    world.run()
    before = world.database.dump()
    plan = do(world)
    assert (len(plan.found), plan.news) == (2, ())
    assert world.database.dump() == before
    lose(world)
    do(world)
    before = world.database.dump()
    assert do(world).news == ()
    assert world.database.dump() == before


def test_rebuild_keeps_a_pause_when_the_restored_database_has_it() -> None:
    world = make_world()
    pause(world.make_run(), NAME)
    restore = world.database.back_up()
    world.rotate(NAME)
    restore()
    do(world)
    assert world.record().state.value == "paused"
    assert world.record().authorization_id == world.live_ids()[-1]


def test_secret_is_refused_when_the_server_does_not_list_its_pat() -> None:
    world = make_lost("a", "b", overlap_is_over=True)
    [fake] = world.pats.live_pats("a")
    fake.revoked = True
    plan = do(world)
    assert [item.record.name for item in plan.found] == ["b"]
    [refusal] = plan.refusals
    assert refusal.reference == "a"
    assert fake.pat.authorization_id in explain_refusal(refusal).message
    assert explain_refusal(refusal).fix


def test_committed_value_is_put_back_after_a_rebuild_when_a_late_write_came_after_the_restore() -> None:
    """What the inventory says is the only thing that tells which PAT is in use: its version has no tags."""
    world = make_late_in_restored()
    old = world.record().authorization_id
    assert code_of(world) == "database_behind"
    [item] = do(world).news
    assert (item.record.authorization_id, item.version, item.predecessor) == (old, None, None)
    assert len(item.gone) == 2  # the rotation that was given up, and the one after it
    world.run_and_die(after="secret_restored")
    world.check_served()
    assert world.record().authorization_id == old
    world.advance(minutes=6)
    world.run()
    assert world.states()[-1] == "overlapping"
    world.finish()


def test_value_before_the_one_that_is_gone_is_put_back_after_a_rebuild_when_the_database_was_lost() -> None:
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    first = world.record().authorization_id
    world.rotate(NAME)
    world.pats.pats[world.record().authorization_id].revoked = True
    lose(world)
    [item] = do(world).news
    assert (item.record.authorization_id, item.before) == (first, None)
    assert item.version is not None
    assert item.record.secret_version == item.version.version
    assert not world.is_live()
    world.run()
    world.check_served()
    assert world.record().authorization_id == first
    assert sorted(world.states()) == ["completed", "failed"]
    (lost,) = [rotation.failure for rotation in world.rotations() if rotation.state is RotationState.FAILED]
    assert lost is not None
    assert (lost.code, bool(lost.message)) == ("clone_revoked_elsewhere", True)


def test_secret_is_refused_when_the_database_knows_the_rotation_whose_pat_is_gone() -> None:
    world = make_world()
    world.run()
    world.pats.pats[world.record().authorization_id].revoked = True
    before = world.database.dump()
    [refusal] = do(world).refusals
    assert "rotator once" in explain_refusal(refusal).fix
    assert world.database.dump() == before


def test_secret_is_refused_when_another_users_live_pat_is_in_it() -> None:
    """It is not in our list, and it authenticates: a second installation of the same account name."""
    world = make_restored()
    stored = world.latest()
    theirs = world.pats.add_pat("release-bot", ORGANIZATION, NAME, SCOPE, world.clock.now() + timedelta(days=20))
    tags = stored.version.tags | {ROTATION_TAG: "f" * 32, AUTHORIZATION_TAG: theirs.pat.authorization_id}
    world.secrets.write_foreign(world.location(), theirs.value, tags)
    plan = do(world)
    assert plan.found == ()
    assert "authenticates" in explain_refusal(plan.refusals[0]).fix


def test_inventorys_own_secret_version_stays_when_nothing_else_tells_of_it() -> None:
    world = make_late_in_restored()
    run = world.make_run()
    with claimed(run, NAME) as held:
        held.save(replace(held.pat, secret_version="seen"), PatResumed())
    [item] = do(world).news
    assert item.record.secret_version == "seen"


def test_secret_is_left_out_when_a_person_wrote_it_last_or_it_is_another_accounts() -> None:
    world = make_lost("a", "b", "c", overlap_is_over=True)
    stored = {location.name: location for _, location in world.secrets.calls}
    world.secrets.write_foreign(stored["contoso-a"], "theirs")
    tags = world.secrets.versions_of(stored["contoso-b"])[0].version.tags
    world.secrets.write_foreign(stored["contoso-b"], "theirs", tags | {ACCOUNT_TAG: "nobody"})
    plan = do(world)
    assert [item.record.name for item in plan.found] == ["c"]
    assert [(refusal.kind, refusal.reference) for refusal in plan.refusals] == [(RefusalKind.ACCOUNT_RENAMED, "b")]


@pytest.mark.parametrize("tag", [{NAME_TAG: ""}, {NAME_TAG: "Not A Name"}, {ORGANIZATION_TAG: ""}, {ROTATION_TAG: ""}])
def test_secret_is_refused_when_its_tags_are_not_as_rotator_writes_them(tag: dict[str, str]) -> None:
    world = make_lost(overlap_is_over=True)
    location = world.secrets.calls[-1][1]
    stored = world.secrets.versions_of(location)[0]
    world.secrets.write_foreign(location, stored.value.reveal(), stored.version.tags | tag)
    plan = do(world)
    assert plan.found == ()
    assert [refusal.reference for refusal in plan.refusals] == [location.name]


@pytest.mark.parametrize("tag", [NAME_TAG, ORGANIZATION_TAG])
def test_secret_is_refused_when_a_tag_that_tells_whose_it_is_is_missing(tag: str) -> None:
    world = make_lost(overlap_is_over=True)
    location = world.secrets.calls[-1][1]
    stored = world.secrets.versions_of(location)[0]
    tags = {key: value for key, value in stored.version.tags.items() if key != tag}
    world.secrets.write_foreign(location, stored.value.reveal(), tags)
    assert [refusal.reference for refusal in do(world).refusals] == [location.name]


def test_secret_is_rebuilt_when_a_tag_that_only_informs_is_missing() -> None:
    world = make_lost(overlap_is_over=True)
    location = world.secrets.calls[-1][1]
    stored = world.secrets.versions_of(location)[0]
    tags = {key: value for key, value in stored.version.tags.items() if key not in (RULE_TAG, PREDECESSOR_TAG)}
    world.secrets.write_foreign(location, stored.value.reveal(), tags)
    assert len(do(world).news) == 1
    [rotation] = world.rotations()
    assert (rotation.rule, rotation.predecessor_id, rotation.state) == ("", "", RotationState.COMPLETED)


def test_record_is_the_same_place_when_vault_and_secret_are_spelled_otherwise() -> None:
    """The vault's names have no case, and a policy may end an address with a slash."""
    world = make_restored(overlap_is_over=True)
    spelled = replace(world.record(), vault=VAULT + "/", secret_name=world.record().secret_name.upper())
    world.forget()
    with world.database.begin() as work:
        work.inventory.add(spelled)
    plan = look_at(world)
    assert ([item.record.name for item in plan.news], plan.refusals) == ([NAME], ())


def test_second_secret_of_a_name_is_refused_and_the_recorded_one_stays() -> None:
    """A copy of a secret, or an older place of it: which one is used is for a person to say."""
    world = make_world()
    world.run()
    location = world.location()
    stored = world.secrets.versions_of(location)[0]
    copy = replace(location, name="a-copy")
    world.secrets.write_foreign(copy, stored.value.reveal(), stored.version.tags)
    plan = do(world)
    assert ([item.record.secret_name for item in plan.found], plan.news) == ([location.name], ())
    assert [refusal.reference for refusal in plan.refusals] == [NAME]


def test_record_is_refused_with_what_to_forget_when_its_pat_was_adopted_under_another_name() -> None:
    """Adopted before the rebuild, while old and new lived: the handle went to the old one."""
    world = make_lost()
    old, clone = world.live_ids()
    run, choice = world.make_run(), Choice("npm-feed-contoso", "contoso-npm-feed-contoso")
    adopt(run, propose(run, [clone], everything=False, choice=choice))
    adopt(run, propose(run, [old], everything=False))
    [refusal] = do(world).refusals
    assert refusal.reference == NAME
    assert "rotator inventory forget npm-feed-contoso" in explain_refusal(refusal).fix
    assert world.record().authorization_id == old


def test_adopted_record_becomes_the_rotated_one_when_the_database_was_lost() -> None:
    """Adopting first does no harm: it is due no more, and known as ours."""
    world = make_lost(overlap_is_over=True)
    run = world.make_run()
    adopt(run, propose(run, [], everything=True))
    [item] = do(world).news
    assert item.before is not None
    assert item.before.authorization_id == item.record.authorization_id
    world.rotate(NAME)
    world.finish()


@pytest.mark.parametrize(
    "spoil",
    [lambda pat: replace(pat, display_name="other"), lambda pat: replace(pat, scope="vso.code_full")],
    ids=["name", "scope"],
)
def test_predecessor_is_left_alone_when_it_is_not_what_a_clone_is_made_from(spoil: Callable[[Pat], Pat]) -> None:
    """Tags can be written by others than us: no PAT is revoked on their word alone."""
    world = make_lost()
    victim = world.pats.live_pats(NAME)[0]
    victim.pat = spoil(victim.pat)
    [item] = do(world).news
    assert item.predecessor is None
    assert world.states() == ["completed"]
    for _ in range(3):
        world.advance(hours=25)
        world.run()
    assert world.revoked_ids() == []


def test_predecessor_is_left_alone_when_another_record_uses_it() -> None:
    world = make_restored()
    other = world.add_lookalike(world.clock.now() + timedelta(days=29)).pat
    stored = world.secrets.versions_of(world.location())[0]
    world.secrets.write_foreign(
        world.location(), stored.value.reveal(), stored.version.tags | {PREDECESSOR_TAG: other.authorization_id}
    )
    record = replace(world.record(), name="other", authorization_id=other.authorization_id, secret_name="other")
    with world.database.begin() as work:
        work.inventory.add(record)
    assert {item.record.name: item.predecessor for item in look_at(world).found} == {NAME: None}


def test_overlap_is_a_days_when_the_policy_covers_the_record_no_more() -> None:
    """The vault is still known from the record; nothing is retired any sooner than consumers cache."""
    world = make_restored()
    world.policy = make_policy()
    do(world)
    [rotation] = world.rotations()
    assert rotation.overlap_until == world.clock.now() + UNCOVERED_OVERLAP
    assert timedelta(hours=24) == UNCOVERED_OVERLAP


def test_others_are_rebuilt_when_one_secret_or_account_cannot_be_read() -> None:
    world = make_lost("a", "b", overlap_is_over=True)
    world.secrets.fail("fetch_versions", make_busy("fetch_versions", "key_vault"), times=1)
    refusal = SignInRequiredError("release-bot is not signed in", account="release-bot")
    world.sign_in.refusals["release-bot"] = refusal
    plan = do(world)
    assert [item.record.name for item in plan.found] == ["b"]
    assert [error.code for error in plan.errors] == ["transient"]
    assert do(world).news[0].record.name == "a"


def test_error_is_told_once_when_an_organization_cannot_be_looked_at() -> None:
    world = make_lost("a", "b")
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("build-bot is not signed in", account=ACCOUNT)
    plan = do(world)
    assert (plan.found, [error.exit_code for error in plan.errors]) == ((), [10])


def test_error_is_told_when_the_vault_cannot_be_listed() -> None:
    world = make_lost()
    world.secrets.firewall = True
    plan = do(world)
    assert (plan.found, [error.code for error in plan.errors]) == ((), ["vault_firewall"])


def test_rebuild_leaves_a_record_alone_when_a_run_changed_it_after_the_look() -> None:
    """What the run wrote is newer than what was seen."""
    world = make_restored()
    run = world.make_run()
    plan = look(run)
    pause(world.make_run(), NAME)
    before = world.record()
    with pytest.raises(ClaimHeldError, match="changed by another run"):
        rebuild(run, plan)
    assert replace(world.record(), epoch=0) == replace(before, epoch=0)
    assert world.states() == []
    do(world)
    assert world.record().authorization_id == world.live_ids()[-1]


def test_rebuild_leaves_a_record_alone_when_another_took_its_pat_after_the_look() -> None:
    world = make_restored()
    run = world.make_run()
    plan = look(run)
    [item] = plan.news
    taken = replace(world.record(), name="other", authorization_id=item.record.authorization_id, secret_name="other")
    with world.database.begin() as work:
        work.inventory.add(taken)
    before = world.record()
    with pytest.raises(ClaimHeldError, match="changed by another run"):
        rebuild(run, plan)
    assert world.record() == before


def test_rebuild_leaves_a_record_alone_when_another_took_its_old_pat_after_the_look() -> None:
    world = make_lost()
    run = world.make_run()
    plan = look(run)
    [item] = plan.news
    assert item.predecessor is not None
    old = item.predecessor.authorization_id
    with world.database.begin() as work:
        work.inventory.add(replace(item.record, name="other", authorization_id=old, secret_name="other"))
    with pytest.raises(ClaimHeldError, match="changed by another run"):
        rebuild(run, plan)
    with world.database.read() as reading:
        assert [pat.name for pat in reading.inventory.load_all()] == ["other"]


def test_secret_is_refused_when_a_rotation_of_another_record_made_its_pat() -> None:
    world = make_world()
    world.run()
    rotation = world.rotations()[0]
    lose(world)
    world.add_managed("other", days_left=20)
    with claimed(world.make_run(), "other") as held:
        other = replace(rotation, id="f" * 32, name="other", predecessor_id="gone")
        held.begin(other, RevokeStarted(authorization_id=world.live_ids()[-1], why="late"))
    [refusal] = look_at(world).refusals
    assert refusal.reference == NAME
    assert "rotation of another managed PAT" in explain_refusal(refusal).message
    assert "rotator once" in explain_refusal(refusal).fix


def test_rebuild_is_refused_when_a_run_works_on_the_record() -> None:
    world = make_restored()
    with world.database.begin() as work:
        work.claims.claim(NAME, "other", now=work.now(), span=timedelta(minutes=5))
    before = world.record()
    with pytest.raises(ClaimHeldError):
        do(world)
    assert world.record() == before


def test_vaults_of_the_policy_are_read_once_each_when_written_with_a_slash() -> None:
    world = make_restored()
    world.policy = replace(world.policy, rules=tuple(replace(rule, vault=f"{VAULT}/") for rule in world.policy.rules))
    look_at(world)
    assert {call[1].vault for call in world.secrets.calls if call[0] == "fetch_tagged"} == {VAULT}


def test_run_says_revoked_when_the_pat_was_revoked_and_the_vault_knows_of_no_other_rotation() -> None:
    """`database_behind` is for what the vault proves; a revocation by a person stays one."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    world.pats.live_pats(NAME)[0].revoked = True
    report = world.run()
    assert codes_of(report, OutcomeKind.BLOCKED) == ["revoked_elsewhere"]
    assert world.record().scope == SCOPE
    assert AUTHORIZATION_TAG in world.latest().version.tags


def test_late_write_is_undone_after_a_rebuild_when_the_restored_database_thinks_that_nothing_was_sent() -> None:
    """The restored journal holds the rotation as planned only: a version of it proves that the journal is behind."""
    world = make_world()
    restores: list[Callable[[], None]] = []
    world.database.interrupts["planned"] = lambda: restores.append(world.database.back_up())
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.heal()
    world.advance(minutes=11)
    world.run()
    world.advance(hours=25)
    world.run()
    assert world.states() == ["abandoned", "completed"]
    restores[0]()
    assert world.secrets.apply_late() == 1
    assert not world.is_live()
    assert code_of(world) == "database_behind"
    assert len(do(world).news) == 1
    world.run()
    world.check_served()
    world.finish()


def test_renamed_record_keeps_its_name_when_the_vault_still_has_the_old_one() -> None:
    """The tags are those of the last rotation; the next one writes the new name."""
    world = make_world()
    world.run()
    world.advance(hours=25)
    world.run()
    back_up = world.database.back_up()
    rename(world.make_run(), NAME, "npm-publish")
    plan = do(world)
    assert ([item.record.name for item in plan.found], plan.news, plan.refusals) == (["npm-publish"], (), ())
    back_up()
    plan = do(world)
    assert ([item.record.name for item in plan.found], plan.news, plan.refusals) == ([NAME], (), ())


@pytest.mark.parametrize("lists", [1, 2])
def test_old_pat_is_still_retired_when_a_rebuild_in_its_overlap_met_lists_that_lack_it(lists: int) -> None:
    """One list is asked for again; after two the secret is left as it is, and a later rebuild decides."""
    world = make_overlapping(hours=1)
    old, clone = world.live_ids()
    latest = world.latest()
    twice = world.secrets.write_foreign(world.location(), latest.value.reveal(), dict(latest.version.tags))
    lacking = iter(range(lists))
    world.pats.change_listed = lambda listed: tuple(
        pat for pat in listed if pat.authorization_id != old or next(lacking, None) is None
    )
    plan = do(world)
    assert [error.code for error in plan.errors] == ["not_listed"] * (lists - 1)
    assert [item.record.secret_version for item in plan.news] == [twice] * (2 - lists)
    do(world)
    assert world.states() == ["overlapping"]
    assert world.live_ids() == [old, clone]
    world.finish()


def test_old_pat_is_current_again_when_the_put_back_value_is_newer_than_the_restored_database() -> None:
    """The clone was revoked by hand and the old value put back; the database is from before that."""
    world = make_overlapping(hours=1)
    restore = world.database.back_up()
    old, clone = world.live_ids()
    world.pats.pats[clone].revoked = True
    world.pats.fail("mint", make_busy("mint", "azure_devops"))
    world.run()
    assert world.latest().value.reveal() == world.pats.pats[old].value
    restore()
    world.advance(hours=1)
    assert codes_of(world.run(), OutcomeKind.FAILED, OutcomeKind.BLOCKED) == []
    assert world.states() == ["failed", "abandoned", "overlapping"]
    assert world.codes()[-1] == "unknown_intent"
    assert world.rotations()[2].predecessor_id == old
    world.finish()


def test_clones_grow_again_when_a_rebuild_found_one_that_a_maximum_had_shortened() -> None:
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=10)
    restore = world.database.back_up()
    world.run()
    meant = world.record().meant_lifetime
    assert meant == timedelta(days=30)
    restore()
    do(world)
    assert world.record().meant_lifetime == meant


@pytest.mark.parametrize("vault", ["https://a-copy.vault.azure.net", "https://z-copy.vault.azure.net"])
def test_neither_of_two_secrets_with_one_pats_tags_is_taken_when_no_record_tells_which_is_read(vault: str) -> None:
    """A secret was copied with its tags. Whoever reads the other one must not lose it."""
    world = make_world()
    world.run()
    latest, place = world.latest(), world.location()
    copies = [replace(place, vault=vault), replace(place, name="b-copy")]
    for copy in copies:
        world.secrets.write_foreign(copy, latest.value.reveal(), dict(latest.version.tags))
    world.policy = make_policy(replace(RULE, vault=vault), replace(RULE, vault=VAULT))
    lose(world)
    plan = look_at(world)
    assert plan.found == ()
    assert {refusal.kind for refusal in plan.refusals} == {RefusalKind.TWO_SECRETS}
    refused = {(refusal.vault, refusal.secret_name) for refusal in plan.refusals}
    assert refused == {(copy.vault, copy.name) for copy in (place, *copies)}


@pytest.mark.parametrize("fails", ["fetch_tagged", "fetch_versions", "fetch_identity"])
def test_copy_of_a_secret_is_not_taken_for_it_while_that_cannot_be_read(fails: str) -> None:
    """The database is lost, and only the copy can be read: who reads the other one must not lose it."""
    world = make_lost(overlap_is_over=True)
    place = SecretLocation(VAULT, f"{ORGANIZATION}-{NAME}", ACCOUNT)
    latest = world.secrets.versions_of(place)[0]
    copy = replace(place, vault="https://z-copy.vault.azure.net")
    world.secrets.write_foreign(copy, latest.value.reveal(), dict(latest.version.tags))
    world.policy = make_policy(replace(RULE, vault=VAULT), replace(RULE, vault=copy.vault))
    if fails == "fetch_identity":
        world.pats.fail(fails, make_busy(fails, "azure_devops"))
    else:
        world.secrets.fail(fails, make_busy(fails, "key_vault"))
    plan = do(world)
    assert (plan.found, [error.code for error in plan.errors]) == ((), ["transient"])
    assert [(item.kind, item.vault) for item in plan.refusals] == [(RefusalKind.TWIN_UNREAD, copy.vault)]
    assert {item.kind for item in do(world).refusals} == {RefusalKind.TWO_SECRETS}


def test_secret_of_an_account_that_was_renamed_is_refused_by_its_old_name() -> None:
    """With the database lost, nothing else would tell why its PATs are not found."""
    world = make_lost(overlap_is_over=True)
    world.accounts = (replace(world.accounts[0], name="ci-bot"), *world.accounts[1:])
    for pat in world.pats.pats.values():
        pat.account = "ci-bot"
    plan = look_at(world)
    assert plan.found == ()
    (refusal,) = plan.refusals
    assert (refusal.kind, refusal.name) == (RefusalKind.ACCOUNT_RENAMED, ACCOUNT)
    assert "old name" in explain_refusal(refusal).fix


@pytest.mark.parametrize("is_lost", [False, True])
def test_value_that_a_tool_copied_under_our_tags_is_refused(is_lost: bool) -> None:
    """It is the old PAT's: an overlap that began with it would end with the PAT that consumers read."""
    world = make_overlapping(hours=1)
    newest, older = world.secrets.versions_of(world.location())
    world.secrets.write_foreign(world.location(), older.value.reveal(), dict(newest.version.tags))
    old = world.rotations()[-1].predecessor_id
    world.run()
    if is_lost:
        lose(world)
    plan = do(world)
    assert ([refusal.kind for refusal in plan.refusals], plan.news) == ([RefusalKind.VALUE_COPIED], ())
    for _ in range(3):
        world.advance(hours=25)
        world.run()
    assert old in world.live_ids()


def roll_back_and_swap_tags(world: EngineWorld) -> None:
    """A tool rolls the secret back under our tags, and takes them off the version that it rolled back."""
    newest, older = world.secrets.versions_of(world.location())
    world.secrets.replace_tags(world.location(), {})
    world.secrets.write_foreign(world.location(), older.value.reveal(), dict(newest.version.tags))


@pytest.mark.parametrize("dies", [None, "stored"])
def test_rolled_back_value_is_refused_although_ours_has_lost_its_tags_while_the_database_is_whole(
    dies: str | None,
) -> None:
    """The journal knows our version by its id; or, if the run died before it noted that, the version before it."""
    world = make_world()
    if dies is None:
        world.run()
    else:
        world.run_and_die(before=dies)
    roll_back_and_swap_tags(world)
    world.advance(hours=1)
    plan = do(world)
    assert ([refusal.kind for refusal in plan.refusals], plan.news) == ([RefusalKind.VALUE_COPIED], ())
    for _ in range(9):
        world.advance(hours=7)
        world.run()
        assert world.is_live()
    assert world.states()[0] == "failed"


def test_rolled_back_value_is_refused_when_the_version_before_says_whose_it_is_and_the_database_was_lost() -> None:
    world = make_world()
    world.run()
    world.finish()
    world.rotate(NAME)
    newest, older, _ = world.secrets.versions_of(world.location())
    world.secrets.replace_tags(world.location(), {})
    world.secrets.write_foreign(world.location(), older.value.reveal(), dict(newest.version.tags))
    lose(world)
    plan = do(world)
    assert ([refusal.kind for refusal in plan.refusals], plan.news) == ([RefusalKind.VALUE_COPIED], ())


@pytest.mark.parametrize("is_lost", [False, True])
def test_secret_is_no_copy_when_its_only_version_of_ours_is_disabled(is_lost: bool) -> None:
    """Nobody can read it, so there is nothing to compare."""
    world = make_overlapping(hours=1)
    world.secrets.disable(world.location(), world.latest().version.version, permit=unclaimed)
    if is_lost:
        lose(world)
    plan = do(world)
    assert (plan.refusals, plan.errors) == ((), ())
    assert len(plan.news) == is_lost


def test_copy_of_our_value_is_taken_although_ours_has_lost_its_tags() -> None:
    """What a person restored is what we wrote: the values tell."""
    world = make_overlapping(hours=1)
    newest, _ = world.secrets.versions_of(world.location())
    world.secrets.replace_tags(world.location(), {})
    copy = world.secrets.write_foreign(world.location(), newest.value.reveal(), dict(newest.version.tags))
    assert [item.record.secret_version for item in do(world).news] == [copy]
    world.finish()


def test_secret_is_rebuilt_when_our_write_took_effect_twice() -> None:
    """The same value: there is nothing to tell apart."""
    world = make_overlapping(hours=1)
    newest = world.secrets.versions_of(world.location())[0]
    world.secrets.write_foreign(world.location(), newest.value.reveal(), dict(newest.version.tags))
    lose(world)
    assert [item.record.name for item in do(world).news] == [NAME]
    world.finish()


def make_retiring() -> tuple[EngineWorld, StoredSecret]:
    """A DELETE of an old PAT that gets no answer yet; and the version of the secret that holds that PAT's value."""
    world = make_world()
    world.run()
    world.finish()
    world.rotate(NAME)
    rolled = world.secrets.versions_of(world.location())[1]
    world.advance(hours=25)
    world.pats.postpone_revoke()
    world.run()
    assert world.states() == ["completed", "retiring"]
    return world, rolled


def roll_back(world: EngineWorld, rolled: StoredSecret) -> None:
    """Write a version again, tags and all."""
    world.secrets.write_foreign(world.location(), rolled.value.reveal(), dict(rolled.version.tags))


@pytest.mark.parametrize("is_frozen", [False, True])
def test_rebuild_does_not_take_back_a_pat_whose_revocation_may_still_take_effect(is_frozen: bool) -> None:
    """Not while the rotation that revokes it is open, nor soon after it was frozen."""
    world, rolled = make_retiring()
    current, old = world.record().authorization_id, world.rotations()[-1].predecessor_id
    roll_back(world, rolled)
    world.advance(minutes=20)
    if is_frozen:
        world.run()
        assert world.states()[-1] == "failed"
    plan = do(world)
    assert [(refusal.kind, refusal.name) for refusal in plan.refusals] == [(RefusalKind.BEING_REVOKED, NAME)]
    assert world.record().authorization_id == current
    assert world.pats.apply_late() == 1
    assert old not in world.live_ids()
    world.rotate(NAME)
    world.check_served()


def test_rebuild_takes_a_pat_back_once_the_request_to_revoke_it_has_settled() -> None:
    world, rolled = make_retiring()
    old = world.rotations()[-1].predecessor_id
    roll_back(world, rolled)
    world.run()
    world.advance(minutes=11)
    assert [item.record.authorization_id for item in do(world).news] == [old]
    for _ in range(5):
        world.advance(hours=7)
        world.run()
    world.check_served()
    assert world.record().authorization_id == old


def test_rebuild_does_not_take_a_clone_that_is_being_given_up() -> None:
    """Its DELETE got no answer, and then its write took effect."""
    world = make_given_up_store()
    world.pats.postpone_revoke()
    world.run()
    assert world.states() == ["abandoning"]
    assert world.secrets.apply_late() == 1
    world.advance(minutes=20)
    assert [refusal.kind for refusal in do(world).refusals] == [RefusalKind.BEING_REVOKED]
    assert world.pats.apply_late() == 1
    world.run()
    world.finish()


def test_rebuild_does_not_take_back_a_pat_that_a_person_revoked_without_an_answer() -> None:
    """Only the audit log tells of that request."""
    world = make_world()
    world.run()
    world.finish()
    world.pats.postpone_revoke()
    with pytest.raises(RemoteError):
        revoke_current(world.make_run(), NAME)
    revoked, rolled = world.record().authorization_id, world.latest()
    world.rotate(NAME)
    roll_back(world, rolled)
    assert [refusal.kind for refusal in do(world).refusals] == [RefusalKind.BEING_REVOKED]
    world.advance(minutes=11)
    assert [item.record.authorization_id for item in do(world).news] == [revoked]


def revoke_in_vain(world: EngineWorld) -> tuple[str, StoredSecret]:
    """`rotator revoke` without effect, a rotation, and the roll back of the secret. Return the PAT, and its version."""
    world.pats.ignores_revoke = lambda _: True
    revoked, rolled = revoke_current(world.make_run(), NAME), world.latest()
    world.rotate(NAME)
    world.pats.ignores_revoke = lambda _: False
    roll_back(world, rolled)
    return revoked, rolled


def test_rebuild_takes_back_what_a_person_revoked_as_adopting_does() -> None:
    """The inventory calls it the PAT in use again: nobody revokes it any more."""
    world = make_world()
    world.run()
    world.finish()
    revoked, _ = revoke_in_vain(world)
    assert [refusal.kind for refusal in do(world).refusals] == [RefusalKind.BEING_REVOKED]
    world.advance(minutes=11)
    do(world)
    assert world.record().authorization_id == revoked
    with world.database.read() as reading:
        assert reading.revocations.load_by_ids([revoked]) == ()
    assert world.events().count("revocation_dropped succeeded") == 1
    for _ in range(6):
        world.advance(hours=7)
        world.run()
    assert world.is_live()
    assert revoked in world.live_ids()


def test_rebuild_takes_back_nothing_that_a_person_revoked_when_the_record_names_it_already() -> None:
    """The secret has a second version of its value, which the rebuild notes: nothing says that the PAT is needed."""
    world = make_world()
    world.run()
    world.finish()
    world.pats.ignores_revoke = lambda _: True
    revoked = revoke_current(world.make_run(), NAME)
    roll_back(world, world.latest())
    assert [item.record.authorization_id for item in do(world).news] == [revoked]
    with world.database.read() as reading:
        assert [item.authorization_id for item in reading.revocations.load()] == [revoked]


def test_rebuild_leaves_a_record_alone_when_its_pat_was_to_be_revoked_again_after_the_look() -> None:
    world = make_world()
    world.run()
    world.finish()
    revoked, _ = revoke_in_vain(world)
    world.advance(minutes=11)
    run = world.make_run()
    plan = look(run)
    assert [item.record.authorization_id for item in plan.news] == [revoked]
    with claimed(world.make_run(), NAME) as held, world.database.read() as reading:
        (pending,) = reading.revocations.load_by_ids([revoked])
        held.request(pending, RevokeStarted(authorization_id=revoked, why="by hand"), lambda reading: None)
    current = world.record().authorization_id
    with pytest.raises(ClaimHeldError, match="may still take effect"):
        rebuild(run, plan)
    assert world.record().authorization_id == current


def test_late_write_that_a_rebuild_found_is_undone_although_that_host_was_slow() -> None:
    """Nothing asks for the time before a rebuild, and it enters the rotation whose dead value consumers read."""
    world = make_late_in_restored()
    pause(world.make_run(), NAME)
    world.host_clock.ahead = timedelta(days=-30)
    run = world.make_run()
    rebuild(run, look(run))
    world.heal()
    world.run()
    world.check_served()


def test_forget_is_not_refused_for_years_when_that_host_was_ten_years_fast() -> None:
    """The rebuild enters a rotation whose write may take effect late, and dates it by that clock."""
    world = make_overlapping()
    world.run()
    world.advance(days=2)
    lose(world)
    world.host_clock.ahead = world.database.skew = timedelta(days=3650)
    do(world)
    world.heal()
    world.run()
    with pytest.raises(UsageError, match="can still take effect"):
        forget(world.make_run(), NAME)
    world.advance(days=8)
    forget(world.make_run(), NAME)


def test_late_write_of_a_clone_that_was_being_given_up_is_undone_after_a_rebuild() -> None:
    """The rebuild closes that rotation. The request to revoke its clone may have been sent, so nobody may read it."""
    world = make_world()
    world.secrets.postpone_store()
    world.secrets.fail("store", skip=1, times=30)
    world.run()
    world.heal()
    world.advance(minutes=11)
    world.pats.fail("revoke", after_effect=True)
    world.run()
    assert world.states() == ["abandoning"]
    tags = {**world.latest().version.tags, ROTATION_TAG: "f" * 32, NAME_TAG: NAME, ORGANIZATION_TAG: ORGANIZATION}
    tags |= {AUTHORIZATION_TAG: world.record().authorization_id, ACCOUNT_TAG: ACCOUNT}
    world.secrets.write_foreign(world.location(), world.latest().value.reveal(), tags)
    world.advance(minutes=6)
    run = world.make_run()
    rebuild(run, look(run))
    assert "rebuilt" in world.codes()
    pause(world.make_run(), NAME)
    assert world.secrets.apply_late() == 1
    world.run()
    world.check_served()
