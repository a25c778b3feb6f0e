"""What a weekly digest says, and when it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from rotator.domain.digest import (
    Dated,
    Mail,
    MailAbout,
    Past,
    Standing,
    Wait,
    Weekday,
    find_week,
    is_digest_due,
    make_digest,
)
from rotator.domain.events.event import Severity
from rotator.domain.notification import NotificationKind, make_digest_notification

NOW = datetime(2026, 11, 30, 6, 0, 20, tzinfo=UTC)
"""A Monday."""
DAY, WEEK = timedelta(days=1), timedelta(days=7)
SIGN_IN = "build-bot must sign in again."


def test_digest_says_what_was_rotated_is_coming_waits_and_is_mailed() -> None:
    rotated = (Dated("late", NOW - DAY), Dated("early", NOW - 2 * DAY))
    standings = (
        Standing("ok", "build-bot", NOW + 25 * DAY, NOW + 18 * DAY),
        Standing("soon", "build-bot", NOW + 10 * DAY, NOW + 2 * DAY),
        Standing("overdue", "release-bot", NOW + DAY, NOW - DAY),
        Standing("mailed-first", "build-bot", NOW + 9 * DAY, NOW + 4 * DAY),
        Standing("by-hand", "build-bot", NOW + 12 * DAY, None, "Replace it by hand."),
        Standing("blocked", "build-bot", NOW + 11 * DAY, NOW + DAY, SIGN_IN),
        Standing("blocked-too", "build-bot", NOW + 3 * DAY, NOW + DAY, SIGN_IN),
        Standing("paused", "build-bot", NOW + 8 * DAY),
    )
    digest = make_digest(Past(NOW - WEEK, rotated), standings, NOW)
    assert digest.rotated == (Dated("early", NOW - 2 * DAY), Dated("late", NOW - DAY))
    assert digest.coming == (
        Dated("overdue", NOW),
        Dated("soon", NOW + 2 * DAY),
        Dated("mailed-first", NOW + 4 * DAY),
    )
    assert digest.waiting == (
        Wait(SIGN_IN, ("blocked-too", "blocked"), NOW + 3 * DAY),
        Wait("Replace it by hand.", ("by-hand",), NOW + 12 * DAY),
    )
    expiry, new = MailAbout.EXPIRY, MailAbout.NEW_PAT
    assert digest.mails == (
        Mail("release-bot", "overdue", new, NOW),
        Mail("build-bot", "paused", expiry, NOW + DAY),
        Mail("build-bot", "mailed-first", expiry, NOW + 2 * DAY),
        Mail("build-bot", "soon", new, NOW + 2 * DAY),
        Mail("build-bot", "blocked", expiry, NOW + 4 * DAY),
        Mail("build-bot", "mailed-first", new, NOW + 4 * DAY),
        Mail("build-bot", "by-hand", expiry, NOW + 5 * DAY),
    )
    told = make_digest_notification(digest, NOW)
    assert (told.kind, told.severity, told.digest) == (NotificationKind.DIGEST, Severity.INFO, digest)
    assert (told.waiting, told.first_expires_at) == (3, NOW + 3 * DAY)
    assert told.title == "Digest: 2 rotated, 3 to be rotated within a week, 3 wait for a person"
    assert told.text.splitlines() == [
        "Rotated since 2026-11-23 06:00Z: early, late",
        "To be rotated by 2026-12-07 06:00Z: overdue (Mon 30 Nov), soon (Wed 02 Dec), mailed-first (Fri 04 Dec)",
        "Waiting for a person:",
        f"- blocked-too, blocked (first expiry 2026-12-03 06:00Z): {SIGN_IN}",
        "- by-hand (first expiry 2026-12-12 06:00Z): Replace it by hand.",
        "Mails that Microsoft will send:",
        "- to the user of build-bot: 2 about new PATs, as rotations come; 4 about expiries: paused (Tue 01 Dec), "
        "mailed-first (Wed 02 Dec), blocked (Fri 04 Dec), by-hand (Sat 05 Dec)",
        "- to the user of release-bot: 1 about new PATs, as rotations come",
    ]


def test_digest_of_a_quiet_week_says_so() -> None:
    told = make_digest_notification(make_digest(Past(NOW - WEEK, is_whole=False), (), NOW), NOW)
    assert told.title == "Digest: 0 rotated, 0 to be rotated within a week, 0 wait for a person"
    assert told.text.splitlines() == [
        "Rotated since 2026-11-23 06:00Z: none",
        "There may be more: the audit log has too much for one digest, or cannot be read (`rotator audit verify`).",
        "To be rotated by 2026-12-07 06:00Z: none",
        "Waiting for a person: none",
        "Mails that Microsoft will send: none",
    ]
    assert told.first_expires_at is None


def test_digest_of_many_names_the_first() -> None:
    """The document has all of them."""
    standings = [Standing(f"pat-{number:03}", "a", NOW + 90 * DAY, NOW + DAY) for number in range(1000)]
    digest = make_digest(Past(NOW - WEEK), standings, NOW)
    assert (len(digest.coming), len(digest.mails)) == (1000, 1000)
    told = make_digest_notification(digest, NOW)
    assert "pat-009 (Tue 01 Dec) and 990 more" in told.text
    assert len(told.text) < 1000


def test_mail_is_sent_once_in_the_digests_of_all_weeks() -> None:
    """A week begins where the one before it ended, so none is told twice, and none is left out."""
    standing = Standing("paused", "a", NOW + 30 * DAY + timedelta(seconds=7))
    told = [mail for week in range(6) for mail in make_digest(Past(NOW), [standing], NOW + week * WEEK).mails]
    assert [mail.at for mail in told] == [NOW + 23 * DAY + timedelta(seconds=7)]


@pytest.mark.parametrize("day", Weekday)
def test_week_begins_on_its_day_at_six(day: Weekday) -> None:
    for hours in range(24 * 15):
        moment = NOW + timedelta(hours=hours)
        begin = find_week(day, moment)
        assert begin <= moment < begin + WEEK
        assert (f"{begin:%A %H:%M}".lower(), begin.second) == (f"{day.value} 06:00", 0)


def test_digest_is_due_once_a_week() -> None:
    """The first at once; after a pause once; a clock that was fast keeps none back."""
    assert not is_digest_due(None, None, NOW)
    assert is_digest_due(None, Weekday.MONDAY, NOW)
    last, made = None, list[datetime]()
    for minutes in range(0, 30 * 24 * 60, 10):
        moment = NOW + timedelta(minutes=minutes)
        if is_digest_due(last, Weekday.WEDNESDAY, moment):
            last = moment
            made.append(moment)
    assert [f"{moment:%a %H:%M}" for moment in made] == ["Mon 06:00", *["Wed 06:00"] * 4]
    assert is_digest_due(NOW - 5 * WEEK, Weekday.MONDAY, NOW)
    assert not is_digest_due(NOW, Weekday.MONDAY, NOW)
    assert is_digest_due(NOW + DAY, Weekday.MONDAY, NOW)
