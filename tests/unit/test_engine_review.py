"""What a review keeps of a log: renames, periods, spans, and no more rows than fit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from rotator.documents.review_outside import make_outside_document
from rotator.domain.audit_event import AuditEntry, AuditEvent, Detail, Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.period import Period, read_period
from rotator.engine.review.clock_steps import WITNESSES, find_stretches
from rotator.engine.review.collecting import Collector
from rotator.engine.review.dating import find_misdated
from rotator.engine.review.facts import MOST_LONG, MOST_NUMBERS, Asked, Fate, Findings
from rotator.engine.review.marks import Mark
from rotator.engine.review.newest import MOST_ROWS
from rotator.engine.review.outside import measure_covered

START = datetime(2026, 9, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)


class Log:
    """Events, one an hour unless a moment is given."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    def add(
        self,
        name: str,
        subject: str = "npm-feed",
        /,
        *,
        at: datetime | None = None,
        run: str | None = None,
        outcome: Outcome = Outcome.SUCCEEDED,
        **details: Detail,
    ) -> Mark:
        """Add an event, and return its mark."""
        number = len(self.events) + 1
        moment = at or START + timedelta(hours=number)
        entry = AuditEntry(name, subject, outcome, "me@host", run or f"run-{number}", details)
        self.events.append(AuditEvent(number, moment, entry, "", ""))
        return Mark(number, moment)

    def review(self, period: Period, *, by_order: bool = False) -> Findings:
        """Return what a collector finds. `by_order`: events whose time contradicts the log are dated by their place."""
        steps = {
            event.sequence: stretch.step
            for stretch in find_stretches(event for event in self.events if event.entry.event in WITNESSES)
            for event in self.events
            if stretch.dated(event)
        }
        dates = find_misdated([(event.sequence, event.occurred_at) for event in self.events], NOW, steps)
        collector = Collector(period, NOW, dates if by_order else {})
        for event in self.events:
            collector.take(event)
        return collector.finish()


def test_trail_follows_a_record_that_is_renamed_and_ends_with_it() -> None:
    log = Log()
    adopted, kept = log.add("pat_adopted", "old"), log.add("pat_adopted", "other")
    rotated = log.add("overlap_started", "old")
    blocked = log.add("rotation_blocked", "old", code="denied")
    for name in ("old", "new"):
        log.add("pat_renamed", name, old_name="old", new_name="new")
    updated = log.add("pat_updated", "new")
    again = log.add("pat_adopted", "old")
    ended = log.add("failure_cleared", "new")
    log.add("pat_forgotten", "other")
    found = log.review(read_period("2026-09"))
    assert set(found.trails) == {"new", "old"}
    new = found.trails["new"]
    assert (new.managed, new.reach, new.rotated) == (adopted, updated, rotated)
    assert (found.trails["old"].managed, found.trails["old"].rotated) == (again, None)
    [span] = found.exceptions
    assert (span.kind, span.subject, span.code) == (ConditionKind.ROTATION_BLOCKED, "new", "denied")
    assert (span.begun, span.ended) == (blocked, ended)
    assert kept not in (new.managed, new.reach)


def test_spans_count_if_they_touch_the_period() -> None:
    log = Log()
    before = log.add("vault_down", "gone before", code="a")
    log.add("vault_restored", "gone before")
    began = log.add("vault_down", "from before", code="b")
    log.add("vault_down", "from before", code="again")
    inside = log.add("vault_restored", "from before", at=datetime(2026, 10, 5, tzinfo=UTC))
    lasting = log.add("account_down", "lasts", at=datetime(2026, 10, 6, tzinfo=UTC), code="c")
    log.add("vault_down", "after", at=datetime(2026, 11, 1, tzinfo=UTC), code="d")
    found = log.review(read_period("2026-10"))
    spans = [(span.subject, span.begun, span.ended, span.code) for span in found.failures]
    assert spans == [("from before", began, inside, "b"), ("lasts", lasting, None, "c")]
    assert before not in [span.begun for span in found.failures]
    assert found.failures.total == 2
    assert (found.events, found.first, found.last, found.total) == (2, 5, 6, 7)


def test_policy_of_the_beginning_is_the_last_one_from_before() -> None:
    log = Log()
    log.add("policy_changed", "policy", sha256="a")
    log.add("policy_changed", "policy", sha256="b")
    log.add("policy_changed", "policy", at=datetime(2026, 10, 2, tzinfo=UTC), sha256="c")
    log.add("policy_changed", "policy", at=datetime(2026, 11, 2, tzinfo=UTC), sha256="d")
    found = log.review(read_period("2026-10"))
    assert found.policy_before is not None
    assert found.policy_before.sequence == 2
    assert [event.sequence for event in found.policies] == [3]


def test_revocations_are_paired_by_the_pat_and_counted_in_the_period_only() -> None:
    log = Log()
    log.add("revocation_requested", authorization_id="early", why="rotated")
    day = datetime(2026, 10, 1, tzinfo=UTC)
    log.add("pat_revoked", at=day, authorization_id="early", why="rotated")
    log.add("revocation_requested", at=day, authorization_id="slow", why="rotated")
    log.add("revocation_requested", at=day + timedelta(hours=1), authorization_id="slow", why="rotated")
    log.add("pat_revoked", at=day + timedelta(hours=2), authorization_id="slow", why="rotated")
    asked = log.add("revocation_requested", at=day + timedelta(hours=3), authorization_id="open", why="by hand")
    log.add("revocation_requested", at=day + timedelta(hours=3), authorization_id="used", why="by hand")
    log.add("revocation_dropped", at=day + timedelta(hours=4), authorization_id="used", by="x")
    left = log.add("pat_left_behind", "other", name="npm-feed", kind="unproven_mint")
    log.add("pat_left_behind", "solved", name="npm-feed", kind="unproven_mint")
    log.add("left_behind_resolved", "solved")
    found = log.review(read_period("2026-10"))
    tally = found.revocations["npm-feed"]
    assert (tally.requested, tally.proven, list(tally.proofs)) == (4, 2, [2, 5])
    assert tally.slowest == day - (START + timedelta(hours=1))
    assert found.asked == {"open": Asked(asked, is_accepted=True)}
    assert found.left == {"other": left}


def test_runs_of_persons_are_one_row_each() -> None:
    log = Log()
    log.add("rotation_planned", run="cron")
    log.add("rotation_planned", run="mine", reason="it leaked")
    log.add("mint_started", run="cron")
    log.add("pat_minted", run="mine", reason="it leaked")
    log.add("pat_paused", run="no reason")
    log.add("revocation_requested", run="by hand", authorization_id="a", why="by hand")
    log.add("rotation_planned", run="typed", command="rotator rotate npm-feed")
    log.add("all_paused", run="all", command="rotator inventory pause --all")
    log.add("pat_minted", run="typed", command="rotator rotate npm-feed")
    found = log.review(read_period("2026"))
    rows = [(run.first, run.last, run.events, run.event, run.reason, run.command) for run in found.by_hand]
    assert rows == [
        (2, 4, 2, "rotation_planned", "it leaked", None),
        (5, 5, 1, "pat_paused", None, None),
        (6, 6, 1, "revocation_requested", None, None),
        (7, 9, 2, "rotation_planned", None, "rotator rotate npm-feed"),
        (8, 8, 1, "all_paused", None, "rotator inventory pause --all"),
    ]


def test_silence_is_the_longest_gap_within_the_period_and_the_log() -> None:
    def measure(period: str, *days: int) -> tuple[str, str, int | None, int | None]:
        log = Log()
        for day in days:
            log.add("daemon_woken", at=START + timedelta(days=day))
        silence = log.review(read_period(period)).silence
        assert silence is not None
        return f"{silence.begins:%m-%d}", f"{silence.ends:%m-%d}", silence.after, silence.before

    assert measure("2026-09", 1, 2, 10, 12) == ("09-13", "10-01", 4, None)
    assert measure("2026", 0, 80, 85) == ("09-01", "11-20", 1, 2)
    assert measure("2026-10", 0, 20, 31, 59) == ("10-02", "10-30", 3, 4)
    assert measure("2026-11", 0, 1) == ("11-01", "12-01", None, None)


def test_timeline_covers_the_period_up_to_now_in_parts_of_one_width() -> None:
    log = Log()
    log.add("rotation_planned", at=datetime(2026, 11, 1, tzinfo=UTC))
    log.add("rotation_failed", at=datetime(2026, 11, 30, 23, 59, tzinfo=UTC), outcome=Outcome.FAILED)
    for period, parts, width in (("2026-11", 30, 1), ("2026-Q4", 9, 7), ("2026", 12, 30)):
        timeline = log.review(read_period(period)).timeline
        assert (timeline[0].begins, timeline[-1].ends) == (
            read_period(period).since,
            min(NOW, read_period(period).until),
        )
        assert len(timeline) == parts
        assert {part.ends - part.begins for part in timeline[:-1]} == {timedelta(days=width)}
        assert all(before.ends == after.begins for before, after in pairwise(timeline))
        assert [sum(part.begun for part in timeline), sum(part.failed for part in timeline)] == [1, 1]
        assert (timeline[-1].failed, timeline[-1].last) == (1, 2)
    assert log.review(read_period("2027")).timeline == []
    failed = log.review(read_period("2026")).failed
    assert [(name, tally.count, tally.first, tally.last) for name, tally in failed.items()] == [
        ("rotation_failed", 1, 2, 2)
    ]


def test_lists_keep_the_newest_and_count_all() -> None:
    log, many = Log(), MOST_ROWS + 20
    day = datetime(2026, 10, 1, tzinfo=UTC)
    for number in range(many):
        at = day + timedelta(minutes=number)
        log.add("sign_in_refused", "bot", at=at, outcome=Outcome.FAILED)
        log.add("pat_revoked", at=at, authorization_id=str(number), why="by hand")
        log.add("vault_down", f"vault-{number}", at=at, code="x")
    found = log.review(read_period("2026"))
    for kept in (found.sign_ins, found.failures, found.by_hand):
        assert (len(kept), kept.total) == (MOST_ROWS, many)
    tally = found.revocations["npm-feed"]
    assert (tally.proven, len(tally.proofs), list(tally.proofs)[-1]) == (many, MOST_NUMBERS, 3 * many - 1)


def test_failures_and_exceptions_are_counted_by_pat() -> None:
    """One that fails again and again is one PAT; what a service did is none."""
    log = Log()
    for _ in range(3):
        log.add("rotation_failed", "npm-feed", code="mint_failed")
        log.add("rotation_blocked", "npm-feed", code="denied")
        log.add("failure_cleared", "npm-feed")
    log.add("rotation_blocked", "ci-build", code="denied")
    log.add("vault_down", "https://v", code="vault_failed")
    found = log.review(read_period("2026"))
    assert (found.failed_pats, found.excepted_pats) == ({"npm-feed", "ci-build"}, {"npm-feed", "ci-build"})
    assert found.exceptions.total == 4
    assert log.review(read_period("2027")).failed_pats == set()


def test_compared_spans_are_joined_and_a_failure_lasts_until_the_next_comparison() -> None:
    log = Log()
    place, day = "build-bot/contoso", timedelta(days=1)

    def compare(begins: int, ends: int) -> None:
        since, until = (START + days * day for days in (begins, ends))
        log.add("service_log_compared", place, since=since.isoformat(), until=until.isoformat(), foreign=0)

    for begins, ends in ((0, 3), (5, 6), (2, 4), (10, 20)):
        compare(begins, ends)
    log.add("service_log_lost", "release-bot/contoso", code="service_log_denied", message="no")
    log.add("service_log_not_read", "build-bot/fabrikam", code="auditing_off", message="off")
    found = log.review(Period("all", START, NOW)).outside
    home = found.logs["contoso"]
    assert home.spans == [(START + begins * day, START + ends * day) for begins, ends in ((0, 4), (5, 6), (10, 20))]
    assert measure_covered(home, START + 3 * day, START + 11 * day) == 3 * day
    assert (home.compared, home.failed) == (log.events[3], log.events[4])
    assert (found.logs["fabrikam"].compared, found.logs["fabrikam"].failed) == (None, log.events[5])
    compare(20, 21)
    later = log.review(Period("all", START, NOW)).outside
    assert later.logs["contoso"].failed is None
    assert later.logs["contoso"].spans[-1] == (START + 10 * day, START + 21 * day)
    assert sorted(later.cited) == [6, 7]


@pytest.mark.parametrize("since", ["never", "2026-12-01", "0001-01-01T00:00:00+14:00", None, 7])
def test_comparison_of_an_altered_span_covers_nothing_and_stops_no_report(since: Detail) -> None:
    log = Log()
    log.add("service_log_compared", "build-bot/contoso", since=since, until=NOW.isoformat(), foreign="x")
    period = Period("all", START, NOW)
    outside = log.review(period).outside
    assert outside.logs["contoso"].spans == []
    [found] = make_outside_document(outside, [], period, NOW)["logs"]
    assert (found["until"], found["foreign"], found["covered_seconds"]) == (None, None, 0)


def test_what_others_did_is_of_the_period_and_a_scan_is_the_newest() -> None:
    log = Log()
    before = START + timedelta(days=1)
    early = log.add("organization_scanned", "build-bot/contoso", at=before, users=1)
    log.add("leak_reported", "build-bot/contoso", at=before)
    foreign = [log.add(name, "build-bot/contoso") for name in ("outside_change_found", "leak_reported")]
    lacking = log.add("own_changes_unlisted", "build-bot/contoso")
    found = log.review(Period("later", START, before)).outside
    assert [event.sequence for event in found.foreign] == [mark.sequence for mark in foreign]
    assert [event.sequence for event in found.lacking] == [lacking.sequence]
    assert found.scans["contoso"].sequence == early.sequence


def test_event_with_a_wrong_clock_counts_where_it_stands_in_the_log() -> None:
    """A clock goes 400 days back for a while, and 400 days ahead: the order of the log says when that was."""
    for off in (timedelta(days=-400), timedelta(days=400)):
        log, day = Log(), datetime(2026, 10, 12, tzinfo=UTC)
        for hours in range(5):
            log.add("daemon_woken", at=day - timedelta(days=20) + timedelta(hours=hours))
        log.add("rotation_planned", at=day)
        log.add("clock_doubted", "host", at=day + off + timedelta(minutes=1), code="x")
        log.add("vault_down", "v", at=day + off + timedelta(minutes=2), code="x", outcome=Outcome.FAILED)
        log.add("vault_restored", "v", at=day + off + timedelta(hours=5))
        log.add("clock_confirmed", "host", at=day + timedelta(days=4))
        log.add("daemon_woken", at=day + timedelta(days=30))
        found = log.review(read_period("2026-10"), by_order=True)
        assert (found.events, found.first, found.last) == (5, 6, 10)
        [stretch] = found.misdated
        assert (stretch.first.sequence, stretch.last.sequence, stretch.count) == (7, 9, 3)
        assert (stretch.first.at, stretch.first.happened_at) == (day + off + timedelta(minutes=1), day)
        outage, clock = found.failures
        assert (outage.subject, outage.begun.sequence, outage.ended and outage.ended.sequence) == ("v", 8, 9)
        assert outage.begun.happened_at == day + timedelta(minutes=1)
        assert clock.ended is not None
        assert clock.ended.happened_at - clock.begun.happened_at == timedelta(days=4)
        assert [span.measure(NOW) for span in found.failures] == [None, None], "nothing says how wrong the clock was"
        assert (found.failure_sums["clock_wrong", "x"].unmeasured, list(found.longest_failures)) == (1, [])
        assert found.failed["vault_down"].count == 1
        there = Period("there", day + off - timedelta(days=1), day + off + timedelta(days=1))
        assert log.review(there, by_order=True).events == 0


@pytest.mark.parametrize("seconds", [-20 * 86400, -172_801, 108_000, 600])
def test_what_a_wrong_clock_dated_lasts_as_long_as_the_log_says_itself(seconds: int) -> None:
    """Not from the event before, nor by how far the order of the log allows: the doubt says how wrong the clock was.

    By the time of the services, what cannot wait is dated right meanwhile; another host is right all the time.
    """
    log, began, wrong = Log(), START + timedelta(days=30), timedelta(seconds=-seconds)
    log.add("vault_down", "early", at=began - timedelta(days=3), code="x")
    log.add("vault_restored", "early", at=began + wrong)
    log.add("clock_doubted", "host", at=began + wrong, seconds=seconds)
    log.add("vault_down", "v", at=began + wrong + timedelta(hours=1), code="x")
    for hours in (2, 3, 4):
        log.add("job_failed", "work", at=began + wrong + timedelta(hours=hours), code="clock_skew")
    right = log.add("daemon_woken", at=began + timedelta(hours=5))
    log.add("vault_restored", "v", at=began + wrong + timedelta(hours=6))
    set_right = log.add("daemon_woken", at=began + timedelta(hours=7))
    log.add("clock_confirmed", "host", at=began + timedelta(hours=8))
    log.add("daemon_woken", at=began + timedelta(days=40))
    found = log.review(Period("all", START, NOW), by_order=True)
    lasted = {span.subject: span.measure(NOW) for span in found.failures}
    assert lasted.pop("early") in (timedelta(days=3), timedelta(days=3) + wrong)
    assert lasted == {"host": timedelta(hours=8), "v": timedelta(hours=5)}
    steps = {row.step for row in found.misdated}
    assert steps == {wrong}
    if abs(wrong) > timedelta(hours=2):
        noted = {number for row in found.misdated for number in range(row.first.sequence, row.last.sequence + 1)}
        assert not noted & {right.sequence, set_right.sequence}
        assert noted >= {3, 4, 5, 6, 7, 9}


def test_clocks_that_differ_by_seconds_are_not_wrong_and_times_ahead_of_now_are() -> None:
    def find(*seconds: float) -> dict[int, float]:
        moments = [START + timedelta(seconds=each) for each in seconds]
        found = find_misdated(enumerate(moments, 1), START + timedelta(seconds=1000))
        return {number: (placed.at - START).total_seconds() for number, placed in found.items()}

    assert find(0, 10, 9, 11, 69, 10, 70, 200) == {}
    assert find(0, 10, 500, 501, 20, 30, 40) == {3: 10, 4: 11}
    assert find(0, 10, 500, 800, 20, 30, 40) == {3: 10, 4: 20}
    assert find(300, 10, 20, 30) == {1: 10}
    assert find(0, 10, 5000, 5001) == {3: 10, 4: 11}
    assert find() == {}


def test_command_is_followed_to_what_became_of_its_rotation_and_of_the_old_pat() -> None:
    """By hand it is abandoned; an ordinary one replaces the PAT later. Another one of the same command is completed."""
    log = Log()
    for rotation, old in (("r1", "lost"), ("r2", "other")):
        log.add("rotation_planned", run="mine", reason="lost", rotation_id=rotation, predecessor_id=old)
    log.add("rotation_failed", run="mine", reason="lost", code="connection_lost")
    log.add("rotation_abandoned", run="later", rotation_id="r1")
    log.add("rotation_completed", run="later", rotation_id="r2")
    log.add("pat_revoked", authorization_id="other", rotation_id="r2", why="rotated")
    log.add("rotation_planned", run="cron", rotation_id="r3", predecessor_id="lost")
    log.add("rotation_completed", run="cron", rotation_id="r3")
    gone = log.add("pat_revoked", authorization_id="lost", rotation_id="r3", why="rotated")
    log.add("rotation_planned", run="cron", rotation_id="r4", predecessor_id="next")
    log.add("pat_revoked", authorization_id="clone", rotation_id="r4", why="abandoned")
    log.add("rotation_planned", run="cron", rotation_id="r5", predecessor_id="next")
    found = log.review(read_period("2026"))
    [run] = found.by_hand
    assert [found.fates[rotation] for rotation in run.rotations] == [Fate.ABANDONED, Fate.COMPLETED]
    assert (run.gone, run.gone_count) == (gone, 2)
    assert found.fates == {
        "r1": Fate.ABANDONED,
        "r2": Fate.COMPLETED,
        "r3": Fate.COMPLETED,
        "r4": Fate.UNDONE,
        "r5": Fate.OPEN,
    }


def _rotate(log: Log, rotation: str, old: str, until: datetime, name: str = "npm-feed") -> Mark:
    log.add("rotation_planned", name, at=until - timedelta(hours=2), rotation_id=rotation, predecessor_id=old)
    return log.add(
        "overlap_started",
        name,
        at=until - timedelta(hours=1),
        rotation_id=rotation,
        overlap_until=until.isoformat(),
    )


def test_old_pat_outlives_its_overlap_whether_anybody_noticed_or_not() -> None:
    """15 minutes are as they should be. One that is kept, lost or expired is told elsewhere; one that lasts counts."""
    log, day = Log(), datetime(2026, 10, 1, tzinfo=UTC)

    def revoke(rotation: str, old: str, at: datetime, name: str = "npm-feed") -> Mark:
        log.add("pat_revoked", name, at=at, rotation_id=rotation, authorization_id=f"clone of {old}", why="abandoned")
        return log.add("pat_revoked", name, at=at, rotation_id=rotation, authorization_id=old, why="rotated")

    _rotate(log, "r1", "in time", day)
    revoke("r1", "in time", day + timedelta(minutes=15))
    told = _rotate(log, "r2", "late", day + timedelta(days=1))
    gone = revoke("r2", "late", day + timedelta(days=1, minutes=16))
    for number, over in enumerate(("predecessor_kept", "predecessor_expired", "clone_lost", "rotation_closed"), 3):
        _rotate(log, f"r{number}", over, day + timedelta(days=2))
        log.add(over, at=day + timedelta(days=9), rotation_id=f"r{number}", authorization_id=over)
    released = _rotate(log, "r7", "waits", day + timedelta(days=3), "old-name")
    released = log.add(
        "overlap_released",
        "old-name",
        at=day + timedelta(days=8),
        rotation_id="r7",
        overlap_until=(day + timedelta(days=10)).isoformat(),
    )
    log.add("pat_renamed", "old-name", at=day + timedelta(days=10), old_name="old-name", new_name="new")
    found = log.review(read_period("2026-10")).values
    late, lasting = found.outlived
    assert (late.name, late.authorization_id, late.told, late.gone) == ("npm-feed", "late", told, gone)
    assert late.beyond == timedelta(minutes=16)
    assert (lasting.name, lasting.told, lasting.gone) == ("new", released, None)
    assert lasting.beyond == NOW - (day + timedelta(days=10))
    assert (found.longest, found.outlived.total) == (lasting, 2)
    assert list(log.review(read_period("2026-09")).values.outlived) == []


def test_longest_use_of_a_value_ends_with_the_next_one_or_lasts() -> None:
    log, day = Log(), timedelta(days=1)
    adopted = log.add("pat_adopted", "old", at=START)
    log.add("pat_adopted", "gone", at=START)
    second = log.add("overlap_started", "old", at=START + 9 * day, overlap_until="2026-09-10T00:00:00+00:00")
    log.add("overlap_started", "old", at=START + 12 * day, overlap_until="2026-09-13T00:00:00+00:00")
    for name in ("old", "new"):
        log.add("pat_renamed", name, at=START + 13 * day, old_name="old", new_name="new")
    forgotten = log.add("pat_forgotten", "gone", at=START + 20 * day)
    uses = log.review(read_period("2026-09")).values.uses
    assert set(uses) == {"gone", "new"}
    assert (uses["gone"].ended, uses["gone"].lasted, uses["gone"].count) == (forgotten, 20 * day, 1)
    assert (uses["new"].ended, uses["new"].lasted, uses["new"].count) == (None, NOW - START - 12 * day, 3)
    early = log.review(Period("early", START, START + 10 * day)).values.uses["new"]
    assert (early.begun, early.ended, early.count) == (adopted, second, 2)


def test_longest_failures_are_kept_from_among_all() -> None:
    """Also those that are older than the newest 500; a wait for a sign-in is told by itself, too."""
    log = Log()
    log.add("sign_in_lapsed", "bot", at=START, code="sign_in_required")
    restored = log.add("sign_in_restored", "bot", at=START + timedelta(hours=40))
    for number in range(MOST_ROWS + 5):
        begins = START + timedelta(hours=50 + 2 * number)
        log.add("vault_down", "v", at=begins, code="x")
        log.add("vault_restored", "v", at=begins + timedelta(minutes=1 + number % 90))
    found = log.review(read_period("2026"))
    kept = list(found.longest_failures)
    assert len(kept) == MOST_LONG
    assert kept[0].ended == restored
    assert kept[0] not in list(found.failures)
    assert list(found.without_sign_in) == [kept[0]]
    spans = [span.ended.at - span.begun.at for span in kept if span.ended]
    assert spans == sorted(spans, reverse=True)
    assert spans[1] == timedelta(minutes=90)


def test_pat_that_a_command_began_to_create_is_followed_until_it_is_there() -> None:
    log = Log()
    log.add("creation_started", "deploy", run="mine", command="rotator create deploy")
    log.add("rotation_abandoned", "deploy", run="mine", command="rotator create deploy")
    made = log.add("pat_created", "deploy", run="cron")
    [run] = log.review(read_period("2026")).by_hand
    assert run.made == made


@pytest.mark.parametrize("until", ["soon", None, "2026-10-01T00:00:00"])
def test_end_of_an_overlap_that_is_no_moment_is_left_out(until: str | None) -> None:
    """The page is made of a log that somebody altered, too."""
    log = Log()
    log.add("rotation_planned", rotation_id="r", predecessor_id="old")
    log.add("overlap_started", rotation_id="r", overlap_until=until)
    log.add("pat_revoked", at=NOW - timedelta(days=1), rotation_id="r", authorization_id="old", why="rotated")
    assert log.review(read_period("2026")).values.outlived.total == 0
