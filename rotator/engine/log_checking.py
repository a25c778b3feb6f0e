"""Check the audit log: its events, its checkpoints and their signatures, and what was noted of it elsewhere."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.domain.archive import Archive
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import SIGNED_WITHIN, Checkpoint
from rotator.domain.clocks import MOST_SKEW
from rotator.domain.key_change import KeyChange
from rotator.domain.merkle import GrowingTree
from rotator.domain.verified_log import VerifiedLog
from rotator.engine.anchoring import (
    CUT_OFF,
    REWRITTEN,
    Anchor,
    AnchorSight,
    check_gone,
    compare_anchors,
    make_anchor_error,
)
from rotator.engine.archives import LogArchives, check_kept, check_missing, load_archives, load_everything
from rotator.engine.auditing import ChainSummary, check_chain, stream_events
from rotator.engine.context import Trust
from rotator.engine.gaps import NO_ANCHOR, check_forged, check_readable, load_accepted
from rotator.engine.signing_keys import follow_keys
from rotator.errors import AuditChainError
from rotator.ports.archive_file import ArchiveFile
from rotator.ports.database import Database

_PAGE = 500
_FIX = "Keep the database as it is for the investigation; restore a backup elsewhere and compare the logs."
_KEY_FIX = "If the key was replaced, name the public key of before in `audit.public_key` too. If not, " + _FIX


@dataclass(frozen=True)
class LogSummary:
    """An intact log: how many events, the hash of the last (the genesis hash when there are none), its checkpoints.

    `signed` is the size of the greatest checkpoint whose signature holds: so many events nobody can have changed who
    does not have the key. 0 where there is none. `changes` are those of the key, by the number of their event.
    `archives` are those that the log names, with their files if any are at hand. `sealed` is that checkpoint.
    The first `since` events had been verified before, and were not checked again. `forged` are the numbers of events
    that somebody else wrote, as a person has accepted. `ahead` is the checkpoint of the latest time, if that has not
    come yet. `late` is what was sealed latest of all, if that is unusually late.
    """

    events: int
    head: str
    checkpoints: int
    signed: int
    changes: Mapping[int, KeyChange] = field(default_factory=dict)
    archives: LogArchives = field(default_factory=LogArchives)
    sealed: Checkpoint | None = None
    since: int = 0
    forged: tuple[int, ...] = ()
    ahead: Checkpoint | None = None
    late: LateSeal | None = None


@dataclass(frozen=True)
class LateSeal:
    """A signed checkpoint, and the first event that no earlier one covers: it was long after that that it was made."""

    checkpoint: Checkpoint
    first: AuditEvent

    @property
    def lag(self) -> timedelta:
        """How much later it was."""
        return self.checkpoint.made_at - self.first.occurred_at


def verify_log(
    database: Database,
    sight: AnchorSight,
    trust: Trust,
    now: datetime,
    files: Collection[ArchiveFile] = (),
    since: VerifiedLog | None = None,
) -> tuple[LogSummary, int]:
    """Check the log, and that it has all its anchors but for those of a gap that a person accepted.

    `files` are archives of it. `since` is what need not be checked again, where there are neither these nor anchors.
    Return also how many such anchors there are. AuditChainError names the first thing that is wrong.
    """
    accepted = load_accepted(database, trust)
    summary = check_log(database, sight.anchors, trust, now, accepted, files, since)
    check_gone(sight, accepted)
    return summary, sum(not key.startswith(NO_ANCHOR) for key in accepted)


def check_log(
    database: Database,
    anchors: Iterable[Anchor] = (),
    trust: Trust | None = None,
    now: datetime | None = None,
    accepted: Collection[str] = (),
    files: Collection[ArchiveFile] = (),
    since: VerifiedLog | None = None,
) -> LogSummary:
    """Check the log as it is now, all of it or what is new `since` it was last verified.

    Events that are appended meanwhile are left for the next time.

    Of the events in an archive whose file is not at hand, the checkpoint at its end is checked. Without `trust` no
    signature is believed; without `now` a log of any age may do without one. Fetch the anchors before: later ones may
    not be in the log yet; those that are `accepted` may be missing. AuditChainError names the first event, checkpoint,
    archive or anchor that is wrong.
    """
    every, trust = list(anchors), follow_keys(database, trust or Trust((), _believe_nothing))
    while True:
        archives = load_archives(database, trust, files)
        try:
            begin = None if files or every else _find_begin(database, trust, archives, since)
            summary = _check(database, every, trust, now, accepted, archives, begin)
            break
        except AuditChainError as error:
            if load_archives(database, trust, files) == archives:  # else events went into an archive meanwhile
                check_missing(database, archives, error)
                raise
    check_readable(database)
    return replace(summary, forged=check_forged(database, trust))  # last: it stays for ever, and must not hide others


def _check(
    database: Database,
    anchors: Iterable[Anchor],
    trust: Trust,
    now: datetime | None,
    accepted: Collection[str],
    archives: LogArchives,
    begin: _Begin | None,
) -> LogSummary:
    check_kept(database, archives)
    at_hand = [anchor for anchor in anchors if anchor.fault is not None or not archives.covers(anchor.sequence)]
    others = [anchor for anchor in anchors if anchor not in at_hand and anchor.key not in accepted]
    if begin is None:
        walk = _Walk(_load_checkpoints(database), trust, archives.missing, others)
        events, jumps = load_everything(database, archives), archives.make_jumps()
    else:
        found = begin.checkpoint
        walk = _Walk(_load_checkpoints(database, found.size), trust, (), (), begin)
        events, jumps = stream_events(database, found.size), {0: ChainSummary(found.size, found.head)}
    with closing(events):  # or a transaction stays open for as long as somebody looks at the error
        summary = check_chain(walk.follow(compare_anchors(events, at_hand, accepted)), jumps)
    is_old = now is not None and walk.began_at is not None and now - walk.began_at > SIGNED_WITHIN
    if trust.public_keys and not walk.signed and is_old:
        raise AuditChainError(
            "the audit log has no signed checkpoint, although there is a key: they were deleted, or never made",
            sequence=1,
            expected="a checkpoint that is signed",
            found="none",
            fix="If the key is new, `rotator audit accept-gap --reason TEXT` signs the log as it is. If not, " + _FIX,
        )
    return LogSummary(
        summary.events,
        summary.head,
        walk.count,
        walk.signed,
        trust.changes,
        archives,
        walk.sealed,
        begin.checkpoint.size if begin else 0,
        ahead=walk.find_ahead(now),
        late=walk.late,
    )


def _believe_nothing(statement: bytes, signature: str, public_key: str) -> bool:
    return False


@dataclass(frozen=True)
class _Begin:
    """Where a check begins that is not of the whole log: after a checkpoint, of which there are so many by then."""

    checkpoint: Checkpoint
    tree: GrowingTree
    count: int


def _find_begin(database: Database, trust: Trust, archives: LogArchives, since: VerifiedLog | None) -> _Begin | None:
    """Return where to begin; None, at the start, unless the checkpoint that was verified is there and signed."""
    if since is None or since.size < archives.last:
        return None
    found = next(_load_pages(database, since.size, since.size - 1), None)
    if found is None or (found.size, found.head) != (since.size, since.head) or found.signature is None:
        return None
    key = trust.find_key(found.key_id, found.size)
    try:
        tree = found.make_tree()
    except ValueError:
        return None
    is_signed = key is not None and trust.is_signed(found.make_statement(), found.signature, key)
    return _Begin(found, tree, since.checkpoints) if is_signed else None


def _load_checkpoints(database: Database, after: int = 0) -> Iterator[Checkpoint]:
    """Yield the checkpoints that there are now, in order, page by page."""
    with database.read() as reading:
        newest = reading.checkpoints.load_newest()
    return _load_pages(database, newest.size if newest else 0, after)


def _load_pages(database: Database, newest: int, last: int) -> Iterator[Checkpoint]:
    while last < newest:
        page: list[Checkpoint] = []
        failure: AuditChainError | None = None
        with database.read() as reading:
            try:
                page.extend(reading.checkpoints.load_after(last, _PAGE))
            except AuditChainError as error:
                failure = error
        for checkpoint in page:
            if checkpoint.size > newest:
                return
            yield checkpoint
        if failure is not None:
            raise failure
        if not page:
            return
        last = page[-1].size


class _Walk:
    """Follows the events, and holds each checkpoint against them when its size is reached."""

    def __init__(
        self,
        checkpoints: Iterator[Checkpoint],
        trust: Trust,
        missing: Iterable[Archive],
        anchors: Iterable[Anchor],
        begin: _Begin | None = None,
    ) -> None:
        self._checkpoints, self._trust = checkpoints, trust
        after = begin.checkpoint.size if begin else 0
        self._changed = {
            change.size: (number, change) for number, change in trust.changes.items() if change.size > after
        }
        self._missing = {archive.first - 1: archive for archive in missing}
        self._anchors = {anchor.sequence: anchor for anchor in anchors if anchor.is_own}  # only heads of checkpoints
        self._tree = begin.tree if begin else GrowingTree()
        self._last = self.sealed = begin.checkpoint if begin else None
        self._next = next(checkpoints, None)
        self.count = begin.count if begin else 0
        self.began_at: datetime | None = None
        self._latest = self.sealed
        self._first: AuditEvent | None = None
        self.late: LateSeal | None = None

    @property
    def signed(self) -> int:
        """How many events signatures cover."""
        return self.sealed.size if self.sealed else 0

    def find_ahead(self, now: datetime | None) -> Checkpoint | None:
        """Return the checkpoint that says the latest time, if that has not come yet."""
        latest = self._latest
        return latest if latest is not None and now is not None and latest.made_at - now > MOST_SKEW else None

    def follow(self, events: Iterable[AuditEvent]) -> Iterator[AuditEvent]:
        """Yield the events; whoever takes them checks each before asking for the next."""
        self._jump()
        for event in events:
            yield event
            if self.began_at is None:
                self.began_at = event.occurred_at
            self._first = self._first or event
            self._tree.add(bytes.fromhex(event.hash))
            if self._next is not None and self._next.size == event.sequence:
                self._compare(self._next, event)
            if self._missing:
                self._jump()
        for number, change in self._changed.values():
            raise _make_change_error(number, change, "nothing")
        for anchor in self._anchors.values():
            raise make_anchor_error(anchor, "nothing", CUT_OFF)
        if self._next is not None:
            raise _make_error(
                self._next,
                f"the log ends at event {self._tree.size}: it was cut off",
                f"{self._next.size} events",
                f"{self._tree.size} events",
            )

    def _compare(self, found: Checkpoint, event: AuditEvent) -> None:
        begins = (self._last.size if self._last else 0) + 1
        if found.head != event.hash:
            what = f"event {event.sequence} is another one now: the log was rewritten, from event {begins} on or later"
            raise _make_error(found, what, found.head, event.hash)
        root = self._tree.make_root().hex()
        if found.root != root:
            what = f"the events {begins} to {found.size} are not those that it covers"
            raise _make_error(found, what, found.root, root)
        self._pass(found)
        _make_tree(found)

    def _jump(self) -> None:
        """Pass over the events of archives that are not at hand, to the checkpoint at the end of each."""
        while (archive := self._missing.get(self._tree.size)) is not None:
            while self._next is not None and self._next.size < archive.last:
                self._pass(self._next)
            found = self._next
            if found is None or (found.size, found.head) != (archive.last, archive.head):
                raise AuditChainError(
                    f"the checkpoint of {archive.last} audit events, up to which they are in an archive, is not there",
                    sequence=archive.last,
                    expected=archive.head,
                    found="nothing" if found is None or found.size != archive.last else found.head,
                    fix=_FIX,
                    checkpoint=archive.last,
                )
            self._tree = _make_tree(found)
            self._pass(found)

    def _pass(self, found: Checkpoint) -> None:
        if (anchor := self._anchors.pop(found.size, None)) is not None and anchor.hash != found.head:
            raise make_anchor_error(anchor, found.head, REWRITTEN)
        number, change = self._changed.pop(found.size, (0, None))
        if change is not None and change.head != found.head:
            raise _make_change_error(number, change, found.head)
        self._check_signature(found)
        if self._latest is None or found.made_at > self._latest.made_at:
            self._latest = found
        self._last, self._next = found, next(self._checkpoints, None)
        self.count += 1

    def _check_signature(self, found: Checkpoint) -> None:
        if found.key_id is None or found.signature is None:
            if self.sealed:
                raise _make_error(found, "it is not signed, although earlier ones are", "a signature", "none")
            return
        key = self._trust.find_key(found.key_id, found.size)
        if key is None and self._trust.find_key(found.key_id, 0):
            what = f"it is signed with the key {found.key_id}, which had been replaced by then"
            raise _make_error(found, what, "the key that follows it", found.key_id)
        if key is None:
            what = f"it is signed with the key {found.key_id}, which the settings do not name"
            raise _make_error(found, what, "a key of ours", found.key_id, _KEY_FIX)
        if not self._trust.is_signed(found.make_statement(), found.signature, key):
            raise _make_error(found, "its signature does not fit", "a signature that fits", found.signature)
        self.sealed = found
        if self._first is not None:
            late = LateSeal(found, self._first)
            self.late = (
                max(self.late or late, late, key=lambda seal: seal.lag) if late.lag > SIGNED_WITHIN else self.late
            )
            self._first = None


def _make_tree(found: Checkpoint) -> GrowingTree:
    try:
        return found.make_tree()
    except ValueError as error:
        raise _make_error(found, f"it cannot be continued: {error}", found.root, "another root") from error


def _make_change_error(number: int, change: KeyChange, found: str) -> AuditChainError:
    return AuditChainError(
        f"event {number} says that the signing key was changed after event {change.size}, and the log has another "
        f"event there: it was rewritten; expected {change.head}, found {found}",
        sequence=change.size,
        expected=change.head,
        found=found,
        fix=_FIX,
    )


def _make_error(found: Checkpoint, what: str, expected: str, there: str, fix: str = _FIX) -> AuditChainError:
    return AuditChainError(
        f"the checkpoint of {found.size} audit events does not hold: {what}; expected {expected}, found {there}",
        sequence=found.size,
        expected=expected,
        found=there,
        fix=fix,
        checkpoint=found.size,
    )
