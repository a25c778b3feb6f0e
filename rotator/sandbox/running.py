"""A whole sandbox: its servers, its files and its world."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from rotator.sandbox.azure_devops import AzureDevOpsService
from rotator.sandbox.certificates import write_certificates
from rotator.sandbox.configuration import Addresses, write_configuration
from rotator.sandbox.control import ControlService
from rotator.sandbox.dispatch import Dispatcher
from rotator.sandbox.entra import EntraService
from rotator.sandbox.folder import keep_folder
from rotator.sandbox.key_vault import KeyVaultService
from rotator.sandbox.proxy import ConnectProxy
from rotator.sandbox.receiver import receive
from rotator.sandbox.seeds import VAULT, seed_administrator, seed_demo_pats, seed_world
from rotator.sandbox.server import HttpsServer, Service
from rotator.sandbox.world import Vault, World


class Sandbox:
    """The stand-ins for Entra, Azure DevOps and Key Vault on loopback; a context manager.

    `world`, `entra` and `key_vault` (for their `configure`) exist from the beginning, `addresses` from `start` on.
    With `has_proxy`, its settings name a proxy that wants a password. With `hear` it is a full one: its settings have
    a second account, whose user administers the organization, and a receiver, and `hear` gets each notification. An
    object can be started once.
    """

    def __init__(
        self,
        directory: Path,
        seed_demo: bool = True,
        has_proxy: bool = False,
        hear: Callable[[dict[str, str]], object] | None = None,
    ) -> None:
        self.world = World()
        seed_world(self.world)
        if seed_demo:
            seed_demo_pats(self.world)
        if hear is not None:
            seed_administrator(self.world)
        self.addresses: Addresses
        self.entra = EntraService(self.world)
        self.key_vault = KeyVaultService(self.world)
        self._directory = directory.absolute()
        self._services: dict[str, Service] = {
            "entra": self.entra,
            "azure_devops": AzureDevOpsService(self.world),
            "key_vault": self.key_vault,
        }
        self._control = ControlService(self.world, self.entra.configure, self.key_vault.configure)
        self.proxy = ConnectProxy() if has_proxy else None
        self._hear = hear
        self._receiving = ExitStack()
        self._servers: list[HttpsServer] = []
        self._context: ssl.SSLContext

    def start(self) -> Addresses:
        """Open the servers and write certificates, settings and policy; the sandbox is then ready to use."""
        self._directory.mkdir(parents=True, exist_ok=True)
        ca_path, server_path = write_certificates(self._directory)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(server_path)
        entra_url = self._serve("entra")
        self.key_vault.configure({"authority_url": entra_url})
        self.addresses = Addresses(
            entra_url=entra_url,
            azure_devops_url=self._serve("azure_devops"),
            key_vault_url=self._serve_vault(self.world.vaults[VAULT]),
            ca_path=ca_path,
            config_path=self._directory / "rotator.yaml",
            policy_path=self._directory / "policy.yaml",
        )
        if self.proxy is not None:
            self.proxy.start()
        proxy_url = None if self.proxy is None else self.proxy.url
        receiver_url = None if self._hear is None else self._receiving.enter_context(receive(server_path, self._hear))
        write_configuration(self.addresses, proxy_url, receiver_url)
        return self.addresses

    def start_vault(self, name: str) -> str:
        """Add an empty vault on a server of its own; return its address."""
        with self.world.lock:
            vault = self.world.vaults.setdefault(name, Vault(name))
        return self._serve_vault(vault)

    def stop(self) -> None:
        """Release what hangs, disconnect the clients and close the ports. A second call does nothing."""
        self.world.faults.close()
        self._receiving.close()
        if self.proxy is not None:
            self.proxy.stop()
        while self._servers:
            self._servers.pop().stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self, name: str) -> str:
        dispatcher = Dispatcher(self.world, name, self._services[name], self._control)
        server = HttpsServer(self._context, dispatcher.answer)
        self._servers.append(server)
        server.start()
        return server.base_url

    def _serve_vault(self, vault: Vault) -> str:
        url = self._serve("key_vault")
        with self.world.lock:
            vault.base_url = url
        return url


def run_sandbox(
    directory: Path,
    ready: Callable[[dict[str, object]], None],
    stop: threading.Event,
    *,
    has_proxy: bool = False,
    hear: Callable[[dict[str, str]], object] | None = None,
) -> None:
    """Run a demo sandbox until `stop` is set; call `ready` once with the addresses as a JSON document.

    With `hear` it is a full one. FolderError when it cannot run in that folder.
    """
    with keep_folder(directory), Sandbox(directory, has_proxy=has_proxy, hear=hear) as sandbox:
        ready(sandbox.addresses.document())
        stop.wait()
