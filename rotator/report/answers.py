"""The answer to each question in words: what the tables of its section come down to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import ProofDocument, SpanDocument
from rotator.domain.events.places import SignInCompleted, SignInLapsed, SignInRefused, SignInRestored
from rotator.domain.words import say_duration, say_names
from rotator.report.breaches import say_breaches
from rotator.report.by_hand_tables import is_creation
from rotator.report.cells import say_lasted, say_when, say_words
from rotator.report.summary import say_policies
from rotator.report.times import say_time
from rotator.report.value_tables import say_cause

_CHANGED = "secret_changed"
"""The code of a secret that somebody else wrote to."""


def answer_all(review: ReviewDocument) -> list[str]:
    """Return the answers, in the order of the questions."""
    return [
        _say_owners(review),
        _say_reach(review),
        _say_ages(review),
        say_policies(review),
        _say_exceptions(review),
        _say_sign_ins(review),
        _say_by_hand(review),
        _say_revoked(review),
        _say_failures(review),
        _say_log(review),
    ]


def _say_owners(review: ReviewDocument) -> str:
    pats, others = review["pats"], review["unmanaged"]
    owners = sorted({pat["owner"] or "an account that the settings do not have any more" for pat in pats})
    look = "The last look" + (
        ", whose time is not kept," if review["looked_at"] is None else f", at {say_time(review['looked_at'])},"
    )
    managed = f"{_count(len(pats), 'PAT is', 'PATs are')} managed"
    said = f"{managed}, of {say_names(owners)}." if pats else f"{managed}."
    if not others:
        return f"{said} {look} found no other PAT of these accounts."
    last = max(others, key=lambda pat: pat["expires_at"])
    return (
        f"{said} {look} found {_count(len(others), 'more PAT', 'more PATs')} of these accounts that nobody "
        f'manages; the last to expire is "{last["display_name"]}", at {say_time(last["expires_at"])}.'
    )


def _say_reach(review: ReviewDocument) -> str:
    pats = review["pats"]
    full, wide = sum("app_token" in pat["scopes"] for pat in pats), sum(pat["all_organizations"] for pat in pats)
    said = f"Of {_count(len(pats), 'managed PAT')}, with full access: {full}; valid for all organizations: {wide}."
    changes = [pat["reach"] for pat in pats if pat["reach"] is not None]
    if not changes:
        return said
    return f"{said} What they reach last changed or became known at {_cite(max(changes, key=lambda at: at['event']))}."


def _say_ages(review: ReviewDocument) -> str:
    pats = [pat for pat in review["pats"] if pat["authorization_id"]]
    late = sum(pat["age_verdict"] in ("due", "by_hand") for pat in pats)
    expired = [pat for pat in pats if pat["age_verdict"] == "expired"]
    said = f"Of {_count(len(pats), 'managed PAT')}, expired: {len(expired)}; older than the policy allows: {late}."
    if waiting := [pat for pat in pats if pat not in expired]:
        first = min(waiting, key=lambda pat: pat["expires_at"])
        said += f" The next to expire is {first['name']}, at {say_time(first['expires_at'])}."
    known = [(pat["rotated"], pat["name"]) for pat in pats if pat["rotated"] is not None]
    if known:
        oldest, name = min(known, key=lambda pair: pair[0]["event"])
        said += f" Of those rotated, {name} has gone longest without one: its last was at {_cite(oldest)}."
    never = len(pats) - len(known)
    return f"{said} Never rotated: {never}."


def _say_exceptions(review: ReviewDocument) -> str:
    values = review["values"]
    counts = Counter[str]()
    for found in review["exception_sums"]:
        counts[found["kind"]] += found["count"]
    sums = ", ".join(f"{say_words(kind)} ({count})" for kind, count in counts.items())
    said = f"{say_breaches(review)}. "
    said += f"{_count(review['excepted'], 'time')} rotator noticed that a PAT was not as its policy wants it"
    said += f": {sums}." if sums else "."
    said += f" Old PATs that were there more than 15 minutes after their overlap: {values['outlived_found']}"
    if (longest := values["outlived_longest"]) is not None:
        proof = "not gone yet" if longest["gone"] is None else f"proven gone at {_cite(longest['gone'])}"
        said += f", for at most {_span(longest['seconds'])} ({longest['name']}, {proof}; {say_cause(longest)})"
    too_long = sum(pat["too_long"] for pat in review["unmanaged"])
    old = sum(pat["age_verdict"] in ("due", "by_hand", "expired") for pat in review["pats"])
    said = f"{said}. PATs that are older than the policy allows now, or expired: {old}"
    said = f"{said}. PATs that had expired before consumers got a new value: {values['expired_found']}"
    said = f"{said}. Rotations that began more than a day after the rule asked for them: {values['late_found']}"
    if values["undated"]:
        said += f"; {_count(values['undated'], 'more', 'more')} cannot be judged, as an earlier version of rotator did "
        said += "not write down when they were due"
    return f"{said}. PATs that nobody manages and that live longer than the guardrails allow: {too_long}."


def _say_sign_ins(review: ReviewDocument) -> str:
    counts = {
        event.type.name: sum(row["count"] for row in review["sign_in_sums"] if row["name"] == event.type.name)
        for event in (SignInCompleted, SignInRefused, SignInLapsed, SignInRestored)
    }
    completed, refused, lapsed, restored = counts.values()
    said = (
        f"Sign-ins with rotator: {completed}; refused: {refused}. Sign-ins that lapsed: {lapsed}; restored without "
        f"rotator: {restored}."
    )
    if not (gaps := review["without_sign_in"]):
        return said
    return f"{said} The longest wait of an account for a sign-in was {_say_longest(gaps)}."


def _say_by_hand(review: ReviewDocument) -> str:
    runs = review["by_hand"]
    people = sorted({run["actor"] for run in runs})
    said = f"{_count(review['done_by_hand'], 'command')} changed something"
    said += f", by {say_names(people)}" if people else ""
    silent = sum(run["reason"] is None for run in runs)
    begun, done = (sum(run["fates"][name] for run in runs) for name in ("begun", "completed"))
    failed = sum(run["fates"]["abandoned"] + run["fates"]["undone"] for run in runs if not is_creation(run))
    old, gone, later = (sum(run[name] for run in runs) for name in ("replaced", "gone_count", "gone_later"))
    said = f"{said}. Without a reason, of those listed here: {silent}. Rotations that they began: {begun}"
    if begun:
        said += f"; completed: {done}; failed, and not tried again: {failed}"
    if old:
        said += (
            f". Old PATs that these were to replace: {old}; proven gone by these rotations: {gone - later}; by later "
        )
        said += f"ones, after these failed: {later}"
    return f"{said}."


def _say_revoked(review: ReviewDocument) -> str:
    found = review["revocations"]
    said = f"{_count(found['proven'], 'PAT was', 'PATs were')} proven gone"
    said += "".join(f", {row['count']} {row['name']}" for row in found["why"])
    if marks := [mark for row in found["why"] for mark in (row["first"], row["last"])]:
        first, last = (choose(marks, key=lambda mark: mark["event"]) for choose in (min, max))
        said += f": the first at {_cite(first)}, the last at {_cite(last)}"
    if found["unanswered"]:
        said += f". Of these, without an answer that the request was accepted: {found['unanswered']}"
    if proofs := [(row["slowest_seconds"] or 0, row["slowest"]) for row in found["pats"] if row["slowest"] is not None]:
        seconds, slowest = max(proofs, key=lambda pair: pair[0])
        said += f". The slowest proof came {_span(seconds)} after the first request, at {_cite(slowest)}"
    if found["unseen"]:
        late, longest = (
            sum(row["late"] for row in found["unseen"]),
            max(row["most_seconds"] or 0 for row in found["unseen"]),
        )
        said += f". PATs whose value nobody ever got: {found['unseen_found']}, valid for {_span(longest)} at most"
        said += f", {late} of those listed made late" if late else ""
    overlaps = sum(row["kind"] == "overlap" for row in found["living"])
    return (
        f"{said}. Revocations that are not proven now: {len(found['pending'])}. Old PATs that are still valid: "
        f"{overlaps} while their consumers get time to switch, {len(found['living']) - overlaps} for another reason. "
        f"PATs that nobody manages: {len(review['unmanaged'])} (section 1)."
    )


def _say_failures(review: ReviewDocument) -> str:
    lasting = sum(span["ended"] is None for span in review["failures"])
    said = f"{review['failed']} failures; not over: {lasting}."
    if review["failed"] == 1:
        said = f"1 failure, which is {'not over' if lasting else 'over'}."
    if sums := review["failure_sums"]:
        most = sums[0]
        lasted = f"{_span(most['seconds'])} ({most['code'] or 'no cause named'}, {_count(most['count'], 'time')})"
        said += f" Longest in all: {say_words(most['kind'])}, {lasted}."
    if spans := review["longest_failures"]:
        said += f" Longest at one time: {say_words(spans[0]['kind'])}, {_say_longest(spans)}."
    strange = [span for span in review["failures"] if span["code"] == _CHANGED]
    if strange:
        which = ", ".join(str(span["begun"]["event"]) for span in strange)
        count = sum(found["count"] for found in sums if found["code"] == _CHANGED)
        said += (
            f" {_count(count, 'time')} somebody else wrote another value into a secret: find out who (event {which})."
        )
    return said


def _say_log(review: ReviewDocument) -> str:
    log = review["log"]
    if not log["valid"]:
        return "No. Something in it is not as it was written; what is wrong stands below."
    missing = f"{log['accepted']} anchors are missing, as a person has accepted." if log["accepted"] else ""
    open_ = max(0, log["events"] - log["sealed"])
    return (
        f"Yes. Each of its {_count(log['events'], 'event')} holds the hash of the one before it, and "
        f"{_count(log['checkpoints'], 'checkpoint fits', 'checkpoints fit')}. Not covered by a checkpoint: "
        f"{_count(open_, 'event')}. Accepted to be missing: {_count(len(log['gaps']), 'gap')}. {missing}"
    ).strip()


def _say_longest(spans: Iterable[SpanDocument]) -> str:
    longest = max(spans, key=lambda span: span["seconds"] or 0)
    return f"{say_lasted(longest['seconds'])}, of {longest['subject']}, from event {longest['begun']['event']} on"


def _cite(proof: ProofDocument) -> str:
    return f"{say_when(proof)} (event {proof['event']})"


def _span(seconds: int) -> str:
    return say_duration(timedelta(seconds=seconds))


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
