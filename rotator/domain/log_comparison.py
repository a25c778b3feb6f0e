"""Compare the service log with ours: what of it we did, what somebody else did, and what of ours it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.domain.marker import strip_mark
from rotator.domain.service_log import LAG, EntryKind, ServiceLogEntry

EARLY = timedelta(minutes=5)
"""How far an entry may be dated before our request: clocks differ."""
LATE = timedelta(minutes=15)
"""And how far after its answer: a request whose answer was lost may still take effect."""
_SAME_EXPIRY = timedelta(seconds=1)

Span = tuple[datetime, datetime]


def follow_spans(spans: Iterable[Span], begins: datetime) -> datetime:
    """Return up to where spans go on from there without a gap, in whatever order they come."""
    for begin, end in sorted(spans):
        if begin > begins:
            break
        begins = max(begins, end)
    return begins


@dataclass(frozen=True)
class OwnAction:
    """A mint or a revocation of ours, by our audit log: `number` is the event that began it.

    `names` are the display names that its PAT may have; none where we do not know. `is_certain`: it took effect, as far
    as we know; otherwise its answer was lost or was a refusal. `of_any_user`: an administrator made the request, and
    the PAT may be of any user.
    """

    kind: EntryKind
    number: int
    account: str
    organization: str
    name: str
    began_at: datetime
    ended_at: datetime
    is_certain: bool
    names: frozenset[str] = frozenset()
    valid_to: datetime | None = None
    authorization_id: str | None = None
    answer_ids: frozenset[str] = frozenset()
    of_any_user: bool = False


@dataclass(frozen=True)
class LogComparison:
    """What came of it. `explained` entries are our doing; `expired` PATs ended by themselves; `foreign` is the rest.

    `lacking` are mints and revocations of ours that the service log should have and does not; of the `unsettled` ones
    it cannot be said yet.
    """

    explained: tuple[tuple[ServiceLogEntry, OwnAction], ...]
    expired: tuple[ServiceLogEntry, ...]
    foreign: tuple[ServiceLogEntry, ...]
    lacking: tuple[OwnAction, ...]
    unsettled: tuple[OwnAction, ...]


def compare_logs(
    entries: Sequence[ServiceLogEntry],
    actions: Sequence[OwnAction],
    since: datetime,
    until: datetime,
    now: datetime,
    *,
    hides: bool = False,
) -> LogComparison:
    """Compare the entries about one account's PATs in one organization with what we did there.

    Each action explains one entry by what both say, and any entry that has the id of its answer. `hides`: the service
    log has entries that nobody could read, so nothing is lacking for certain.
    """
    matches = _match_by_id(entries, actions)
    known = {action.number for action in matches.values()}
    left = [entry for entry in entries if entry.id not in matches]
    matches |= _match_by_content(left, [action for action in actions if action.number not in known])
    known = {action.number for action in matches.values()}
    rest = [entry for entry in left if entry.id not in matches]
    missed = [action for action in actions if action.is_certain and action.number not in known]
    # At the edges of the period the entry may lie outside.
    inside = [action for action in missed if since + LATE <= action.began_at and action.ended_at <= until - EARLY]
    due = [action for action in inside if not hides and action.ended_at <= now - LAG]
    return LogComparison(
        explained=tuple((entry, matches[entry.id]) for entry in entries if entry.id in matches),
        expired=tuple(entry for entry in rest if entry.kind is EntryKind.EXPIRED),
        foreign=tuple(entry for entry in rest if entry.kind is not EntryKind.EXPIRED),
        lacking=tuple(due),
        unsettled=tuple(action for action in missed if action not in due),
    )


def _match_by_id(entries: Iterable[ServiceLogEntry], actions: Iterable[OwnAction]) -> dict[str, OwnAction]:
    by_id = {(action.kind, answer): action for action in actions for answer in action.answer_ids}
    found = {}
    for entry in entries:
        action = next(filter(None, (by_id.get((entry.kind, answer)) for answer in sorted(entry.answer_ids))), None)
        if action is not None:
            found[entry.id] = action
    return found


def _match_by_content(entries: Sequence[ServiceLogEntry], actions: Sequence[OwnAction]) -> dict[str, OwnAction]:
    """Give each entry the action that fits and is nearest in time; what fits by its expiry comes first."""
    pairs = []
    for entry in entries:
        for action in actions:
            strength = _judge_fit(entry, action)
            if strength is not None:
                pairs.append((strength, abs(entry.at - action.ended_at), entry.id, action))
    found: dict[str, OwnAction] = {}
    used = set[int]()
    for _, _, identifier, action in sorted(pairs, key=lambda pair: (*pair[:3], pair[3].number)):
        if identifier not in found and action.number not in used:
            found[identifier] = action
            used.add(action.number)
    return found


def _judge_fit(entry: ServiceLogEntry, action: OwnAction) -> int | None:
    """Return how well an entry fits an action, 0 being best; None if it does not."""
    if entry.kind is not action.kind or not action.began_at - EARLY <= entry.at <= action.ended_at + LATE:
        return None
    if entry.display_name and action.names:
        if strip_mark(entry.display_name) not in map(strip_mark, action.names):
            return None
        is_named = True
    else:
        is_named = False
    if entry.valid_to is not None and action.valid_to is not None:
        if abs(entry.valid_to - action.valid_to) <= _SAME_EXPIRY:
            return 0
        # Where the answer was lost, nobody knows whether the service shortened the lifetime.
        is_clamped = not action.is_certain and entry.valid_to < action.valid_to
        return 1 if is_clamped and is_named else None
    if is_named:
        return 1
    # A revocation says no more than that; of a mint, or of whoever's PAT, the time alone proves nothing.
    return 2 if action.kind is EntryKind.REVOKED and not action.of_any_user else None
