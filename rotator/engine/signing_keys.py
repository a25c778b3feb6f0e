"""The keys of the audit log, one after the other: a change of the key is an event that the old key and the new sign.

Who knows one of the two can believe what the other one signed: the old one before the change, the new one after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.clocks import AUDIT_LOG
from rotator.domain.events.anchors import SigningKeyChanged
from rotator.domain.key_change import KeyChange, read_key_change
from rotator.engine.auditing import record
from rotator.engine.context import RunContext, Trust
from rotator.engine.waiting import keep_books
from rotator.errors import ConfigError
from rotator.ports.database import Database, Reading
from rotator.ports.signing import Signer

_MOST = 1000


def follow_keys(database: Database, trust: Trust) -> Trust:
    """Return the same trust, with the changes in the log that hold, and all keys that are believed by them."""
    with database.read() as reading:
        waiting = load_changes(reading)
    keys, holding = {make_key_id(key): key for key in trust.public_keys}, dict[int, KeyChange]()
    is_growing = True
    while is_growing:  # a key may be believed by a later change, and an earlier change by that key
        is_growing = False
        for number, change in list(waiting.items()):
            if _holds(change, keys, trust):
                holding[number] = waiting.pop(number)
                keys.update({change.old_id: change.old_key, change.new_id: change.new_key})
                is_growing = True
    return replace(trust, public_keys=tuple(keys.values()), changes=holding)


def _holds(change: KeyChange, keys: Collection[str], trust: Trust) -> bool:
    """Whether a key that is believed has signed it, and the other one too, unless the old one was lost.

    The new key alone says that the old one was lost: nobody else can say so.
    """
    statement = change.make_statement()
    if not {change.old_id, change.new_id} & set(keys):
        return False
    if not trust.is_signed(statement, change.new_signature, change.new_key):
        return False
    if change.signature is None:
        return change.new_id in keys
    return trust.is_signed(statement, change.signature, change.old_key)


def load_changes(reading: Reading) -> dict[int, KeyChange]:
    """Load what the log says of changes of the key, whether it holds or not, by the number of the event."""
    events = reading.audit.load_named({SigningKeyChanged.type.name}, 0, _MOST)
    found = ((event.sequence, read_key_change(event.entry.details)) for event in events)
    return {number: change for number, change in found if change is not None}


def check_current(signer: Signer | None, changes: Iterable[KeyChange]) -> None:
    """ConfigError if another key replaced ours: what it signs now would not be believed."""
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


def record_change(run: RunContext, last: Checkpoint, changes: Mapping[int, KeyChange]) -> None:
    """Tell the log that our key follows the one that signed its last checkpoint, unless it knows that.

    Nothing is told of an old key that the settings do not name. While it is written nobody else makes a checkpoint, so
    the old key signs none after it.
    """
    signer = run.services.signer
    if signer is None or any(change.new_id == make_key_id(signer.public_key) for change in changes.values()):
        return
    event = _make_change(run, signer, last)

    def write() -> None:
        with run.services.database.begin() as work:
            if event is not None and work.checkpoints.hold(last.size) and load_changes(work).keys() == changes.keys():
                record(work, run, AUDIT_LOG, event, run.services.clock.now())

    keep_books(run.services, write)


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
