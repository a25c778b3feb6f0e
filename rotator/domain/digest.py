"""The weekly digest: what was rotated, what is coming, what waits for a person, and which mails Microsoft will send."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum, auto

from rotator.domain.words import say_moment

WEEK = timedelta(days=7)
BEGINS_AT = time(6, tzinfo=UTC)
"""When the day of the digest begins."""
MAILED_AHEAD = timedelta(days=7)
"""About this long before a PAT expires, Microsoft mails its owner."""
_MOST_NAMES = 10


class Weekday(StrEnum):
    """The day on which a receiver gets its digest."""

    MONDAY = auto()
    TUESDAY = auto()
    WEDNESDAY = auto()
    THURSDAY = auto()
    FRIDAY = auto()
    SATURDAY = auto()
    SUNDAY = auto()


class MailAbout(StrEnum):
    """Why Microsoft mails the owner of a PAT."""

    NEW_PAT = auto()
    EXPIRY = auto()


@dataclass(frozen=True)
class Standing:
    """A PAT as a digest looks at it.

    `rotates_at`: when a run rotates it; None: no run does. `needs`: what a person must do; empty: nothing.
    """

    name: str
    account: str
    expires_at: datetime
    rotates_at: datetime | None = None
    needs: str = ""


@dataclass(frozen=True)
class Dated:
    """A managed PAT, and when it was or will be rotated."""

    name: str
    at: datetime


@dataclass(frozen=True)
class Wait:
    """What a person must do, for which PATs, and when the first of them expires."""

    needs: str
    names: tuple[str, ...]
    first_expires_at: datetime


@dataclass(frozen=True)
class Mail:
    """A mail that Microsoft will send to the user of an account, about a PAT, at about that time."""

    account: str
    name: str
    about: MailAbout
    at: datetime


@dataclass(frozen=True)
class Digest:
    """What a receiver is told of the time since `since`, and of the time until `until`.

    `through` is the number of the last event that it could tell of: the next digest begins after that.
    `is_whole`: every event of that time could be read; otherwise more may have been rotated.
    """

    since: datetime
    until: datetime
    rotated: tuple[Dated, ...]
    coming: tuple[Dated, ...]
    waiting: tuple[Wait, ...]
    mails: tuple[Mail, ...]
    through: int = 0
    is_whole: bool = True

    @property
    def waits(self) -> int:
        """How many PATs wait for a person."""
        return sum(len(wait.names) for wait in self.waiting)


def is_digest_due(last: datetime | None, day: Weekday | None, now: datetime) -> bool:
    """Whether a receiver that wants digests on that day is to get one; `last` is when its last one was made.

    One made in the future, by a clock that was fast, keeps none back.
    """
    return day is not None and (last is None or not find_week(day, now) <= last <= now)


def find_week(day: Weekday, now: datetime) -> datetime:
    """Return when the week began that a moment is in, for a receiver that gets its digest on that day."""
    utc = now.astimezone(UTC)
    begun = utc - timedelta(days=(utc.weekday() - list(Weekday).index(day)) % 7)
    begin = datetime.combine(begun.date(), BEGINS_AT)
    return begin if begin <= now else begin - WEEK


@dataclass(frozen=True)
class Past:
    """What was rotated since a moment, by the audit log up to the event `through`. `is_whole`: as of a digest."""

    since: datetime
    rotated: tuple[Dated, ...] = ()
    through: int = 0
    is_whole: bool = True


def make_digest(past: Past, standings: Sequence[Standing], now: datetime) -> Digest:
    """Return the digest of what was rotated, and of the week to come."""
    until = now + WEEK
    coming = [
        Dated(each.name, max(each.rotates_at, now))
        for each in standings
        if each.rotates_at is not None and not each.needs and each.rotates_at < until
    ]
    accounts = {each.name: each.account for each in standings}
    mails = [Mail(accounts[each.name], each.name, MailAbout.NEW_PAT, each.at) for each in coming]
    mails += [mail for each in standings if (mail := _find_mail(each, now, until)) is not None]
    return Digest(
        past.since,
        until,
        tuple(sorted(past.rotated, key=_by_time)),
        tuple(sorted(coming, key=_by_time)),
        _group(standings),
        tuple(sorted(mails, key=lambda mail: (mail.at, mail.account, mail.name))),
        past.through,
        past.is_whole,
    )


def _by_time(dated: Dated) -> tuple[datetime, str]:
    return dated.at, dated.name


def _find_mail(standing: Standing, now: datetime, until: datetime) -> Mail | None:
    """Return the mail about its expiry, unless it is replaced before that is sent."""
    at = standing.expires_at - MAILED_AHEAD
    is_replaced = standing.rotates_at is not None and not standing.needs and standing.rotates_at <= at
    if is_replaced or not now <= at < until:
        return None
    return Mail(standing.account, standing.name, MailAbout.EXPIRY, at)


def _group(standings: Iterable[Standing]) -> tuple[Wait, ...]:
    """Return what persons must do, the most urgent first."""
    groups: dict[str, list[Standing]] = {}
    for standing in standings:
        if standing.needs:
            groups.setdefault(standing.needs, []).append(standing)
    waits = []
    for needs, group in groups.items():
        group.sort(key=lambda each: (each.expires_at, each.name))
        waits.append(Wait(needs, tuple(each.name for each in group), group[0].expires_at))
    return tuple(sorted(waits, key=lambda wait: (wait.first_expires_at, wait.needs)))


def say_title(digest: Digest) -> str:
    """Return the digest in one line."""
    count = digest.waits
    return (
        f"Digest: {len(digest.rotated)} rotated, {len(digest.coming)} to be rotated within a week, "
        f"{count} {'waits' if count == 1 else 'wait'} for a person"
    )


def say_digest(digest: Digest) -> str:
    """Return the digest in words, a line for each fact."""
    lines = [f"Rotated since {say_moment(digest.since)}: {_say_names([each.name for each in digest.rotated])}"]
    if not digest.is_whole:
        lines.append(
            "There may be more: the audit log has too much for one digest, or cannot be read (`rotator audit verify`)."
        )
    coming = [f"{each.name} ({each.at:%a %d %b})" for each in digest.coming]
    lines.append(f"To be rotated by {say_moment(digest.until)}: {_say_names(coming)}")
    lines.append("Waiting for a person:" if digest.waiting else "Waiting for a person: none")
    for wait in digest.waiting:
        first = f"first expiry {say_moment(wait.first_expires_at)}"
        lines.append(f"- {_say_names(wait.names)} ({first}): {wait.needs}")
    lines.append("Mails that Microsoft will send:" if digest.mails else "Mails that Microsoft will send: none")
    lines += [_say_mails(account, digest.mails) for account in sorted({mail.account for mail in digest.mails})]
    return "\n".join(lines)


def _say_mails(account: str, mails: Iterable[Mail]) -> str:
    mine = [mail for mail in mails if mail.account == account]
    new = sum(mail.about is MailAbout.NEW_PAT for mail in mine)
    ending = [f"{mail.name} ({mail.at:%a %d %b})" for mail in mine if mail.about is MailAbout.EXPIRY]
    said = [f"{new} about new PATs, as rotations come"] if new else []
    said += [f"{len(ending)} about expiries: {_say_names(ending)}"] if ending else []
    return f"- to the user of {account}: {'; '.join(said)}"


def _say_names(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    said = ", ".join(names[:_MOST_NAMES]) or "none"
    return f"{said} and {more} more" if more > 0 else said
