"""The Azure library's SecretClients: made when needed, lent to one thread at a time.

A SecretClient is not safe to share: on a 401 its policy clears the token of a call that runs at the same time, and
its requests session is for one thread. So a call borrows one and gives it back; there are as many as calls ran at
once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.credentials import GuardedCredential
from rotator.ports.stop import Stop

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.keyvault.secrets import SecretClient


@dataclass(frozen=True)
class Lent:
    """A client, and the credential that it asks for tokens."""

    client: SecretClient
    credential: GuardedCredential


class ClientPool:
    """SecretClients by vault and credential. Thread-safe."""

    def __init__(self, http: HttpOptions, stop: Stop, *, verify_challenge_resource: bool) -> None:
        self._http = http
        self._stop = stop
        self._verify_challenge_resource = verify_challenge_resource
        self._idle: dict[tuple[str, int], list[Lent]] = {}
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def borrow(self, vault: str, credential: TokenCredential) -> Iterator[Lent]:
        """A client for this call alone."""
        # A client in the list keeps its credential alive, so the id stays unique as long as the list holds one.
        key = (vault, id(credential))
        with self._lock:
            idle = self._idle.setdefault(key, [])
            lent = idle.pop() if idle else None
        lent = lent or self._make_client(vault, credential)
        try:
            yield lent
        finally:
            with self._lock:
                if keep := not self._closed:
                    idle.append(lent)
            if not keep:
                lent.client.close()

    def close(self) -> None:
        """Close every connection; those on loan are closed when they come back."""
        with self._lock:
            self._closed = True
            clients = [lent.client for idle in self._idle.values() for lent in idle]
            self._idle.clear()
        for client in clients:
            client.close()

    def _make_client(self, vault: str, credential: TokenCredential) -> Lent:
        from azure.keyvault.secrets import SecretClient

        from rotator.adapters.key_vault.answers import check_answer
        from rotator.adapters.key_vault.transport import make_transport

        guarded = GuardedCredential(credential, vault)
        client = SecretClient(
            vault,
            guarded,
            transport=make_transport(self._http, self._stop, needs_permits=True),
            verify_challenge_resource=self._verify_challenge_resource,
            # We repeat reads ourselves: the library would sleep through any Retry-After, and re-send writes.
            retry_total=0,
            permit_redirects=False,
            logging_enable=False,
            raw_response_hook=check_answer,
        )
        return Lent(client, guarded)
