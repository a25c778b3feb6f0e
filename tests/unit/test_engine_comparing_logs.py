"""Azure DevOps' own log against ours, on the engine: what we did is explained, what others did is told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from rotator.adapters.azure_devops.call import Call, Trace, make_denied, make_transient
from rotator.cli.commands.audit_reconcile import find_code
from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import Severity
from rotator.domain.events.service_log import OwnChangesUnlisted
from rotator.domain.policy import LeakAction
from rotator.domain.probe import ProbeResult
from rotator.domain.service_log import KEPT_FOR, LAG, EntryKind, ServiceLogRead
from rotator.engine.auditing import load_events, record
from rotator.engine.comparing_logs import reconcile_logs
from rotator.engine.log_findings import OrganizationLog
from rotator.engine.log_job import reconcile_audit
from rotator.errors import SignInRequiredError, TransientError
from rotator.ports.audit_log import AuditFilter
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, EngineWorld, make_world
from tests.support.policies import RULE, make_policy
from tests.support.service_log import USERNAME, TheirLog

CALL = Call("fetch_service_log", "show the audit log", ACCOUNT, ORGANIZATION, "GET", "")


def make_replaced_world(*, on_leak: LeakAction = LeakAction.ALERT) -> tuple[EngineWorld, TheirLog]:
    """A world whose PAT was rotated by us, with its overlap over, and a log that has it all."""
    world = make_world(policy=make_policy(replace(RULE, overlap=timedelta(hours=24), on_leak=on_leak)))
    their = TheirLog(world)
    world.run()
    their.note()
    world.advance(hours=25)
    world.run()
    their.note()
    return world, their


def compare(world: EngineWorld, their: TheirLog, *, dry: bool = False) -> OrganizationLog:
    """One comparison of the last 90 days, of `contoso`."""
    now = world.clock.now()
    found = reconcile_logs(world.make_run(), their, now - KEPT_FOR, now, lambda *_: None, dry=dry)
    [home] = [item for item in found if item.organization == ORGANIZATION]
    return home


def told(world: EngineWorld, event: str) -> list[dict[str, object]]:
    """What the audit log has of an event."""
    return [dict(found.entry.details) for found in load_events(world.database, AuditFilter(event=event))]


def test_rotation_is_explained_by_what_both_logs_say() -> None:
    world, their = make_replaced_world()
    assert [entry.kind for entry in their.entries] == [EntryKind.MINTED, EntryKind.REVOKED]
    world.advance(days=2)
    found = compare(world, their)
    assert (found.explained, found.findings, found.lacking, found.error) == (2, (), (), None)
    [compared] = [item for item in told(world, "service_log_compared") if item["explained"]]
    assert (compared["foreign"], compared["lacking"]) == (0, 0)
    world.check_promises()


def test_mint_whose_answer_was_lost_is_explained_by_its_planned_expiry() -> None:
    world = make_world()
    their = TheirLog(world)
    world.pats.fail("mint", after_effect=True)
    world.run()
    their.note()
    world.run()
    their.note()
    assert [entry.kind for entry in their.entries] == [EntryKind.MINTED, EntryKind.REVOKED]
    found = compare(world, their)
    assert (found.explained, found.findings, found.lacking) == (2, (), ())


def test_mint_by_hand_is_told_once_although_it_looks_like_ours() -> None:
    """The same user, name, and moment; the expiry is not the one that we planned."""
    world, their = make_replaced_world()
    minted = their.entries[0]
    assert minted.valid_to is not None
    by_hand = their.add(EntryKind.MINTED, at=minted.at, valid_to=minted.valid_to + timedelta(seconds=7))
    for is_news in (True, False):
        found = compare(world, their)
        assert [(item.entry, item.account, item.names, item.is_news) for item in found.findings] == [
            (by_hand, ACCOUNT, (NAME,), is_news)
        ]
    [event] = told(world, "outside_change_found")
    assert (event["kind"], event["by"], event["entry_id"]) == ("minted", USERNAME, by_hand.id)


def test_dry_comparison_records_nothing() -> None:
    world, their = make_replaced_world()
    their.add(EntryKind.CHANGED)
    before = world.events(None)
    assert compare(world, their, dry=True).needs_person
    assert world.events(None) == before


@pytest.mark.parametrize("ahead", [timedelta(days=9), timedelta(days=-9)])
def test_nothing_is_lost_or_told_by_a_clock_that_is_wrong(ahead: timedelta) -> None:
    """Another period than the true one was asked for: nothing is compared until the clock is right again."""
    world, their = make_replaced_world()
    world.host_clock.ahead = world.database.skew = ahead
    found = compare(world, their)
    assert found.error is not None
    assert found.error.code == "clock_skew"
    assert (found.findings, found.lacking) == ((), ())
    assert told(world, "service_log_compared") == []
    world.host_clock.ahead = world.database.skew = timedelta(0)
    assert compare(world, their).error is None


@pytest.mark.parametrize("numbers", ["9" * 5000, "x, 3", "-1", "\u0663", ", ,", "1e3"])
def test_numbers_that_somebody_altered_stop_no_comparison(numbers: str) -> None:
    world, their = make_replaced_world()
    run = world.make_run()
    lacks = OwnChangesUnlisted(
        changes=1, first_at=run.services.clock.now(), last_at=run.services.clock.now(), numbers=numbers
    )
    with world.database.begin() as work:
        record(work, run, f"{ACCOUNT}/{ORGANIZATION}", lacks, run.services.clock.now())
    assert compare(world, their).error is None


@pytest.mark.parametrize("until", ["never", "2026-12-01", "9999-01-01T00:00:00+00:00", "0001-01-01T00:00:00+00:00"])
def test_end_of_a_comparison_that_is_no_time_or_to_come_is_passed_over(until: str) -> None:
    """The next comparison begins as early as there is something."""
    world, their = make_replaced_world()
    reconcile_audit(world.make_run(), their)
    [event] = load_events(
        world.database, AuditFilter(event="service_log_compared", subject=f"{ACCOUNT}/{ORGANIZATION}")
    )
    details = {**event.entry.details, "until": until, "explained": "x"}
    world.database.alter(replace(event, entry=replace(event.entry, details=details)))
    reconcile_audit(world.make_run(), their)
    assert their.asked[-1][1] == world.clock.now() - KEPT_FOR


def test_what_they_lack_is_told_once_after_a_day_and_not_while_entries_are_hidden() -> None:
    world, their = make_replaced_world()
    their.entries = [their.add(EntryKind.EXPIRED)]
    young = compare(world, their, dry=True)
    assert [item.action.kind for item in young.lacking] == [EntryKind.MINTED], "the revocation was just now"
    assert young.unsettled == 1
    world.advance(days=2)
    their.unreadable = 1
    hidden = compare(world, their)
    assert (hidden.lacking, hidden.unsettled) == ((), 2)
    assert find_code((hidden,)) == 3, "not everything is explained"
    their.unreadable = 0
    for is_news in (True, False):
        assert [item.is_news for item in compare(world, their).lacking] == [is_news] * 2
    [event] = told(world, "own_changes_unlisted")
    assert event["changes"] == 2
    their.entries.clear()
    error = compare(world, their).error
    assert error is not None
    assert error.code == "auditing_off"


@pytest.mark.parametrize(
    ("on_leak", "events"),
    [(LeakAction.ALERT, ["pat_vanished failed"]), (LeakAction.ROTATE, ["pat_vanished failed", "pat_minted succeeded"])],
)
def test_job_has_worked_on_what_is_gone_as_its_rule_says(on_leak: LeakAction, events: list[str]) -> None:
    world, their = make_replaced_world(on_leak=on_leak)
    world.pats.pats[world.record().authorization_id].revoked = True
    their.add(EntryKind.REVOKED_BY_SYSTEM, actor="", owner="Build-Bot")
    before = len(world.events())
    result = reconcile_audit(world.make_run(), their)
    assert result.counts == {"compared": 2, "foreign": 1, "lacking": 0}
    assert [event for event in world.events()[before:] if event in events] == events
    [event] = told(world, "leak_reported")
    assert (event["value"], event["on_leak"], event["name"]) == ("refused", on_leak.value, NAME)
    world.check_promises()


def test_value_that_works_is_left_alone_and_that_of_a_later_pat_is_not_tried() -> None:
    world, their = make_replaced_world(on_leak=LeakAction.ROTATE)
    their.add(EntryKind.FOUND_IN_PUBLIC, actor="")
    their.add(EntryKind.FOUND_IN_PUBLIC, actor="", at=world.record().valid_from - timedelta(days=1))
    mints = world.count("mint")
    reconcile_audit(world.make_run(), their)
    assert sorted(str(item.get("value")) for item in told(world, "leak_reported")) == ["None", "works"]
    assert world.count("mint") == mints
    assert compare(world, their).findings[0].value is ProbeResult.WORKS


def test_job_begins_before_the_end_of_the_comparison_before() -> None:
    world, their = make_replaced_world()
    reconcile_audit(world.make_run(), their)
    world.advance(days=1)
    reconcile_audit(world.make_run(), their)
    first, second = their.asked
    assert first[2] - first[1] == KEPT_FOR
    assert timedelta(0) < first[2] - second[1] - LAG < timedelta(hours=2)
    world.advance(days=200)
    reconcile_audit(world.make_run(), their)
    *_, last = told(world, "service_log_compared")
    assert last["lost_since"] == (second[2] - (first[2] - second[1])).isoformat()


def test_comparison_by_hand_moves_the_start_of_the_job_only_if_it_leaves_no_gap() -> None:
    world, their = make_replaced_world()

    def compare_by_hand(hours: int) -> None:
        now = world.clock.now()
        reconcile_logs(world.make_run(), their, now - timedelta(hours=hours), now, lambda *_: None)

    def find_start_of_job() -> datetime:
        reconcile_audit(world.make_run(), their)
        return their.asked[-1][1]

    compare_by_hand(1)
    first = world.clock.now()
    assert find_start_of_job() == first - KEPT_FOR, "nothing before that hour was ever compared"
    world.advance(days=3)
    compare_by_hand(1)
    second = world.clock.now()
    assert find_start_of_job() == first - LAG - timedelta(hours=1)
    world.advance(hours=5)
    compare_by_hand(6)
    third = world.clock.now()
    assert find_start_of_job() == third - LAG - timedelta(hours=1), "it goes on from the one before"
    assert third > second
    world.advance(days=40)
    compare_by_hand(1)
    world.advance(days=60)
    reconcile_audit(world.make_run(), their)
    *_, last = told(world, "service_log_compared")
    assert last["lost_since"] == (third - LAG - timedelta(hours=1)).isoformat()


@pytest.mark.parametrize("is_down", [True, False], ids=["no answer", "not signed in"])
def test_entry_is_not_of_others_while_nobody_says_who_the_user_of_an_account_is(is_down: bool) -> None:
    """It is not told apart: nothing is covered, the next comparison looks again, and then it is told."""
    world, their = make_replaced_world()
    reconcile_audit(world.make_run(), their)
    covered = told(world, "service_log_compared")
    world.advance(days=3)
    leak = their.add(EntryKind.FOUND_IN_PUBLIC, actor="", owner="Build-Bot", display_name="by-hand")
    their.add(EntryKind.REVOKED, actor="x@contoso.com", owner="x@contoso.com", display_name="of x")
    error = make_transient(CALL, Trace(503), "server_error", "it answered 503")
    world.pats.fail("fetch_identity", error if is_down else SignInRequiredError("no", account=ACCOUNT), times=4)
    found = compare(world, their)
    assert (found.undecided, found.others, found.findings, found.lacking) == (1, 1, (), ())
    assert find_code((found,)) == (3 if is_down else 10)
    another, theirs = make_replaced_world()
    theirs.add(EntryKind.REVOKED_BY_SYSTEM, actor="", owner="Build-Bot")
    assert find_code((found, compare(another, theirs))) == 4, "what a person must look at comes first"
    if is_down:
        with pytest.raises(TransientError):
            reconcile_audit(world.make_run(), their)
    else:
        assert reconcile_audit(world.make_run(), their).counts["compared"] == 1
    assert told(world, "leak_reported") == told(world, "service_log_lost") == []
    home = f"{ACCOUNT}/{ORGANIZATION}"
    compared = load_events(world.database, AuditFilter(event="service_log_compared", subject=home))
    assert len(list(compared)) == 1
    world.advance(days=3)
    result = reconcile_audit(world.make_run(), their)
    assert their.asked[-1][1] < leak.at
    assert (result.counts["foreign"], len(told(world, "leak_reported"))) == (1, 1)
    assert len(told(world, "service_log_compared")) > len(covered)


def test_leak_of_a_managed_pat_is_told_while_nobody_says_who_the_user_of_an_account_is() -> None:
    world, their = make_replaced_world()
    leak = their.add(EntryKind.FOUND_IN_PUBLIC, actor="", owner="Build-Bot")
    world.pats.fail("fetch_identity", make_transient(CALL, Trace(503), "server_error", "it answered 503"), times=2)
    found = compare(world, their)
    assert [(item.entry, item.account, item.names) for item in found.findings] == [(leak, ACCOUNT, (NAME,))]
    assert (found.undecided, found.others, find_code((found,))) == (0, 0, 4)


def test_other_account_reads_the_log_when_the_first_may_not() -> None:
    world, their = make_replaced_world()
    their.errors[ACCOUNT] = make_denied(CALL, Trace(403), "service_log_denied", "no", "Ask.")
    assert compare(world, their).account == "release-bot"
    their.errors["release-bot"] = their.errors[ACCOUNT]
    for _ in range(2):
        result = reconcile_audit(world.make_run(), their)
    assert (result.counts["compared"], result.is_down) == (1, False)
    assert [item["code"] for item in told(world, "service_log_lost")] == ["service_log_denied"]
    assert told(world, "service_log_not_read") == []


def test_log_that_was_never_read_is_told_once_and_quietly() -> None:
    """Most accounts may not read it, and many hosts cannot reach it: no job fails, and nobody is called."""
    world, their = make_replaced_world()
    denied = make_denied(CALL, Trace(403), "service_log_denied", "no", "Ask.")
    unreachable = make_transient(CALL, Trace(), "unreachable", "no route")
    for error in (denied, denied, unreachable, unreachable):
        their.errors = dict.fromkeys((ACCOUNT, "release-bot"), error)
        result = reconcile_audit(world.make_run(), their)
        assert (result.counts["compared"], result.exit_code, result.is_down) == (1, 0, False)
    assert [item["code"] for item in told(world, "service_log_not_read")] == ["service_log_denied", "unreachable"]
    assert told(world, "service_log_lost") == []
    assert not CATALOGUE["service_log_not_read"].type.needs_person
    assert CATALOGUE["service_log_not_read"].type.severity is Severity.INFO
    with world.database.read() as reading:
        assert reading.conditions.load() == ()


def test_log_without_any_entry_is_told_quietly_although_it_can_be_read() -> None:
    """Auditing is off unless somebody switched it on: a comparison that found nothing does not prove that it was."""
    world, their = make_replaced_world()
    their.entries.clear()
    reconcile_audit(world.make_run(), their)
    world.advance(days=3)
    reconcile_audit(world.make_run(), their)
    assert [item["code"] for item in told(world, "service_log_not_read")] == ["auditing_off"]
    assert told(world, "service_log_lost") == []


def test_job_fails_and_tells_nothing_when_the_service_no_longer_answers() -> None:
    world, their = make_replaced_world()
    reconcile_audit(world.make_run(), their)
    their.errors[ACCOUNT] = make_transient(CALL, Trace(503), "server_error", "it answered 503")
    with pytest.raises(TransientError):
        reconcile_audit(world.make_run(), their)
    assert told(world, "service_log_not_read") == told(world, "service_log_lost") == []


def test_long_log_gives_signs_of_life() -> None:
    world, their = make_replaced_world()

    class Long(TheirLog):
        def fetch(
            self, account: str, organization: str, since: datetime, until: datetime, tell: Callable[[int], None]
        ) -> ServiceLogRead:
            for page in range(1, 301):
                tell(page * 200)
            return super().fetch(account, organization, since, until, tell)

    long = Long(world)
    long.entries = their.entries
    reconcile_audit(world.make_run(), long)
    lines = [line for name, line in world.told if name == "log_entries_read" and line["organization"] == ORGANIZATION]
    assert [line["entries"] for line in lines] == [20_000, 40_000, 60_000]
