"""The tables of the page."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rotator.documents.audit import AuditEventDocument
from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import ReviewedPatDocument
from rotator.domain.words import say_span
from rotator.report.breaches import make_breaches
from rotator.report.by_hand_tables import make_by_hand_tables
from rotator.report.cells import NONE, say_exactly, say_or, say_proof, say_reason, say_scopes, say_told, say_words
from rotator.report.log_tables import make_log_tables
from rotator.report.outside_tables import make_outside_tables
from rotator.report.revocation_tables import make_revocation_tables
from rotator.report.summary import list_policy_uses
from rotator.report.sums import make_sums, make_tallies
from rotator.report.table import Table, make_events_table, make_table
from rotator.report.times import say_time
from rotator.report.value_tables import make_causes, make_outlived, make_spans, make_terms, make_uses

TIME_LEFT = {
    "expired": "expired",
    "day": "less than 1 day",
    "week": "1 to 7 days",
    "month": "7 to 30 days",
    "quarter": "30 to 90 days",
    "longer": "90 days or more",
}
VERDICTS = {
    "within": "within the policy",
    "due": "older than the policy allows",
    "by_hand": "due; a person must replace it",
    "expired": "expired",
    "no_rule": "no rule rotates it",
    "blocked": "blocked: it cannot be rotated",
    "not_made": "still to be made",
}


def make_tables(review: ReviewDocument) -> dict[str, Table]:
    """Return every table of the page, by its name."""
    tables = (
        *_make_pat_tables(review),
        *_make_event_tables(review),
        *make_by_hand_tables(review),
        *make_revocation_tables(review),
        *make_log_tables(review),
        *make_outside_tables(review),
        make_uses(review),
        make_outlived(review),
        make_terms(review),
        make_causes(review),
    )
    return {table.name: table for table in tables}


def _make_pat_tables(review: ReviewDocument) -> Iterator[Table]:
    pats = review["pats"]
    yield make_table(
        "pats",
        "Managed PATs and their owners",
        (
            *("PAT", "Account", "Owner", "Organization", "Name at Azure DevOps", "State", "Managed since", "Event"),
            *("Brought in by", "Where its consumers find it"),
        ),
        (
            (
                pat["name"],
                pat["account"],
                pat["owner"] or "not known",
                pat["organization"],
                pat["display_name"],
                f"{pat['state']}: {pat['account']} must sign in" if pat["needs_sign_in"] else pat["state"],
                *say_proof(pat["managed"], "not in the log"),
                pat["brought_by"] or "not in the log",
                f"{pat['vault'].rstrip('/')}/{pat['secret_name']}",
            )
            for pat in pats
        ),
    )
    yield make_table(
        "unmanaged",
        "PATs that nobody manages, as the last look at Azure DevOps found them",
        ("Id", "Name at Azure DevOps", "Account", "Organization", "Scopes", "Made", "Expires", "Lives", "Why"),
        (
            (
                pat["authorization_id"],
                pat["display_name"],
                pat["account"],
                pat["organization"],
                " ".join(pat["scopes"]),
                *map(say_time, (pat["valid_from"], pat["expires_at"])),
                _say_between(pat["valid_from"], pat["expires_at"]) + (", too long" if pat["too_long"] else ""),
                pat["last_error"] or "not adopted",
            )
            for pat in review["unmanaged"]
        ),
    )
    yield _make_unread(review)
    yield make_table(
        "reach",
        "What each PAT reaches, and since when",
        ("PAT", "Scopes", "Organizations", "Known since", "Event", "What that event says"),
        (
            (
                pat["name"],
                say_scopes(pat["scopes"]),
                "all" if pat["all_organizations"] else pat["organization"],
                *say_proof(pat["reach"], "not in the log"),
                say_told(pat["told"]),
            )
            for pat in pats
        ),
    )
    yield make_table(
        "ages",
        "Expiry, last rotation, and age against the policy",
        ("PAT", "Expires", "Time left", "Last rotated", "Event", "Age", "Age allowed", "Rule", "Verdict"),
        (
            (
                pat["name"],
                say_time(pat["expires_at"]),
                _say_left(pat["expires_at"], review["generated_at"]),
                *say_proof(pat["rotated"], "never"),
                _say_between(pat["valid_from"], review["generated_at"]),
                _say_limit(pat),
                pat["rule"] or NONE,
                VERDICTS[pat["age_verdict"]],
            )
            for pat in pats
        ),
    )
    yield make_table(
        "time-left",
        "Managed PATs by the time that they have left",
        ("Time left", "PATs"),
        ((TIME_LEFT[row["left"]], str(row["pats"])) for row in review["time_left"]),
    )


def _make_unread(review: ReviewDocument) -> Table:
    """Make the table of the ids in events that say that an entry of a list was not understood."""
    whose = {
        event["details"].get("authorization_id"): f"{event['subject']}, gone since"
        for event in review["revocations"]["gone"]
    }
    whose |= {pat["authorization_id"]: f"{pat['display_name']}, nobody manages it" for pat in review["unmanaged"]}
    whose |= {pat["authorization_id"]: f"{pat['name']}, in use" for pat in review["pats"]}
    return make_table(
        "unread-ids",
        "Entries in lists of PATs that rotator did not understand, by the ids in the events",
        ("Id", "Account and organization", "What it is now", "How often", "First", "First event", "Last", "Last event"),
        (
            (
                row["name"],
                row["subject"] or NONE,
                whose.get(row["name"], "not known"),
                str(row["count"]),
                *say_proof(row["first"], NONE),
                *say_proof(row["last"], NONE),
            )
            for row in review["unread_ids"]
        ),
    )


def _make_event_tables(review: ReviewDocument) -> Iterator[Table]:
    yield make_events_table("changes", "Changes of the inventory", review["changes"], review["changed"])
    policy = review["policy"]
    uses = list(list_policy_uses(review))
    yield make_table(
        "policies",
        "The policy at the beginning of the period, and each later one, with its first uses by users and hosts",
        (
            "Events",
            "Policy",
            "In force from",
            "Until",
            "SHA-256 of the file",
            "First used by",
            "Reason",
            "Command",
        ),
        (
            (
                ", ".join(str(event["sequence"]) for event in events),
                str(number),
                say_time(events[0]["occurred_at"]),
                "the end of the log" if following is None else say_time(following[1][0]["occurred_at"]),
                str(events[0]["details"].get("sha256")),
                *("; ".join(cells) for cells in zip(*(_say_use(event) for event in events), strict=True)),
            )
            for (number, events), following in zip(uses, [*uses, None][1:], strict=True)
        ),
        len(uses) + policy["changed"] - len(policy["changes"]),
    )
    yield make_table(
        "rules",
        "The rules of the current policy; for each PAT the first one that fits applies",
        ("Rule", "For", "Action", "Rotate before the expiry", "Lifetime", "Overlap"),
        (
            (
                rule["name"],
                "; ".join(f"{say_words(name)}: {pattern}" for name, pattern in rule["match"].items()) or "all PATs",
                rule["action"],
                rule["rotate_before"],
                rule["lifetime"] or "as before",
                rule["overlap"],
            )
            for rule in policy["rules"]
        ),
    )
    yield make_breaches(review)
    yield make_spans("without-sign-in", "When an account waited for a sign-in", review["without_sign_in"])
    yield make_spans("longest-failures", "The longest failures", review["longest_failures"])
    yield make_sums(
        "exception-sums",
        "All times that rotator noticed that a PAT was not as its policy wants it, by kind and cause",
        review["exception_sums"],
    )
    yield make_sums("failure-sums", "All failures by kind and cause, the longest in all first", review["failure_sums"])
    yield make_spans("failures", "What failed, and for how long", review["failures"], review["failed"])
    yield make_table(
        "failed-events",
        "Events that tell of a failure, or of an answer that was lost",
        ("What", "How often", "First event", "Last event"),
        (
            (say_words(row["event"]), str(row["count"]), str(row["first"]), str(row["last"]))
            for row in review["failed_events"]
        ),
    )
    yield make_tallies("sign-in-sums", "All events about sign-ins, by account", "About", review["sign_in_sums"])
    caption = "Sign-ins: lapsed, restored, begun, refused and ended"
    yield make_events_table("sign-ins", caption, review["sign_ins"], review["signed_in"])
    yield make_table(
        "timeline",
        "Rotations in the period",
        ("From", "To", "Begun", "Completed", "Failure events", "Proven revoked", "First event", "Last event"),
        (
            (
                say_time(row["begins"]),
                say_time(row["ends"]),
                str(row["begun"]),
                str(row["completed"]),
                str(row["failed"]),
                str(row["revoked"]),
                say_or(row["first"], NONE),
                say_or(row["last"], NONE),
            )
            for row in review["timeline"]
        ),
    )


def _say_use(event: AuditEventDocument) -> tuple[str, str, str]:
    """Say who used a policy first, why, and by which command."""
    details = event["details"]
    return event["actor"], say_reason(details), str(details.get("command") or "not in the log")


def _say_between(begins: str, ends: str) -> str:
    return say_span(datetime.fromisoformat(ends) - datetime.fromisoformat(begins))


def _say_limit(pat: ReviewedPatDocument) -> str:
    if pat["rotate_after"] is None:
        return NONE if pat["age_verdict"] == "blocked" else "no limit"
    return say_exactly(datetime.fromisoformat(pat["rotate_after"]) - datetime.fromisoformat(pat["valid_from"]))


def _say_left(ends: str, now: str) -> str:
    span = datetime.fromisoformat(ends) - datetime.fromisoformat(now)
    return say_span(span) if span > timedelta(0) else f"expired {say_span(span)} ago"
