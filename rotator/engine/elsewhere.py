"""Whether a secret of another ManagedPat, which somebody else wrote, holds an old PAT: who reads that uses it."""

from __future__ import annotations

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import Hold, ManagedPat
from rotator.engine.auditing import find_lasting
from rotator.engine.claiming import ClaimedPat
from rotator.engine.copies import fetch_enabled
from rotator.engine.reading import fetch_newest
from rotator.engine.replacing import SIGNS_IN_WITHOUT_RIGHTS, identify
from rotator.errors import DeniedError, RejectedError, VerificationError
from rotator.ports.database import Reading
from rotator.ports.secret_store import StoredSecret

_FROZEN = (Hold.FOREIGN_WRITE, Hold.DATABASE_BEHIND)
"""Somebody else's value may have our tags with it: then it looks as if a newer database wrote it."""
_MOST_BELOW = 10
"""How many versions below the newest are compared with what the other secret holds."""


def find_reader(held: ClaimedPat) -> ManagedPat | None:
    """Return a frozen ManagedPat whose secret holds a value that ours held before, and that still signs in."""
    for pat in held.load(lambda reading: _load_frozen(reading, held.pat)):
        try:
            found = fetch_newest(held.services.secrets, pat)
            if found is not None and _was_ours(held, found):
                identify(held.run, pat.organization, found.value)
                return pat
        except (DeniedError, RejectedError, VerificationError) as error:
            if error.code == SIGNS_IN_WITHOUT_RIGHTS:
                return pat  # genuine, whatever keeps its user from signing in here
            continue  # who reads it reads nothing that works, or nobody can tell: it holds up no other PAT
    return None


def _load_frozen(reading: Reading, besides: ManagedPat) -> list[ManagedPat]:
    names = find_lasting(reading, ConditionKind.ROTATION_BLOCKED) - {besides.name}
    found = reading.inventory.load_named(names) if names else ()
    return [p for p in found if p.hold in _FROZEN and p.organization == besides.organization]


def _was_ours(held: ClaimedPat, found: StoredSecret) -> bool:
    secrets, current = held.services.secrets, held.rotation.secret_version
    below = [item.version for item in secrets.fetch_versions(held.location) if item.version != current]
    old = (fetch_enabled(secrets, held.location, version) for version in below[:_MOST_BELOW])
    return any(item is not None and item.value.same_as(found.value) for item in old)
