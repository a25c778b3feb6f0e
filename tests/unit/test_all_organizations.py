"""PATs for all organizations: before the day on which all of them stop working, and from that day on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.output.inventory import list_record_rows
from rotator.cli.output.plan import render_plan
from rotator.cli.output.scan import list_scan_rows, render_scan_summary
from rotator.cli.output.status import list_status_rows, render_status_notes
from rotator.documents.plan import make_plan_document
from rotator.documents.scan import make_scan_document
from rotator.domain.managed_pat import ALL_ORGANIZATIONS_END, find_expiry
from rotator.domain.next_step import NextAction
from rotator.engine.adopting import adopt, propose
from rotator.engine.keeping import resume
from rotator.engine.planning import make_plan
from rotator.engine.scanning import scan
from rotator.engine.status import load_effective
from tests.support.engine import ACCOUNT, SCOPE, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

END = datetime(2026, 12, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OWN_EXPIRY = datetime(2027, 1, 31, 9, 0, tzinfo=UTC)
NOTE = "everywhere: it is valid for all organizations, and no such PAT works from 2026-12-01 on"


@pytest.fixture
def world() -> EngineWorld:
    """One such PAT under management and one that nobody tracks, both good for months by their own expiry."""
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(hours=1))))
    world.pats.add_pat(ACCOUNT, None, "everywhere", SCOPE, OWN_EXPIRY)
    run = world.make_run()
    adopt(run, propose(run, ["everywhere"], everything=False))
    world.pats.add_pat(ACCOUNT, None, "loose", SCOPE, OWN_EXPIRY)
    world.run()
    return world


def move_to(world: EngineWorld, moment: datetime) -> datetime:
    """Let time pass until then."""
    world.clock.advance(moment - world.clock.now())
    return moment


@pytest.mark.parametrize(
    ("all_organizations", "now", "expiry"),
    [
        (True, END - SECOND, OWN_EXPIRY),
        (True, END, END),
        (True, OWN_EXPIRY, END),
        (False, END, OWN_EXPIRY),
    ],
)
def test_expiry_is_the_day_itself_when_it_has_come(all_organizations: bool, now: datetime, expiry: datetime) -> None:
    assert ALL_ORGANIZATIONS_END == END
    assert find_expiry(OWN_EXPIRY, all_organizations=all_organizations, now=now) == expiry
    assert find_expiry(END - SECOND, all_organizations=all_organizations, now=now) == END - SECOND


def test_scan_counts_such_pats_with_their_day_when_it_is_ahead(world: EngineWorld) -> None:
    now = move_to(world, END - SECOND)
    report = scan(world.make_run())
    rows = {row[0]: row[3:] for row in list_scan_rows(report, now)}
    assert rows["everywhere"] == ("2027-01-31 (61d)", "managed, all organizations")
    assert rows["loose"] == ("2027-01-31 (61d)", "untracked, all organizations")
    assert "2 all-organization (stop working 2026-12-01)" in next(iter(render_scan_summary(report, now)))
    document = make_scan_document(report, now)
    assert {pat["expires_at"] for pat in document["pats"] if pat["all_organizations"]} == {"2027-01-31T09:00:00Z"}


def test_scan_says_that_such_pats_are_dead_when_the_day_has_come(world: EngineWorld) -> None:
    now = move_to(world, END + timedelta(days=3))
    report = scan(world.make_run())
    rows = {row[0]: row[3:] for row in list_scan_rows(report, now)}
    assert rows["everywhere"] == ("2026-12-01 (3d ago)", "managed, all organizations, stopped working 2026-12-01")
    assert rows["loose"] == ("2026-12-01 (3d ago)", "untracked, all organizations, stopped working 2026-12-01")
    summary = next(iter(render_scan_summary(report, now)))
    assert "2 all-organization (stopped working 2026-12-01)" in summary
    assert "7 days" not in summary
    document = make_scan_document(report, now)
    assert {pat["expires_at"] for pat in document["pats"] if pat["all_organizations"]} == {"2026-12-01T00:00:00Z"}
    (managed,) = [entry for entry in report.entries if entry.name == "everywhere"]
    assert managed.record is not None
    assert (managed.kind.value, managed.record.valid_to) == ("managed", END)


def test_status_shows_such_a_pat_as_blocked_when_its_day_is_ahead(world: EngineWorld) -> None:
    now = move_to(world, END - SECOND)
    rows = [row for row in world.show_status() if row.name in ("everywhere", "loose")]
    assert [row[2:] for row in list_status_rows(rows, now)] == [
        ("blocked", "2027-01-31 (61d)", "-"),
        ("untracked", "2027-01-31 (61d)", "-"),
    ]
    assert next(iter(render_status_notes(rows))) == NOTE


def test_status_shows_such_a_pat_as_expired_when_its_day_has_come(world: EngineWorld) -> None:
    now = move_to(world, END)
    rows = [row for row in world.show_status() if row.name in ("everywhere", "loose")]
    assert [row[2:] for row in list_status_rows(rows, now)] == [
        ("expired", "2026-12-01 (0s ago)", "-"),
        ("untracked", "2026-12-01 (0s ago)", "-"),
    ]
    assert next(iter(render_status_notes(rows))) == NOTE


def test_plan_blocks_such_a_pat_with_its_own_time_left_when_its_day_is_ahead(world: EngineWorld) -> None:
    move_to(world, END - SECOND)
    (line,) = [line for line in render_plan(make_plan(world.make_run())) if "everywhere" in line]
    assert line.startswith("x everywhere  contoso  vso.code vso.packaging  61d left, blocked  (it is valid for all")
    assert "no such PAT works from 2026-12-01 on" in line


def test_plan_says_that_such_a_pat_is_expired_when_its_day_has_come(world: EngineWorld) -> None:
    move_to(world, END + timedelta(days=3))
    plan = make_plan(world.make_run())
    (line,) = [line for line in render_plan(plan) if "everywhere" in line]
    assert line.startswith(
        "x everywhere  contoso  vso.code vso.packaging  expired 3d ago, blocked  (it is valid for all"
    )
    assert "no such PAT works from 2026-12-01 on" in line
    (action,) = [action for action in make_plan_document(plan)["actions"] if action["name"] == "everywhere"]
    assert (action["action"], action["expires_at"]) == ("blocked", "2026-12-01T00:00:00Z")


def test_managed_pat_stays_dead_when_a_person_resumed_it(world: EngineWorld) -> None:
    """That it is valid for all organizations is a fact about it, not about its last failure."""
    now = move_to(world, END + timedelta(days=3))
    resume(world.make_run(), "everywhere")
    world.run()
    row = next(row for row in world.show_status() if row.name == "everywhere")
    assert (row.state.value, row.expires_at < now) == ("expired", True)


def test_managed_pat_is_dead_from_that_day_on_when_somebody_extended_it_to_all_organizations(
    world: EngineWorld,
) -> None:
    record = world.add_managed("npm-two", days_left=25)
    listed = world.pats.pats[record.authorization_id]
    listed.pat = replace(listed.pat, target_accounts=None)
    world.run()
    assert world.record("npm-two").all_organizations
    move_to(world, END)
    assert next(row for row in world.show_status() if row.name == "npm-two").state.value == "expired"


def test_inventory_shows_the_day_when_it_has_come(world: EngineWorld) -> None:
    now = move_to(world, END + SECOND)
    [shown] = [pat for pat in load_effective(world.database, world.policy, now) if pat.name == "everywhere"]
    assert shown.valid_to == END
    assert next(list_record_rows([shown], now))[-2:] == ("1 s ago", "blocked")


def test_status_says_that_nothing_comes_next_when_no_rotation_is_possible(world: EngineWorld) -> None:
    resume(world.make_run(), "everywhere")
    [row] = [row for row in world.show_status() if row.name == "everywhere"]
    assert row.next_action is NextAction.NONE
