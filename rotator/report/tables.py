"""The tables of the page: a caption, the columns' names, and rows of plain text whose first cell names the row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.documents.audit import AuditEventDocument
from rotator.documents.review import ReviewDocument
from rotator.documents.review_parts import ProofDocument, ReviewedPatDocument, SpanDocument
from rotator.domain.words import say_duration, say_span
from rotator.report.controls import ATTACKERS, CONTROLS
from rotator.report.summary import say_time

NONE = "none"
_PLACE = frozenset({"account", "organization", "reason", "rotation_id", "e2e_id", "activity_id", "request_id"})
"""Fields of events that a table says elsewhere, or not at all."""
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
_KINDS = {
    "failed_rotation": "left by a failed rotation",
    "kept_predecessor": "kept when it was replaced",
    "unproven_mint": "looks like a lost mint of ours",
    "pending_revocation": "to be revoked, still active",
    "overlap": "its consumers get time to switch",
}


_SPAN_COLUMNS = ("Event", "What", "About", "Cause", "Began", "Ended", "Ended by event", "Lasted")


@dataclass(frozen=True)
class Table:
    """`total` is how many rows there would be if all were kept."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    total: int

    @property
    def left_out(self) -> int:
        """How many older rows are not shown."""
        return self.total - len(self.rows)


def make_tables(review: ReviewDocument) -> dict[str, Table]:
    """Return every table of the page, by its name."""
    tables = (*_make_pat_tables(review), *_make_event_tables(review), *_make_log_tables(review))
    return {table.name: table for table in tables}


def _make(
    name: str, caption: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]], total: int | None = None
) -> Table:
    kept = tuple(rows)
    return Table(name, caption, columns, kept, len(kept) if total is None else total)


def _make_pat_tables(review: ReviewDocument) -> Iterator[Table]:
    pats = review["pats"]
    yield _make(
        "pats",
        "Managed PATs and their owners",
        ("PAT", "Account", "Owner", "Organization", "Name at Azure DevOps", "State", "Managed since", "Event"),
        (
            (
                pat["name"],
                pat["account"],
                pat["owner"] or "not known",
                pat["organization"],
                pat["display_name"],
                pat["state"],
                *_say_proof(pat["managed"], "not in the log"),
            )
            for pat in pats
        ),
    )
    yield _make(
        "unmanaged",
        "PATs that nobody manages, as the last look at Azure DevOps found them",
        ("Id", "Name at Azure DevOps", "Account", "Organization", "Scopes", "Expires", "Why"),
        (
            (
                pat["authorization_id"],
                pat["display_name"],
                pat["account"],
                pat["organization"],
                " ".join(pat["scopes"]),
                say_time(pat["expires_at"]),
                pat["last_error"] or "not adopted",
            )
            for pat in review["unmanaged"]
        ),
    )
    yield _make(
        "reach",
        "What each PAT reaches, and since when",
        ("PAT", "Scopes", "Organizations", "Known since", "Event"),
        (
            (
                pat["name"],
                _say_scopes(pat),
                "all" if pat["all_organizations"] else pat["organization"],
                *_say_proof(pat["reach"], "not in the log"),
            )
            for pat in pats
        ),
    )
    yield _make(
        "ages",
        "Expiry, last rotation, and age against the policy; ages in whole days",
        ("PAT", "Expires", "Time left", "Last rotated", "Event", "Age", "Age allowed", "Rule", "Verdict"),
        (
            (
                pat["name"],
                say_time(pat["expires_at"]),
                _say_left(pat["expires_at"], review["generated_at"]),
                *_say_proof(pat["rotated"], "never"),
                str(pat["age_days"]),
                _say_or(pat["age_limit_days"], NONE if pat["age_verdict"] == "blocked" else "no limit"),
                pat["rule"] or NONE,
                VERDICTS[pat["age_verdict"]],
            )
            for pat in pats
        ),
    )
    yield _make(
        "time-left",
        "Managed PATs by the time that they have left",
        ("Time left", "PATs"),
        ((TIME_LEFT[row["left"]], str(row["pats"])) for row in review["time_left"]),
    )


def _make_event_tables(review: ReviewDocument) -> Iterator[Table]:
    yield _make_events("changes", "Changes of the inventory", review["changes"], review["changed"])
    policy = review["policy"]
    before = [] if policy["before"] is None else [policy["before"]]
    yield _make(
        "policies",
        "The policy at the beginning of the period, and its changes",
        ("Event", "In force from", "SHA-256 of the file", "Changed by", "Reason"),
        (
            (
                str(event["sequence"]),
                say_time(event["occurred_at"]),
                str(event["details"].get("sha256")),
                event["actor"],
                _say_reason(event["details"]),
            )
            for event in (*before, *policy["changes"])
        ),
        policy["changed"] + len(before),
    )
    yield _make(
        "rules",
        "The rules of the current policy; for each PAT the first one that fits applies",
        ("Rule", "For", "Action", "Rotate before the expiry", "Lifetime", "Overlap"),
        (
            (
                rule["name"],
                "; ".join(f"{_say_words(name)}: {pattern}" for name, pattern in rule["match"].items()) or "all PATs",
                rule["action"],
                rule["rotate_before"],
                rule["lifetime"] or "as before",
                rule["overlap"],
            )
            for rule in policy["rules"]
        ),
    )
    yield _make_spans(
        "exceptions", "When a PAT was not as its policy wants it", review["exceptions"], review["excepted"]
    )
    yield _make_spans("failures", "What failed, and for how long", review["failures"], review["failed"])
    yield _make(
        "failed-events",
        "Events that tell of a failure, or of an answer that was lost",
        ("What", "How often", "First event", "Last event"),
        (
            (_say_words(row["event"]), str(row["count"]), str(row["first"]), str(row["last"]))
            for row in review["failed_events"]
        ),
    )
    yield _make_events("sign-ins", "Sign-ins and sign-outs", review["sign_ins"], review["signed_in"])
    yield _make(
        "by-hand",
        "What people did, one row for each command",
        ("First event", "Last event", "Events", "Time", "What", "About", "Who", "Reason", "Command"),
        (
            (
                str(run["first"]),
                str(run["last"]),
                str(run["events"]),
                say_time(run["at"]),
                _say_words(run["event"]),
                run["subject"],
                run["actor"],
                run["reason"] or "none given",
                run["command"] or "not in the log",
            )
            for run in review["by_hand"]
        ),
        review["done_by_hand"],
    )
    yield _make(
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
                _say_or(row["first"], NONE),
                _say_or(row["last"], NONE),
            )
            for row in review["timeline"]
        ),
    )
    yield from _make_revocation_tables(review)


def _make_revocation_tables(review: ReviewDocument) -> Iterator[Table]:
    revocations = review["revocations"]
    yield _make(
        "revocations",
        "Revocations in the period",
        ("PAT", "Requested", "Proven", "Slowest proof", "Events that prove it, the newest"),
        (
            (
                row["name"],
                str(row["requested"]),
                str(row["proven"]),
                _say_seconds(row["slowest_seconds"]),
                " ".join(map(str, row["events"])) or NONE,
            )
            for row in revocations["pats"]
        ),
    )
    yield _make(
        "pending",
        "Revocations that are not proven now",
        ("Id", "PAT", "First requested", "Last requested", "Requests"),
        (
            (
                row["authorization_id"],
                row["name"],
                say_time(row["since"]),
                say_time(row["requested_at"]),
                str(row["requests"]),
            )
            for row in revocations["pending"]
        ),
    )
    yield _make(
        "living",
        "PATs still valid beside the one in use",
        ("Id", "PAT", "Why", "Since", "Event", "Until"),
        (
            (
                row["authorization_id"],
                row["name"],
                _KINDS[row["kind"]],
                *_say_proof(row["event"], "not in the log"),
                "not known" if row["until"] is None else say_time(row["until"]),
            )
            for row in revocations["living"]
        ),
    )


def _make_log_tables(review: ReviewDocument) -> Iterator[Table]:
    log = review["log"]
    yield _make_events("anchors", "Checkpoints that the vaults were given", log["anchored"], log["anchors_given"])
    yield _make_events("gaps", "What a person accepted to be missing, at any time", log["gaps"], len(log["gaps"]))
    yield _make(
        "attackers",
        "Who could still hide what",
        ("Somebody who", "Is found out by", "Can still hide"),
        ATTACKERS,
    )
    yield _make(
        "controls",
        "Controls, and the sections that are evidence for them",
        ("Control", "Asks for", "Sections"),
        (
            (f"{framework} {number}", asks, " ".join(map(str, sections)))
            for framework, number, asks, sections in CONTROLS
        ),
    )


def _make_events(name: str, caption: str, events: Iterable[AuditEventDocument], total: int) -> Table:
    rows = (
        (
            str(event["sequence"]),
            say_time(event["occurred_at"]),
            _say_words(event["event"]),
            event["subject"],
            event["actor"],
            _say_details(event["details"]),
            _say_reason(event["details"]),
        )
        for event in events
    )
    return _make(name, caption, ("Event", "Time", "What", "About", "Who", "Details", "Reason"), rows, total)


def _make_spans(name: str, caption: str, spans: Iterable[SpanDocument], total: int) -> Table:
    rows = (
        (
            str(span["begun"]["event"]),
            _say_words(span["kind"]),
            span["subject"],
            span["code"] or NONE,
            say_time(span["begun"]["at"]),
            *_say_proof(span["ended"], "lasts"),
            _say_seconds(span["seconds"]),
        )
        for span in spans
    )
    return _make(name, caption, _SPAN_COLUMNS, rows, total)


def _say_proof(proof: ProofDocument | None, without: str) -> tuple[str, str]:
    return (without, NONE) if proof is None else (say_time(proof["at"]), str(proof["event"]))


def _say_scopes(pat: ReviewedPatDocument) -> str:
    return "full access" if "app_token" in pat["scopes"] else " ".join(pat["scopes"])


def _say_left(ends: str, now: str) -> str:
    span = datetime.fromisoformat(ends) - datetime.fromisoformat(now)
    return say_span(span) if span > timedelta(0) else f"expired {say_span(span)} ago"


def _say_or(number: int | None, without: str) -> str:
    return without if number is None else str(number)


def _say_seconds(seconds: int | None) -> str:
    return NONE if seconds is None else say_duration(timedelta(seconds=seconds))


def _say_words(name: str) -> str:
    return name.replace("_", " ")


def _say_details(details: Mapping[str, object]) -> str:
    said = [f"{_say_words(name)}: {_say_value(value)}" for name, value in details.items() if name not in _PLACE]
    return "; ".join(said) or NONE


def _say_value(value: object) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else NONE if value is None else str(value)


def _say_reason(details: Mapping[str, object]) -> str:
    return str(details.get("reason") or "none given")
