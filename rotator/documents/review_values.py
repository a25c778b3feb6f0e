"""How long values were in use, in the document of `rotator audit report`."""

from __future__ import annotations

from typing import Annotated, TypedDict

from rotator.documents.document import Moment, write_moment
from rotator.documents.review_parts import ProofDocument
from rotator.documents.review_sums import count_seconds, prove, prove_or_none
from rotator.domain.condition import ConditionKind
from rotator.engine.review.facts import Expired, Late, LongestUse, Outlived, Values


class UseDocument(TypedDict):
    """The values of one managed PAT that were in use in the period, whole or in part."""

    name: Annotated[str, "Name of the PAT in rotator."]
    values: Annotated[int, "How many values there were."]
    longest_seconds: Annotated[int, "The longest time that one of them was in use."]
    begun: Annotated[ProofDocument, "When consumers got that value, or when it was adopted."]
    ended: Annotated[ProofDocument | None, "When consumers got the next one. Null: it is in use."]


class OutlivedDocument(TypedDict):
    """An old PAT that was not gone 15 minutes after its overlap."""

    name: Annotated[str, "Name of the PAT in rotator."]
    authorization_id: Annotated[str, "Id of the old PAT at Azure DevOps."]
    told: Annotated[ProofDocument, "The event that named the end of the overlap."]
    until: Annotated[Moment, "When the overlap ended."]
    asked: Annotated[ProofDocument | None, "When its revocation was first requested. Null: the log has no request."]
    accepted: Annotated[bool, "Whether an answer says that a request was accepted."]
    gone: Annotated[ProofDocument | None, "When the PAT was proven gone. Null: it is not yet."]
    seconds: Annotated[int, "How long it was there beyond its overlap."]
    began_again: Annotated[
        ProofDocument | None,
        "When the overlap began again, because another value had been in the secret. Null: it did not.",
    ]
    cause: Annotated[
        ConditionKind | None,
        "What was wrong for longest meanwhile, of what its end needs: the PAT, account, organization or vault. Null: "
        "nothing that the log tells of.",
    ]
    cause_code: Annotated[str | None, "Stable name of that cause. Null: its event names none."]
    cause_event: Annotated[ProofDocument | None, "The event that told of it. Null: there was no such cause."]


class CauseDocument(TypedDict):
    """Something that was wrong."""

    kind: Annotated[ConditionKind, "What was wrong."]
    code: Annotated[str | None, "Stable name of the cause. Null: its event names none."]
    begun: Annotated[ProofDocument, "The event that told of it."]


class ExpiredDocument(TypedDict):
    """A PAT that had expired before consumers got a new value, as far as the log says until when it was valid."""

    name: Annotated[str, "Name of the PAT in rotator."]
    authorization_id: Annotated[str, "Id of the old PAT at Azure DevOps."]
    told: Annotated[ProofDocument, "The event that said until when it was valid."]
    until: Annotated[Moment, "When it expired."]
    replaced: Annotated[ProofDocument, "When consumers got a new value."]
    seconds: Annotated[int, "How long that was after the expiry."]


class LateDocument(TypedDict):
    """A rotation that began more than a day after the policy asked for it."""

    name: Annotated[str, "Name of the PAT in rotator."]
    authorization_id: Annotated[str, "Id of the old PAT at Azure DevOps."]
    due_at: Annotated[Moment, "From when on the policy asked for it, as the event says that began it."]
    changed: Annotated[
        ProofDocument | None,
        "The last change of the policy or of the PAT after that: it counts from there. Null: there was none.",
    ]
    begun: Annotated[ProofDocument, "When it began."]
    seconds: Annotated[int, "How late that was."]
    causes: Annotated[list[CauseDocument], "What was wrong meanwhile, of what it needs, the longest first."]
    paused: Annotated[ProofDocument | None, "When a person had paused the PAT. Null: nobody had."]
    tried: Annotated[list[int], "Events that began earlier rotations of the same PAT: the newest."]


class ValuesDocument(TypedDict):
    """How long values were in use, and which old PATs were valid for longer than their overlap."""

    uses: Annotated[list[UseDocument], "Values in use, by managed PAT."]
    outlived: Annotated[list[OutlivedDocument], "Old PATs that outlived their overlap, the newest."]
    outlived_found: Annotated[int, "How many there were."]
    outlived_seconds: Annotated[int, "How long all of them were there beyond their overlap, together."]
    outlived_longest: Annotated[OutlivedDocument | None, "The one that did so for longest. Null: none did."]
    expired: Annotated[list[ExpiredDocument], "PATs that expired before consumers got a new value, the newest."]
    expired_found: Annotated[int, "How many there were."]
    expired_seconds: Annotated[int, "How long that was in all, after each expiry."]
    late: Annotated[list[LateDocument], "Rotations that began late, one for each old PAT, the newest."]
    late_found: Annotated[int, "How many there were."]
    late_seconds: Annotated[int, "How late all of them were, together."]
    undated: Annotated[int, "Rotations of an earlier version of rotator, whose events do not say if they were due."]


def make_values(values: Values) -> ValuesDocument:
    """Give them."""
    return {
        "uses": [_make_use(name, use) for name, use in sorted(values.uses.items())],
        "outlived": [_make_outlived(row) for row in values.outlived],
        "outlived_found": values.outlived.total,
        "outlived_seconds": count_seconds(values.beyond),
        "outlived_longest": None if values.longest is None else _make_outlived(values.longest),
        "expired": [_make_expired(row) for row in values.expired],
        "expired_found": values.expired.total,
        "expired_seconds": count_seconds(values.expired_beyond),
        "late": [_make_late(row) for row in values.late],
        "late_found": values.late.total,
        "late_seconds": count_seconds(values.late_beyond),
        "undated": values.undated,
    }


def _make_use(name: str, use: LongestUse) -> UseDocument:
    return {
        "name": name,
        "values": use.count,
        "longest_seconds": count_seconds(use.lasted),
        "begun": prove(use.begun),
        "ended": prove_or_none(use.ended),
    }


def _make_outlived(row: Outlived) -> OutlivedDocument:
    return {
        "name": row.name,
        "authorization_id": row.authorization_id,
        "told": prove(row.told),
        "until": write_moment(row.until),
        "asked": None if row.asked is None else prove(row.asked.first),
        "accepted": row.asked is not None and row.asked.is_accepted,
        "gone": prove_or_none(row.gone),
        "seconds": count_seconds(row.beyond),
        "began_again": prove_or_none(row.restored),
        "cause": None if row.cause is None else row.cause.kind,
        "cause_code": None if row.cause is None else row.cause.code,
        "cause_event": None if row.cause is None else prove(row.cause.begun),
    }


def _make_expired(row: Expired) -> ExpiredDocument:
    return {
        "name": row.name,
        "authorization_id": row.authorization_id,
        "told": prove(row.told),
        "until": write_moment(row.until),
        "replaced": prove(row.replaced),
        "seconds": count_seconds(row.beyond),
    }


def _make_late(row: Late) -> LateDocument:
    return {
        "name": row.name,
        "authorization_id": row.authorization_id,
        "due_at": write_moment(row.due_at),
        "changed": prove_or_none(row.changed),
        "begun": prove(row.begun),
        "seconds": count_seconds(row.beyond),
        "causes": [{"kind": span.kind, "code": span.code, "begun": prove(span.begun)} for span in row.causes],
        "paused": prove_or_none(row.paused),
        "tried": list(row.tried),
    }
