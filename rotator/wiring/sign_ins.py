"""How every account's sign-in stands: by the token cache of this host, and by what the database remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from rotator.domain.sign_in import SignInMemory
from rotator.engine.planning import plan_from
from rotator.engine.signing_in import AccountView, AppRegistration, SignInSight, hold_for_sign_ins, view_account
from rotator.engine.status import NeededSignIn, load_needed
from rotator.errors import DatabaseError, RotatorError

if TYPE_CHECKING:
    from rotator.domain.plan import Plan
    from rotator.wiring.installation import Installation


def view_accounts(installation: Installation) -> tuple[AccountView, ...]:
    """Return every account's sign-in, without asking Entra. A database that cannot be read is warned of."""
    try:
        memories = _load_memories(installation)
    except DatabaseError as error:
        installation.warn_once(f"what is remembered of the sign-ins cannot be read: {error.message}", error.fix)
        memories = {account.name: SignInMemory(account.name) for account in installation.accounts}
    views = []
    for account, settings in zip(installation.accounts, installation.settings.accounts, strict=True):
        has_secret, has_certificate = settings.client_secret is not None, settings.client_certificate is not None
        registration = AppRegistration(settings.client_id, has_secret, has_certificate)
        status = installation.entra_sign_in.status(account.name)
        views.append(view_account(account, registration, status, memories[account.name]))
    return tuple(views)


def list_sights(installation: Installation, note: Callable[[str], None]) -> tuple[SignInSight, ...]:
    """Return how every account's sign-in stands; without the token cache, and with a note, where that is unreadable."""
    memories = _load_memories(installation)
    try:
        entra = installation.entra_sign_in
        return tuple(SignInSight(entra.status(name), memory) for name, memory in memories.items())
    except RotatorError as error:
        note(f"The sign-ins could not be read: {error.message}")
        return tuple(SignInSight(None, memory) for memory in memories.values())


def make_plan_for_people(installation: Installation, note: Callable[[str], None]) -> Plan:
    """Return what a run would do now, as far as it can without a person's sign-in."""
    now = installation.clock.now()
    plan = plan_from(installation.database, installation.policy, now)
    with installation.database.read() as reading:
        needed = load_needed(reading)
    for sight in list_sights(installation, note):
        if sight.is_signed_in(now) is False:
            needed.setdefault(sight.memory.account, NeededSignIn(now, sight.memory))
    return hold_for_sign_ins(plan, needed)


def _load_memories(installation: Installation) -> dict[str, SignInMemory]:
    with installation.database.read() as reading:
        return {account.name: reading.sign_ins.load(account.name) for account in installation.accounts}
