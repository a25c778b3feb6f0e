"""Intents that the vault names and the database does not know: it is behind, and their mints may have made PATs.

Each is entered into the journal as a closed rotation whose mint was sent. Then what it may have made is a late mint
like any other: it is revoked once it is proven ours, and nothing else accounts for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta

from rotator.domain.events.rotations import UnknownIntentFound
from rotator.domain.intent import Intent, make_look, read_intents, write_intents
from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.marker import carries_mark, make_marked_name, strip_mark
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.claiming import ClaimedPat
from rotator.engine.tags import INTENT_TAG, ROTATION_TAG
from rotator.ports.secret_store import SecretVersion

UNKNOWN_INTENT = "unknown_intent"
"""The code of the failure of such a rotation."""
_LOST = Failure(
    UNKNOWN_INTENT,
    "the vault names this rotation and the database did not know it: it was restored, or lost its last commits",
    "Nothing to do: if its mint made a PAT, a later run revokes that, or `rotator scan` shows it.",
)

Look = tuple[str, str]
"""A display name and scopes."""


def enter_unknown(held: ClaimedPat, versions: tuple[SecretVersion, ...], pats: Iterable[Pat]) -> None:
    """Enter each intent on these versions that the journal does not hold and whose PAT may still live.

    What its mint asked for is what the record says, or what one of the listed `pats` is like. An intent that is like
    none of them is left for the next look. Not entered is what wrote one of the versions: a rebuild does that.
    """
    now = held.services.clock.now()
    writers = {version.tags.get(ROTATION_TAG) for version in versions}
    intents = [i for i in _read(versions) if i.rotation_id not in writers and i.planned_valid_to > now]
    known = held.load(lambda reading: reading.journal.find_known([intent.rotation_id for intent in intents]))
    looks = [*_list_looks(held), *((pat.display_name, pat.scope) for pat in pats)]
    for intent in intents:
        look = _find_look(held, intent, looks)
        if intent.rotation_id not in known and look is not None:
            found = UnknownIntentFound(lost_rotation_id=intent.rotation_id, planned_valid_to=intent.planned_valid_to)
            held.begin_attempt(_make_lost(held, intent, look), found)


def make_intent_tags(held: ClaimedPat, versions: tuple[SecretVersion, ...]) -> dict[str, str]:
    """Make the tag with the intent of the rotation at hand, and with those beside it that may still matter."""
    name, now = held.pat.name, held.services.clock.now()
    rotations = held.load(lambda reading: reading.journal.load_for(name))
    pending = held.load(lambda reading: reading.revocations.load())
    over = {r.id for r in rotations if _is_over(r)} - {item.rotation_id for item in pending}
    kept = [i for i in _read(versions) if i.rotation_id not in over and i.planned_valid_to > now]
    return {INTENT_TAG: write_intents((Intent.of(held.rotation), *kept))}


def _read(versions: tuple[SecretVersion, ...]) -> tuple[Intent, ...]:
    """Return the intents on all versions, each once."""
    found = (intent for version in versions for intent in read_intents(version.tags.get(INTENT_TAG, "")))
    return tuple({intent.rotation_id: intent for intent in found}.values())


def _is_over(rotation: Rotation) -> bool:
    """Whether a rotation certainly minted nothing, or its PAT is known and was not left behind."""
    if rotation.new_authorization_id is None:
        return rotation.sent_at is None
    return rotation.state is not RotationState.FAILED


def _list_looks(held: ClaimedPat) -> Iterator[Look]:
    for pat in (held.pat, held.pat.as_wanted()):
        yield strip_mark(pat.display_name), pat.scope


def _find_look(held: ClaimedPat, intent: Intent, looks: Iterable[Look]) -> Look | None:
    """Return what the digest of an intent was made of, with its own mark if it had one."""
    key, organization = held.services.marker_key, held.pat.organization
    for name, scope in looks:
        names = (name,) if key is None else (name, make_marked_name(name, intent.rotation_id, key))
        for candidate in names:
            if make_look(organization, candidate, scope) == intent.look:
                return candidate, scope
    return None


def _make_lost(held: ClaimedPat, intent: Intent, look: Look) -> Rotation:
    """Make the rotation that the journal lacks. Its request counts as sent now: its sender may still be at work."""
    pat, now, key = held.pat, held.services.clock.now(), held.services.marker_key
    display_name, scope = look
    return Rotation(
        id=intent.rotation_id,
        name=pat.name,
        account=pat.account,
        organization=pat.organization,
        display_name=display_name,
        scope=scope,
        predecessor_id=pat.authorization_id,
        predecessor_valid_to=pat.valid_to,
        rule="",
        vault=pat.vault,
        secret_name=pat.secret_name,
        overlap=timedelta(0),
        disable_previous=False,
        created_at=intent.planned_at,
        updated_at=now,
        state=RotationState.ABANDONED,
        planned_valid_to=intent.planned_valid_to,
        sent_at=now,
        failure=_LOST,
        marked=key is not None and carries_mark(display_name, intent.rotation_id, key),
    )
