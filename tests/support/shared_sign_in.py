"""Replicas of one sign-in: processes of their own, whose token cache is in one PostgreSQL database."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import TypedDict

from rotator.adapters.clock import SystemClock
from rotator.adapters.database.token_caches import SqlTokenCaches, SqlTokenCacheStore
from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.sign_in import EntraSignIn
from rotator.adapters.entra.token_cache import EncryptedTokenCache
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.stop import ProcessStop
from rotator.domain.account import Account
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, TENANT_ID, USERNAME

ROOT = Path(__file__).parents[2]


class Watched(SqlTokenCacheStore):
    """Waits, if asked to, where Entra has answered and nothing is committed yet."""

    waits = False

    def write(self, fresh: bytes, previous: bytes | None) -> str:
        """See the port."""
        if self.waits:
            self.waits = False
            print("answered", flush=True)
            sys.stdin.readline()
        return super().write(fresh, previous)


class Options(TypedDict):
    """What a replica is told at its start. `total_timeout`, in seconds, bounds a request."""

    url: str
    key: str
    entra_url: str
    ca_path: str
    total_timeout: float


def make_replica(options: Options, caches: SqlTokenCaches) -> tuple[EntraSignIn, Watched]:
    """Make what a daemon has: its sign-in, and the store of the one account."""
    opened = list[Watched]()

    def open_cache(sign_in: str) -> EncryptedTokenCache:
        opened.append(Watched(caches, sign_in))
        return EncryptedTokenCache(opened[-1], SecretValue(options["key"]))

    known = EntraAccount(Account(ACCOUNT, USERNAME, TENANT_ID, ()), CLIENT_ID)
    http = HttpOptions(ca_bundle=Path(options["ca_path"]), total_timeout=timedelta(seconds=options["total_timeout"]))
    sign_in = EntraSignIn([known], options["entra_url"], False, open_cache, http, SystemClock(), ProcessStop())
    return sign_in, opened[0]


def serve() -> None:
    """Do what each line of the input says: how many refreshes, and whether the first waits before it commits."""
    options = json.loads(sys.argv[1])
    sign_in, store = make_replica(options, SqlTokenCaches(options["url"]))
    print("ready", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        store.waits = asked["waits"]
        try:
            for _ in range(asked["times"]):
                sign_in.refresh(ACCOUNT, renews=asked["renews"])
            print("refreshed", flush=True)
        except RotatorError as error:
            print(error.code, flush=True)


class Replica:
    """A process that refreshes the sign-in of the sandbox's account when it is told to."""

    def __init__(self, options: Options) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.shared_sign_in", json.dumps(options)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def read(self) -> str:
        """Return the next line that it prints; empty when it has ended."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def ask(self, times: int = 1, *, waits: bool = False, renews: bool = True) -> None:
        """Have it refresh; what came of it is read later."""
        self.tell(json.dumps({"times": times, "waits": waits, "renews": renews}))

    def refresh(self) -> str:
        """Have it refresh once; return `refreshed`, or the code of the error."""
        self.ask()
        return self.read()

    def end(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.process.communicate()


def make_options(sandbox: Sandbox, url: str, key: str, total_timeout: float = 60) -> Options:
    """Return what a replica is told at its start."""
    addresses = sandbox.addresses
    return {
        "url": url,
        "key": key,
        "entra_url": addresses.entra_url,
        "ca_path": str(addresses.ca_path),
        "total_timeout": total_timeout,
    }


if __name__ == "__main__":
    serve()
