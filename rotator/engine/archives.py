"""The archives that the audit log names: whether their files hold, and what stays in the log of the events in them."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rotator.domain.archive import Archive, KeptDigest, read_archive, read_line
from rotator.domain.audit_event import GENESIS_HASH, AuditEvent
from rotator.domain.events.anchors import LogArchived
from rotator.engine.auditing import (
    CHECKED_PAGE,
    ChainSummary,
    check_chain,
    check_event,
    list_named,
    load_events,
    read_named,
    stream_events,
)
from rotator.engine.context import Trust
from rotator.errors import AuditChainError
from rotator.ports.archive_file import ArchiveFile
from rotator.ports.database import Database, Reading

_FIX = "Keep the database and the file as they are for the investigation, and compare them with copies."


@dataclass(frozen=True)
class DoubtedArchive:
    """An event that names an archive which counts for nothing, and why: anybody with the database can write one."""

    event: AuditEvent
    why: str
    archive: Archive | None = None


@dataclass(frozen=True)
class LogArchives:
    """The archives that the log names, in order, and the files of those that are at hand.

    `left` is the number of the first event that an archive has and that still is to be deleted from the log.
    `doubted` are those that count for nothing.
    """

    named: tuple[Archive, ...] = ()
    files: Mapping[Archive, ArchiveFile] | None = None
    left: int | None = None
    doubted: tuple[DoubtedArchive, ...] = ()

    @property
    def last(self) -> int:
        """The number of the last event that an archive has; 0 if there is none."""
        return self.named[-1].last if self.named else 0

    @property
    def missing(self) -> tuple[Archive, ...]:
        """Those whose file is not at hand."""
        return tuple(found for found in self.named if found not in (self.files or {}))

    def make_jumps(self) -> dict[int, ChainSummary]:
        """Return after which number events are missing, and where the chain goes on."""
        return {found.first - 1: ChainSummary(found.last, found.head) for found in self.missing}

    def covers(self, number: int) -> bool:
        """Whether the event of that number is in a file that is not at hand."""
        return any(found.first <= number <= found.last for found in self.missing)


def load_archives(database: Database, trust: Trust | None, files: Iterable[ArchiveFile] = ()) -> LogArchives:
    """Load what the log says of its archives, and check it; and that each file is one of these, as it was sealed.

    AuditChainError for a file, and without a key for a statement that does not hold. With one, such a statement counts
    for nothing: only we can sign one.
    """
    left = None
    with database.read() as reading:
        named, doubted = read_statements(reading, trust)
        if named:
            left = reading.audit.find_first(named[-1].keeps.split())
    if doubted and (trust is None or not trust.public_keys):
        found = doubted[0]
        raise _make_error(found.event.sequence, f"event {found.event.sequence} {found.why}", "", "")
    sights = {_check_file(file, named, trust): file for file in files}
    is_left = left is not None and left <= named[-1].last
    return LogArchives(tuple(named), sights, left if is_left else None, tuple(doubted))


def read_statements(reading: Reading, trust: Trust | None) -> tuple[list[Archive], list[DoubtedArchive]]:
    """Return the archives that the log names, each the next one and signed by us, and the events that name others."""
    named: list[Archive] = []
    doubted: list[DoubtedArchive] = []
    for event in list_named(reading, LogArchived.type.name):
        try:
            archive = read_archive(event.entry.details)
        except ValueError as error:
            doubted.append(DoubtedArchive(event, f"names no archive: {error}"))
            continue
        fault = _find_fault_of_statement(archive, named[-1] if named else None, trust, event.sequence)
        if fault is None:
            named.append(archive)
        else:
            doubted.append(DoubtedArchive(event, f"names an archive that {fault}", archive))
    return named, doubted


def _find_fault_of_statement(archive: Archive, before: Archive | None, trust: Trust | None, number: int) -> str | None:
    """Say why an archive is not the next one, signed with a key of ours; None if it is."""
    if trust is not None and trust.public_keys and (fault := find_fault(archive, trust, number)) is not None:
        return fault
    last, head = (before.last, before.head) if before else (0, GENESIS_HASH)
    follows = (archive.first, archive.previous_hash) == (last + 1, head) and archive.last >= archive.first
    said = f"expected {last + 1} {head}, found {archive.first} {archive.previous_hash}"
    return None if follows else f"does not follow the one before it: {said}"


def check_missing(database: Database, archives: LogArchives, error: AuditChainError) -> None:
    """Name the event that says falsely where an event is that the log lacks, with what the check found.

    Do nothing if the log has that event, or no event says so.
    """
    with database.read() as reading:
        found = reading.audit.load_after(error.sequence - 1, 1) if type(error.sequence) is int else iter(())
        try:
            if any(event.sequence == error.sequence for event in found):
                return
        except AuditChainError:
            return
        unread = [bad for bad in read_named(reading, LogArchived.type.name) if isinstance(bad, AuditChainError)]
    for doubted in archives.doubted:
        archive, number = doubted.archive, doubted.event.sequence
        if archive is None or archive.first <= error.sequence <= archive.last:
            what = f"event {number} {doubted.why}; without that, {error.message}"
            raise _make_error(number, what, "", "") from error
    for bad in unread:
        raise _make_error(bad.sequence, f"{bad.message}; and {error.message}", "", "") from error


def find_fault(archive: Archive, trust: Trust, number: int) -> str | None:
    """Say why an archive's signature is not believed that was made after so many events; None if it is."""
    key = trust.find_key(archive.key, number)
    if key is None:
        return f"is signed with the key {archive.key}, which the settings do not name"
    if not trust.is_signed(archive.make_statement(), archive.signature, key):
        return "has a signature that does not fit"
    return None


def check_file(file: ArchiveFile, trust: Trust | None) -> Archive:
    """Return what a file's last line says, if its events are those that it covers, and it is signed by a key of ours.

    AuditChainError names the first event that is wrong, and the file.
    """
    digest, last = hashlib.sha256(), b""
    for line in file.read():
        digest.update(last)
        last = line
    try:
        archive = read_line(last)
    except ValueError as error:
        raise _make_file_error(file, 0, f"its last line does not seal it: {error}") from error
    if not isinstance(archive, Archive):
        raise _make_file_error(file, archive.sequence, "its end is missing, with the line that seals it")
    if digest.hexdigest() != archive.body_hash:
        _name_altered(file, archive)
    fault = "cannot be checked without a public key" if trust is None else find_fault(archive, trust, archive.last)
    if fault is not None:
        raise _make_file_error(file, archive.last, f"it {fault}")
    return archive


def _check_file(file: ArchiveFile, named: Sequence[Archive], trust: Trust | None) -> Archive:
    archive = check_file(file, trust)
    if named and archive.installation != named[0].installation:
        raise _make_file_error(file, 0, f"it is of another installation: {archive.installation}")
    if archive not in named:
        what = f"no `log_archived` of this log names it (events {archive.first} to {archive.last})"
        raise _make_file_error(file, archive.last, what)
    return archive


def _name_altered(file: ArchiveFile, archive: Archive) -> None:
    """Raise the error that names the first event of a file that is not as it was; it may be that none can be named."""
    before = ChainSummary(archive.first - 1, archive.previous_hash)
    try:
        found = check_chain(read_events(file), {0: before} if before.events else {})
    except AuditChainError as error:
        raise _make_file_error(file, error.sequence, error.message) from error
    what = f"it has the events up to {found.events}, and they are not those that were sealed"
    raise _make_file_error(file, min(found.events + 1, archive.last), what)


def read_events(file: ArchiveFile) -> Iterator[AuditEvent]:
    """Yield the events of a file. AuditChainError for a line that cannot be read."""
    for number, line in enumerate(file.read(), start=1):
        try:
            found = read_line(line)
        except ValueError as error:
            raise _make_file_error(file, number, f"line {number} cannot be read: {error}") from error
        if isinstance(found, AuditEvent):
            yield found


def load_everything(database: Database, archives: LogArchives) -> Generator[AuditEvent, None, None]:
    """Yield all events that are at hand, in order: of the files, and those of the log that no archive has."""
    later = stream_events(database, archives.last or None)
    files = archives.files or {}
    for archive in archives.named:
        if archive in files:
            yield from read_events(files[archive])
    yield from later


def check_kept(database: Database, archives: LogArchives) -> None:
    """Check what the log still has of the events in archives: what is kept, and what is still to be deleted.

    Deleting goes from the first number on, so the rest is a chain that ends where the last archive does.
    """
    if not archives.named:
        return
    waiting, digest = list(archives.named), KeptDigest()
    chain: tuple[int, str] | None = None
    for event in load_events(database, page_size=CHECKED_PAGE):
        if event.sequence > archives.last:
            break
        while event.sequence > waiting[0].last:
            _check_digest(waiting.pop(0), digest)
            digest = KeptDigest()
        check_event(event)
        if waiting[0].is_kept(event):
            digest.add(event)
        if chain is None and archives.left is not None and event.sequence >= archives.left:
            chain = event.sequence - 1, event.previous_hash
        if chain is not None:
            if chain != (event.sequence - 1, event.previous_hash):
                raise _make_left_error(event.sequence)
            chain = event.sequence, event.hash
    for archive in waiting:
        _check_digest(archive, digest)
        digest = KeptDigest()
    if archives.left is not None and chain != (archives.last, archives.named[-1].head):
        raise _make_left_error(archives.left)


def _check_digest(archive: Archive, digest: KeptDigest) -> None:
    if (digest.count, digest.make_hash()) != (archive.kept, archive.kept_hash):
        raise _make_error(
            archive.last,
            f"of events {archive.first} to {archive.last}, which are in an archive, the log keeps others than it did",
            f"{archive.kept} events, {archive.kept_hash}",
            f"{digest.count} events, {digest.make_hash()}",
        )


def _make_left_error(number: int) -> AuditChainError:
    what = f"audit event {number} is in an archive, and what the log has of it is not what was archived"
    return _make_error(number, what, "an event of the archive, or none", "another one")


def _make_error(sequence: int, message: str, expected: str, found: str) -> AuditChainError:
    said = f"{message}: expected {expected}, found {found}" if expected or found else message
    return AuditChainError(said, sequence=sequence, expected=expected, found=found, fix=_FIX)


def _make_file_error(file: ArchiveFile, sequence: int, what: str) -> AuditChainError:
    return AuditChainError(
        f"the archive {file.name} does not hold: {what}",
        sequence=sequence,
        expected="the archive as it was sealed",
        found=what,
        fix="Get another copy of the file, and find out who could write this one.",
        archive=file.name,
    )
