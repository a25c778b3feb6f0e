"""What broke the policy, in one list: conditions, overlaps that were too long, and PATs that are too old now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import ProofDocument, ReviewedPatDocument
from rotator.report.cells import NONE, say_lasted, say_seconds, say_when, say_words
from rotator.report.table import Table, make_table
from rotator.report.times import say_time
from rotator.report.value_tables import say_cause, say_late

_NOW_WRONG = {
    "due": ("older than the policy allows", "rotate_after"),
    "by_hand": ("older than the policy allows; a person must replace it", "rotate_after"),
    "expired": ("expired", "expires_at"),
}
_NO_EVENT = "none: the inventory shows it"
_NO_EVENT_UNMANAGED = "none: the last look shows it (unmanaged.json)"
_LASTS = "lasts"
_LATE = "rotation began later than the rule asked"
_EXPIRED, _SEE_FAILURES = "expired before consumers got a new value", "section 9 has what failed then"


@dataclass(frozen=True)
class Breach:
    """One time that the policy was broken. `at`: when it began, to sort by; `events` are the numbers that prove it."""

    what: str
    pat: str
    cause: str
    at: str
    begun: str
    ended: str
    seconds: int | None
    events: str


def list_breaches(review: ReviewDocument) -> list[Breach]:
    """Return those that a review keeps, in the order in which they began."""
    return sorted((*_list_ended(review), *_list_standing(review)), key=lambda found: found.at)


def make_breaches(review: ReviewDocument) -> Table:
    """Make their table. Its caption says how many there were in all, and how long they lasted together."""
    count, seconds = count_breaches(review)
    rows = (
        (
            found.what,
            found.pat,
            found.begun,
            found.ended,
            say_lasted(found.seconds),
            found.cause,
            found.events,
        )
        for found in list_breaches(review)
    )
    caption = f"What broke the policy: {count} in all"
    caption += f", which lasted {say_seconds(seconds)} together, each counted by itself" if count else ""
    caption += _say_unmeasured(sum(found["unmeasured"] for found in review["exception_sums"]))
    columns = ("What", "PAT", "From", "To", "How long", "Cause", "Events")
    return make_table("breaches", caption, columns, rows, count)


def count_breaches(review: ReviewDocument) -> tuple[int, int]:
    """Return how many there were, those that are not listed included, and how many seconds all of them lasted."""
    standing = list(_list_standing(review))
    values = review["values"]
    lasted = sum(found["seconds"] for found in review["exception_sums"])
    lasted += values["outlived_seconds"] + values["expired_seconds"] + values["late_seconds"]
    count = review["excepted"] + values["outlived_found"] + values["expired_found"] + values["late_found"]
    count += len(standing)
    return count, lasted + sum(found.seconds or 0 for found in standing)


def _say_unmeasured(count: int) -> str:
    return f"; {count} more lasted for a time that is not known" if count else ""


def say_breaches(review: ReviewDocument) -> str:
    """Say how often the policy was broken, how long that lasted, and up to when it is counted."""
    count, seconds = count_breaches(review)
    said = f"The policy was broken {count} {'time' if count == 1 else 'times'}"
    said += f", which lasted {say_seconds(seconds)} together" if count else ""
    said += ", each counted by itself" if count > 1 else ""
    if not any(found.ended == _LASTS for found in list_breaches(review)):
        return said
    now, until = review["generated_at"], review["period"]["until"]
    after = ", after the end of the period" if datetime.fromisoformat(now) > datetime.fromisoformat(until) else ""
    return f"{said}, with what lasts counted until this page was made, at {say_time(now)}{after}"


def _list_ended(review: ReviewDocument) -> Iterator[Breach]:
    """What events tell of: it began and, mostly, ended."""
    for span in review["exceptions"]:
        pat = span["subject"] if span["pat"] is None else f"{span['pat']}: {span['subject']}"
        begun, ended = span["begun"], span["ended"]
        what, cause = say_words(span["kind"]), span["code"] or NONE
        at, said = begun["placed"] or begun["at"], (say_when(begun), _say_end(ended))
        yield Breach(what, pat, cause, at, *said, span["seconds"], _say_events(begun, ended))
    for row in review["values"]["outlived"]:
        pat, gone = f"{row['name']}: {row['authorization_id']}", row["gone"]
        what, events = "old PAT still there after its overlap", _say_events(row["told"], gone)
        until = row["until"]
        yield Breach(what, pat, say_cause(row), until, say_time(until), _say_end(gone), row["seconds"], events)
    for found in review["values"]["expired"]:
        pat, until, replaced = f"{found['name']}: {found['authorization_id']}", found["until"], found["replaced"]
        said, events = (say_time(until), say_when(replaced)), _say_events(found["told"], replaced)
        yield Breach(_EXPIRED, pat, _SEE_FAILURES, until, *said, found["seconds"], events)
    for late in review["values"]["late"]:
        pat, changed = f"{late['name']}: {late['authorization_id']}", late["changed"]
        since = late["due_at"] if changed is None else changed["placed"] or changed["at"]
        events = str(late["begun"]["event"]) if changed is None else _say_events(changed, late["begun"])
        said = say_time(since), say_when(late["begun"])
        yield Breach(_LATE, pat, say_late(late), since, *said, late["seconds"], events)


def _list_standing(review: ReviewDocument) -> Iterator[Breach]:
    """What no event tells of: it is so now, and began before the end of the period."""
    now, until = review["generated_at"], datetime.fromisoformat(review["period"]["until"])
    for pat in review["pats"]:
        what, name = _NOW_WRONG.get(pat["age_verdict"], ("", ""))
        begun = {"rotate_after": _find_asked(pat), "expires_at": pat["expires_at"]}.get(name)
        if begun is not None and datetime.fromisoformat(begun) < until:
            yield _make_standing(what, pat["name"], begun, now)
    for found in review["unmanaged"]:
        if found["too_long"] and datetime.fromisoformat(found["valid_from"]) < until:
            shown = f"{found['display_name']}: {found['authorization_id']} (nobody manages it)"
            yield _make_standing(
                "lives longer than the guardrails allow", shown, found["valid_from"], now, _NO_EVENT_UNMANAGED
            )


def _find_asked(pat: ReviewedPatDocument) -> str | None:
    """From when on its policy asked for another PAT: not before it was managed."""
    after, managed = pat["rotate_after"], pat["managed"]
    if after is None or managed is None:
        return after
    return max(after, managed["placed"] or managed["at"], key=datetime.fromisoformat)


def _say_events(begun: ProofDocument, ended: ProofDocument | None) -> str:
    return str(begun["event"]) if ended is None else f"{begun['event']}, {ended['event']}"


def _say_end(ended: ProofDocument | None) -> str:
    return _LASTS if ended is None else say_when(ended)


def _make_standing(what: str, pat: str, begun: str, now: str, events: str = _NO_EVENT) -> Breach:
    lasted = datetime.fromisoformat(now) - datetime.fromisoformat(begun)
    return Breach(what, pat, NONE, begun, say_time(begun), _LASTS, lasted // timedelta(seconds=1), events)
