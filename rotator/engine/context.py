"""What a use case is given: the long-lived services, and the run that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from rotator.domain.account import Account
from rotator.domain.checkpoint import make_key_id
from rotator.domain.key_change import KeyChange
from rotator.domain.policy import Policy
from rotator.domain.secret_value import SecretValue
from rotator.engine.pulse import Pulse
from rotator.engine.read_notes import ReadNotes
from rotator.ports.anchor_place import AnchorPlace
from rotator.ports.clock import BootClock, Clock, Witnesses
from rotator.ports.database import Database
from rotator.ports.entropy import Entropy
from rotator.ports.pat_service import PatService
from rotator.ports.progress import Progress
from rotator.ports.secret_store import SecretStore
from rotator.ports.sign_in import SignIn
from rotator.ports.signing import SignatureCheck, Signer
from rotator.ports.stop import Stop


@dataclass(frozen=True)
class Timing:
    """How long things may take.

    `settle`: how long an unanswered mint or store may still take effect. `lease`: how long a claim lasts unrenewed.
    `second_look`: the pause between the two listings that prove a mint absent. `probe_patience`: how long a new
    PAT may take until it authenticates. `store_patience`: how long a value is kept in memory while the vault fails.
    `stop_within`: how long after a stop a rotation may continue whose value exists only in memory.
    """

    settle: timedelta = timedelta(minutes=10)
    lease: timedelta = timedelta(minutes=5)
    second_look: timedelta = timedelta(seconds=5)
    probe_patience: timedelta = timedelta(minutes=5)
    store_patience: timedelta = timedelta(minutes=1)
    stop_within: timedelta = timedelta(seconds=80)


@dataclass(frozen=True)
class Trust:
    """The public keys (base64) by which the log's checkpoints are believed, and how a signature is checked.

    `changes` are those of the key that hold, by the number of the event that tells each.
    """

    public_keys: tuple[str, ...]
    is_signed: SignatureCheck
    changes: Mapping[int, KeyChange] = field(default_factory=dict)

    def find_key(self, key_id: object, size: int) -> str | None:
        """Return the key of that id, if it may sign a log of that size: none does after a change to another one."""
        ends = (change.size for change in self.changes.values() if change.old_id == key_id)
        found = (key for key in self.public_keys if make_key_id(key) == key_id)
        return next(found, None) if size <= min(ends, default=size) else None


@dataclass(frozen=True)
class Services:
    """The ports and settings that outlive a run. Never changed in place: a reload builds all of them anew.

    `closing_database` is the same database, for what is written even after a stop: claims that are given back,
    the end of a run, which values it read, and what came of a delivery. Nothing else uses it.
    """

    database: Database
    closing_database: Database
    pats: PatService
    secrets: SecretStore
    sign_in: SignIn
    clock: Clock
    boot: BootClock
    witnesses: Witnesses
    stop: Stop
    entropy: Entropy
    accounts: tuple[Account, ...]
    timing: Timing = field(default_factory=Timing)
    max_parallel: int = 8
    marker_key: SecretValue | None = None
    """When set, the display name of each clone gets a mark that proves it ours."""
    settings_digest: str | None = None
    """Identifies the settings in effect, without secrets."""
    signer: Signer | None = None
    """When set, the checkpoints of the audit log are signed."""
    old_signers: tuple[Signer, ...] = ()
    """Keys that may have signed before: the last of them signs that another one follows."""
    trust: Trust | None = None
    """By what the audit log's checkpoints are believed."""
    anchors_in_vaults: bool = False
    """Whether the vaults are given the audit log's checkpoints."""
    anchor_places: tuple[AnchorPlace, ...] = ()
    """Who else is given them."""


class RunMode(StrEnum):
    """What a run is for.

    `due`: whatever has something to do. `by_hand`: what a person named, due or not. `recover`: only what was
    interrupted.
    """

    DUE = "due"
    BY_HAND = "by_hand"
    RECOVER = "recover"


@dataclass(frozen=True)
class RunContext:
    """One run: the services it works with, the policy in force, and on whose behalf it works.

    `run_id` ties its events together, `actor` is who the audit log names, and `claimant` is who claims ManagedPats:
    the database may ask whether the process behind it still lives. `reason` is why a person asked for it.
    """

    services: Services
    policy: Policy
    run_id: str
    actor: str
    claimant: str
    progress: Progress
    mode: RunMode = RunMode.DUE
    reason: str | None = None
    command: Mapping[str, str] = field(default_factory=dict)
    """What each event says of the command that a person gave: `command`, and `via` where that is known."""
    purpose: str = "run"
    """What it is for: a job of the daemon, or `run`, which is its work, `rotator once` or a command."""
    reads: ReadNotes = field(default_factory=ReadNotes)
    """Which values of secrets were read; `logging_reads` writes it into the audit log."""
    is_reckoned: bool = False
    """The host's clock is wrong; this run works by the witnesses', mints only what cannot wait, and revokes nothing."""
    pulse: Pulse | None = None
    """The heartbeats of the daemon that does it, by which its claims bind; None for a command."""
