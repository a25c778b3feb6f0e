"""When each organization of each account last worked, and why it does not since."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.adapters.logs import make_progress
from rotator.cli.commands.accounts import explain_organization, make_organization_row
from rotator.cli.console import Cell
from rotator.documents.status import make_status_document
from rotator.domain.organization import OrganizationMemory
from rotator.engine.auditing import Author
from rotator.engine.jobs import reconcile_all, refresh_sign_ins
from rotator.engine.keeping import forget
from rotator.engine.overview import load_memories, view_status
from rotator.engine.report import RunSkewedError
from rotator.engine.signing_in import SignInDesk, SignInSight, make_account_status
from rotator.errors import SignInRequiredError
from tests.support.engine import ACCOUNT, EngineWorld, make_world
from tests.support.engine_fakes import PersonsSignIn

CONTOSO, FABRIKAM = (ACCOUNT, "contoso"), (ACCOUNT, "fabrikam")


def load(world: EngineWorld) -> dict[tuple[str, str], OrganizationMemory]:
    """What is remembered."""
    with world.database.read() as reading:
        return {(memory.account, memory.organization): memory for memory in reading.organizations.load()}


@pytest.fixture
def world() -> EngineWorld:
    """A PAT in each of two organizations, neither of them due."""
    made = make_world()
    made.run()
    made.add_managed("abroad", organization="fabrikam", days_left=20)
    made.advance(hours=25)
    reconcile_all(made.make_run())
    return made


def look(world: EngineWorld, *, is_gone: bool = False, hours: int = 1) -> None:
    """Some hours later the daemon looks everywhere; `is_gone`: fabrikam answers nobody."""
    world.advance(hours=hours)
    kept = world.pats.organizations["fabrikam"]
    if is_gone:
        del world.pats.organizations["fabrikam"]
    reconcile_all(world.make_run())
    world.pats.organizations["fabrikam"] = kept


def test_each_organization_is_remembered_with_when_it_worked_and_why_it_does_not(world: EngineWorld) -> None:
    began = world.clock.now()
    assert load(world) == {pair: OrganizationMemory(*pair, began) for pair in (CONTOSO, FABRIKAM)}
    look(world, is_gone=True)
    failed = world.clock.now()
    look(world, is_gone=True)
    found = load(world)
    assert found[CONTOSO] == OrganizationMemory(*CONTOSO, world.clock.now())
    down = found[FABRIKAM]
    assert (down.worked_at, down.failed_at) == (began, failed)
    assert down.failure is not None
    assert "fabrikam" in down.failure.message
    [first, *_] = [line for line in explain_organization(down) if line]
    assert first == f"build-bot/fabrikam has not worked since 2026-11-28 11:00Z: {down.failure.message}"
    look(world)
    assert load(world)[FABRIKAM] == OrganizationMemory(*FABRIKAM, world.clock.now())


def test_no_organization_works_while_its_account_must_sign_in(world: EngineWorld) -> None:
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it lapsed", account=ACCOUNT)
    before = load(world)
    look(world)
    found = load(world)
    assert [found[pair].worked_at for pair in (CONTOSO, FABRIKAM)] == [before[CONTOSO].worked_at] * 2
    assert {memory.failure.code for memory in found.values() if memory.failure} == {"sign_in_required"}


def say_works(world: EngineWorld) -> list[str]:
    """What `rotator accounts` shows of each organization of an account that is signed in."""
    rows = [make_organization_row(memory, world.clock.now()) for memory in load(world).values()]
    return [row[2].text for row in rows if isinstance(row[2], Cell)]


def log_in(world: EngineWorld) -> None:
    """A person signs the account in again."""
    world.sign_in.refusals.clear()
    world.sign_in.generations[ACCOUNT] = "2"
    author = Author("anna", "1", make_progress())
    desk = SignInDesk(world.database, world.clock, world.witnesses, PersonsSignIn(), author)
    desk.sign_in(ACCOUNT, "browser", lambda sign_ins: sign_ins.status(ACCOUNT))


@pytest.mark.parametrize("by_hand", [True, False])
def test_sign_in_that_is_over_no_longer_keeps_an_organization_from_working(
    world: EngineWorld, *, by_hand: bool
) -> None:
    """Neither after `rotator login` nor when Entra gives tokens again; nobody says that it works before the look."""
    before = load(world)
    look(world, is_gone=True)
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it lapsed", account=ACCOUNT)
    refresh_sign_ins(world.make_run())
    assert say_works(world) == ["yes", "no"]
    look(world)
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it was revoked", account=ACCOUNT, code="sign_in_revoked")
    world.advance(hours=7)
    refresh_sign_ins(world.make_run())
    assert {found.failure.code for found in load(world).values() if found.failure} == {"sign_in_revoked"}
    if by_hand:
        log_in(world)
    else:
        world.sign_in.refusals.clear()
        world.advance(hours=7)
        refresh_sign_ins(world.make_run())
    found = load(world)
    assert [memory.failure for memory in found.values()] == [None, None]
    assert found[FABRIKAM].worked_at == before[FABRIKAM].worked_at
    assert say_works(world) == ["not known"] * 2
    [line] = [line for line in explain_organization(found[FABRIKAM]) if line]
    assert "has not been looked at since" in line
    look(world)
    assert load(world)[FABRIKAM] == OrganizationMemory(*FABRIKAM, world.clock.now())


def test_organization_that_is_down_stays_so_when_its_account_is_signed_in_again(world: EngineWorld) -> None:
    look(world, is_gone=True)
    failed = load(world)[FABRIKAM]
    world.sign_in.refusals[ACCOUNT] = SignInRequiredError("it lapsed", account=ACCOUNT)
    refresh_sign_ins(world.make_run())
    log_in(world)
    assert load(world)[FABRIKAM] == failed


def test_nothing_is_written_when_an_organization_works_on_or_the_clock_is_wrong(world: EngineWorld) -> None:
    before = load(world)
    world.advance(minutes=4)
    reconcile_all(world.make_run())
    assert load(world) == before
    world.host_clock.ahead = timedelta(days=2)
    with pytest.raises(RunSkewedError):
        look(world)
    assert load(world) == before
    world.host_clock.ahead = timedelta(0)
    look(world)
    assert load(world) != before


def test_organization_is_forgotten_when_nothing_is_to_be_looked_for_there(world: EngineWorld) -> None:
    forget(world.make_run(), "abroad")
    look(world)
    assert list(load(world)) == [CONTOSO]


def test_status_tells_of_each_account_how_its_organizations_work(world: EngineWorld) -> None:
    look(world, is_gone=True)
    timing, now = world.timing, world.clock.now()
    view = view_status(world.database, world.policy, now, settle=timing.settle, lease=timing.lease)
    memories = load_memories(world.database, ["release-bot", ACCOUNT])
    accounts = [make_account_status(SignInSight(None, found), view.rows, view.organizations) for found in memories]
    other, mine = make_status_document(view.rows, accounts, now, view.runs)["accounts"]
    assert other["places"] == []
    well, down = mine["places"]
    assert well == {"organization": "contoso", "last_worked_at": "2026-11-28T11:00:00Z", "last_error": None}
    assert (down["organization"], down["last_worked_at"]) == ("fabrikam", "2026-11-28T10:00:00Z")
    assert down["last_error"] is not None
    assert down["last_error"]["at"] == "2026-11-28T11:00:00Z"
