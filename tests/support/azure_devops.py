"""The sandbox's Azure DevOps, used through the real adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rotator.adapters.azure_devops.pat_service import AzureDevOpsPatService
from rotator.adapters.bearer import AZURE_DEVOPS_SCOPE, Bearer
from rotator.adapters.http_options import HttpOptions
from rotator.domain.clocks import BootMoment
from rotator.domain.secret_value import SecretValue
from rotator.errors import SignInRequiredError
from rotator.ports.progress import Progress
from rotator.ports.stop import Stop
from rotator.sandbox import seeds
from rotator.sandbox.faults import Fault
from rotator.sandbox.record import RecordedRequest
from rotator.sandbox.running import Sandbox
from rotator.sandbox.world import AccessToken, App, Organization, Pat, User, World
from tests.support.stop import make_stop

ACCOUNT = seeds.ACCOUNT
OTHER_ACCOUNT = "someone-else"
ROBOT_ACCOUNT = "robot"


class SandboxBearers:
    """Tokens directly from the sandbox's world: for two users and, as `robot`, for a service principal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, AccessToken] = {}
        self.claims: list[str] = []
        """The claims challenges that were answered with a new token."""
        self.refused = 0
        """How many refused tokens were to be replaced."""
        self.signed_out: set[str] = set()
        self.revoked: set[str] = set()
        """Whose sign-in was ended: the token in the cache stays as it is, and no other is given."""

    def fetch_bearer(
        self, account: str, scope: str, *, claims: str | None = None, refused: SecretValue | None = None
    ) -> Bearer:
        """Return a token with some minutes left, or a new one for a claims challenge or in place of a refused one."""
        assert scope == AZURE_DEVOPS_SCOPE
        if account in self.signed_out or (account in self.revoked and (claims or refused)):
            raise SignInRequiredError(f"nobody is signed in for {account}", account=account)
        if claims is not None:
            self.claims.append(claims)
        if refused is not None:
            self.refused += 1
        if claims is not None or refused is not None:
            self._tokens.pop(account, None)
        token = self._tokens.get(account)
        if token is None or token.expires_at < self._world.clock.now() + timedelta(minutes=5):
            token = self._world.issue_access_token(self._subject(account), "azure_devops", seeds.CLIENT_ID)
            self._tokens[account] = token
        return Bearer(SecretValue(token.value), token.expires_at)

    def _subject(self, account: str) -> User | App:
        if account == ROBOT_ACCOUNT:
            return self._world.apps[seeds.CLIENT_ID]
        return self._world.users[seeds.USER_ID if account == ACCOUNT else seeds.OTHER_USER_ID]


class SandboxClock:
    """The engine's Clock and BootClock on the sandbox's time: sleeping moves it on and returns at once.

    `slept` lists the sleeps.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.slept: list[float] = []

    def now(self) -> datetime:
        """Return the sandbox's time."""
        return self._world.clock.now()

    def read_boot(self) -> BootMoment:
        """Return the same time as a span."""
        return BootMoment("sandbox", self.now() - datetime(2026, 1, 1, tzinfo=UTC))

    def sleep(self, seconds: float) -> None:
        """Move the sandbox's time on."""
        self.slept.append(seconds)
        self._world.clock.advance(timedelta(seconds=seconds))


class SandboxAzureDevOps:
    """The sandbox's Azure DevOps, a service for it, and what a test changes without the service."""

    service: AzureDevOpsPatService

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.world = sandbox.world
        self.start_over()

    def start_over(self) -> None:
        """Remove PATs, policies, faults and requests; make a new service with its own clock and bearers."""
        self.clock = SandboxClock(self.world)
        self.bearers = SandboxBearers(self.world)
        self.service = self.make_service()
        with self.world.lock:
            self.world.pats.clear()
            for name, ident in (
                (seeds.ORGANIZATION, seeds.ORGANIZATION_ID),
                (seeds.OTHER_ORGANIZATION, seeds.OTHER_ORGANIZATION_ID),
            ):
                self.world.organizations[name] = Organization(name, ident)
        self.world.faults.clear()
        self.world.record.clear()

    def make_service(
        self,
        *,
        version: str = "7.1-preview.1",
        url: str | None = None,
        http: HttpOptions | None = None,
        max_wait: timedelta = timedelta(minutes=2),
        stop: Stop | None = None,
        progress: Progress | None = None,
    ) -> AzureDevOpsPatService:
        """Make another service, which the caller closes."""
        address = url or self.sandbox.addresses.azure_devops_url
        options = http or HttpOptions(self.sandbox.addresses.ca_path, read_timeout=timedelta(seconds=5))
        ours = stop or make_stop(self.clock)
        clock = self.clock
        return AzureDevOpsPatService(
            address, address, version, self.bearers, options, clock, clock, ours, max_wait, progress=progress
        )

    @property
    def organization(self) -> Organization:
        """Return the organization contoso."""
        return self.world.organizations[seeds.ORGANIZATION]

    def plant(
        self,
        kind: str,
        method: str | None = None,
        path: str | None = None,
        *,
        times: int | None = 1,
        skip: int = 0,
        status: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = b"",
        seconds: float = 1.0,
        effect: bool = False,
    ) -> None:
        """Let a later request to Azure DevOps go wrong; see `Fault` for what each part means."""
        fault = Fault("azure_devops", kind, method, path, times, skip, status, headers or {}, body, seconds)
        self.world.faults.add(replace(fault, effect=effect))

    def add_pat(self, name: str, account: str = ACCOUNT, *, days: int = 30, everywhere: bool = False) -> Pat:
        """Add a PAT that a person created."""
        user = self.world.users[seeds.USER_ID if account == ACCOUNT else seeds.OTHER_USER_ID]
        now = self.clock.now()
        homes = None if everywhere else (self.organization,)
        return self.world.add_pat(user, name, "vso.code", homes, now, now + timedelta(days=days))

    def requests(self, method: str | None = None) -> list[RecordedRequest]:
        """Return the requests that arrived."""
        return self.world.record.all("azure_devops", method)


@contextmanager
def run_azure_devops(directory: Path) -> Iterator[SandboxAzureDevOps]:
    """Run a sandbox with a service until the block ends."""
    with Sandbox(directory, seed_demo=False) as sandbox:
        azure_devops = SandboxAzureDevOps(sandbox)
        yield azure_devops
        azure_devops.service.close()
