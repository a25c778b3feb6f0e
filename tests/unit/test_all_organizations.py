"""PATs for all organizations: before the day on which all of them stop working, and from that day on."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.output.inventory import list_record_rows, render_record, render_record_notes
from rotator.cli.output.plan import render_plan
from rotator.cli.output.scan import list_scan_rows, render_scan_summary
from rotator.cli.output.status import list_status_rows, render_status_notes
from rotator.documents.inventory import make_record_document
from rotator.documents.plan import make_plan_document
from rotator.documents.scan import make_scan_document
from rotator.documents.status import make_status_document
from rotator.domain.job_run import RunTimes
from rotator.domain.managed_pat import ALL_ORGANIZATIONS_END, find_end
from rotator.domain.next_step import NextAction
from rotator.engine.adopting import adopt, propose
from rotator.engine.keeping import resume
from rotator.engine.overview import RecordView
from rotator.engine.planning import make_plan
from rotator.engine.scanning import scan
from rotator.engine.status import load_effective
from tests.support.engine import ACCOUNT, SCOPE, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

END = datetime(2026, 12, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
OWN_EXPIRY = datetime(2027, 1, 31, 9, 0, tzinfo=UTC)
NOTE = "everywhere: it is valid for all organizations, and no such PAT works from 2026-12-01 on"
UNTRACKED_NOTE = "loose: it is valid for all organizations, and no such PAT works from 2026-12-01 on"


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


@pytest.mark.parametrize(("all_organizations", "end"), [(True, END), (False, OWN_EXPIRY)])
def test_pat_for_all_organizations_ends_on_that_day_when_its_own_expiry_is_later(
    all_organizations: bool, end: datetime
) -> None:
    assert ALL_ORGANIZATIONS_END == END
    assert find_end(OWN_EXPIRY, all_organizations=all_organizations) == end
    assert find_end(END - SECOND, all_organizations=all_organizations) == END - SECOND


def test_scan_shows_when_such_pats_end_and_why_when_the_day_is_ahead(world: EngineWorld) -> None:
    now = move_to(world, END - SECOND)
    report = scan(world.make_run())
    rows = {row[0]: row[3:] for row in list_scan_rows(report, now)}
    assert rows["everywhere"] == ("2026-12-01 (1s)", "managed, all organizations, stops working 2026-12-01")
    assert rows["loose"] == ("2026-12-01 (1s)", "untracked, all organizations, stops working 2026-12-01")
    assert "2 for all organizations (stop working 2026-12-01)" in next(iter(render_scan_summary(report, now)))
    document = make_scan_document(report, now)
    assert {pat["expires_at"] for pat in document["pats"] if pat["all_organizations"]} == {"2026-12-01T00:00:00Z"}
    assert document["summary"]["expire_within_7_days"] == 3


def test_scan_says_that_such_pats_are_dead_when_the_day_has_come(world: EngineWorld) -> None:
    now = move_to(world, END + timedelta(days=3))
    report = scan(world.make_run())
    rows = {row[0]: row[3:] for row in list_scan_rows(report, now)}
    assert rows["everywhere"] == ("2026-12-01 (3d ago)", "managed, all organizations, stopped working 2026-12-01")
    assert rows["loose"] == ("2026-12-01 (3d ago)", "untracked, all organizations, stopped working 2026-12-01")
    summary = next(iter(render_scan_summary(report, now)))
    assert "2 for all organizations (stopped working 2026-12-01)" in summary
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
        ("blocked", "2026-12-01 (1s)", "-"),
        ("untracked", "2026-12-01 (1s)", "-"),
    ]
    notes = list(render_status_notes(rows))
    assert (notes[0], notes[-1]) == (NOTE, UNTRACKED_NOTE)
    assert {row["expires_at"] for row in make_status_document(rows, (), now, RunTimes())["pats"]} == {
        "2026-12-01T00:00:00Z"
    }


def test_status_leaves_out_the_day_when_a_pat_for_all_organizations_expires_before_it(world: EngineWorld) -> None:
    world.pats.add_pat(ACCOUNT, None, "brief", SCOPE, END - SECOND)
    world.run()
    assert not any("brief" in note for note in render_status_notes(world.show_status()))


def test_status_shows_such_a_pat_as_expired_when_its_day_has_come(world: EngineWorld) -> None:
    now = move_to(world, END)
    rows = [row for row in world.show_status() if row.name in ("everywhere", "loose")]
    assert [row[2:] for row in list_status_rows(rows, now)] == [
        ("expired", "2026-12-01 (0s ago)", "-"),
        ("untracked", "2026-12-01 (0s ago)", "-"),
    ]
    assert next(iter(render_status_notes(rows))) == NOTE


def test_plan_blocks_such_a_pat_with_the_time_to_that_day_when_it_is_ahead(world: EngineWorld) -> None:
    move_to(world, END - SECOND)
    (line,) = [line for line in render_plan(make_plan(world.make_run())) if line.startswith("x everywhere")]
    assert line.startswith("x everywhere  contoso  vso.code vso.packaging  1s left, blocked  (it is valid for all")
    assert "no such PAT works from 2026-12-01 on" in line


def test_plan_says_that_such_a_pat_is_expired_when_its_day_has_come(world: EngineWorld) -> None:
    move_to(world, END + timedelta(days=3))
    plan = make_plan(world.make_run())
    (line,) = [line for line in render_plan(plan) if line.startswith("x everywhere")]
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
    assert next(list_record_rows([shown], now))[-2:] == ("2026-12-01 (1s ago)", "blocked")


def test_inventory_shows_that_day_and_why_when_it_is_ahead(world: EngineWorld) -> None:
    now = move_to(world, END - timedelta(hours=1))
    [shown] = [pat for pat in load_effective(world.database, world.policy, now) if pat.name == "everywhere"]
    assert next(list_record_rows([shown], now))[-2:] == ("2026-12-01 (60m)", "blocked")
    assert list(render_record_notes([shown])) == [
        NOTE,
        "    fix: Create one PAT per organization with the same scopes, adopt them, and move the consumers to "
        "them. Then `rotator revoke everywhere` and `rotator inventory forget everywhere` end this one.",
    ]
    others = [replace(shown, name=name, blocked=False, last_failure=None) for name in ("a", "b")]
    assert list(render_record_notes(others)) == [NOTE.replace("everywhere: it is", "a, b: they are")]
    said = "expires:          2026-12-01 00:00Z (in 60 min), when every PAT for all organizations stops working"
    assert said in list(render_record(RecordView(shown, (), ()), now))
    assert make_record_document(world.record("everywhere"))["expires_at"] == "2026-12-01T00:00:00Z"


def test_status_says_that_nothing_comes_next_when_no_rotation_is_possible(world: EngineWorld) -> None:
    resume(world.make_run(), "everywhere")
    [row] = [row for row in world.show_status() if row.name == "everywhere"]
    assert row.next_action is NextAction.NONE
