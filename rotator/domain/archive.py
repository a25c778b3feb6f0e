"""An archive: old events of the audit log in a file, which its last line seals. Each line is a word and a text.

An event's line is its hash and the text that was hashed, so anybody can check it with a tool that makes SHA-256.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from rotator.domain.audit_event import AuditEntry, AuditEvent, Outcome, spell_event
from rotator.domain.canonical import Scalar, encode_canonical
from rotator.domain.events.anchors import GapAccepted, LogAnchored, LogArchived, SigningKeyChanged
from rotator.domain.events.inventory import PatForgotten
from rotator.domain.events.places import PolicyChanged, SettingsChanged, TimelineChanged, TimelineReconciled

KEPT = tuple(
    sorted(
        event.type.name
        for event in (
            GapAccepted,
            LogAnchored,
            LogArchived,
            PatForgotten,
            PolicyChanged,
            SettingsChanged,
            SigningKeyChanged,
            TimelineChanged,
            TimelineReconciled,
        )
    )
)
"""The events that stay in the log, because what they say is needed for ever. The database deletes none of them."""

_SEAL = "archive"


@dataclass(frozen=True)
class Archive:
    """What one file has: the events `first` to `last`. `previous_hash` and `head` tie it to what is before and after.

    `keeps` are the kinds of event that stay in the log too, `kept` is how many of these there are, `kept_hash` covers
    them. `body_hash` is the SHA-256 of all lines but the last.
    """

    installation: str
    first: int
    last: int
    previous_hash: str
    head: str
    keeps: str
    kept: int
    kept_hash: str
    body_hash: str
    key: str
    signature: str = ""

    def make_statement(self) -> bytes:
        """Return what is signed: everything that the archive says."""
        said: dict[str, Scalar | dict[str, Scalar]] = {**vars(self)}
        del said["signature"]
        return encode_canonical({"purpose": "rotator-audit-archive", "version": 1, **said})

    def is_kept(self, event: AuditEvent) -> bool:
        """Whether an event stays in the log."""
        return event.entry.event in self.keeps.split()


_EXAMPLE = Archive("", 1, 1, "", "", "", 0, "", "", "")


def read_archive(said: Mapping[str, object]) -> Archive:
    """Make an archive of its fields. ValueError when one is missing or of another type."""
    values: dict[str, Any] = {field.name: said.get(field.name) for field in fields(Archive)}
    for field in fields(Archive):
        if type(values[field.name]) is not type(getattr(_EXAMPLE, field.name)):
            raise ValueError(f"the field {field.name} is missing or of another type")
    return Archive(**values)


def make_event_line(event: AuditEvent) -> bytes:
    """Return the line of an event. ValueError for one that cannot be spelled."""
    return f"{event.hash} ".encode() + spell_event(event) + b"\n"


def make_seal_line(archive: Archive) -> bytes:
    """Return the last line of the file."""
    return f"{_SEAL} ".encode() + encode_canonical({**vars(archive)}) + b"\n"


def read_line(line: bytes) -> AuditEvent | Archive:
    """Return what a line says. ValueError for one that is not as it was written, as far as a line can tell."""
    try:
        word, _, text = line.decode().rstrip("\n").partition(" ")
        said = json.loads(text)
        return read_archive(said) if word == _SEAL else _read_event(word, said)
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(f"a field is missing or of another type: {error}") from error


def _read_event(digest: str, said: Mapping[str, object]) -> AuditEvent:
    texts = [said[name] for name in ("event", "subject", "actor", "run_id", "previous_hash", "occurred_at")]
    event, subject, actor, run_id, previous_hash, occurred_at = (text for text in texts if isinstance(text, str))
    sequence, encoding, details = said["sequence"], said.get("encoding", 1), said["details"]
    if type(sequence) is not int or type(encoding) is not int or not isinstance(details, dict):
        raise ValueError("a field is of another type")
    entry = AuditEntry(event, subject, Outcome(str(said["outcome"])), actor, run_id, details)
    return AuditEvent(sequence, datetime.fromisoformat(occurred_at), entry, previous_hash, digest, encoding)


class KeptDigest:
    """Covers, by number and hash, the events of an archive that stay in the log."""

    def __init__(self) -> None:
        self.count = 0
        self._digest = hashlib.sha256()

    def add(self, event: AuditEvent) -> None:
        """Add the next one."""
        self.count += 1
        self._digest.update(f"{event.sequence} {event.hash}\n".encode())

    def make_hash(self) -> str:
        """Return the hash in hex."""
        return self._digest.hexdigest()
