"""What commands show together was true together: a change between two looks would be seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

import pytest

from rotator.cli.output.status import render_status_notes, render_status_summary
from rotator.domain.managed_pat import Failure, ManagedPat
from rotator.domain.plan import ActionKind, ActionReason
from rotator.domain.policy import Decision, Match, Policy, RuleAction
from rotator.domain.sign_in import SignInMemory
from rotator.engine.keeping import pause, rename
from rotator.engine.needs import Need, find_need
from rotator.engine.overview import view_plan, view_record, view_status
from rotator.engine.planning import make_plan
from rotator.engine.status import NeededSignIn, PatState, status_in
from rotator.ports.database import Database, Reading, UnitOfWork
from tests.support.engine import ACCOUNT, NAME, EngineWorld, make_world
from tests.support.policies import RULE, make_policy

FAILURE = Failure("throttled", "Azure DevOps asked to wait", "Wait.")


class RacedDatabase:
    """Another process changes something as soon as the first look is over."""

    def __init__(self, inner: Database, change: Callable[[], object]) -> None:
        self._inner, self._changes = inner, [change]

    @contextmanager
    def read(self) -> Iterator[Reading]:
        """Look, and be overtaken."""
        with self._inner.read() as reading:
            yield reading
        while self._changes:
            self._changes.pop()()

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """Nothing that only looks writes."""
        raise AssertionError("a look writes")
        yield


def test_record_is_shown_when_it_is_renamed_meanwhile() -> None:
    world = make_world()
    before = world.record()
    database = RacedDatabase(world.database, lambda: rename(world.make_run(), NAME, "another"))
    assert view_record(database, world.policy, NAME, world.clock.now()).pat == before
    assert world.record("another").name == "another"


def test_status_and_plan_are_one_look_each_when_a_record_is_renamed_meanwhile() -> None:
    """The rows, what is pending for them, and the actions: all by the name that it had."""
    world = make_world()
    world.pats.ignores_revoke = lambda authorization_id: True
    world.run()
    world.advance(days=2)
    world.run()
    database = RacedDatabase(world.database, lambda: rename(world.make_run(), NAME, "another"))
    now, timing, rows = world.clock.now(), world.timing, world.show_status()
    plan = view_plan(database, world.policy, now, settle=timing.settle, lease=timing.lease)
    assert [action.pat.name for action in plan.actions] == [NAME]
    assert world.record("another").name == "another"

    rename(world.make_run(), "another", NAME)
    database = RacedDatabase(world.database, lambda: rename(world.make_run(), NAME, "another"))
    view = view_status(database, world.policy, now, settle=timing.settle, lease=timing.lease)
    assert view.rows == rows
    assert [item.name for item in view.find_pending(view.rows)] == [NAME]


def make_varied() -> EngineWorld:
    """PATs of every kind: due, fresh, overlapping, failing, forbidden, expired, paused, left to a person, ignored."""
    by_hand = replace(RULE, name="hands-off", match=Match(display_name="*-manual"), action=RuleAction.ALERT)
    ignored = replace(RULE, name="others", match=Match(display_name="ignored-*"), action=RuleAction.IGNORE)
    world = make_world(policy=make_policy(by_hand, ignored, RULE))
    world.run()  # rotates NAME, which is in its overlap now
    for name, days in (("fresh", 20), ("fresh-manual", 20), ("ignored-fresh", 20), ("resting", 5), ("due-manual", 5)):
        world.add_managed(name, days_left=days)
    world.add_managed("ignored-late", days_left=0.5)
    world.add_managed("expired", days_left=0.5)
    for name in ("due", "later", "forbidden"):
        world.add_managed(name, days_left=5)
    later = replace(
        world.record("later"), last_failure=FAILURE, failures=1, retry_at=world.clock.now() + timedelta(days=3)
    )
    forbidden = replace(world.record("forbidden"), last_failure=FAILURE, failures=1, blocked=True)
    for record in (later, forbidden):
        with world.database.begin() as work:
            claim = work.claims.claim(record.name, "test", now=work.now(), span=timedelta(minutes=1))
            work.inventory.save(record, claim)
            work.claims.release(claim)
    pause(world.make_run(), "resting")
    world.advance(hours=13)
    return world


@pytest.mark.parametrize("is_met", [True, False])
def test_plan_counts_the_same_pats_as_status_when_a_person_must_sign_in(is_met: bool) -> None:
    """Due or not, whether a run has met that or only the token cache shows it; neither says `rotate`."""
    world = make_varied()
    missing = {} if is_met else {ACCOUNT: NeededSignIn(None, SignInMemory(ACCOUNT))}
    if is_met:
        world.pats.signed_out.add(ACCOUNT)
        world.run()
    look = partial(view_plan, settle=world.timing.settle, lease=world.timing.lease, missing=missing)
    plan = look(world.database, world.policy, world.clock.now())
    with world.database.read() as reading:
        timing, now = world.timing, world.clock.now()
        rows = status_in(reading, world.policy, now, settle=timing.settle, lease=timing.lease, missing=missing)
    waiting = {row.name for row in rows if row.needs_sign_in}
    assert waiting == {NAME, "fresh", "due", "later", "expired"}
    held = {action.pat.name for action in plan.actions if action.reason is ActionReason.SIGN_IN_NEEDED}
    assert (held, plan.waiting) == (waiting, {ACCOUNT: len(waiting)})
    states = {row.name: row.state for row in rows}
    blocked = {action.pat.name for action in plan.of_kind(ActionKind.BLOCKED)}
    assert {name for name, state in states.items() if state is PatState.BLOCKED} == blocked - {"expired"}
    assert {name for name, state in states.items() if state is PatState.OK} == {
        action.pat.name for action in plan.of_kind(ActionKind.NONE)
    } - {"resting", "ignored-late"}


def test_plan_judges_each_record_once_when_a_person_must_sign_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands, judging them again took nearly as long as all the rest."""
    world, judged, decide = make_varied(), Counter[str](), Policy.decide

    def count(self: Policy, pat: ManagedPat, *, now: datetime, longest: timedelta | None) -> Decision:
        judged[pat.name] += 1
        return decide(self, pat, now=now, longest=longest)

    monkeypatch.setattr(Policy, "decide", count)
    missing = {ACCOUNT: NeededSignIn(None, SignInMemory(ACCOUNT))}
    timing, now = world.timing, world.clock.now()
    plan = view_plan(world.database, world.policy, now, settle=timing.settle, lease=timing.lease, missing=missing)
    assert (plan.waiting, set(judged.values()), len(judged)) == ({ACCOUNT: 5}, {1}, len(plan.actions))
    by_hand = view_plan(
        world.database, world.policy, now, ["fresh"], settle=timing.settle, lease=timing.lease, missing=missing
    )
    assert (by_hand.waiting, [action.pat.name for action in by_hand.actions]) == (plan.waiting, ["fresh"])


def test_what_a_person_replaces_waits_for_one_only_when_it_is_due() -> None:
    """Weeks before that, `plan` has nothing to do with it either."""
    world = make_varied()
    rows = world.show_status()
    assert {row.name for row in rows if find_need(row) is Need.REPLACEMENT} == {"due-manual"}
    alerts = make_plan(world.make_run()).of_kind(ActionKind.ALERT)
    assert [action.pat.name for action in alerts] == ["due-manual"]
    assert not any("fresh-manual" in line for line in render_status_notes(rows))
    assert render_status_summary(rows).endswith("; 4 wait for a person")
