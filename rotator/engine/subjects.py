"""What places are called as subjects of events and conditions, and which ManagedPats wait for each."""

from __future__ import annotations

from collections.abc import Collection

from rotator.domain.condition import ConditionKind
from rotator.domain.managed_pat import ManagedPat
from rotator.errors import RemoteError, RotatorError, SignInRequiredError, TransientError, UnknownOutcomeError


def name_vault(pat: ManagedPat) -> str:
    """Name the vault of a ManagedPat as a subject: two spellings of one address are equal."""
    return name_vault_at(pat.vault)


def name_vault_at(address: str) -> str:
    """Name the vault at an address as a subject."""
    return address.rstrip("/").lower()


def name_organization(pair: tuple[str, str]) -> str:
    """Name an organization as a subject, with the account that looks at it."""
    return "/".join(pair)


def find_place(kind: ConditionKind, pat: ManagedPat) -> str | None:
    """Return the place that keeps a ManagedPat waiting while a condition of this kind lasts; None if none does."""
    match kind:
        case ConditionKind.SIGN_IN_NEEDED | ConditionKind.ACCOUNT_DOWN:
            return pat.next_account
        case ConditionKind.ORGANIZATION_DOWN:
            return name_organization((pat.next_account, pat.organization))
        case ConditionKind.VAULT_DOWN:
            return name_vault(pat)
        case _:
            return None


def find_place_down(pat: ManagedPat, error: RotatorError, down: Collection[tuple[str, str]]) -> str:
    """Return the account, organization or vault that is down and reported separately, if that is why; else "".

    `down` are the accounts and organizations that a look could not look at.
    """
    if isinstance(error, SignInRequiredError):
        return error.account
    if is_of_vault(error):
        return name_vault(pat)
    is_of_organization = isinstance(error, RemoteError) and error.service != "key_vault"
    account = pat.next_account if error.asked is None else error.asked[0]
    pairs = ((account, ""), (account, pat.organization))
    pair = next((pair for pair in pairs if pair in down), None) if is_of_organization else None
    return "" if pair is None else name_organization(pair).rstrip("/")


def is_of_vault(error: RotatorError) -> bool:
    """Whether an error says that the vault did not answer as it should."""
    return isinstance(error, TransientError | UnknownOutcomeError) and error.service == "key_vault"
