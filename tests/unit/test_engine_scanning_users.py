"""The look at all users' PATs: what is said of each PAT, and of each user whom nobody could look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.adapters.azure_devops.call import Call, Trace, make_denied, make_transient
from rotator.domain.policy import Guardrails
from rotator.domain.user_pats import UserLook
from rotator.engine.auditing import load_events
from rotator.engine.comparing import ScanKind
from rotator.engine.scanning_users import OrganizationScan, scan_users
from rotator.errors import DatabaseError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import ACCOUNT, MUTATIONS, NAME, ORGANIZATION, SCOPE, EngineWorld, make_world
from tests.support.policies import make_policy
from tests.support.token_admin import FakeTokenAdmin, make_user

CALL = Call("list_user_pats", "list the PATs of a user", ACCOUNT, ORGANIZATION, "GET", "")
DENIED = make_denied(CALL, Trace(401), "token_admin_denied", "no administrator", "Ask one.")
BROKEN = make_transient(CALL, Trace(503), "server_error", "it answered 503")


def look(world: EngineWorld, admin: FakeTokenAdmin) -> OrganizationScan:
    """What it finds in `contoso`; nothing is changed at the services."""
    calls = len(world.timeline)
    found = scan_users(world.make_run(), admin, lambda *_: None)
    assert not MUTATIONS & set(world.timeline[calls:])
    world.check_promises(repr(found))
    [home] = [scan for scan in found if scan.organization == ORGANIZATION]
    return home


def told(world: EngineWorld) -> dict[str, object]:
    """What the audit log has of the scan of `contoso`."""
    events = load_events(world.database, AuditFilter(event="organization_scanned"))
    [details] = [event.entry.details for event in events if ORGANIZATION in event.entry.subject]
    return dict(details)


def test_each_pat_is_said_to_be_managed_or_not() -> None:
    world = make_world()
    world.run()
    now = world.clock.now()
    world.pats.add_pat("release-bot", ORGANIZATION, "own", "app_token", now + timedelta(days=200), valid_from=now)
    found = look(world, FakeTokenAdmin(world))
    assert sorted((pat.kind, pat.name, pat.pat.display_name) for pat in found.pats if pat.name) == [
        (ScanKind.MANAGED, NAME, NAME),
        (ScanKind.ROTATING, NAME, NAME),
    ]
    [other] = [pat for pat in found.pats if pat.name is None]
    assert (other.kind, other.pat.display_name, other.user.name) == (ScanKind.UNTRACKED, "own", "release-bot")
    assert (other.is_full_access, other.is_long_lived) == (True, True)
    assert told(world) == {
        "users": 2,
        "denied": 0,
        "skipped": 0,
        "pats": 3,
        "full_access": 1,
        "long_lived": 1,
        "all_organizations": 0,
        "ownerless": 0,
        "managed": 2,
    }


def test_pat_for_all_organizations_is_counted_as_such() -> None:
    world = make_world()
    now = world.clock.now()
    world.pats.add_pat("release-bot", None, "wide", SCOPE, now + timedelta(days=2), valid_from=now)
    found = look(world, FakeTokenAdmin(world))
    assert [pat.pat.display_name for pat in found.pats if pat.pat.all_organizations] == ["wide"]
    assert told(world)["all_organizations"] == 1


@pytest.mark.parametrize(("longest", "is_long"), [(None, False), (timedelta(days=7), True)])
def test_policy_says_what_is_long_lived(longest: timedelta | None, is_long: bool) -> None:
    world = make_world(policy=replace(make_policy(), guardrails=Guardrails(max_lifetime=longest)))
    [pat] = look(world, FakeTokenAdmin(world)).pats
    assert pat.is_long_lived is is_long


def test_pat_without_a_living_owner_is_told_and_one_that_has_expired_is_not() -> None:
    world = make_world()
    world.pats.add_pat("gone", ORGANIZATION, "old", SCOPE, world.clock.now() + timedelta(days=9))
    world.pats.add_pat("gone", ORGANIZATION, "older", SCOPE, world.clock.now() + timedelta(hours=1))
    world.advance(hours=2)
    admin = FakeTokenAdmin(world, [make_user("gone", is_deleted=True)])
    found = look(world, admin)
    assert [(pat.pat.display_name, pat.user.is_deleted) for pat in found.pats] == [("old", True)]
    assert told(world)["ownerless"] == 1


def test_failed_looks_are_told_for_each_user() -> None:
    """A refusal, a failure, and an identity that nobody is asked about: of none of them it is said that nothing is."""
    world = make_world()
    service = make_user("Project Collection Build Service", is_service=True)
    admin = FakeTokenAdmin(world, [make_user("closed"), make_user("broken"), service, make_user(ACCOUNT)])
    admin.errors = {"closed": DENIED, "broken": BROKEN}
    found = look(world, admin)
    assert [(user.user.name, user.look, user.error) for user in found.users] == [
        ("closed", UserLook.DENIED, DENIED),
        ("broken", UserLook.SKIPPED, BROKEN),
        (service.name, UserLook.SKIPPED, None),
        (ACCOUNT, UserLook.OK, None),
    ]
    assert [user for _, user in admin.asked] == ["closed", "broken", ACCOUNT]
    assert (told(world)["users"], told(world)["denied"], told(world)["skipped"]) == (4, 1, 2)


def test_nobody_else_is_asked_about_after_three_refusals() -> None:
    world = make_world()
    admin = FakeTokenAdmin(world, [make_user(f"user-{number}") for number in range(9)])
    admin.errors = {user.name: DENIED for user in admin.users}
    found = look(world, admin)
    looks = [user.look for user in found.users]
    assert looks == [UserLook.DENIED] * 3 + [UserLook.SKIPPED] * 6
    assert all(user.error is DENIED for user in found.users)
    assert not list(load_events(world.database, AuditFilter(event="organization_scanned")))
    assert [name for account, name in admin.asked if account == ACCOUNT] == ["user-0", "user-1", "user-2"]


def test_nobody_else_is_asked_about_after_three_failures_in_a_row() -> None:
    """A service that is away would be asked for each of thousands of users. Refusals of single users are no reason."""
    world = make_world()
    names = ["ok-1", "broken-1", "broken-2", "ok-2", *(f"closed-{number}" for number in range(4)), "ok-3"]
    names += [f"broken-{number}" for number in range(3, 9)]
    admin = FakeTokenAdmin(world, [make_user(name) for name in names])
    admin.errors = {name: BROKEN for name in names if name.startswith("broken")}
    admin.errors |= {name: DENIED for name in names if name.startswith("closed")}
    found = look(world, admin)
    assert [name for _, name in admin.asked] == names[: names.index("broken-6")]
    assert [(user.look, user.error) for user in found.users[-3:]] == [(UserLook.SKIPPED, BROKEN)] * 3


def test_another_account_is_asked_when_the_first_may_not() -> None:
    world = make_world()
    admin = FakeTokenAdmin(world)
    admin.errors = {ACCOUNT: DENIED}
    admin.users = [make_user("release-bot")]
    assert look(world, admin).account == "release-bot"


def test_organization_that_nobody_may_list_is_an_error_and_no_event() -> None:
    world = make_world()
    admin = FakeTokenAdmin(world)
    admin.errors = {ACCOUNT: DENIED, "release-bot": DENIED}
    found = look(world, admin)
    assert (found.error, found.users, found.pats) == (DENIED, (), ())
    assert not list(load_events(world.database, AuditFilter(event="organization_scanned")))


def test_scan_fails_when_the_database_does() -> None:
    world = make_world()
    admin = FakeTokenAdmin(world)
    admin.errors = {ACCOUNT: DatabaseError("it is gone")}
    with pytest.raises(DatabaseError):
        look(world, admin)
