"""What every use case is given: the ports, the policy and who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from rotator.domain.account import Account
from rotator.domain.policy import Policy
from rotator.domain.secret_value import SecretValue
from rotator.engine.ports import Clock, Database, Entropy, PatService, Progress, SecretStore, SignIn


@dataclass(frozen=True)
class Timing:
    """How long things may take.

    `settle`: how long an unanswered mint or store may still land. `lease`: how long a claim lasts unrenewed.
    `second_look`: the pause between the two listings that prove a mint absent. `probe_patience`: how long a new
    PAT may take until it authenticates. `store_patience`: how long a value is held in memory for an ailing vault.
    """

    settle: timedelta = timedelta(minutes=10)
    lease: timedelta = timedelta(minutes=5)
    second_look: timedelta = timedelta(seconds=5)
    probe_patience: timedelta = timedelta(minutes=5)
    store_patience: timedelta = timedelta(minutes=1)
    first_retry: timedelta = timedelta(minutes=5)
    longest_retry: timedelta = timedelta(hours=6)


@dataclass(frozen=True)
class Engine:
    """The engine's surroundings for one run. `actor` is who the audit names; `run_id` ties events together."""

    database: Database
    pats: PatService
    secrets: SecretStore
    sign_in: SignIn
    clock: Clock
    entropy: Entropy
    accounts: tuple[Account, ...]
    policy: Policy
    actor: str
    run_id: str
    progress: Progress
    timing: Timing = field(default_factory=Timing)
    max_parallel: int = 8
    marker_key: SecretValue | None = None
    """With it, the display name of each clone gets a mark that proves it ours."""
    claimant: str = ""
    """Who claims ManagedPats, when that says more than `run_id`: the database may ask whether it still lives."""

    def find_account(self, name: str) -> Account | None:
        """The configured account of that name."""
        return next((account for account in self.accounts if account.name == name), None)
