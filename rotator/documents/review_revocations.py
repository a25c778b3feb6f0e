"""What was revoked and what is still valid, in the document of `rotator audit report`."""

from __future__ import annotations

from datetime import datetime

from rotator.documents.audit import make_event_document
from rotator.documents.document import write_moment_or_none
from rotator.documents.review_parts import LivingPatDocument, RevocationsDocument, UnseenDocument
from rotator.documents.review_sums import count_seconds, make_tally, prove, prove_or_none, sort_tallies
from rotator.documents.revocation import make_pending_document
from rotator.domain.rotation import Rotation
from rotator.engine.left_behind import LeftBehind
from rotator.engine.review.facts import Findings, Review, Unseen


def make_revocations(review: Review) -> RevocationsDocument:
    """Give what was revoked, and what is still valid."""
    tallies = sorted(review.findings.revocations.items())
    return {
        "requested": sum(tally.requested for _, tally in tallies),
        "proven": sum(tally.proven for _, tally in tallies),
        "unanswered": sum(tally.unanswered for _, tally in tallies),
        "pats": [
            {
                "name": name,
                "requested": tally.requested,
                "proven": tally.proven,
                "slowest_seconds": None if tally.slowest is None else count_seconds(tally.slowest),
                "slowest": prove_or_none(tally.slowest_proof),
                "first": prove_or_none(tally.first),
                "last": prove_or_none(tally.last),
                "events": list(tally.proofs),
            }
            for name, tally in tallies
        ],
        "why": [make_tally(why, tally) for why, tally in sort_tallies(review.findings.revoked_why)],
        "gone": [make_event_document(event) for event in review.findings.revoked],
        "unseen": [_make_unseen(pat, review.made_at) for pat in review.findings.unseen],
        "unseen_found": review.findings.unseen.total,
        "pending": [make_pending_document(item, review.made_at) for item in review.pending],
        "living": [
            *(_make_living(left, review.findings) for left in review.left_behind),
            *(_make_overlapping(rotation, review.findings) for rotation in review.overlapping),
        ],
    }


def _make_unseen(pat: Unseen, now: datetime) -> UnseenDocument:
    most = pat.measure(now)
    return {
        "name": pat.name,
        "authorization_id": pat.authorization_id,
        "late": pat.is_late,
        "asked": prove_or_none(pat.asked),
        "noticed": prove(pat.noticed),
        "gone": prove_or_none(pat.gone),
        "most_seconds": None if most is None else count_seconds(most),
    }


def _make_living(left: LeftBehind, found: Findings) -> LivingPatDocument:
    asked = found.asked.get(left.pat.authorization_id)
    known = found.left.get(left.pat.authorization_id) or (asked.first if asked else None)
    return {
        "name": left.name,
        "authorization_id": left.pat.authorization_id,
        "kind": left.kind,
        "until": None,
        "event": prove_or_none(known),
    }


def _make_overlapping(rotation: Rotation, found: Findings) -> LivingPatDocument:
    trail = found.trails.get(rotation.name)
    return {
        "name": rotation.name,
        "authorization_id": rotation.predecessor_id,
        "kind": "overlap",
        "until": None if rotation.awaited_hooks else write_moment_or_none(rotation.overlap_until),
        "event": prove_or_none(trail.rotated if trail else None),
    }
