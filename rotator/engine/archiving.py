"""Old events of the audit log go into a signed file. What is still needed stays, and the log says where the rest is.

The order makes it safe to die anywhere: the file is written whole and read back, then the log says so and is sealed,
and only then does the database let these events be deleted. Repeating it goes on where it ended.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from rotator.domain.archive import KEPT, Archive, KeptDigest, make_event_line, make_seal_line
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.digest import WEEK
from rotator.domain.events.anchors import LogArchived
from rotator.domain.events.revocations import RevokeStarted
from rotator.engine.archives import LogArchives, check_file, read_statements
from rotator.engine.auditing import CHECKED_PAGE, load_events, record
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext
from rotator.engine.log_checking import check_log
from rotator.engine.signing_keys import follow_keys_in
from rotator.errors import RotatorError, UsageError
from rotator.ports.archive_file import ArchiveFile
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading
from rotator.ports.signing import Signer

_DELETED_AT_ONCE = 5000
"""How many events one transaction deletes: others write in between."""
_PAGE = 1000


@dataclass(frozen=True)
class Limit:
    """Why no event after the one of this number can go into an archive."""

    last: int
    why: str


@dataclass(frozen=True)
class ArchivePlan:
    """What would go into an archive: the events after `before`, which the last archive ends with, up to `checkpoint`.

    None: nothing. `limit` is what keeps the next events in the log. `unfinished` is an archive whose events are still
    to be deleted, which comes first.
    """

    before: int
    checkpoint: Checkpoint | None
    limit: Limit
    unfinished: Archive | None = None

    @property
    def first(self) -> int | None:
        """The number of the first event that goes; None if nothing does."""
        if self.unfinished is not None:
            return self.unfinished.first
        return None if self.checkpoint is None else self.before + 1

    @property
    def last(self) -> int | None:
        """The number of the last event that goes; None if nothing does."""
        if self.unfinished is not None:
            return self.unfinished.last
        return None if self.checkpoint is None else self.checkpoint.size


@dataclass(frozen=True)
class Archived:
    """An archive that was made or finished, and how many events were deleted now."""

    archive: Archive
    deleted: int


def get_signer(run: RunContext) -> Signer:
    """Return what signs. UsageError without a key: nobody could tell such an archive from a forged one."""
    if run.services.signer is None:
        raise UsageError(
            "an archive is signed, and there is no key to sign it with",
            code="no_signing_key",
            fix="Set `audit.signing_key`; `rotator init` makes a key.",
        )
    return run.services.signer


def plan_archive(run: RunContext, before: datetime) -> ArchivePlan:
    """Check the whole log, and return what of it may go: whole checkpoints of what happened before that time.

    Not beyond the slowest receiver, nor what is open, pending or wrong, nor what the weekly digest tells of.
    """
    services = run.services
    get_signer(run)
    archives = check_log(services.database, (), services.trust, services.clock.now()).archives
    if archives.left is not None:
        return ArchivePlan(archives.last, None, Limit(archives.last, ""), archives.named[-1])
    with services.database.read() as reading:
        limit = _find_limit(reading, before, services.clock.now(), archives)
        checkpoint = reading.checkpoints.load_signed(limit.last)
    if checkpoint is None or checkpoint.size <= archives.last:
        checkpoint = None
    return ArchivePlan(archives.last, checkpoint, limit)


def _find_limit(reading: Reading, before: datetime, now: datetime, archives: LogArchives) -> Limit:
    moment, why = min(_list_moments(reading, before, now))
    first = list(reading.audit.load_after(archives.last or None, 1, AuditFilter(since=moment)))
    limits = [Limit(first[0].sequence - 1 if first else reading.audit.load_newest_number(), why)]
    limits += [Limit(found.cursor, f"{found.name} has not heard of them") for found in reading.outbox.load_receivers()]
    limits.append(_find_begun(reading, archives.last, min(limit.last for limit in limits)))
    return min(limits, key=lambda limit: limit.last)


def _list_moments(reading: Reading, before: datetime, now: datetime) -> Iterator[tuple[datetime, str]]:
    yield before, "they are not from before that time"
    yield now - WEEK, "the weekly digest tells of the last week"
    for rotation in reading.journal.load_open():
        yield rotation.created_at, f"a rotation of {rotation.name} is open"
    for item in reading.revocations.load():
        yield item.since, f"a revocation of {item.name} is not proven"
    for condition in reading.conditions.load():
        yield condition.since, f"{condition.kind.value} lasts for {condition.subject}"


def _find_begun(reading: Reading, after: int, last: int) -> Limit:
    """Return the limit by the revocations that were begun of PATs that records still have."""
    current = {pat.authorization_id: pat.name for pat in reading.inventory.load_all() if pat.has_pat}
    while after < last:
        page = reading.audit.load_named({RevokeStarted.type.name}, after, _PAGE)
        for event in page:
            name = current.get(str(event.entry.details.get("authorization_id")))
            if name is not None:
                return Limit(min(last, event.sequence - 1), f"the revocation of {name} is among them")
        if len(page) < _PAGE:
            break
        after = page[-1].sequence
    return Limit(last, "")


def write_archive(run: RunContext, plan: ArchivePlan, file: ArchiveFile) -> Archived:
    """Write what was planned into the file, note that in the log, and delete it there; or finish what was begun.

    AuditChainError when the file, read back, does not hold: then nothing is deleted.
    """
    archive = plan.unfinished
    if archive is None:
        archive = _write(run, plan, file)
    if check_file(file, run.services.trust) != archive:
        raise UsageError(
            f"{file.name} is not the archive of the events {archive.first} to {archive.last}",
            code="archive_file",
            fix="Name that file with --output: its events are deleted from the log only while it is there.",
        )
    if plan.unfinished is None:
        _note(run, archive, file.name)
    seal(run, timedelta(0))
    return Archived(archive, _delete(run, archive))


def _write(run: RunContext, plan: ArchivePlan, file: ArchiveFile) -> Archive:
    checkpoint, signer = plan.checkpoint, get_signer(run)
    if checkpoint is None:
        raise ValueError("there is nothing to archive")
    with run.services.database.read() as reading:
        [first] = reading.audit.load_after(plan.before or None, 1)
    archive = Archive(
        installation=checkpoint.installation,
        first=first.sequence,
        last=checkpoint.size,
        previous_hash=first.previous_hash,
        head=checkpoint.head,
        keeps=" ".join(KEPT),
        kept=0,
        kept_hash="",
        body_hash="",
        key=make_key_id(signer.public_key),
    )
    lines = _Lines(run, archive, signer)
    file.write(lines.make())
    return lines.archive


class _Lines:
    """Makes the lines of a file; afterwards it has the archive as it was sealed."""

    def __init__(self, run: RunContext, archive: Archive, signer: Signer) -> None:
        self._run, self.archive, self._signer = run, archive, signer

    def make(self) -> Iterator[bytes]:
        """Yield the lines, the one that seals the others last."""
        body, kept, plan = hashlib.sha256(), KeptDigest(), self.archive
        for event in self._load(plan):
            line = make_event_line(event)
            body.update(line)
            if plan.is_kept(event):
                kept.add(event)
            yield line
        sealed = replace(plan, kept=kept.count, kept_hash=kept.make_hash(), body_hash=body.hexdigest())
        self.archive = replace(sealed, signature=self._signer.sign(sealed.make_statement()))
        yield make_seal_line(self.archive)

    def _load(self, plan: Archive) -> Iterator[AuditEvent]:
        events = load_events(self._run.services.database, page_size=CHECKED_PAGE, after=plan.first - 1 or None)
        for event in events:
            if event.sequence > plan.last:
                return
            yield event


def _note(run: RunContext, archive: Archive, name: str) -> None:
    """Write into the log that the file has these events, unless another process was quicker."""
    event = LogArchived(**vars(archive), file=name)
    with run.services.database.begin() as work:
        record(work, run, AUDIT_LOG, event, run.services.clock.now())
        trust = run.services.trust
        if read_statements(work, trust and follow_keys_in(work, trust))[0][-1:] != [archive]:
            raise RotatorError(
                "another process has put events into an archive meanwhile",
                code="archived_meanwhile",
                fix="Delete this file, and run the command again.",
            )


def _delete(run: RunContext, archive: Archive) -> int:
    deleted = 0
    while True:
        with run.services.database.begin() as work:
            count = work.audit.delete_archived(archive.last, archive.keeps.split(), _DELETED_AT_ONCE)
        deleted += count
        if count < _DELETED_AT_ONCE:
            return deleted
