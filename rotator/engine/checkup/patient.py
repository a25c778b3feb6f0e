"""What the checks of `rotator doctor` look at, and what one of them is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from rotator.domain.account import Account
from rotator.domain.checkup import Remark
from rotator.domain.policy import Policy
from rotator.engine.context import RunContext, Trust
from rotator.errors import RemoteError
from rotator.ports.clock import Clock, Witnesses
from rotator.ports.database import Database
from rotator.ports.host import Host
from rotator.ports.pat_service import PatService
from rotator.ports.secret_store import SecretAccess
from rotator.ports.sign_in import SignIn


@dataclass(frozen=True)
class Patient:
    """An installation as the checks see it.

    What may be missing or broken is asked for by a call, which raises what is wrong with it. `open_run` needs all of
    it. `vaults_by_account`: the vaults are accessed with the accounts' own sign-ins. `work_every` is how
    often a daemon works.
    """

    accounts: tuple[Account, ...]
    clock: Clock
    witnesses: Witnesses
    host: Host
    vaults_by_account: bool
    work_every: timedelta
    open_policy: Callable[[], Policy]
    open_database: Callable[[], Database]
    open_sign_in: Callable[[], SignIn]
    open_pats: Callable[[], PatService]
    open_vaults: Callable[[], SecretAccess]
    open_trust: Callable[[], Trust]
    open_run: Callable[[], RunContext]
    vault_errors: dict[tuple[str, str], RemoteError] = field(default_factory=dict)
    """What the checks met at each vault, by address and code (none where it did not answer), the first of each."""


@dataclass(frozen=True)
class Look:
    """One thing that a check looks at, by itself: whatever goes wrong there, the others are looked at all the same."""

    subject: str
    act: Callable[[], Iterable[Remark]]


@dataclass(frozen=True)
class Check:
    """A line in the table of checks."""

    name: str
    plan: Callable[[Patient], Iterable[Look]]
    """Says what there is to look at. It may raise, as a look may."""
    all_well: str = ""
    """What is said once, after how many there were, where no look has anything to say."""


def whole(act: Callable[[Patient], Iterable[Remark]]) -> Callable[[Patient], Iterator[Look]]:
    """Return the plan of a check that looks at the installation as a whole."""

    def plan(patient: Patient) -> Iterator[Look]:
        yield Look("", lambda: act(patient))

    return plan
