"""The read-only look: every kind of PAT, and what could not be looked at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from rotator.domain.rotation import RotationState
from rotator.engine.comparing import ScanKind, compare_record, find_lost_clones
from rotator.engine.listing import ServerView
from rotator.engine.scanning import ScanReport, scan
from rotator.errors import DeniedError, SignInRequiredError
from tests.support.engine import ACCOUNT, CANARY, MUTATIONS, NAME, ORGANIZATION, SCOPE, EngineWorld, make_world
from tests.support.engine_scenarios import make_overlapping


def look(world: EngineWorld) -> ScanReport:
    """A scan, which changes nothing and shows no value."""
    before, calls = world.database.dump(), len(world.timeline)
    report = scan(world.make_run())
    assert world.database.dump() == before
    assert not MUTATIONS & set(world.timeline[calls:])
    assert CANARY not in repr(report)
    return report


def list_kinds(report: ScanReport) -> list[tuple[str, str | None]]:
    return [(entry.kind.value, entry.name) for entry in report.entries]


def test_managed_pat_is_shown_with_its_record_when_nothing_changed() -> None:
    world = make_world()
    (entry,) = look(world).entries
    assert (entry.kind.value, entry.name, entry.record) == ("managed", NAME, world.record())
    assert entry.pat == world.pats.pats[entry.authorization_id].pat


def test_pat_is_untracked_when_no_record_accounts_for_it() -> None:
    world = make_world()
    fake = world.pats.add_pat(ACCOUNT, "fabrikam", "deploy", SCOPE, world.clock.now() + timedelta(days=9))
    report = look(world)
    assert list_kinds(report) == [("managed", NAME), ("untracked", None)]
    assert report.entries[1].organization == "fabrikam"
    assert report.entries[1].pat == fake.pat


def test_lost_mint_is_not_shown_as_untracked_by_a_host_that_is_fast() -> None:
    """Who reads that may adopt it, or take it for a person's."""
    world = make_world()
    world.pats.fail("mint", after_effect=True)
    world.run()
    before = list_kinds(look(world))
    world.host_clock.ahead = timedelta(days=40)
    assert ("untracked", None) not in before
    assert list_kinds(look(world)) == before


def test_pat_is_missing_when_the_server_does_not_list_it() -> None:
    world = make_world()
    world.pats.pats[world.record().authorization_id].revoked = True
    (entry,) = look(world).entries
    assert (entry.kind.value, entry.name, entry.pat) == ("missing", NAME, None)


def test_pat_has_drifted_when_somebody_changed_it_on_the_server() -> None:
    world = make_world()
    world.pats.rename(world.record().authorization_id, "renamed")
    assert list_kinds(look(world)) == [("drifted", NAME)]
    world.run()
    assert world.record().display_name == "renamed"
    assert world.events()[0] == "pat_drifted succeeded"


def test_old_pat_is_rotating_when_its_overlap_lasts() -> None:
    world = make_world()
    world.run()
    assert list_kinds(look(world)) == [("rotating", None), ("managed", NAME)]


def test_pat_is_unproven_when_it_looks_like_a_lost_mint() -> None:
    world = make_world()
    world.pats.organizations["contoso"].max_lifetime = timedelta(days=20)
    world.pats.fail("mint", after_effect=True)
    world.run()
    near = world.live_ids()[1]
    world.advance(minutes=11)
    world.run()
    kinds = {entry.authorization_id: entry.kind.value for entry in look(world).entries}
    assert kinds[near] == "left_behind"


def test_pat_is_late_when_it_is_a_lost_mint_that_was_created_after_its_rotation_was_closed() -> None:
    world = make_world()
    world.pats.postpone_mint()
    world.run()
    world.advance(minutes=11)
    world.run()
    world.pats.apply_late()
    kinds = {entry.authorization_id: entry.kind.value for entry in look(world).entries}
    assert kinds[world.live_ids()[-1]] == "late"


def test_all_organization_pat_is_shown_once_when_every_organization_lists_it() -> None:
    world = make_world()
    world.pats.add_pat(ACCOUNT, None, "everywhere", SCOPE, world.clock.now() + timedelta(days=9))
    entries = [entry for entry in look(world).entries if entry.pat and entry.pat.target_accounts is None]
    assert [entry.organization for entry in entries] == ["contoso"]


def test_rest_is_shown_when_an_account_or_an_organization_cannot_be_asked() -> None:
    world = make_world()
    world.add_managed("release", account="release-bot")
    denied = DeniedError("may not enter", service="azure_devops", operation="fetch_pats", status=403)
    world.pats.fail("fetch_pats", denied, skip=1)
    world.sign_in.refusals["release-bot"] = SignInRequiredError("nobody is signed in", account="release-bot")
    report = look(world)
    assert list_kinds(report) == [("managed", NAME)]
    assert [(account, organization, error.code) for account, organization, error in report.errors] == [
        (ACCOUNT, "fabrikam", "denied"),
        ("release-bot", "contoso", "sign_in_required"),
    ]


def test_entries_are_sorted_by_display_name_and_expiry_when_there_are_many() -> None:
    world = make_world("b", "a")
    now = world.clock.now()
    late = world.pats.add_pat(ACCOUNT, "contoso", "c", SCOPE, now + timedelta(days=9))
    soon = world.pats.add_pat(ACCOUNT, "contoso", "c", SCOPE, now + timedelta(days=1))
    ids = [entry.authorization_id for entry in look(world).entries]
    assert ids == [
        world.record("a").authorization_id,
        world.record("b").authorization_id,
        soon.pat.authorization_id,
        late.pat.authorization_id,
    ]


def test_record_of_a_pat_in_another_organization_is_missing_when_it_moved() -> None:
    world = make_world()
    fake = world.pats.pats[world.record().authorization_id]
    fake.pat = replace(fake.pat, target_accounts=(world.pats.organizations["fabrikam"].id,))
    kinds = {(entry.kind.value, entry.organization) for entry in look(world).entries}
    assert kinds == {("missing", "contoso"), ("untracked", "fabrikam")} or kinds == {("missing", "contoso")}


def test_record_is_compared_with_the_listing_of_its_place() -> None:
    world = make_world()
    record, found = world.record(), world.pats.pats[world.record().authorization_id]

    def compare() -> ScanKind:
        return compare_record(record, ServerView(world.make_run()).fetch_listing(ACCOUNT, ORGANIZATION)).kind

    assert compare() is ScanKind.MANAGED
    found.pat = replace(found.pat, scope="vso.code")
    assert compare() is ScanKind.DRIFTED
    found.revoked = True
    assert compare() is ScanKind.MISSING


def test_clone_is_lost_only_when_consumers_were_to_read_it_and_its_list_lacks_it() -> None:
    world = make_overlapping()
    (rotation,) = world.rotations()
    listing, now = ServerView(world.make_run()).fetch_listing(ACCOUNT, ORGANIZATION), world.clock.now()
    gone = replace(rotation, new_authorization_id="gone")
    expired = replace(gone, new_valid_to=now)
    earlier = replace(gone, state=RotationState.STORED)
    elsewhere = replace(gone, organization="fabrikam")
    assert find_lost_clones([rotation, expired, earlier, elsewhere], listing, now) == ()
    assert find_lost_clones([gone], listing, now) == (NAME,)
