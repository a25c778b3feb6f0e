"""What the server lists, fetched once per run and shared by everything that asks."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from rotator.domain.account import Identity
from rotator.domain.managed_pat import Pat
from rotator.engine.context import RunContext
from rotator.errors import DeniedError, RotatorError, SignInRequiredError
from rotator.ports.pat_service import PatFilter


@dataclass(frozen=True)
class Listing:
    """All active PATs that one account has for one organization, and who the account is there."""

    account: str
    organization: str
    identity: Identity
    pats: tuple[Pat, ...]

    def find(self, authorization_id: str) -> Pat | None:
        """Return the listed PAT with that id, or None."""
        return next((pat for pat in self.pats if pat.authorization_id == authorization_id), None)


def belongs(pat: Pat, organization_id: str | None) -> bool:
    """Whether a listed PAT is valid for the organization; unknown organization ids count as belonging."""
    if pat.target_accounts is None or organization_id is None:
        return True
    return organization_id.lower() in {account.lower() for account in pat.target_accounts}


class ServerView:
    """Sign-ins, identities and listings of one run, each fetched at most once; safe for threads.

    An account that a person must sign in, or that is denied, stays down for the whole run: its error is raised again,
    and the server is not asked any more.
    """

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._known: dict[tuple[str, ...], object] = {}
        self._down: dict[str, RotatorError] = {}

    def refresh_account(self, account: str) -> None:
        """Make sure that the account is signed in. Otherwise raise the error that put it down."""
        with self._lock("account", account):
            self._raise_if_down(account)
            if ("account", account) not in self._known:
                try:
                    self._run.services.sign_in.refresh(account)
                except RotatorError as error:
                    self.put_down(account, error)
                    raise
                self._known["account", account] = True

    def put_down(self, account: str, error: RotatorError) -> None:
        """Stop this account's work for the rest of the run."""
        with self._guard:
            self._down.setdefault(account, error)

    def note_error(self, account: str, error: RotatorError) -> None:
        """Put the account down if the error means that nothing works for it now."""
        # A refusal inside a 200 is about one PAT: the account's rights for another may differ.
        denied = (
            isinstance(error, DeniedError)
            and error.service == "azure_devops"
            and (error.status != 200 or error.code == "sign_in_page")
        )
        if denied or (isinstance(error, SignInRequiredError) and error.account == account):
            self.put_down(account, error)

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """Return who the account is in the organization."""
        self.refresh_account(account)
        key = ("identity", account, organization)
        with self._lock(*key):
            known = self._known.get(key)
            if not isinstance(known, Identity):
                known = self._run.services.pats.fetch_identity(account, organization)
                self._known[key] = known
            return known

    def fetch_listing(self, account: str, organization: str) -> Listing:
        """Return the run's listing, one for all callers. For proof of what happened since, use `fetch_again`."""
        identity = self.fetch_identity(account, organization)
        key = ("listing", account, organization)
        with self._lock(*key):
            self._raise_if_down(account)
            known = self._known.get(key)
            if not isinstance(known, Listing):
                known = self._list(account, organization, identity)
                self._known[key] = known
            return known

    def fetch_again(self, account: str, organization: str) -> Listing:
        """Fetch a listing now."""
        return self._list(account, organization, self.fetch_identity(account, organization))

    def _list(self, account: str, organization: str, identity: Identity) -> Listing:
        pats = self._run.services.pats.fetch_pats(account, organization, PatFilter.ACTIVE)
        kept = tuple(pat for pat in pats if belongs(pat, identity.organization_id))
        return Listing(account, organization, identity, kept)

    def _raise_if_down(self, account: str) -> None:
        error = self._down.get(account)
        if error is not None:
            raise error

    def _lock(self, *key: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())
