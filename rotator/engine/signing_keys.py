"""The keys of the audit log, one after the other: a change of the key is an event that the old key and the new sign.

Who knows one of the two can believe what the other one signed: the old one before the change, the new one after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import SigningKeyChanged
from rotator.domain.key_change import KeyChange, read_key_change
from rotator.engine.auditing import list_named, record
from rotator.engine.context import RunContext, Trust
from rotator.engine.waiting import keep_books
from rotator.errors import ConfigError
from rotator.ports.database import Database, Reading
from rotator.ports.signing import Signer


def follow_keys(database: Database, trust: Trust) -> Trust:
    """Return the same trust, with the changes in the log that hold, and all keys that are believed by them.

    From the keys that the settings name back to the first one, and only then on from them: who has a key that was
    replaced can sign another change with it, and that counts for nothing.
    """
    with database.read() as reading:
        return follow_keys_in(reading, trust)


def load_changes(reading: Reading, trust: Trust | None, signer: Signer | None) -> Mapping[int, KeyChange]:
    """Return the changes of the key in the log that hold by our own key and those that are trusted.

    Anybody who can write the database can write one that no key signed: it must not keep us from our work.
    """
    if trust is None or signer is None:
        return {}
    return follow_keys_in(reading, replace(trust, public_keys=(signer.public_key, *trust.public_keys))).changes


def list_forged_changes(reading: Reading, trust: Trust) -> Iterator[AuditEvent]:
    """Yield the events that tell of a change which does not hold; `trust` is as of `follow_keys`."""
    named = list_named(reading, SigningKeyChanged.type.name)
    return (event for event in named if event.sequence not in trust.changes)


def follow_keys_in(reading: Reading, trust: Trust) -> Trust:
    """Do as `follow_keys` does, inside of a transaction."""
    named = list_named(reading, SigningKeyChanged.type.name)
    found = ((event.sequence, read_key_change(event.entry.details)) for event in named)
    waiting = {number: change for number, change in found if change is not None and _is_signed(change, trust)}
    chain = _Chain(trust)
    chain.grow(waiting, chain.leads_back)
    chain.grow(waiting, chain.leads_on)
    return replace(trust, public_keys=tuple(chain.keys.values()), changes=chain.holding)


def _is_signed(change: KeyChange, trust: Trust) -> bool:
    """Whether the signatures that it has fit; only that of the old key may be lacking."""
    statement = change.make_statement()
    if change.signature is not None and not trust.is_signed(statement, change.signature, change.old_key):
        return False
    return trust.is_signed(statement, change.new_signature, change.new_key)


class _Chain:
    """The changes that hold: one from each key, and one to each key."""

    def __init__(self, trust: Trust) -> None:
        self.keys = {make_key_id(key): key for key in trust.public_keys}
        self._named = frozenset(self.keys)
        self.holding: dict[int, KeyChange] = {}

    def grow(self, waiting: dict[int, KeyChange], leads: Callable[[KeyChange], bool]) -> None:
        """Move each change that holds out of those that wait; first those between keys that the settings name."""

        def order(number: int) -> tuple[bool, int]:
            return not {waiting[number].old_id, waiting[number].new_id} <= self._named, number

        while number := next((n for n in sorted(waiting, key=order) if self._fits(n, waiting[n], leads)), None):
            change = self.holding[number] = waiting.pop(number)
            self.keys.update({change.old_id: change.old_key, change.new_id: change.new_key})

    def leads_back(self, change: KeyChange) -> bool:
        """Whether a key that is believed says which one it followed; it may say that this one was lost."""
        return change.new_id in self.keys

    def leads_on(self, change: KeyChange) -> bool:
        """Whether a key that is believed says which one follows it."""
        return change.old_id in self.keys and change.signature is not None

    def _fits(self, number: int, change: KeyChange, leads: Callable[[KeyChange], bool]) -> bool:
        """Whether it holds beside the others. What a key says of itself was told before another one replaced it."""
        found = self.holding.values()
        if any(change.old_id == other.old_id or change.new_id == other.new_id for other in found):
            return False
        return leads(change) and not any(number > other.size for other in found if other.old_id == change.new_id)


def check_current(signer: Signer | None, changes: Iterable[KeyChange]) -> None:
    """ConfigError if another key replaced ours, by a change that holds: what it signs now would not be believed."""
    ours = None if signer is None else make_key_id(signer.public_key)
    if any(change.old_id == ours for change in changes):
        raise ConfigError(
            [f"the key {ours} was replaced by another one: nothing more can be signed with it"],
            setting="audit.signing_key",
            code="signing_key_replaced",
            fix="Name the new private key there. `rotator audit list --event signing_key_changed` says since when.",
        )


def is_by_another_key(checkpoint: Checkpoint, signer: Signer | None) -> bool:
    """Whether a checkpoint was signed with a key that is not ours."""
    return signer is not None and checkpoint.key_id not in (None, make_key_id(signer.public_key))


def record_change(run: RunContext, last: Checkpoint, changes: Mapping[int, KeyChange]) -> bool:
    """Tell the log that our key follows the one that signed its last checkpoint, unless it knows that.

    Nothing is told of an old key that the settings do not name. While it is written nobody else makes a checkpoint, so
    the old key signs none after it. Return False if somebody else was faster: then look again.
    """
    signer, trust = run.services.signer, run.services.trust
    if signer is None or any(change.new_id == make_key_id(signer.public_key) for change in changes.values()):
        return True
    event = _make_change(run, signer, last)
    if event is None:
        return True

    def write() -> bool:
        with run.services.database.begin() as work:
            if not work.checkpoints.hold(last.size) or load_changes(work, trust, signer).keys() != changes.keys():
                return False
            record(work, run, AUDIT_LOG, event, run.services.clock.now())
            return True

    return keep_books(run.services, write)


def _make_change(run: RunContext, signer: Signer, last: Checkpoint) -> SigningKeyChanged | None:
    old = [found for found in run.services.old_signers if make_key_id(found.public_key) == last.key_id]
    named = run.services.trust.public_keys if run.services.trust else ()
    keys = [found.public_key for found in old] + [key for key in named if make_key_id(key) == last.key_id]
    if not keys:
        return None
    change = KeyChange(last.installation, last.size, last.head, keys[0], signer.public_key)
    statement = change.make_statement()
    signature = old[0].sign(statement) if old else None
    return SigningKeyChanged(**vars(replace(change, signature=signature, new_signature=signer.sign(statement))))
