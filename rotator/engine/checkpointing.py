"""Checkpoints of the audit log are made: before work that changes something, if one is owed, and after it.

Whoever can write the database can write any log and recompute its hashes. A checkpoint that is signed with a key
outside of the database is what such a log cannot have.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from rotator.domain.checkpoint import AT_LEAST_EVERY, AT_MOST_EVERY, ID_LENGTH, SIGNED_WITHIN, Checkpoint, make_key_id
from rotator.domain.events.anchors import LogAnchored
from rotator.domain.events.daemon import DaemonStarted
from rotator.domain.events.places import ValuesRead
from rotator.domain.events.revocations import PatRevoked
from rotator.domain.events.rotations import PatMinted, RotationPlanned
from rotator.domain.key_change import KeyChange
from rotator.domain.merkle import GrowingTree
from rotator.engine.context import RunContext
from rotator.engine.signing_keys import check_current, is_by_another_key, load_changes, record_change
from rotator.engine.waiting import keep_books
from rotator.errors import AuditChainError

_PAGE = 10_000
"""How many hashes one transaction reads."""

_WORK = frozenset(kind.type.name for kind in (DaemonStarted, RotationPlanned, PatMinted, PatRevoked))
"""What only a run or the daemon writes, which seal the log."""

_MOST_TRIES = 3
"""How often a change of the key is told anew, because somebody else made a checkpoint meanwhile."""


def seal(
    run: RunContext, at_most_every: timedelta = AT_MOST_EVERY, *, counts_reads: bool = False, begins: bool = False
) -> Checkpoint | None:
    """Make a checkpoint if the log has grown since the last one, and that is old enough. Return one that was made.

    `counts_reads`: although it grew by nothing but reads of values. `begins`: also as the first one that is signed of a
    log that should have had one long ago. Whoever rewrote it deleted all of them: a person must say that it is ours.
    Of two processes that make one at the same time, one does. What is raised keeps the caller from its work: a log
    that cannot be sealed must not grow by what was done to a PAT.
    """

    signer, trust = run.services.signer, run.services.trust

    def load() -> tuple[Checkpoint | None, int, Mapping[int, KeyChange]]:
        with run.services.database.read() as reading:
            newest = reading.audit.load_newest_number()
            return reading.checkpoints.load_newest(), newest, load_changes(reading, trust, signer)

    for _ in range(_MOST_TRIES):
        last, newest, changes = keep_books(run.services, load)
        check_current(signer, changes.values())
        if last is None or not is_by_another_key(last, signer):
            break
        at_most_every = timedelta(0)
        if record_change(run, last, changes):
            last, newest, changes = keep_books(run.services, load)
            break
    else:
        return None  # hosts with the old key made checkpoints all the while: without the change ours would fit none
    if newest == (last.size if last else 0) or not _is_due(last, run.services.clock.now(), at_most_every):
        return None
    if not begins and _lacks_beginning(run, last):
        return None  # verifying the log tells of it, and a signature would end that
    waits = not counts_reads and not _is_due(last, run.services.clock.now(), AT_LEAST_EVERY)
    if waits and _is_only_read(run, last, newest):
        return None
    made = _make_checkpoint(run, last, newest)

    def write() -> bool:
        with run.services.database.begin() as work:
            is_added = work.checkpoints.add(made, last.size if last else 0)
            check_current(signer, load_changes(work, trust, signer).values())  # after the lock that `add` takes
            return is_added

    return made if keep_books(run.services, write) else None


def _is_due(last: Checkpoint | None, now: datetime, at_most_every: timedelta) -> bool:
    """Whether enough time has passed; a last one that lies ahead, by a clock that was set back, counts for nothing."""
    return last is None or not timedelta(0) <= now - last.made_at < at_most_every


def check_begun(run: RunContext) -> None:
    """AuditChainError if no signed checkpoint covers a log that should have had one long ago."""
    with run.services.database.read() as reading:
        last = reading.checkpoints.load_newest()
    if _lacks_beginning(run, last):
        raise _make_error(1, "is older than a day, and no signed checkpoint covers it, although there is a key")


def _lacks_beginning(run: RunContext, last: Checkpoint | None) -> bool:
    """Whether there is a key, and none signed a log of which rotator worked long ago.

    What people did before rotator first worked needs no checkpoint yet. The first events may be in an archive.
    """
    if run.services.signer is None or (last is not None and last.key_id is not None):
        return False
    with run.services.database.read() as reading:
        if reading.audit.load_newest_number() and reading.audit.load(1) is None:
            return True
        first = reading.audit.load_named(_WORK, 0, 1)
    return any(run.services.clock.now() - event.occurred_at > SIGNED_WITHIN for event in first)


def _is_only_read(run: RunContext, last: Checkpoint | None, newest: int) -> bool:
    """Whether all that happened since is that values were read, as probes do all day: that waits for the daily one."""
    if last is None or (last.key_id is None and run.services.signer is not None):
        return False
    with run.services.database.read() as reading:
        size, name = last.size, ValuesRead.type.name
        return reading.audit.count({name}, size).get(name, 0) == newest - size


def _make_checkpoint(run: RunContext, last: Checkpoint | None, newest: int) -> Checkpoint:
    """Make the checkpoint of the first `newest` events, signed if there is a key."""
    tree, head = _grow(run, last, newest)
    signer = run.services.signer
    checkpoint = Checkpoint(
        size=tree.size,
        head=head,
        root=tree.make_root().hex(),
        installation=_choose_installation(run, last),
        made_at=run.services.clock.now(),
        anchors=_count_anchors(run),
        key_id=make_key_id(signer.public_key) if signer else None,
        peaks=tuple(peak.hex() for peak in tree.peaks),
    )
    return replace(checkpoint, signature=signer.sign(checkpoint.make_statement())) if signer else checkpoint


def _count_anchors(run: RunContext) -> int:
    with run.services.database.read() as reading:
        return reading.audit.count({LogAnchored.type.name}, 0).get(LogAnchored.type.name, 0)


def _choose_installation(run: RunContext, last: Checkpoint | None) -> str:
    """Return whose log it is: by its first key, or before there is one by chance."""
    if last is not None and (last.key_id is not None or run.services.signer is None):
        return last.installation
    if run.services.signer is not None:
        return make_key_id(run.services.signer.public_key)
    return run.services.entropy.make_id().replace("-", "")[:ID_LENGTH]


def _grow(run: RunContext, last: Checkpoint | None, newest: int) -> tuple[GrowingTree, str]:
    """Return the tree over the first `newest` events, grown from the last checkpoint's, and the hash of the newest."""
    if last is None:
        return _add(run, GrowingTree(), "", newest)
    try:
        tree = last.make_tree()
    except ValueError:  # somebody altered the peaks, which follow from the events: verifying the log tells of it
        tree, head = _add(run, _find_tree(run, last.size), last.head, last.size)
        if (tree.make_root().hex(), head) != (last.root, last.head):
            raise _make_error(last.size, "does not end the events that its checkpoint covers") from None
    return _add(run, tree, last.head, newest)


def _find_tree(run: RunContext, size: int) -> GrowingTree:
    """Return the greatest tree that a checkpoint of fewer events has."""
    tree, after = GrowingTree(), 0
    while True:
        with run.services.database.read() as reading:
            page = list(reading.checkpoints.load_after(after, _PAGE))
        for found in page:
            if found.size < size:
                with suppress(ValueError):
                    tree = found.make_tree()
        if len(page) < _PAGE:
            return tree
        after = page[-1].size


def _add(run: RunContext, tree: GrowingTree, head: str, newest: int) -> tuple[GrowingTree, str]:
    """Add the hashes of the events up to a number to a tree; `head` is the hash of the last one that it has."""
    while tree.size < newest:
        after, count = tree.size, min(_PAGE, newest - tree.size)
        for number, digest in _load_hashes(run, after, count):
            if number != tree.size + 1:
                raise _make_error(tree.size + 1, f"is missing: {number} follows")
            tree.add(_decode(number, digest))
            head = digest
        if tree.size == after:
            raise _make_error(after + 1, "is missing")
    return tree, head


def _load_hashes(run: RunContext, after: int, count: int) -> list[tuple[int, str]]:
    with run.services.database.read() as reading:
        return list(reading.audit.load_hashes(after, count))


def _decode(number: int, digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)
    except (TypeError, ValueError) as error:
        raise _make_error(number, "has no hash") from error


def _make_error(sequence: int, what: str) -> AuditChainError:
    return AuditChainError(
        f"the audit log cannot be sealed, so nothing is changed: event {sequence} {what}",
        sequence=sequence,
        expected="an unbroken log",
        found="a gap",
        fix="Keep the database as it is for the investigation, and restore a backup.",
    )
