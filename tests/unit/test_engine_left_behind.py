"""PATs that nobody needs and that only a person may have revoked: found, shown, and revoked on a person's word."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.account import Account
from rotator.domain.managed_pat import Pat
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.rotation import RotationState
from rotator.engine.accounting import Keepers, load_keepers
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.keeping import forget
from rotator.engine.left_behind import (
    LeftBehind,
    LeftBehindKind,
    find_left_behind,
    load_left_behind,
    revoke_left_behind,
)
from rotator.engine.listing import ServerView
from rotator.engine.reconciling import look
from rotator.engine.report import OutcomeKind
from rotator.engine.run import recover_interrupted
from rotator.engine.status import PatState, PatStatus
from rotator.errors import (
    ClaimHeldError,
    ClockSkewError,
    DeniedError,
    PlanRefusedError,
    SignInRequiredError,
    UnknownOutcomeError,
    UsageError,
)
from tests.support.engine import ACCOUNT, CANARY, NAME, ORGANIZATION, SCOPE, EngineWorld, make_world, names_of
from tests.support.engine_fakes import ProcessDied
from tests.support.records import DAY, NOW, make_managed_pat, make_pat, make_rotation


def make_failed() -> tuple[EngineWorld, str, str]:
    """A rotation frozen by a foreign write during its overlap, then a new one: the first's old PAT and that old one.

    What is left, and what the newest rotation is to retire.
    """
    world = make_world()
    world.run()
    left, second = world.live_ids()
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(hours=24)
    world.run()
    assert world.states() == ["failed"]
    world.rotate(NAME)
    assert world.states() == ["failed", "overlapping"]
    return world, left, second


def make_unproven() -> tuple[EngineWorld, str]:
    """A mint whose answer was lost and whose PAT came out shorter than asked for."""
    world = make_world()
    world.pats.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    world.run()
    near = world.live_ids()[1]
    world.advance(minutes=11)
    world.run()
    assert world.states()[0] == "abandoned"
    assert near in world.live_ids()
    return world, near


def look_at(world: EngineWorld) -> list[tuple[str, str]]:
    """The PATs left behind as `recover --dry-run` finds them; nothing is changed."""
    before = world.database.dump()
    run = world.make_run()
    found = look(run, ServerView(run)).left_behind
    assert world.database.dump() == before
    return [(item.kind.value, item.pat.authorization_id) for item in found]


def revoke(world: EngineWorld, authorization_id: str) -> LeftBehind:
    left = revoke_left_behind(world.make_run(), authorization_id)
    world.check_promises(repr(left))
    return left


def show(world: EngineWorld, authorization_id: str) -> PatStatus | None:
    """The row of the status, which asks no server."""
    calls = len(world.timeline)
    rows = {row.authorization_id: row for row in world.show_status()}
    assert len(world.timeline) == calls
    assert CANARY not in repr(rows)
    return rows.get(authorization_id)


def test_old_pat_of_a_failed_rotation_is_settling_when_another_took_over() -> None:
    """Its old PAT and nothing else: what the newer rotation retires is accounted for."""
    world, left, second = make_failed()
    assert look_at(world) == [("failed_rotation", left)]
    world.advance(hours=25)
    world.run()
    assert world.revoked_ids() == [second]
    assert look_at(world) == [("failed_rotation", left)]


def test_both_pats_are_accounted_for_when_a_rotation_failed_before_its_overlap() -> None:
    """The current one by the record; the clone that nobody reads is left."""
    world = make_world()
    world.run_and_die(after="stored")
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(minutes=6)
    world.run()
    assert world.states() == ["failed"]
    current, clone = world.live_ids()
    assert world.record().authorization_id == current
    assert look_at(world) == [("failed_rotation", clone)]


def test_near_match_is_unproven_and_left_alone_when_its_mint_was_lost() -> None:
    world, near = make_unproven()
    assert look_at(world) == [("unproven_mint", near)]
    for _ in range(3):
        world.advance(hours=30)
        world.run()
    assert near not in world.revoked_ids()


@pytest.mark.parametrize(
    "spoil",
    [
        {"name": "other"},
        {"scope": "vso.code"},
        {"organization": "fabrikam"},
        {"organization": None},
        {"left": timedelta(days=40)},
    ],
    ids=["name", "scope", "organization", "everywhere", "longer"],
)
def test_pat_of_a_person_is_nothing_of_ours_when_it_differs(spoil: dict[str, object]) -> None:
    """Another name, scope or place, or a longer life than was asked for."""
    world, near = make_unproven()
    left = spoil.get("left", timedelta(days=3))
    assert isinstance(left, timedelta)
    organization, name, scope = spoil.get("organization", ORGANIZATION), spoil.get("name", NAME), spoil.get("scope")
    world.pats.add_pat(
        ACCOUNT, None if organization is None else str(organization), str(name), str(scope or SCOPE),
        world.clock.now() + left,
    )  # fmt: skip
    assert look_at(world) == [("unproven_mint", near)]


def test_pat_left_behinds_of_another_organization_are_not_taken_for_this_ones() -> None:
    world, near = make_unproven()
    listed = tuple(fake.pat for fake in world.pats.live_pats())
    with world.database.read() as reading:
        keepers = load_keepers(reading, [pat.authorization_id for pat in listed], world.clock.now())
    assert [item.pat.authorization_id for item in find_left_behind(keepers, ACCOUNT, ORGANIZATION, listed)] == [near]
    assert find_left_behind(keepers, ACCOUNT, "fabrikam", listed) == ()
    assert find_left_behind(keepers, "release-bot", ORGANIZATION, listed) == ()


def test_status_warns_of_a_pat_left_by_a_failed_rotation_when_a_run_has_seen_it() -> None:
    world, left, second = make_failed()
    world.run()
    row = show(world, left)
    assert row is not None
    assert (row.state, row.last_error and row.last_error.code) == (PatState.UNTRACKED, "left_behind")
    assert row.last_error is not None
    assert NAME in row.last_error.message
    assert row.last_error.fix.endswith(f"rotator recover --revoke {left}")
    assert show(world, second) is None


def test_status_warns_of_an_unproven_mint_and_not_of_a_persons() -> None:
    world, near = make_unproven()
    theirs = world.add_lookalike(world.clock.now() + timedelta(days=300)).pat.authorization_id
    world.run()
    row, other = show(world, near), show(world, theirs)
    assert row is not None
    assert row.last_error is not None
    assert (row.state, row.last_error.code) == (PatState.UNTRACKED, "left_behind")
    assert row.last_error.fix.endswith(f"rotator recover --revoke {near}")
    assert other is not None
    assert (other.state, other.last_error) == (PatState.UNTRACKED, None)


def test_pat_left_by_a_failed_rotation_is_revoked_and_forgotten_when_a_person_says_so() -> None:
    """Journaled and audited as every revocation; gone from what is shown at once."""
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    assert revoke(world, left).kind == "failed_rotation"
    assert world.revoked_ids()[-1] == left
    assert world.states()[-1] == "abandoned"
    assert world.rotations()[-1].new_authorization_id == left
    assert world.events()[-3:] == [
        "revoke_started intended",
        "revocation_requested succeeded",
        "pat_revoked succeeded",
    ]
    assert show(world, left) is None
    assert look_at(world) == []
    world.finish()


def test_unproven_mint_is_revoked_when_a_person_says_so() -> None:
    world, near = make_unproven()
    world.advance(hours=25)
    world.run()
    assert revoke(world, near).kind == "unproven_mint"
    assert near not in world.live_ids()
    world.check_rest()


def test_revocation_is_refused_when_the_pat_is_no_pat_left_behind() -> None:
    """One of a person, one that does not exist."""
    world, _, _ = make_failed()
    theirs = world.add_lookalike(world.clock.now() + timedelta(days=300)).pat.authorization_id
    for other in (theirs, "nothing"):
        with pytest.raises(UsageError, match=f"{other} was not left behind by a rotation") as caught:
            revoke(world, other)
        assert "rotator recover --dry-run" in caught.value.fix
    assert world.revoked_ids() == []


def test_refusal_names_the_command_for_a_pat_that_is_in_use_or_to_be_retired() -> None:
    """And does not send anybody to revoke it in Azure DevOps."""
    world, _, second = make_failed()
    current = world.record().authorization_id
    for other, command in ((current, f"`rotator revoke {NAME}`"), (second, f"`rotator revoke {NAME} --previous`")):
        with pytest.raises(UsageError, match=f"{other} is .* of {NAME}, which rotator manages") as caught:
            revoke(world, other)
        assert command in caught.value.fix
        assert "Azure DevOps" not in caught.value.fix
    assert world.revoked_ids() == []


def test_revocation_is_refused_when_its_pat_is_rotating() -> None:
    world, left, _ = make_failed()
    with pytest.raises(UsageError, match="unfinished rotation"):
        revoke(world, left)
    assert world.revoked_ids() == []


def test_revocation_is_refused_when_another_run_works_on_its_pat() -> None:
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    with world.database.begin() as work:
        work.claims.claim(NAME, "other", now=work.now(), span=timedelta(minutes=5))
    with pytest.raises(ClaimHeldError):
        revoke(world, left)
    assert left not in world.revoked_ids()


def test_revocation_is_refused_with_what_to_do_when_its_record_was_forgotten() -> None:
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    world.add_managed("other")
    forget(world.make_run(), NAME)
    with pytest.raises(UsageError, match="no longer managed") as caught:
        revoke(world, left)
    assert "inventory adopt" in caught.value.fix
    assert left not in world.revoked_ids()


def make_orphaned() -> tuple[EngineWorld, str]:
    """A PAT that a failed rotation left behind, seen by a run; no record is left in its organization."""
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    forget(world.make_run(), NAME)
    return world, left


def name_place(world: EngineWorld, name: str | None) -> None:
    """The settings name this organization, or no account at all."""
    world.accounts = () if name is None else (Account(ACCOUNT, "build-bot@contoso.com", "contoso", (name,)),)


def test_pat_is_told_as_left_behind_until_it_is_gone_when_the_last_record_was_forgotten() -> None:
    """It lives and is ours, and nobody else would say so."""
    world, left = make_orphaned()
    for _ in range(2):
        world.run()
    assert look_at(world) == [("failed_rotation", left)]
    assert world.events(left) == ["pat_left_behind unknown"]
    row = show(world, left)
    assert row is not None
    assert row.last_error is not None
    assert row.last_error.message.endswith(f"{NAME} is no longer managed")
    assert "inventory adopt" in row.last_error.fix
    with pytest.raises(UsageError, match="no longer managed"):
        revoke(world, left)
    world.pats.pats[left].revoked = True
    world.run()
    assert world.events(left)[1:] == ["left_behind_resolved succeeded"]
    assert show(world, left) is None


def test_pat_is_told_as_left_behind_when_no_run_looked_before_its_record_was_forgotten() -> None:
    """The same run froze the rotation, after its look."""
    world = make_world()
    world.run()
    old, clone = world.live_ids()
    world.secrets.write_foreign(world.location(), "theirs")
    world.advance(hours=24)
    world.run()
    forget(world.make_run(), NAME)
    world.run()
    assert [world.events(found) for found in (old, clone)] == [["pat_left_behind unknown"]] * 2


def test_pat_is_looked_for_beyond_its_expiry_in_the_journal_when_it_was_seen_alive() -> None:
    """A person may give it a longer life."""
    world, left = make_orphaned()
    fake = world.pats.pats[left]
    fake.pat = replace(fake.pat, valid_to=world.clock.now() + timedelta(days=60))
    world.run()
    world.advance(days=50)
    for _ in range(2):
        world.run()
        assert world.events(left) == ["pat_left_behind unknown"]
    world.pats.pats[left].revoked = True
    world.run()
    assert world.events(left)[1:] == ["left_behind_resolved succeeded"]


@pytest.mark.parametrize("place", ["fabrikam", None])
def test_pat_stays_left_behind_without_a_look_when_the_settings_do_not_name_its_place(place: str | None) -> None:
    """Nobody knows, so nobody says that it is over; a stray beside it is forgotten."""
    world, left = make_orphaned()
    stray = world.pats.add_pat(ACCOUNT, ORGANIZATION, "stray", SCOPE, world.clock.now() + timedelta(days=90))
    world.run()
    assert show(world, stray.pat.authorization_id) is not None
    name_place(world, place)
    world.pats.pats[left].revoked = True
    for _ in range(2):
        listed = world.count("fetch_pats")
        world.run()
        assert world.count("fetch_pats") == listed
        assert world.events(left) == ["pat_left_behind unknown"]
        assert show(world, left) is not None
        assert show(world, stray.pat.authorization_id) is None
    name_place(world, ORGANIZATION)
    world.run()
    assert world.events(left)[1:] == ["left_behind_resolved succeeded"]


def test_pat_that_nobody_can_look_for_is_over_when_it_expired_by_a_right_clock() -> None:
    world, left = make_orphaned()
    name_place(world, None)
    world.run()
    world.host_clock.ahead = world.database.skew = timedelta(days=80)
    with pytest.raises(ClockSkewError):
        world.run()
    assert world.events(left) == ["pat_left_behind unknown"]
    world.host_clock.ahead = world.database.skew = timedelta(0)
    world.run()
    assert world.events(left) == ["pat_left_behind unknown"]
    world.advance(days=80)
    world.run()
    assert world.events(left)[1:] == ["left_behind_resolved succeeded"]


@pytest.mark.parametrize("is_named", [True, False])
def test_unproven_mint_stays_left_behind_when_a_run_works_on_a_host_that_is_fast(is_named: bool) -> None:
    """What it asked for has expired by that clock alone. Whether or not the settings still name its account."""
    world, near = make_unproven()
    world.finish(besides=(near,))
    forget(world.make_run(), NAME)
    world.accounts = world.accounts if is_named else world.accounts[1:]
    world.run()
    world.host_clock.ahead = timedelta(days=40)
    with suppress(ClockSkewError):
        world.run()
    world.heal()
    with world.database.read() as reading:
        assert [item.pat.authorization_id for item in load_left_behind(reading, world.clock.now())] == [near]
    assert "left_behind_resolved succeeded" not in world.events(near)


def test_organization_stays_down_when_it_is_only_looked_at_for_what_was_left_behind() -> None:
    """Also while its account cannot sign in."""
    world, _ = make_orphaned()
    place = f"{ACCOUNT}/{ORGANIZATION}"
    world.pats.fail("fetch_pats", times=9)
    world.run()
    assert world.events(place) == ["organization_down failed"]
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("nobody is signed in", account=ACCOUNT)
    world.run()
    assert world.events(place) == ["organization_down failed"]
    world.heal()
    world.run()
    assert world.events(place)[1:] == ["organization_restored succeeded"]


@pytest.mark.parametrize("is_answered", [True, False])
def test_revocation_freezes_when_the_vault_hands_the_pat_out(is_answered: bool) -> None:
    """A person can be wrong about what nobody uses."""
    world = make_world()
    if not is_answered:
        world.secrets.fail("store")
    world.run_and_die(after="stored")
    world.advance(minutes=6)
    foreign = world.secrets.write_foreign(world.location(), "theirs")
    world.run()
    clone = world.live_ids()[1]
    assert look_at(world) == [("failed_rotation", clone)]
    stored = world.secrets.versions_of(world.location())
    ours = next(item for item in stored if item.version.version != foreign and item.version.tags)
    world.secrets.write_foreign(world.location(), ours.value.reveal(), ours.version.tags)
    with pytest.raises(PlanRefusedError):
        revoke(world, clone)
    assert world.revoked_ids() == []
    assert world.states()[-1] == "failed"


def test_revocation_works_in_one_organization_when_another_cannot_be_looked_at() -> None:
    """And without a hit the reason is that it could not be looked for, not that there is none."""
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    world.add_managed("a", organization="fabrikam")
    denied = DeniedError("no access", service="azure_devops", operation="list_pats", status=200)
    world.pats.fail("fetch_identity", denied, skip=1, times=1)
    assert revoke(world, left).pat.authorization_id == left
    world.pats.fail("fetch_identity", denied, times=2)
    with pytest.raises(DeniedError):
        revoke(world, left)


def test_revocation_can_be_repeated_when_it_died_in_between() -> None:
    """A revocation that was begun is finished by the next run."""
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    world.pats.fail("revoke")
    with pytest.raises(UnknownOutcomeError):
        revoke(world, left)
    assert world.rotations()[-1].state is RotationState.ABANDONING
    recover_interrupted(world.make_run())
    assert left not in world.live_ids()
    world.check_rest()


def test_recovery_alone_finishes_and_rotates_nothing_when_others_are_due() -> None:
    """What was interrupted is brought to its end; a due one and an overlap that is over are left for `once`."""
    world = make_world("a", "b", "c")
    world.rotate("a")
    world.advance(hours=25)
    world.rotate("b")
    world.database.dies_after = "minted"
    with pytest.raises(ProcessDied):
        world.rotate("c")
    world.database.revive()
    world.advance(minutes=6)
    report = world.watch(lambda: recover_interrupted(world.make_run()))
    assert names_of(report, OutcomeKind.ABANDONED) == ["c"]
    assert report.of_kind(OutcomeKind.ROTATED, OutcomeKind.RETIRED, OutcomeKind.FAILED) == ()
    assert [world.states(name) for name in "abc"] == [["overlapping"], ["overlapping"], ["abandoned"]]
    assert world.count("mint") == 3


def test_recovery_alone_changes_nothing_when_nothing_was_interrupted() -> None:
    world = make_world()
    report = world.watch(lambda: recover_interrupted(world.make_run()))
    assert find_code_of_report(report) == 0
    assert (world.states(), world.events()) == ([], [])
    assert world.count("mint") + world.count("revoke") + world.count("prove_writable") == 0


def test_mint_that_landed_late_is_undone_by_recovery_alone() -> None:
    """Given up as not created, then it takes effect: ours by its fingerprint, so no person has to say so."""
    world = make_world()
    late = world.mint_late()
    world.advance(hours=25)
    world.run()
    run = world.make_run()
    found = look(run, ServerView(run))
    assert found.left_behind == []
    assert [pat.authorization_id for _, pat in found.late[NAME]] == [late]
    world.watch(lambda: recover_interrupted(world.make_run()))
    assert world.revoked_ids()[-1] == late
    world.check_rest()


def test_id_is_the_same_one_in_capitals() -> None:
    world, near = make_unproven()
    world.finish(besides=(near,))
    assert revoke_left_behind(world.make_run(), near.upper()).pat.authorization_id == near
    assert near not in world.live_ids()


def make_pending(authorization_id: str) -> PendingRevocation:
    """The pending revocation of a PAT that a rotation called `r1` replaced."""
    place = (make_rotation().account, make_rotation().organization, "https://vault", "secret")
    kind = RevocationKind.ROTATED
    return PendingRevocation(
        authorization_id, NAME, *place, kind, NOW + DAY, since=NOW, requested_at=NOW, rotation_id="r1"
    )


def test_pat_to_be_revoked_is_left_behind_unless_a_record_uses_it() -> None:
    used, unused = make_pat("used"), make_pat("unused")
    record = replace(make_managed_pat(), authorization_id="used")
    pending = (make_pending("used"), make_pending("unused"))
    keepers = Keepers((record,), (), (), frozenset(), pending)
    found = find_left_behind(keepers, pending[0].account, pending[0].organization, (used, unused))
    kind = LeftBehindKind.PENDING_REVOCATION
    assert [(item.kind, item.pat, item.name, item.rotation_id) for item in found] == [(kind, unused, NAME, "r1")]


def test_rotation_that_left_a_pat_is_named_with_it() -> None:
    world, left, _ = make_failed()
    run = world.make_run()
    (found,) = look(run, ServerView(run)).left_behind
    assert (found.pat.authorization_id, found.rotation_id) == (left, world.rotations()[0].id)


def test_pat_stays_remembered_when_its_revocation_by_hand_is_pending() -> None:
    world, left, _ = make_failed()
    world.advance(hours=25)
    world.run()
    world.pats.ignores_revoke = lambda authorization_id: True
    revoke(world, left)
    with world.database.read() as reading:
        assert left in [item.pat.authorization_id for item in reading.inventory.load_untracked()]


@pytest.mark.parametrize("is_down", [False, True], ids=["a later list has it", "nobody can look closer"])
def test_pat_stays_left_behind_when_a_list_lacks_it(is_down: bool) -> None:
    world, left = make_orphaned()
    hidden: list[int] = []

    def hide(listed: tuple[Pat, ...]) -> tuple[Pat, ...]:
        hidden.append(1)
        return listed if len(hidden) > 1 else tuple(pat for pat in listed if pat.authorization_id != left)

    world.pats.change_listed = hide
    if is_down:
        world.pats.fail("fetch_pat")
    world.advance(hours=1)
    world.run()
    assert hidden
    assert show(world, left) is not None
    assert world.events(left) == ["pat_left_behind unknown"]
    assert ("organization_down failed" in world.events(f"{ACCOUNT}/{ORGANIZATION}")) is is_down


def test_pat_stays_left_behind_while_all_lists_lack_it_until_it_expires() -> None:
    """By its id the server shows it, or does not know it: neither proves that it is gone."""
    world, left = make_orphaned()
    world.pats.change_listed = lambda listed: tuple(pat for pat in listed if pat.authorization_id != left)
    for _ in range(3):
        world.advance(hours=1)
        world.run()
    assert world.events(left) == ["pat_left_behind unknown"]
    del world.pats.pats[left]
    world.run()
    assert world.events(left) == ["pat_left_behind unknown"]
    world.advance(days=90)
    world.run()
    assert world.events(left)[1:] == ["left_behind_resolved succeeded"]
