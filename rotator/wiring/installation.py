"""An installation: what the settings describe, built from real adapters. Each part is made on first use."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rotator.domain.account import Account
from rotator.domain.marker import make_mark_key
from rotator.domain.outside import make_harmless
from rotator.domain.policy import Policy
from rotator.domain.secret_value import SecretValue
from rotator.engine.auditing import Author
from rotator.engine.context import RunContext, Services, Timing
from rotator.engine.logging_reads import log_reads
from rotator.engine.read_notes import NotedSecrets, ReadNotes
from rotator.engine.signing_in import SignInDesk
from rotator.engine.stopping import make_stoppable
from rotator.errors import RotatorError, StoppedError
from rotator.ports.secret_store import SecretLocation
from rotator.settings.secrets import SecretSource
from rotator.wiring.account_credentials import make_account_credentials
from rotator.wiring.entra import make_entra_sign_in
from rotator.wiring.logs import warn
from rotator.wiring.origin import Origin
from rotator.wiring.sealing import make_anchor_places, make_old_signers, make_signer, make_trust

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from rotator.adapters.azure_devops.pat_service import AzureDevOpsPatService
    from rotator.adapters.clock import SystemBootClock, SystemClock
    from rotator.adapters.database.migrate import Revision
    from rotator.adapters.database.unit_of_work import SqlDatabase
    from rotator.adapters.database.watch import ClaimsWatch
    from rotator.adapters.entra.sign_in import EntraSignIn
    from rotator.adapters.http_options import HttpOptions
    from rotator.adapters.key_vault.secret_store import KeyVaultSecretStore
    from rotator.adapters.request_counter import ProcessRequestCounter
    from rotator.adapters.stop import ProcessStop
    from rotator.adapters.witnesses import ServiceClocks
    from rotator.settings.model import Settings
    from rotator.settings.secrets import SecretReference


class Installation:
    """What the settings describe. A context manager; nothing is read, opened or asked before it is needed.

    Everything here outlives a run; `make_run` adds what one run needs. Which values such runs have read is in the audit
    log when it is closed.
    """

    def __init__(
        self,
        origin: Origin,
        stop: ProcessStop | None = None,
        requests: ProcessRequestCounter | None = None,
        watch: ClaimsWatch | None = None,
    ) -> None:
        self._origin, self._given_stop, self._given_requests, self._watch = origin, stop, requests, watch
        self._unlogged, self._made_at = dict[str, RunContext](), self.clock.now()
        self._stack, self.doubts = ExitStack(), dict[str, tuple[str, str]]()
        self.warn: Callable[[str, str, str], None] = warn

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:  # else what the command failed with says more than that this cannot be written
                self._log_reads()
        finally:
            self.close()

    def close(self) -> None:
        """Close every connection, the newest first."""
        with suppress(RotatorError, StoppedError):
            self._log_reads()
        self._stack.close()

    def _log_reads(self) -> None:
        for run in list(self._unlogged.values()):
            log_reads(run)

    def close_with(self, close: Callable[[], None]) -> None:
        """Have something closed with the installation."""
        self._stack.callback(close)

    @cached_property
    def settings_path(self) -> Path:
        """The settings file; ConfigError when there is none."""
        from rotator.settings.load import find_settings

        return find_settings(self._origin.settings, self._origin.environment, self._origin.folder)

    @cached_property
    def settings(self) -> Settings:
        """The settings; ConfigError with all problems."""
        from rotator.settings.load import load_settings

        return load_settings(self.settings_path)

    @cached_property
    def policy(self) -> Policy:
        """The policy that the settings name; ConfigError with all problems."""
        from rotator.settings.load import load_policy

        return replace(load_policy(self.settings.policy, self.settings.list_hook_terms()), read_at=self._made_at)

    @property
    def policy_warnings(self) -> list[str]:
        """Policy settings that are valid but may be unintended; each with its line."""
        from rotator.settings.load import load_warnings

        return load_warnings(self.settings.policy)

    @cached_property
    def accounts(self) -> tuple[Account, ...]:
        """The configured accounts."""
        return tuple(account.make_account() for account in self.settings.accounts)

    @cached_property
    def actor(self) -> str:
        """Who the audit log names: the user that the operating system says, whatever the environment does; the host."""
        from rotator.adapters.files import name_user

        return f"{make_harmless(name_user(os.getuid()))}@{socket.gethostname()}"

    @cached_property
    def clock(self) -> SystemClock:
        """The host's clock."""
        from rotator.adapters.clock import SystemClock

        return SystemClock()

    @cached_property
    def stop(self) -> ProcessStop:
        """The one stop of this process's work."""
        from rotator.adapters.stop import ProcessStop

        return self._given_stop or ProcessStop()

    def make_sign_in_desk(self, reason: str | None) -> SignInDesk:
        """Return what signs in and out, for commands that need no run and so no valid policy. `reason`: why."""
        return SignInDesk(self.database, self.clock, self.service_clocks, self.entra_sign_in, self.make_author(reason))

    def make_author(self, reason: str | None) -> Author:
        """Return who the audit log names beside a run. `reason`: why."""
        from rotator.adapters.logs import make_progress

        run_id = make_run_id()
        return Author(self.actor, run_id, make_progress(run_id), reason, self._origin.command)

    def upgrade_database(self) -> tuple[str | None, str]:
        """Upgrade the database to the newest schema. Returns the revisions before (None if it was empty) and after.

        A service manager that started this process is asked for the time that it takes.
        """
        from rotator.adapters.database.migrate import upgrade
        from rotator.adapters.systemd import SystemdHost

        with SystemdHost(dict(self._origin.environment)).extending("Upgrading the database"):
            return upgrade(self.database_url.reveal())

    def load_database_revision(self) -> Revision:
        """Return which schema the database has, and which one this version of rotator needs."""
        from rotator.adapters.database.migrate import current

        return current(self.database_url.reveal())

    @cached_property
    def boot_clock(self) -> SystemBootClock:
        """The host's boot clock."""
        from rotator.adapters.clock import SystemBootClock

        return SystemBootClock()

    @cached_property
    def service_clocks(self) -> ServiceClocks:
        """The services' clocks, by their answers."""
        from rotator.adapters.witnesses import ServiceClocks

        return ServiceClocks(self.boot_clock)

    @cached_property
    def requests(self) -> ProcessRequestCounter:
        """The counter of this process's requests."""
        from rotator.adapters.request_counter import ProcessRequestCounter

        return self._given_requests or ProcessRequestCounter()

    def make_http(self, service: str | None = None) -> HttpOptions:
        """Return how requests are made; the clock of a named service is a witness, and its requests are counted."""
        from rotator.adapters.http_options import HttpOptions

        http = self.settings.http
        return HttpOptions(
            ca_bundle=http.ca_bundle,
            connect_timeout=http.connect_timeout,
            read_timeout=http.read_timeout,
            total_timeout=http.total_timeout,
            proxy=self._proxy,
            no_proxy=http.no_proxy,
            note_date=None if service is None else self.service_clocks.make_listener(service),
            note_outcome=None if service is None else self.requests.make_listener(service),
        )

    @cached_property
    def _proxy(self) -> SecretValue | None:
        """The proxy of the settings; a warning, once, when the environment names one that is not used."""
        from rotator.adapters.proxy import find_unused_proxy

        http = self.settings.http
        if http.proxy is not None:
            return self.resolve(http.proxy)
        unused = find_unused_proxy(self._origin.environment)
        if unused is not None and "*" not in http.no_proxy:
            self.warn_once(
                "http.proxy",
                f"the proxy of {unused} is not used: rotator takes no proxy from its environment",
                "Set http.proxy in the settings, or http.no_proxy: ['*'] to say that none is wanted.",
            )
        return None

    @cached_property
    def database_url(self) -> SecretValue:
        """The address of the inventory database."""
        return self.resolve(self.settings.database)

    def check_secrets(self) -> None:
        """Read every secret that is not in a vault. ConfigError names the first that is missing."""
        for reference in self.settings.list_secrets():
            if reference.source is not SecretSource.KEY_VAULT:
                self.resolve(reference)

    def list_fixed_secrets(self) -> tuple[str, ...]:
        """Return the settings whose values a process is given only at its start."""
        fixed = (SecretSource.ENV, SecretSource.CREDENTIAL)
        return tuple(reference.setting for reference in self.settings.list_secrets() if reference.source in fixed)

    @cached_property
    def database(self) -> SqlDatabase:
        """The inventory database; it connects when first used."""
        from rotator.adapters.database.unit_of_work import SqlDatabase
        from rotator.adapters.processes import is_gone

        url = self.database_url.reveal()
        database = SqlDatabase(url, is_gone=is_gone, boot=self.boot_clock, watch=self._watch)
        self._stack.callback(database.close)
        if share := database.find_share(self._origin.mounts):
            fix = "Move it to a local disk: there it is safe."
            self.warn_once("database", f"the database is on a network share ({share})", fix)
        return database

    @cached_property
    def entra_sign_in(self) -> EntraSignIn:
        """The accounts' sign-ins."""
        return make_entra_sign_in(self)

    @cached_property
    def pat_service(self) -> AzureDevOpsPatService:
        """Azure DevOps."""
        from rotator.adapters.azure_devops.pat_service import AzureDevOpsPatService
        from rotator.adapters.azure_devops.throttle import SharedHolds
        from rotator.adapters.logs import make_progress

        azure_devops = self.settings.azure_devops
        service = AzureDevOpsPatService(
            azure_devops.identity_url,
            azure_devops.core_url,
            azure_devops.api_version,
            self.entra_sign_in,
            self.make_http("azure_devops"),
            self.clock,
            self.boot_clock,
            self.stop,
            shared=SharedHolds(self.database, self.boot_clock),
            progress=make_progress(),
        )
        self._stack.callback(service.close)
        return service

    @cached_property
    def secret_store(self) -> KeyVaultSecretStore:
        """Key Vault, with the identity that the settings name."""
        if self.settings.key_vault.credential == "account":
            return self._make_store(make_account_credentials(self.entra_sign_in, self.accounts))
        return self._host_store

    @cached_property
    def _host_store(self) -> KeyVaultSecretStore:
        """Key Vault with the host's own identity: nobody needs to be signed in."""
        from rotator.adapters.key_vault.credentials import make_credential

        key_vault = self.settings.key_vault
        if key_vault.credential == "account":
            raise AssertionError("settings refuse a client secret in Key Vault with credential: account")
        credential = make_credential(
            key_vault.credential,
            authority=key_vault.authority,
            instance_discovery=key_vault.instance_discovery,
            client_id=key_vault.client_id,
            http=self.make_http("entra"),
            stop=self.stop,
        )
        return self._make_store(lambda _: credential)

    @cached_property
    def services(self) -> Services:
        """Everything that every run needs."""
        from rotator.adapters.clock import SystemEntropy
        from rotator.settings.effective import make_digest

        rotation = self.settings.rotation
        services = Services(
            database=self.database,
            closing_database=self.database,
            pats=self.pat_service,
            secrets=self.secret_store,
            sign_in=self.entra_sign_in,
            clock=self.clock,
            boot=self.boot_clock,
            witnesses=self.service_clocks,
            stop=self.stop,
            entropy=SystemEntropy(),
            accounts=self.accounts,
            timing=Timing(rotation.settle, rotation.lease, stop_within=self.settings.daemon.stop_within),
            max_parallel=self.settings.azure_devops.max_parallel,
            marker_key=make_mark_key(self.resolve(self.settings.token_cache.key)) if rotation.name_marker else None,
            settings_digest=make_digest(self.settings),
            signer=make_signer(self),
            old_signers=make_old_signers(self),
            trust=make_trust(self),
            anchors_in_vaults=any(anchor.vault for anchor in self.settings.audit.anchors),
            anchor_places=make_anchor_places(self),
        )
        return make_stoppable(services)

    def make_run(self, reason: str | None = None) -> RunContext:
        """Make a new run on these services, under the installation's policy; `reason` is why a person asks for it."""
        from rotator.adapters.logs import make_progress
        from rotator.adapters.processes import make_claimant

        run_id = make_run_id()
        for written in [key for key, other in list(self._unlogged.items()) if other.reads.is_empty]:
            self._unlogged.pop(written, None)
        reads = ReadNotes(lambda: self._unlogged.update({run_id: run}))
        run = RunContext(
            services=replace(self.services, secrets=NotedSecrets(self.services.secrets, reads)),
            policy=self.policy,
            run_id=run_id,
            actor=self.actor,
            claimant=make_claimant(run_id),
            progress=make_progress(run_id),
            reason=reason,
            command=self._origin.command,
            reads=reads,
        )
        return run

    def _make_store(self, credential_for: Callable[[SecretLocation], TokenCredential]) -> KeyVaultSecretStore:
        from rotator.adapters.key_vault.secret_store import KeyVaultSecretStore

        store = KeyVaultSecretStore(
            credential_for,
            verify_challenge_resource=self.settings.key_vault.verify_challenge_resource,
            http=self.make_http("key_vault"),
            stop=self.stop,
        )
        self._stack.callback(store.close)
        return store

    def resolve(self, reference: SecretReference) -> SecretValue:
        """Return the secret that a setting refers to. ConfigError when it is missing."""
        from rotator.settings.secrets import resolve

        return resolve(
            reference,
            self._origin.environment,
            lambda vault, name: self._host_store.fetch_plain_secret(vault, name),
            self.warn_once,
        )

    def warn_once(self, setting: str, problem: str, fix: str) -> None:
        """Warn of what is wrong with a setting that works, once, of whatever setting; a command may show it instead."""
        if problem not in self.doubts:
            self.doubts[problem] = setting, fix
            self.warn(setting, problem, fix)


def make_run_id() -> str:
    """Return a new run's id: 32 hex digits."""
    return uuid.uuid4().hex
