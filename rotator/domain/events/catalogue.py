"""Every event there is, by name. An event that is not listed here does not exist."""

from __future__ import annotations

from rotator.domain.condition import ConditionKind
from rotator.domain.events import inventory, places, revocations, rotations
from rotator.domain.events.event import Event

EVENTS: tuple[type[Event], ...] = (
    rotations.RotationPlanned,
    rotations.MintStarted,
    rotations.MintUnanswered,
    rotations.MintAnswerDoubted,
    rotations.PatMinted,
    rotations.PatVerified,
    rotations.StoreStarted,
    rotations.SecretTagsDropped,
    rotations.SecretStored,
    rotations.OverlapStarted,
    revocations.RevokeStarted,
    revocations.RevocationRequested,
    revocations.PatRevoked,
    revocations.RevocationDropped,
    revocations.RevocationUnconfirmed,
    revocations.RevocationResolved,
    rotations.SecretVersionDisabled,
    rotations.RotationCompleted,
    rotations.RotationAbandoned,
    rotations.RotationFailed,
    rotations.RotationClosed,
    rotations.RotationBlocked,
    rotations.RotationFrozen,
    rotations.CloneLost,
    rotations.ClonesAbandoned,
    rotations.LifetimeShortened,
    rotations.LifetimeRestored,
    rotations.SettlingContinued,
    rotations.UnprovenMintFound,
    rotations.RestoreStarted,
    rotations.SecretRestored,
    rotations.FailureCleared,
    inventory.PatAdopted,
    inventory.SecretConfirmed,
    inventory.CreationStarted,
    inventory.CreationRefused,
    inventory.CreationDropped,
    inventory.PatCreated,
    inventory.UpdateStarted,
    inventory.UpdateDropped,
    inventory.PatUpdated,
    inventory.PatPaused,
    inventory.PatResumed,
    inventory.PatReappeared,
    inventory.PatForgotten,
    inventory.PatDropped,
    inventory.PatDrifted,
    inventory.InventoryRebuilt,
    inventory.PatLeftBehind,
    inventory.LeftBehindResolved,
    places.PolicyChanged,
    places.LimitForgotten,
    places.SignInStarted,
    places.SignInRefused,
    places.SignInCompleted,
    places.SignOutStarted,
    places.SignOutCompleted,
    places.SignInLapsed,
    places.SignInRestored,
    places.AccountDown,
    places.AccountRestored,
    places.AccountDropped,
    places.ListingDamaged,
    places.ListingRepaired,
    places.OrganizationDown,
    places.OrganizationRestored,
    places.OrganizationDropped,
    places.VaultDown,
    places.VaultRestored,
    places.VaultDropped,
    places.TokenCacheDamaged,
    places.TokenCacheRecovered,
    places.TokenCacheRepaired,
    places.ScanStarted,
    places.AnchorRead,
    places.SecretRead,
)

CATALOGUE = {event.type.name: event for event in EVENTS}
"""The same, by name: what the audit log keeps can be looked up here."""


def find_ends(kind: ConditionKind) -> tuple[type[Event], ...]:
    """Return the events that end a condition of this kind."""
    return tuple(event for event in EVENTS if kind in event.type.ends)
