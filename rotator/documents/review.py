"""`rotator audit report`: what a reviewer asks of a period. Each answer names the events that prove it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

from rotator.documents.audit import AuditEventDocument, make_event_document, make_fault_document, make_late_seal
from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    Moment,
    make_failure_document,
    write_moment,
    write_moment_or_none,
)
from rotator.documents.pat import make_facts
from rotator.documents.review_anchors import make_held
from rotator.documents.review_by_hand import (
    HandRunDocument,
    OrderedRotationDocument,
    make_hand_run,
    make_ordered,
)
from rotator.documents.review_outside import OutsideDocument, make_outside_document
from rotator.documents.review_parts import (
    BucketDocument,
    CheckpointDocument,
    EventTallyDocument,
    FatesDocument,
    LogReviewDocument,
    MisdatedDocument,
    PeriodDocument,
    PolicyReviewDocument,
    ReviewedPatDocument,
    RevocationsDocument,
    RuleDocument,
    SilenceDocument,
    SpanDocument,
    SpanSumDocument,
    TallyDocument,
    TimeLeftDocument,
    UnmanagedPatDocument,
)
from rotator.documents.review_reach import make_reach
from rotator.documents.review_revocations import make_revocations
from rotator.documents.review_sums import (
    count_seconds,
    make_fates,
    make_sums,
    make_tally,
    prove,
    prove_or_none,
    sort_tallies,
)
from rotator.documents.review_values import ValuesDocument, make_values
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint, spell_public_key
from rotator.domain.policy import Policy, Rule
from rotator.domain.words import say_duration
from rotator.engine.review.facts import Bucket, Findings, LogState, Review, Silence, Standing
from rotator.engine.review.judging import count_time_left, judge_age
from rotator.engine.review.marks import Misdated, Span
from rotator.engine.review.policies import list_policies
from rotator.engine.status import PatStatus

_DAY = timedelta(days=1)


class ReviewDocument(Document):
    """What a reviewer asks of a period."""

    generated_at: Annotated[Moment, "When this was made. PATs are shown as they were then."]
    output: Annotated[str, "The file that the page was written to."]
    archive: Annotated[str | None, "The file that the archive was written to. Null: none was asked for."]
    period: Annotated[PeriodDocument, "The period."]
    log: Annotated[LogReviewDocument, "Whether the log is whole."]
    pats: Annotated[list[ReviewedPatDocument], "Managed PATs, by expiry."]
    looked_at: Annotated[
        Moment | None, "When the last look ended that found these. Null: not kept, as of `rotator once`."
    ]
    unmanaged: Annotated[list[UnmanagedPatDocument], "PATs that nobody manages, as the last look found them."]
    unread_ids: Annotated[list[TallyDocument], "Ids of entries of lists that rotator did not understand."]
    time_left: Annotated[list[TimeLeftDocument], "How many managed PATs have how much time left."]
    changes: Annotated[list[AuditEventDocument], "Changes of the inventory in the period, the newest."]
    changed: Annotated[int, "How many there were."]
    policy: Annotated[PolicyReviewDocument, "Which policy was in force."]
    values: Annotated[ValuesDocument, "How long values were in use, and which PATs outlived their overlap."]
    exceptions: Annotated[list[SpanDocument], "When a PAT broke the policy, the newest."]
    exception_sums: Annotated[list[SpanSumDocument], "The same by kind and cause, all of them."]
    excepted: Annotated[int, "How many such times there were."]
    excepted_pats: Annotated[int, "How many PATs that was about."]
    sign_ins: Annotated[list[AuditEventDocument], "Sign-ins and sign-outs in the period, the newest."]
    sign_in_sums: Annotated[list[TallyDocument], "The same by event and account, all of them."]
    signed_in: Annotated[int, "How many such events there were."]
    without_sign_in: Annotated[list[SpanDocument], "When an account had no sign-in that works, the newest."]
    by_hand: Annotated[list[HandRunDocument], "What people did, the newest."]
    done_by_hand: Annotated[int, "How many such runs there were."]
    ordered: Annotated[list[OrderedRotationDocument], "Rotations that people ordered, the newest."]
    ordered_found: Annotated[int, "How many of these there were."]
    revocations: Annotated[RevocationsDocument, "What was revoked, and what is still valid."]
    failures: Annotated[list[SpanDocument], "What failed for a while, the newest."]
    longest_failures: Annotated[list[SpanDocument], "The longest of all, the longest first."]
    failure_sums: Annotated[list[SpanSumDocument], "The same by kind and cause, all of them."]
    failed: Annotated[int, "How many such times there were."]
    failed_pats: Annotated[int, "How many PATs had a rotation that failed, was blocked, frozen or abandoned."]
    failed_events: Annotated[list[EventTallyDocument], "Events that tell of a failure, or of a lost answer."]
    fates: Annotated[FatesDocument, "What became of the rotations that began in the period."]
    timeline: Annotated[list[BucketDocument], "Rotations, by parts of the period."]
    outside: Annotated[OutsideDocument, "What others did, as far as somebody looked."]


def make_review_document(review: Review, output: str, archive: str | None = None) -> ReviewDocument:
    """Give a review, and where it was written to."""
    found, now = review.findings, review.made_at
    period = review.period
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": write_moment(now),
        "output": output,
        "archive": archive,
        "period": {"name": period.name, "since": write_moment(period.since), "until": write_moment(period.until)},
        "log": _make_log(review.log, found, review.checkpoints),
        "pats": [_make_pat(standing, now) for standing in review.pats],
        "looked_at": write_moment_or_none(review.looked_at),
        "unread_ids": [make_tally(name, tally, place) for (name, place), tally in sort_tallies(found.unread_ids)],
        "unmanaged": [_make_unmanaged(row, review.policy) for row in review.unmanaged],
        "time_left": [
            {"left": left, "pats": count}
            for left, count in count_time_left([pat.status for pat in review.pats], now).items()
        ],
        "changes": _make_events(found.changes),
        "changed": found.changes.total,
        "policy": _make_policy(review),
        "values": make_values(found.values),
        "exceptions": _make_spans(found.exceptions, now),
        "exception_sums": make_sums(found.exception_sums.values()),
        "excepted": found.exceptions.total,
        "excepted_pats": len(found.excepted_pats),
        "sign_ins": _make_events(found.sign_ins),
        "sign_in_sums": [
            make_tally(name, tally, subject) for (name, subject), tally in sort_tallies(found.sign_in_sums)
        ],
        "signed_in": found.sign_ins.total,
        "without_sign_in": _make_spans(found.without_sign_in, now),
        "by_hand": [make_hand_run(run, found) for run in found.by_hand],
        "done_by_hand": found.by_hand.total,
        "ordered": [make_ordered(rotation, found) for rotation in found.ordered],
        "ordered_found": found.ordered.total,
        "revocations": make_revocations(review),
        "failures": _make_spans(found.failures, now),
        "longest_failures": [_make_span(span, now) for span in found.longest_failures],
        "failure_sums": make_sums(found.failure_sums.values()),
        "failed": found.failures.total,
        "failed_pats": len(found.failed_pats),
        "failed_events": [
            {"event": name, "count": tally.count, "first": tally.first, "last": tally.last}
            for name, tally in sorted(found.failed.items())
        ],
        "fates": make_fates(found.fates.values()),
        "timeline": [_make_bucket(bucket) for bucket in found.timeline],
        "outside": make_outside_document(found.outside, review.organizations, period, now),
    }


def _make_events(events: Iterable[AuditEvent]) -> list[AuditEventDocument]:
    return [make_event_document(event) for event in events]


def _make_pat(standing: Standing, now: datetime) -> ReviewedPatDocument:
    row, trail = standing.status, standing.trail
    return {
        **make_facts(row),
        "owner": standing.owner,
        "state": row.state,
        "needs_sign_in": row.needs_sign_in,
        "all_organizations": standing.record.all_organizations,
        "managed": prove_or_none(trail.managed),
        "brought_by": trail.brought_by,
        "vault": standing.record.vault,
        "secret_name": standing.record.secret_name,
        "reach": prove_or_none(trail.reach),
        "told": make_reach(trail.told, standing.record),
        "rotated": prove_or_none(trail.rotated),
        "rotate_after": write_moment_or_none(row.rotate_after),
        "age_days": _count_days(now - row.valid_from),
        "age_limit_days": None if row.rotate_after is None else _count_days(row.rotate_after - row.valid_from),
        "rule": standing.rule,
        "age_verdict": judge_age(row, now),
        "days_left": (row.expires_at - now) // _DAY,
    }


def _count_days(span: timedelta) -> int:
    return (2 * span + _DAY) // (2 * _DAY)


def _make_unmanaged(row: PatStatus, policy: Policy) -> UnmanagedPatDocument:
    longest = policy.guardrails.max_lifetime
    return {
        **make_facts(row),
        "too_long": longest is not None and row.expires_at - row.valid_from > longest,
        "last_error": None if row.last_error is None else row.last_error.message,
    }


def _make_spans(spans: Iterable[Span], now: datetime) -> list[SpanDocument]:
    return [_make_span(span, now) for span in sorted(spans, key=lambda span: span.begun.sequence)]


def _make_span(span: Span, now: datetime) -> SpanDocument:
    return {
        "kind": span.kind,
        "subject": span.subject,
        "pat": span.pat,
        "code": span.code,
        "begun": prove(span.begun),
        "ended": prove_or_none(span.ended),
        "seconds": None if (lasted := span.measure(now)) is None else count_seconds(lasted),
    }


def _make_bucket(bucket: Bucket) -> BucketDocument:
    return {
        "begins": write_moment(bucket.begins),
        "ends": write_moment(bucket.ends),
        "begun": bucket.begun,
        "completed": bucket.completed,
        "failed": bucket.failed,
        "revoked": bucket.revoked,
        "first": bucket.first,
        "last": bucket.last,
    }


def _make_policy(review: Review) -> PolicyReviewDocument:
    found = review.findings
    before = found.policy_before
    return {
        "sha256": review.policy.digest,
        "state": review.policy_state,
        "rules": [_make_rule(rule) for rule in review.policy.rules],
        "guardrails": {
            "max_lifetime": _say_or_none(review.policy.guardrails.max_lifetime),
            "deny_scopes": list(review.policy.guardrails.deny_scopes),
            "max_rotations_per_hour": review.policy.guardrails.max_rotations_per_hour,
        },
        "before": None if before is None else make_event_document(before),
        "changes": _make_events(found.policies),
        "changed": found.policies.total,
        "texts": [
            {"sha256": digest, "text": text, "event": prove_or_none(mark)}
            for digest, text, mark in list_policies(review)
        ],
        "silence": None if found.silence is None else _make_silence(found.silence),
    }


def _make_rule(rule: Rule) -> RuleDocument:
    return {
        "name": rule.name,
        "match": {name: pattern for name, pattern in vars(rule.match).items() if pattern is not None},
        "action": rule.action,
        "rotate_before": str(rule.rotate_before),
        "lifetime": _say_or_none(rule.lifetime),
        "overlap": say_duration(rule.overlap),
    }


def _say_or_none(span: timedelta | None) -> str | None:
    return None if span is None else say_duration(span)


def _make_silence(silence: Silence) -> SilenceDocument:
    return {
        "begins": write_moment(silence.begins),
        "ends": write_moment(silence.ends),
        "seconds": count_seconds(silence.ends - silence.begins),
        "after": silence.after,
        "before": silence.before,
    }


def _make_checkpoint(found: Checkpoint) -> CheckpointDocument:
    return {"size": found.size, "head": found.head, "root": found.root, "key": found.key_id}


def _make_misdated(stretch: Misdated) -> MisdatedDocument:
    return {
        "events": stretch.count,
        "first": stretch.first.sequence,
        "last": stretch.last.sequence,
        "ahead_seconds": None if (step := stretch.step) is None else round(step.total_seconds()),
        "dated": write_moment(stretch.first.at),
        "dated_last": write_moment(stretch.last.at),
        "placed": write_moment(stretch.first.happened_at),
        "placed_last": write_moment(stretch.last.happened_at),
    }


def _make_log(log: LogState, found: Findings, checkpoints: int) -> LogReviewDocument:
    unread = {} if log.sight is None else log.sight.unread
    return {
        "valid": log.fault is None,
        "error": None if log.fault is None else make_fault_document(log.fault),
        "events": found.total,
        "archived": 0 if log.summary is None else log.summary.archives.last,
        "began": prove_or_none(found.began),
        "in_period": found.events,
        "first": found.first,
        "last": found.last,
        "unreadable": list(found.unreadable),
        "misdated": [_make_misdated(stretch) for stretch in found.misdated],
        "installation": log.installation,
        "has_key": bool(log.public_keys),
        "public_keys": [spell_public_key(key) for key in log.public_keys],
        "key_problem": log.key_problem,
        "checkpoints": log.checkpoints,
        "checkpoints_in_period": checkpoints,
        "sealed": log.size,
        "signed": log.signed,
        "sealed_at": write_moment_or_none(log.sealed_at),
        "newest_checkpoint": None if log.newest_checkpoint is None else _make_checkpoint(log.newest_checkpoint),
        "late_seal": None if log.summary is None else make_late_seal(log.summary.late),
        "anchored": _make_events(found.anchored),
        "anchors_given": found.anchored.total,
        "anchor_sums": [make_tally(place, tally) for place, tally in sort_tallies(found.anchor_sums)],
        "anchor_places": make_held(() if log.sight is None else log.sight.anchors),
        "vaults_asked": log.sight is not None,
        "anchors_held": 0 if log.sight is None else len(log.sight.anchors),
        "unread": [{"name": name, **make_failure_document(error)} for name, error in unread.items()],
        "accepted": log.accepted,
        "gaps": _make_events(found.gaps),
    }
