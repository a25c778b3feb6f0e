"""A stage for sign-ins: the sandbox's Entra, our adapter on it, one clock for both, and requests as the person."""

import html
import json
import re
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import requests
from cryptography.fernet import Fernet

from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.file_store import FileTokenCacheStore
from rotator.adapters.entra.sign_in import EntraSignIn
from rotator.adapters.entra.token_cache import EncryptedTokenCache
from rotator.adapters.http_options import HttpOptions
from rotator.domain.account import Account
from rotator.domain.events.event import Event
from rotator.domain.secret_value import SecretValue
from rotator.ports.sign_in import DevicePrompt, SignInStatus
from rotator.ports.stop import Stop
from rotator.sandbox.record import RecordedRequest
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, TENANT_ID, USERNAME
from tests.support.stop import make_stop


class SandboxClock:
    """The sandbox's time; sleeping advances it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._clock = sandbox.world.clock

    def now(self) -> datetime:
        """Return the sandbox's time."""
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        """Advance the sandbox's time."""
        self._clock.advance(timedelta(seconds=seconds))


class Stage:
    """`sign_in` is the adapter under test; `events` what the token cache told."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.world = sandbox.world
        self.clock = SandboxClock(sandbox)
        self.key = Fernet.generate_key().decode()
        self.cache_path = folder / "token-cache.bin"
        self.http = HttpOptions(ca_bundle=sandbox.addresses.ca_path)
        self.events: list[str] = []
        self.person = requests.Session()
        self.person.trust_env = False
        self.person.verify = str(sandbox.addresses.ca_path)
        self.sign_in = self.make_sign_in()

    def close(self) -> None:
        """Close the person's connections."""
        self.person.close()

    def make_account(
        self, name: str = ACCOUNT, username: str = USERNAME, tenant: str = TENANT_ID, client_id: str = CLIENT_ID
    ) -> EntraAccount:
        """Make an account with a public client."""
        return EntraAccount(Account(name, username, tenant, ("contoso",)), client_id)

    def make_sign_in(
        self,
        *accounts: EntraAccount,
        authority: str | None = None,
        http: HttpOptions | None = None,
        stop: Stop | None = None,
    ) -> EntraSignIn:
        """Make an adapter on the same token cache, with a new object for it, as in another process."""
        cache = EncryptedTokenCache(
            FileTokenCacheStore(self.cache_path),
            SecretValue(self.key),
            now=lambda: self.clock.now().timestamp(),
            progress=self._tell,
        )
        return EntraSignIn(
            accounts or (self.make_account(),),
            authority or self.sandbox.addresses.entra_url,
            False,
            lambda _: cache,
            http or self.http,
            self.clock,
            stop or make_stop(self.clock),
        )

    def login(
        self, account: str = ACCOUNT, username: str = USERNAME, sign_in: EntraSignIn | None = None
    ) -> SignInStatus:
        """Sign in by device code, approved immediately."""
        return (sign_in or self.sign_in).login_with_device_code(account, self.approve(username))

    def approve(
        self, username: str = USERNAME, action: str = "approve", second_factor: bool = False
    ) -> Callable[[DevicePrompt], None]:
        """Return what the person does at the device code page."""

        def decide(prompt: DevicePrompt) -> None:
            form = {"user_code": prompt.user_code, "username": username, "action": action}
            if second_factor:
                form["second_factor"] = "yes"
            self.person.post(prompt.verification_uri, data=form)

        return decide

    def browse(self, username: str = USERNAME, action: str = "approve") -> Callable[[str], None]:
        """The person in the browser: fills in the page, and the browser posts the answer back."""

        def visit(url: str) -> None:
            page = self.person.get(url)
            form = {**read_form(page.text), "username": username, "action": action, "second_factor": "yes"}
            answer = self.person.post(url.partition("?")[0], data=form)
            target = re.search(r'<form method="post" action="(http://localhost:\d+)"', answer.text)
            if target:
                self.person.post(target[1], data=read_form(answer.text))

        return visit

    def configure(self, **document: object) -> None:
        """Change the stand-in for Entra, as a control call would."""
        self.sandbox.entra.configure(document)

    def configure_user(self, **settings: object) -> None:
        """Change the account's user."""
        self.configure(users={USERNAME: settings})

    def configure_app(self, **settings: object) -> None:
        """Change the app registration."""
        self.configure(apps={CLIENT_ID: settings})

    def token_calls(self, grant: str | None = None) -> list[RecordedRequest]:
        """Return the requests to the token endpoint, of one grant type if given."""
        found = [entry for entry in self.world.record.all("entra", "POST") if entry.path.endswith("/token")]
        return [entry for entry in found if grant is None or f"grant_type={grant}".encode() in entry.body]

    def secrets(self) -> set[str]:
        """Everything that must never be seen: all tokens that Entra issued, all codes."""
        state = self.sandbox.entra.state
        issued = {*self.world.access_tokens, *self.world.refresh_tokens}
        return issued | {*state.device_codes, *state.authorization_codes, self.key}

    def _tell(self, event: Event, subject: str, /) -> None:
        self.events.append(event.type.name)


def read_form(page: str) -> dict[str, str]:
    """Read the hidden fields of a page."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {html.unescape(name): html.unescape(value) for name, value in found}


def spell_out(error: BaseException) -> str:
    """All that an error and what hangs on it could ever show: texts, attributes, causes, contexts."""
    parts, pending, seen = [], [error], set[int]()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        parts += ["".join(traceback.format_exception(current)), repr(current.args), _dump(vars(current))]
        pending += [item for item in (current.__cause__, current.__context__) if item is not None]
    return "\n".join(parts)


def _dump(values: Mapping[str, object]) -> str:
    return json.dumps({name: repr(value) for name, value in values.items()})
