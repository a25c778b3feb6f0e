"""How every account's sign-in stands: by the token cache, and by what the database remembers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rotator.domain.sign_in import SignInMemory
from rotator.engine.overview import load_memories, load_organizations, view_plan
from rotator.engine.signing_in import AccountView, AppRegistration, SignInSight, find_missing, view_account
from rotator.errors import DatabaseError, RotatorError

if TYPE_CHECKING:
    from rotator.domain.organization import OrganizationMemory
    from rotator.domain.plan import Plan
    from rotator.wiring.installation import Installation


def view_accounts(installation: Installation, note: Callable[[str], None]) -> tuple[AccountView, ...]:
    """Return every account's sign-in and organizations, without asking anybody.

    With a note where the database cannot be read.
    """
    organizations: tuple[OrganizationMemory, ...] = ()
    try:
        memories = load_memories(installation.database, list_names(installation))
        organizations = load_organizations(installation.database)
    except DatabaseError as error:
        note(f"The stored history of the sign-ins cannot be read: {error.message}. {error.fix}".rstrip())
        memories = tuple(SignInMemory(account.name) for account in installation.accounts)
    views = []
    for account, settings, memory in zip(installation.accounts, installation.settings.accounts, memories, strict=True):
        has_secret, has_certificate = settings.client_secret is not None, settings.client_certificate is not None
        registration = AppRegistration(settings.client_id, has_secret, has_certificate)
        status = installation.entra_sign_in.status(account.name)
        views.append(view_account(account, registration, status, memory, organizations))
    return tuple(views)


def list_sights(installation: Installation, note: Callable[[str], None]) -> tuple[SignInSight, ...]:
    """Return how every account's sign-in stands; without the token cache, and with a note, where that is unreadable."""
    known = load_memories(installation.database, list_names(installation))
    try:
        entra = installation.entra_sign_in
        return tuple(SignInSight(entra.status(memory.account), memory) for memory in known)
    except RotatorError as error:
        note(f"The sign-ins could not be read: {error.message}")
        return tuple(SignInSight(None, memory) for memory in known)


def find_signed_out(installation: Installation, note: Callable[[str], None]) -> list[str]:
    """Name the accounts that nobody is signed in for, as far as it is known."""
    return list(find_missing(list_sights(installation, note), installation.clock.now()))


def make_plan_for_people(
    installation: Installation, note: Callable[[str], None], by_hand: Sequence[str] | None = None
) -> Plan:
    """Return what a run would do now, or rotating these PATs `by_hand`, as far as it can without anybody's sign-in."""
    sights, now, timing = list_sights(installation, note), installation.clock.now(), installation.settings.rotation
    return view_plan(
        installation.database,
        installation.policy,
        now,
        by_hand,
        settle=timing.settle,
        lease=timing.lease,
        missing=find_missing(sights, now),
    )


def list_names(installation: Installation) -> list[str]:
    """Name the configured accounts."""
    return [account.name for account in installation.accounts]
