"""The audit chain's head, as noted in the vault with every secret: what makes a truncated log visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from rotator.domain.audit_event import AuditEvent
from rotator.domain.events.places import AnchorRead
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.tags import AUDIT_HEAD_TAG
from rotator.errors import AuditChainError, RotatorError
from rotator.ports.secret_store import SecretLocation


@dataclass(frozen=True)
class Anchor:
    """A head of the chain that a secret's version carries: the event's number and its hash."""

    name: str
    sequence: int
    hash: str


@dataclass(frozen=True)
class AnchorSight:
    """The anchors that could be read, and for the name of each other ManagedPat why its anchors could not."""

    anchors: tuple[Anchor, ...]
    unread: Mapping[str, RotatorError]


def fetch_anchors(run: RunContext) -> AnchorSight:
    """Return the anchors in all versions of all managed secrets. A vault that cannot be read hides no other one's."""
    with run.services.database.read() as reading:
        pats = reading.inventory.load_all()
    found: list[Anchor] = []
    unread: dict[str, RotatorError] = {}
    for pat in pats:
        run.progress(AnchorRead(), pat.name)
        try:
            with naming_bugs("the other secrets were read"):
                versions = run.services.secrets.fetch_versions(SecretLocation.of(pat))
        except RotatorError as error:
            unread[pat.name] = error
            continue
        for version in versions:
            number, _, digest = version.tags.get(AUDIT_HEAD_TAG, "").partition(":")
            if number.isdecimal() and digest:
                found.append(Anchor(pat.name, int(number), digest))
    return AnchorSight(tuple(found), unread)


def compare_anchors(events: Iterable[AuditEvent], anchors: Iterable[Anchor]) -> Iterator[AuditEvent]:
    """Yield the events, and look for every anchor in them. AuditChainError when one is missing or does not match."""
    wanted: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        wanted.setdefault(anchor.sequence, []).append(anchor)
    for event in events:
        for anchor in wanted.pop(event.sequence, ()):
            if anchor.hash != event.hash:
                raise _make_error(anchor, event.hash, "has other content now: the log was rewritten")
        yield event
    for sequence in sorted(wanted):
        raise _make_error(wanted[sequence][0], "nothing", "is gone: the log was cut off")


def _make_error(anchor: Anchor, found: str, what: str) -> AuditChainError:
    return AuditChainError(
        f"audit event {anchor.sequence}, which the vault's tags name beside the secret of {anchor.name}, {what}: "
        f"expected {anchor.hash}, found {found}",
        sequence=anchor.sequence,
        expected=anchor.hash,
        found=found,
        fix="Find out who can write the database; a database restored from a backup shows this too.",
    )
