"""What the server lists, fetched once per run and shared by everything that asks."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rotator.domain.account import Identity
from rotator.domain.managed_pat import Pat
from rotator.engine.context import RunContext, RunMode
from rotator.engine.moments import read_clocks
from rotator.engine.refreshing import note_refusal, refresh_account
from rotator.errors import (
    DatabaseError,
    DeniedError,
    NotListedError,
    RotatorError,
    SignInRequiredError,
    TransientError,
    UnknownAccountError,
)
from rotator.ports.pat_service import PatFilter

_MOST_FAILURES = 2
"""So often a run asks a place in vain, by the client that tries again by itself; then no other PAT waits for it."""
CANNOT_WORK = (SignInRequiredError, UnknownAccountError, DeniedError)
"""What says that an account can do nothing in an organization, before a person changes that."""


@dataclass(frozen=True)
class Listing:
    """All active PATs that one account has for one organization, and who the account is there."""

    account: str
    organization: str
    identity: Identity
    pats: tuple[Pat, ...]
    unreadable: tuple[str, ...] = ()
    """The entries that could not be read, by id; "" where that was not readable either."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of every entry in lower case, "" for each that hides even that."""
        return (*(pat.authorization_id.lower() for pat in self.pats), *(found.lower() for found in self.unreadable))

    def may_hide(self, authorization_id: str) -> bool:
        """Whether an entry that could not be read may be the PAT of that id."""
        return authorization_id in self.unreadable or "" in self.unreadable

    def find(self, authorization_id: str | None) -> Pat | None:
        """Return the listed PAT with that id, or None; None for no id."""
        return next((pat for pat in self.pats if pat.authorization_id == authorization_id), None)


@dataclass(frozen=True)
class Sighting:
    """What a closer look for one PAT found. `pat` is the PAT if a listing taken now has it.

    `is_gone`: it is not active any more; `is_unknown`: that is said only because the server does not know its id. If
    neither holds, nothing is proven. `is_hidden`: an entry that could not be read may be it, so that no number of
    listings proves that it is gone.
    """

    pat: Pat | None = None
    is_gone: bool = False
    is_hidden: bool = False
    is_unknown: bool = False

    @property
    def is_proven(self) -> bool:
        """Whether the server says of this PAT that it is not active: one that is behind may not know it at all."""
        return self.is_gone and not self.is_unknown


def belongs(pat: Pat, organization_id: str | None) -> bool:
    """Whether a listed PAT is valid for the organization; unknown organization ids count as belonging."""
    if pat.target_accounts is None or organization_id is None:
        return True
    return organization_id.lower() in {account.lower() for account in pat.target_accounts}


def make_unknown_account(account: str) -> UnknownAccountError:
    """Make the error for a record whose account the settings do not name."""
    return UnknownAccountError(
        f'the settings name no account "{account}"',
        fix="Give the account its old name back in rotator.yaml, or forget its PATs with `rotator inventory forget` "
        "and adopt them again under the new name.",
    )


@contextmanager
def asking(account: str, organization: str) -> Iterator[None]:
    """Let an error of what is inside say that this account was asked, in this organization."""
    try:
        yield
    except RotatorError as error:
        error.asked = error.asked or (account, organization)
        raise


class ServerView:
    """Sign-ins, identities and listings of one run, each fetched at most once; safe for threads.

    An account that needs a person stays down for the whole run, one that an organization denies only there: the error
    is raised again without asking anything more. So it is where an organization failed twice to say what everything
    there begins with: one that hangs would hold up all that waits behind its PATs. `remembers`: what becomes of a
    sign-in is kept, see `refreshing`; what only looks leaves nothing behind.
    """

    def __init__(self, run: RunContext, *, remembers: bool = False) -> None:
        self._run, self._remembers = run, remembers
        self._guard = threading.Lock()
        self._locks: dict[tuple[str, ...], threading.Lock] = {}
        self._known: dict[tuple[str, ...], object] = {}
        self._down: dict[tuple[str, str], RotatorError] = {}
        self._in_vain: dict[tuple[str, ...], list[TransientError]] = {}

    def refresh_account(self, account: str) -> None:
        """Make sure that the account is signed in. Otherwise raise the error that brought it down.

        UnknownAccountError when the settings name no such account.
        """
        with self._lock("account", account):
            self._raise_if_down(account)
            if ("account", account) not in self._known:
                if account not in {known.name for known in self._run.services.accounts}:
                    raise make_unknown_account(account)
                try:
                    self._refresh(account)
                except DatabaseError:
                    raise
                except RotatorError as error:
                    self._put_down(account, "", error)
                    raise
                self._known["account", account] = True

    def _refresh(self, account: str) -> None:
        if self._remembers:
            refresh_account(self._run, account, heeds_pause=self._run.mode is RunMode.DUE)
        else:
            self._run.services.sign_in.refresh(account)

    def prove_reachable(self, account: str, organization: str) -> None:
        """Raise what keeps the account, or the account in this organization, from working; ask for a sign-in only."""
        self.refresh_account(account)
        self._raise_if_down(account, organization)

    def can_work(self, account: str, organization: str, *, is_lapse_raised: bool = False) -> bool:
        """Whether the account can do anything in the organization. Whatever is only for now is raised.

        `is_lapse_raised`: so is that a person must sign it in.
        """
        try:
            self.fetch_listing(account, organization)
        except CANNOT_WORK as error:
            if is_lapse_raised and isinstance(error, SignInRequiredError):
                raise
            return False
        return True

    def note_error(self, account: str, organization: str, error: RotatorError) -> None:
        """Mark as down what the error says cannot work now: the whole account, or the account in this organization.

        Of an error that says whom it asked, that one: the old PAT of a move is another account's.
        """
        account, organization = error.asked or (account, organization)
        # A refusal inside a 200 is about one PAT: the account's rights for another may differ.
        denied = (
            isinstance(error, DeniedError)
            and error.service == "azure_devops"
            and (error.status != 200 or error.code == "sign_in_page")
        )
        if denied:
            self._put_down(account, organization, error)
        if not isinstance(error, SignInRequiredError) or error.account != account:
            return
        if self._put_down(account, "", error) and self._remembers:
            note_refusal(self._run, error)

    def fetch_identity(self, account: str, organization: str) -> Identity:
        """Return who the account is in the organization."""
        self.prove_reachable(account, organization)
        key = ("identity", account, organization)
        with self._lock(*key):
            known = self._known.get(key)
            if not isinstance(known, Identity):
                with self._asking(*key):
                    known = self._run.services.pats.fetch_identity(account, organization)
                self._known[key] = known
            return known

    def fetch_listing(self, account: str, organization: str) -> Listing:
        """Return the run's listing, one for all callers. For proof of what happened since, use `fetch_again`."""
        identity = self.fetch_identity(account, organization)
        key = ("listing", account, organization)
        with self._lock(*key):
            self._raise_if_down(account, organization)
            known = self._known.get(key)
            if not isinstance(known, Listing):
                with self._asking(*key):
                    known = self._list(account, organization, identity)
                self._known[key] = known
            return known

    def fetch_again(self, account: str, organization: str) -> Listing:
        """Fetch a listing now."""
        return self._list(account, organization, self.fetch_identity(account, organization))

    def look_for(self, account: str, organization: str, authorization_id: str) -> Sighting:
        """Look closer for a PAT that a listing lacks: ask for it by id, among the revoked ones, and list once more.

        One answer may be behind, or belong to another request: the list of now must lack the PAT as well.
        """
        with asking(account, organization):
            return self._look_for(account, organization, authorization_id)

    def _look_for(self, account: str, organization: str, authorization_id: str) -> Sighting:
        self.prove_reachable(account, organization)
        found = self._run.services.pats.fetch_pat(account, organization, authorization_id)
        if found is not None and self._is_expired(found):
            return Sighting(is_gone=True)
        is_revoked = authorization_id in self._fetch_revoked(account, organization)
        listing = self.fetch_again(account, organization)
        if is_revoked and listing.find(authorization_id) is None:
            return Sighting(is_gone=True)
        listed, is_hidden = listing.find(authorization_id), listing.may_hide(authorization_id)
        is_unknown = found is None and listed is None and not is_hidden
        return Sighting(listed, is_gone=is_unknown, is_hidden=is_hidden, is_unknown=is_unknown)

    def find_active(self, account: str, organization: str, authorization_id: str) -> Pat | None:
        """Return a PAT as the run's listing has it, or else as a closer look shows it; None when it is gone.

        NotListedError when two listings lack it and nothing says that it is gone.
        """
        pat = self.fetch_listing(account, organization).find(authorization_id)
        seen = Sighting(pat) if pat is not None else self.look_for(account, organization, authorization_id)
        if seen.pat is None and not seen.is_gone:
            raise NotListedError(
                f"the server knows {authorization_id} and does not list it as active; nothing was decided about it",
                fix="Try again: a later list may have it.",
            )
        return seen.pat

    def is_revoked(self, account: str, organization: str, authorization_id: str) -> bool:
        """Whether the run's list lacks a PAT and the server says that it is not active: its value may yet sign in.

        For a while after a revocation what asked before may be answered from memory.
        """
        listing = self.fetch_listing(account, organization)
        return listing.find(authorization_id) is None and (
            self.look_for(account, organization, authorization_id).is_proven
        )

    def _is_expired(self, pat: Pat) -> bool:
        """Whether a PAT has expired, by a clock that is not known to be wrong."""
        if pat.valid_to > self._run.services.clock.now():
            return False
        with self._run.services.database.read() as reading:
            return not read_clocks(self._run, reading).is_wrong

    def look_for_revoked(
        self, account: str, organization: str, authorization_ids: Collection[str]
    ) -> dict[str, Sighting]:
        """Look for PATs that were to be revoked: in the list of the revoked ones as it is now, else as `look_for`."""
        revoked = self.fetch_revoked_again(account, organization)
        return {
            found: Sighting(is_gone=True) if found in revoked else self.look_for(account, organization, found)
            for found in authorization_ids
        }

    def fetch_revoked_again(self, account: str, organization: str) -> frozenset[str]:
        """Fetch the ids that the server calls revoked now."""
        self.prove_reachable(account, organization)
        key = ("revoked", account, organization)
        with self._lock(*key):
            self._known.pop(key, None)
        return self._fetch_revoked(account, organization)

    def _fetch_revoked(self, account: str, organization: str) -> frozenset[str]:
        """The ids that the server calls revoked, fetched once: a revoked PAT never becomes valid again."""
        key = ("revoked", account, organization)
        with self._lock(*key):
            known = self._known.get(key)
            if not isinstance(known, frozenset):
                revoked = self._run.services.pats.fetch_pats(account, organization, PatFilter.REVOKED)
                known = self._known[key] = frozenset(pat.authorization_id for pat in revoked)
            return known

    def _list(self, account: str, organization: str, identity: Identity) -> Listing:
        pats = self._run.services.pats.fetch_pats(account, organization, PatFilter.ACTIVE)
        kept = tuple(pat for pat in pats if belongs(pat, identity.organization_id))
        return Listing(account, organization, identity, kept, pats.unreadable)

    def _put_down(self, account: str, organization: str, error: RotatorError) -> bool:
        """Mark it as down for this error. Return False when it was down before."""
        error.asked = error.asked or (account, organization)
        with self._guard:
            return self._down.setdefault((account, organization), error) is error

    def _raise_if_down(self, account: str, organization: str = "") -> None:
        error = self._down.get((account, "")) or self._down.get((account, organization))
        if error is not None:
            raise error

    @contextmanager
    def _asking(self, *key: str) -> Iterator[None]:
        """Ask under the lock of what is asked for; what there was no answer to twice raises the last error again."""
        failed = self._in_vain.setdefault(key, [])
        if len(failed) >= _MOST_FAILURES:
            raise failed[-1]
        try:
            yield
        except TransientError as error:
            failed.append(error)
            raise

    def _lock(self, *key: str) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(key, threading.Lock())
