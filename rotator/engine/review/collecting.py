"""Go through the audit log once, event by event, and keep what a review says of a period."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta

from rotator.domain.audit_event import AuditEvent, Detail, Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.events import anchors, inventory, places, revocations, rotations
from rotator.domain.events.catalogue import CATALOGUE
from rotator.domain.events.event import Event
from rotator.domain.period import Period
from rotator.engine.review.by_hand import HandFollower
from rotator.engine.review.dating import Placed
from rotator.engine.review.expiries import ExpiryFollower
from rotator.engine.review.facts import (
    Asked,
    Bucket,
    EventTally,
    Fate,
    Findings,
    PatTrail,
    Reach,
    RevocationTally,
    Silence,
)
from rotator.engine.review.lateness import LateFollower
from rotator.engine.review.marks import Mark, Misdated, Span, SpanSum, Tally
from rotator.engine.review.newest import MOST_ROWS
from rotator.engine.review.overlaps import OverlapFollower
from rotator.engine.review.policies import read_policy
from rotator.engine.review.unseen import UnseenFollower
from rotator.engine.review.values import ValueFollower


def _name(*events: type[Event]) -> frozenset[str]:
    return frozenset(event.type.name for event in events)


EXCEPTIONS = frozenset(
    {
        ConditionKind.ROTATION_BLOCKED,
        ConditionKind.PAT_EXPIRING,
        ConditionKind.PAT_VANISHED,
        ConditionKind.CLONES_ABANDONED,
        ConditionKind.LIFETIME_SHORTENED,
        ConditionKind.PAT_LEFT_BEHIND,
        ConditionKind.REVOCATION_PENDING,
        ConditionKind.ADOPTION_BLOCKED,
    }
)
"""The conditions in which a PAT is not as its policy wants it. All others are failures."""
_KINDS_OF_PATS = frozenset(event.type.begins for event in CATALOGUE.values() if event.type.subject == "managed_pat")
_COMING = _name(inventory.PatAdopted, inventory.PatTakenOver, inventory.CreationStarted)
_REACHING = _name(
    inventory.PatAdopted,
    inventory.PatTakenOver,
    inventory.PatCreated,
    inventory.PatUpdated,
    inventory.PatMoved,
    inventory.PatDrifted,
    inventory.InventoryRebuilt,
)
_ROTATING = _name(rotations.OverlapStarted, inventory.PatCreated)
_LEAVING = _name(inventory.PatForgotten, inventory.CreationDropped)
CHANGES = _REACHING | _COMING | _LEAVING | _name(inventory.PatRenamed, inventory.PatPaused, inventory.PatResumed)
"""How the inventory changed."""
SIGN_INS = _name(
    places.SignInStarted,
    places.SignInRefused,
    places.SignInCompleted,
    places.SignInEndForeseen,
    places.SignInLapsed,
    places.SignInRestored,
    places.SignOutStarted,
    places.SignOutCompleted,
)
_POLICY_CHANGED = places.PolicyChanged.type.name
FAILING = _name(
    rotations.RotationFailed, rotations.RotationBlocked, rotations.RotationFrozen, rotations.RotationAbandoned
)
_WIDTHS = (1, 7, 30, 365, 3_650, 36_500, 3_650_000)
_MOST_BUCKETS = 31


class Collector:
    """Takes every event of the log, in order. `misdated` as `find_misdated` returns them."""

    def __init__(self, period: Period, now: datetime, misdated: Mapping[int, Placed] | None = None) -> None:
        self.found = Findings(timeline=_make_buckets(period, now))
        self._misdated, self._at = misdated or {}, now
        self._stretch: Misdated | None = None
        self._period, self._end, self._now = period, min(period.until, now), now
        self._open: dict[tuple[ConditionKind, str], tuple[Mark, str | None, str | None]] = {}
        self._values = ValueFollower(self.found.values, period, now)
        self._expiries = ExpiryFollower(self.found.values, period)
        self._unseen = UnseenFollower(self.found.unseen, period)
        self._late = LateFollower(self.found.values, period, _REACHING)
        self._by_hand = HandFollower(self.found)
        self._overlaps = OverlapFollower(self.found.values, self.found.asked, period, now)
        self._last: tuple[datetime, int | None] | None = None
        self._always: dict[str, Callable[[AuditEvent], None]] = {
            inventory.PatRenamed.type.name: self._rename,
            revocations.PatRevoked.type.name: self._prove,
            revocations.RevokeStarted.type.name: self._ask,
            revocations.RevocationRequested.type.name: self._ask,
            revocations.RevocationDropped.type.name: self._drop,
            revocations.RevocationResolved.type.name: self._drop,
            inventory.PatLeftBehind.type.name: self._leave,
            inventory.LeftBehindResolved.type.name: self._leave,
            rotations.PredecessorKept.type.name: self._leave,
            _POLICY_CHANGED: self._change_policy,
            anchors.GapAccepted.type.name: self.found.gaps.add,
        }

    def take(self, event: AuditEvent) -> None:
        """Take the next event."""
        self.found.total += 1
        self._at = self._mark(event).happened_at
        if self._last is None:  # before the log there was nothing to be silent
            self._last = max(self._at, self._period.since), None
            self.found.began = self._mark(event)
        self._follow_trail(event)
        self._follow_conditions(event)
        self._follow_rotation(event)
        self._values.take(event, self._mark(event))
        self._overlaps.take(event, self._mark(event), self._list_standing())
        self._expiries.take(event, self._mark(event))
        self._unseen.take(event, self._mark(event))
        self._late.take(event, self._mark(event), self._list_standing())
        self._by_hand.take(event, self._mark(event), is_in_period=self._at in self._period)
        self.found.outside.take(event, is_in_period=self._at in self._period)
        if event.sequence in self._misdated and (self._at in self._period or event.occurred_at in self._period):
            self._note_misdated(event)
        if self._at in self._period:
            self._take_in_period(event)
        if (act := self._always.get(event.entry.event)) is not None:
            act(event)

    def finish(self) -> Findings:
        """Return what was found, with what still lasts."""
        for span in self._list_standing():
            self._add_span(span)
        self._values.finish()
        self._unseen.finish()
        self._late.finish()
        self._overlaps.finish(self._list_standing())
        if self._last is not None:
            self._note_silence(self._end, None)
        return self.found

    def _list_standing(self) -> Iterator[Span]:
        """Yield what is wrong now, in the order in which it began."""
        for (kind, subject), (begun, code, pat) in sorted(self._open.items(), key=lambda item: item[1][0].sequence):
            yield Span(kind, subject, code, begun, pat=pat)

    def _take_in_period(self, event: AuditEvent) -> None:
        found, name = self.found, event.entry.event
        found.events += 1
        found.first = event.sequence if found.first is None else min(found.first, event.sequence)
        found.last = max(found.last or 0, event.sequence)
        self._note_silence(self._at, event.sequence)
        if name in CHANGES:
            found.changes.add(event)
        if name in SIGN_INS:
            found.sign_ins.add(event)
            mark = self._mark(event)
            found.sign_in_sums.setdefault((name, event.entry.subject), Tally(mark, mark)).add(mark)
        if name == anchors.LogAnchored.type.name:
            found.anchored.add(event)
            mark = self._mark(event)
            found.anchor_sums.setdefault(event.entry.subject, Tally(mark, mark)).add(mark)
        if event.entry.outcome in (Outcome.FAILED, Outcome.UNKNOWN):
            tally = found.failed.setdefault(name, EventTally(0, event.sequence, 0))
            tally.count, tally.last = tally.count + 1, event.sequence
        if name == places.ListingDamaged.type.name:
            mark = self._mark(event)
            for identifier in filter(None, str(event.entry.details.get("authorization_ids") or "").split(", ")):
                key = identifier, event.entry.subject
                if key in found.unread_ids or len(found.unread_ids) < MOST_ROWS:
                    found.unread_ids.setdefault(key, Tally(mark, mark)).add(mark)
        if name in FAILING:
            found.failed_pats.add(event.entry.subject)
        self._count_rotations(event)

    def _mark(self, event: AuditEvent) -> Mark:
        if (placed := self._misdated.get(event.sequence)) is None:
            return Mark(event.sequence, event.occurred_at)
        return Mark(event.sequence, event.occurred_at, placed.at, is_guessed=not placed.is_known)

    def _note_misdated(self, event: AuditEvent) -> None:
        known, mark = self._stretch, self._mark(event)
        if known is not None and known.goes_on(mark):
            known.last, known.count = mark, known.count + 1
        else:
            self._stretch = Misdated(mark, mark)
            self.found.misdated.add(self._stretch)

    def _follow_trail(self, event: AuditEvent) -> None:
        name, subject = event.entry.event, event.entry.subject
        if name in _LEAVING:
            self.found.trails.pop(subject, None)
        elif name in _COMING or name in _REACHING or name in _ROTATING:
            trail, mark = self.found.trails.setdefault(subject, PatTrail()), self._mark(event)
            if name in _COMING or trail.managed is None:
                trail.managed, trail.brought_by = mark, event.entry.actor
            if name in _REACHING:
                trail.reach, trail.told = mark, _read_reach(event)
            trail.rotated = mark if name in _ROTATING else trail.rotated

    def _rename(self, event: AuditEvent) -> None:
        """Give what the log says of the old name to the new one. The event is there once for each name."""
        old, new = event.entry.subject, str(event.entry.details.get("new_name"))
        if old == new:
            return
        self._values.rename(old, new)
        self._overlaps.rename(old, new)
        self._expiries.rename(old, new)
        self._unseen.rename(old, new)
        self._late.rename(old, new)
        if old in self.found.trails:
            self.found.trails[new] = self.found.trails.pop(old)
        for kind, subject in [key for key in self._open if key[1] == old and key[0] in _KINDS_OF_PATS]:
            self._open[kind, new] = self._open.pop((kind, subject))

    def _follow_conditions(self, event: AuditEvent) -> None:
        known = CATALOGUE.get(event.entry.event)
        if known is None:
            return
        for kind in known.type.ends:
            if (known_start := self._open.pop((kind, event.entry.subject), None)) is not None:
                begun, code, pat = known_start
                span = Span(kind, event.entry.subject, code, begun, self._mark(event), pat)
                self._add_span(span)
                self._overlaps.take_span(span, self._at)
                self._late.take_span(span)
        if known.type.begins is not None:
            code, pat = (_read_text(event.entry.details.get(name)) for name in ("code", "name"))
            start = self._mark(event), code, pat
            self._open.setdefault((known.type.begins, event.entry.subject), start)

    def _add_span(self, span: Span) -> None:
        """Keep what lasted within the period, if only for a while."""
        if span.begun.happened_at < self._period.until and (
            span.ended is None or span.ended.happened_at >= self._period.since
        ):
            found, is_exception = self.found, span.kind in EXCEPTIONS
            (found.exceptions if is_exception else found.failures).add(span)
            _sum_up(found.exception_sums if is_exception else found.failure_sums, span, self._now)
            if is_exception:
                found.excepted_pats.add(span.subject)
            else:
                if (lasted := span.measure(self._now)) is not None:
                    found.longest_failures.add(span, lasted.total_seconds())
            if span.kind is ConditionKind.SIGN_IN_NEEDED:
                found.without_sign_in.add(span)

    def _change_policy(self, event: AuditEvent) -> None:
        if (text := read_policy(event)) is not None:
            self.found.policy_texts.setdefault(str(event.entry.details.get("sha256")), (self._mark(event), text))
        if self._at < self._period.since:
            self.found.policy_before = event
        elif self._at in self._period:
            self.found.policies.add(event)

    def _count_rotations(self, event: AuditEvent) -> None:
        name, first = event.entry.event, self.found.timeline[0] if self.found.timeline else None
        if first is None:
            return
        begun, completed = name == rotations.RotationPlanned.type.name, name == rotations.RotationCompleted.type.name
        failed, revoked = name in FAILING, name == revocations.PatRevoked.type.name
        place = (self._at - first.begins) // (first.ends - first.begins)
        if (begun or completed or failed or revoked) and place < len(self.found.timeline):
            bucket = self.found.timeline[place]
            bucket.begun += begun
            bucket.completed += completed
            bucket.failed += failed
            bucket.revoked += revoked
            bucket.first, bucket.last = bucket.first or event.sequence, event.sequence

    def _follow_rotation(self, event: AuditEvent) -> None:
        """Keep what became of a rotation that began in the period, whenever that was."""
        name, fates = event.entry.event, self.found.fates
        rotation = str(event.entry.details.get("rotation_id"))
        if name == rotations.RotationPlanned.type.name and self._at in self._period:
            fates[rotation] = Fate.OPEN
        elif rotation in fates and name == rotations.RotationCompleted.type.name:
            fates[rotation] = Fate.COMPLETED
        elif rotation in fates and name == rotations.RotationAbandoned.type.name:
            fates[rotation] = Fate.ABANDONED
        elif fates.get(rotation) is Fate.OPEN and name == revocations.PatRevoked.type.name:
            fates[rotation] = Fate.UNDONE

    def _tally(self, event: AuditEvent) -> RevocationTally:
        return self.found.revocations.setdefault(event.entry.subject, RevocationTally())

    def _ask(self, event: AuditEvent) -> None:
        if (identifier := event.entry.details.get("authorization_id")) is not None:
            self.found.asked.setdefault(str(identifier), Asked(self._mark(event)))
        if event.entry.event != revocations.RevocationRequested.type.name:
            return
        self.found.asked[str(identifier)].is_accepted = True
        if self._at in self._period:
            self._tally(event).requested += 1

    def _prove(self, event: AuditEvent) -> None:
        asked = self.found.asked.pop(str(event.entry.details.get("authorization_id")), None)
        if self._at not in self._period:
            return
        tally = self._tally(event)
        tally.proven += 1
        tally.unanswered += asked is not None and not asked.is_accepted
        tally.proofs.add(event.sequence)
        mark = self._mark(event)
        tally.first, tally.last = tally.first or mark, mark
        self.found.revoked.add(event)
        self.found.revoked_why.setdefault(str(event.entry.details.get("why")), Tally(mark, mark)).add(mark)
        lasted = None if asked is None else asked.first.measure(mark, self._now)
        if lasted is not None and (tally.slowest is None or lasted > tally.slowest):
            tally.slowest, tally.slowest_proof = lasted, mark

    def _drop(self, event: AuditEvent) -> None:
        """Forget a request: the PAT is in use again, or what became of it is told by its id."""
        details = event.entry.details
        self.found.asked.pop(str(details.get("authorization_id", event.entry.subject)), None)

    def _leave(self, event: AuditEvent) -> None:
        entry = event.entry
        if entry.event == inventory.LeftBehindResolved.type.name:
            self.found.left.pop(entry.subject, None)
        else:
            self.found.left[str(entry.details.get("authorization_id", entry.subject))] = self._mark(event)

    def _note_silence(self, at: datetime, sequence: int | None) -> None:
        begins, after = self._last or (self._period.since, None)
        known = self.found.silence
        if at > begins and (known is None or at - begins > known.ends - known.begins):
            self.found.silence = Silence(begins, at, after, sequence)
        if at >= begins:
            self._last = at, sequence


def _sum_up(sums: dict[tuple[str, str], SpanSum], span: Span, now: datetime) -> None:
    begun = span.begun
    known = sums.setdefault((span.kind, span.code or ""), SpanSum(span.kind, span.code, begun, begun, begun))
    lasted = span.measure(now)
    known.count, known.unmeasured = known.count + 1, known.unmeasured + (lasted is None)
    known.total += lasted or timedelta(0)
    known.first = min(known.first, begun, key=lambda mark: mark.sequence)
    known.last = max(known.last, begun, key=lambda mark: mark.sequence)
    if lasted is not None and lasted > known.most:
        known.longest, known.most = begun, lasted


def _read_reach(event: AuditEvent) -> Reach:
    details = event.entry.details
    wide = details.get("all_organizations")
    scope, organization = (_read_text(details.get(name)) for name in ("scope", "organization"))
    return Reach(scope, organization, wide if isinstance(wide, bool) else None)


def _read_text(value: Detail) -> str | None:
    return None if value is None else str(value)


def _make_buckets(period: Period, now: datetime) -> list[Bucket]:
    """Cut the period, up to now, into parts of one width, the last one perhaps shorter."""
    end = min(period.until, max(now, period.since))
    days = next(width for width in _WIDTHS if period.until - period.since <= timedelta(days=width * _MOST_BUCKETS))
    width, buckets, begins = timedelta(days=days), list[Bucket](), period.since
    while begins < end:
        ends = end if end - begins <= width else begins + width
        buckets.append(Bucket(begins, ends))
        begins = ends
    return buckets
