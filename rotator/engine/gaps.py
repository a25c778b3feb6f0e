"""What a person accepted of the audit log: what a restored database is known to lack, and events that are forged.

Both are taken note of by an event that our key signs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.domain.anchor import make_gap_statement
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import GapAccepted, LogArchived, SigningKeyChanged
from rotator.engine.anchoring import fetch_anchors, find_missing
from rotator.engine.archives import load_archives, read_statements
from rotator.engine.auditing import list_named, load_events, read_named, record
from rotator.engine.checkpointing import check_begun, seal
from rotator.engine.context import RunContext, Trust
from rotator.engine.signing_keys import follow_keys, list_forged_changes
from rotator.errors import AuditChainError
from rotator.ports.database import Database, Reading

FORGED = "forged:"
"""How the key of a forged event begins."""

UNSIGNED = "unsigned:"
"""How the key of the last event begins of a log that no signed checkpoint covered, although there was a key."""

NO_ANCHOR = (FORGED, UNSIGNED)
"""How the keys begin of what no anchor names."""


def accept_gap(run: RunContext) -> list[str]:
    """Record what the log lacks of its anchors, the forged events in it, and that it was not signed, although it should
    have been; signed if there is a key. Seal that.

    Return it; nothing is fine.
    """
    sight = fetch_anchors(run)
    accepted = load_accepted(run.services.database, run.services.trust)
    forged = [found.key for found in list_forged(run.services.database, run.services.trust)]
    trust = run.services.trust
    archives = load_archives(run.services.database, trust and follow_keys(run.services.database, trust))
    sight = replace(sight, anchors=tuple(anchor for anchor in sight.anchors if not archives.covers(anchor.sequence)))
    events = load_events(run.services.database, after=archives.last or None)
    lacking = (*find_missing(events, sight), *forged, *_name_unsigned(run))
    missing = [key for key in lacking if key not in accepted]
    if not missing:
        return missing
    with run.services.database.read() as reading:
        newest = reading.checkpoints.load_newest()
    event = GapAccepted(missing=" ".join(missing), installation=newest.installation if newest else "")
    if (signer := run.services.signer) is not None:
        statement = make_gap_statement(event.installation, missing)
        event = event.changed(key=make_key_id(signer.public_key), signature=signer.sign(statement))
    with run.services.database.begin() as work:
        record(work, run, AUDIT_LOG, event, run.services.clock.now())
    seal(run, timedelta(0), begins=True)
    return missing


def _name_unsigned(run: RunContext) -> Iterator[str]:
    try:
        check_begun(run)
    except AuditChainError:
        with run.services.database.read() as reading:
            last = reading.audit.load_head()
        if last is not None:
            yield f"{UNSIGNED}{last.sequence}:{last.hash[:16]}"


def load_accepted(database: Database, trust: Trust | None) -> frozenset[str]:
    """Return what the log is known to lack, as anchors name it. With a key, what is not signed does not count."""
    trust = trust and follow_keys(database, trust)
    with database.read() as reading:
        events = list_named(reading, GapAccepted.type.name)
        return frozenset(key for event in events if _is_valid(event, trust) for key in _list_missing(event))


@dataclass(frozen=True)
class Forged:
    """An event of a kind that rotator always signs, which no key of ours signed: somebody else wrote it."""

    event: AuditEvent
    why: str

    @property
    def key(self) -> str:
        """How a person accepts it, as they do a gap."""
        return f"{FORGED}{self.event.sequence}:{self.event.hash[:16]}"


def check_forged(database: Database, trust: Trust) -> tuple[int, ...]:
    """Return the numbers of the forged events that a person has accepted. AuditChainError names the first other one."""
    forged = list_forged(database, trust)
    accepted = load_accepted(database, trust) if forged else frozenset()
    for found in forged:
        if found.key not in accepted:
            event = found.event
            raise AuditChainError(
                f"event {event.sequence}, {event.entry.event}, is forged: it counts for nothing, because "
                f"{found.why}. All else is as it was written",
                sequence=event.sequence,
                expected="a signature of ours",
                found=str(event.entry.details.get("new_signature") or event.entry.details.get("signature") or "none"),
                fix="Find out who can write the database; after that `rotator audit accept-gap --reason TEXT` records "
                "it. If your signing key was replaced after its loss, name the new public key in `audit.public_key`.",
            )
    return tuple(found.event.sequence for found in forged)


def check_readable(database: Database) -> None:
    """AuditChainError for the first event of these kinds that cannot be read; what counts may be in it."""
    with database.read() as reading:
        for kind in (SigningKeyChanged, GapAccepted, LogArchived):
            for found in read_named(reading, kind.type.name):
                if isinstance(found, AuditChainError):
                    raise found


def list_forged(database: Database, trust: Trust | None) -> list[Forged]:
    """Return the changes of the key, accepted gaps and archives that no key of ours signed; none without a key.

    What does not hold is looked at again by the keys of now: the key may have been changed meanwhile.
    """
    if trust is None or not trust.public_keys:
        return []
    if found := _list_unsigned(database, follow_keys(database, trust)):
        numbers = {forged.event.sequence for forged in found}
        again = _list_unsigned(database, follow_keys(database, trust))
        found = [forged for forged in again if forged.event.sequence in numbers]
    return sorted(found, key=lambda forged: forged.event.sequence)


def _list_unsigned(database: Database, trust: Trust) -> list[Forged]:
    why = "no key of ours signed it"
    with database.read() as reading:
        gaps = (event for event in list_named(reading, GapAccepted.type.name) if not _is_valid(event, trust))
        events = [*list_forged_changes(reading, trust), *(event for event in gaps if _had_key(reading, event))]
        doubted = read_statements(reading, trust)[1]
    return [*(Forged(event, why) for event in events), *(Forged(found.event, f"it {found.why}") for found in doubted)]


def _had_key(reading: Reading, event: AuditEvent) -> bool:
    """Whether an event has a signature, or the log was signed before it: else it is from before there was a key."""
    return "signature" in event.entry.details or reading.checkpoints.load_signed(event.sequence) is not None


def _list_missing(event: AuditEvent) -> list[str]:
    return str(event.entry.details.get("missing", "")).split()


def _is_valid(event: AuditEvent, trust: Trust | None) -> bool:
    if trust is None or not trust.public_keys:
        return True
    details = event.entry.details
    statement = make_gap_statement(str(details.get("installation", "")), _list_missing(event))
    key = trust.find_key(details.get("key"), event.sequence)
    return key is not None and trust.is_signed(statement, str(details.get("signature", "")), key)
