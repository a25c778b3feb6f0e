"""One conversation with Entra through MSAL: a refresh, a device code sign-in, or a browser sign-in."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msal

from rotator.adapters.entra.entra_account import EntraAccount
from rotator.adapters.entra.http_client import EntraHttpClient
from rotator.adapters.entra.memory_cache import MemoryTokenCache
from rotator.adapters.entra.refusals import Asked
from rotator.adapters.http import make_session
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.odd_answers import ODD_ANSWER
from rotator.errors import ConfigError, RotatorError, TransientError
from rotator.ports.stop import Stop

MsalResult: TypeAlias = dict[str, object]
"""What MSAL answers. It may hold tokens: it is never logged, raised or kept."""
Outcome = TypeVar("Outcome")

_IDENTITY_SCOPES = ("openid", "profile", "offline_access")
_LIBRARY_ERRORS = (
    msal.exceptions.MsalError,
    OSError,
    *ODD_ANSWER,
)
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z ]+)-----.+?-----END \1-----", re.DOTALL)


class Conversation:
    """An MSAL application with a session of its own, used once: MSAL remembers a refusal and repeats it.

    Everything that goes wrong is raised as one of our errors, except that the answers may hold `error`.
    """

    def __init__(
        self,
        known: EntraAccount,
        asked: Asked,
        *,
        instance_discovery: bool,
        http: HttpOptions,
        cache: MemoryTokenCache,
        stop: Stop,
    ) -> None:
        self._asked = asked
        credential = _make_credential(known)
        # MSAL trusts these hosts anyway; with discovery on it would still look for their aliases after each refusal.
        trusted = urlsplit(asked.authority).hostname in msal.authority.WELL_KNOWN_AUTHORITY_HOSTS
        self._client = EntraHttpClient(make_session(http, stop), asked)
        try:
            self._app = self._ask(
                lambda: msal.ClientApplication(
                    known.client_id,
                    client_credential=credential,
                    authority=f"{asked.authority}/{asked.tenant}",
                    instance_discovery=instance_discovery and not trusted,
                    token_cache=cache,
                    http_client=self._client,
                    azure_region=False,
                )
            )
        except BaseException:
            self._client.close()
            raise
        self.environment: str = self._app.authority.instance
        self.realm: str = self._app.authority.tenant

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def refresh(self, home_account_id: str, claims: str | None) -> MsalResult | None:
        """Redeem the refresh token of a user; None when the cache has none."""
        user = {"home_account_id": home_account_id, "environment": self.environment}

        def refresh() -> MsalResult | None:
            result: MsalResult | None = self._app.acquire_token_silent_with_error(
                [self._asked.scope], user, force_refresh=True, claims_challenge=claims
            )
            return result

        return self._ask(refresh)

    def start_device_code(self) -> MsalResult:
        """Ask for a new device code: `user_code`, `verification_uri`, `expires_in`, `interval` ... or `error`."""
        # MSAL offers the device code to public clients only; its OAuth client below does for both.
        scopes = [self._asked.scope, *_IDENTITY_SCOPES]
        return self._ask(lambda: self._app.client.initiate_device_flow(scope=scopes))

    def poll_device_code(self, flow: MsalResult) -> MsalResult:
        """Ask once whether the person has finished; `error` is authorization_pending or slow_down until then."""
        flow.pop("latest_attempt_at", None)  # the pauses are ours, by our clock
        return self._ask(lambda: self._app.client.obtain_token_by_device_flow(flow, exit_condition=lambda _: True))

    def start_code_flow(self, redirect_uri: str, state: str) -> MsalResult:
        """Start an authorization code flow with PKCE (S256): `auth_uri` is where the browser goes."""
        return self._ask(
            lambda: self._app.initiate_auth_code_flow(
                [self._asked.scope],
                redirect_uri=redirect_uri,
                state=state,
                login_hint=self._asked.username,
                prompt="select_account",
                response_mode="form_post",  # keeps the code out of the history of the browser
            )
        )

    def redeem_code(self, flow: MsalResult, answer: dict[str, str]) -> MsalResult:
        """Exchange what the browser brought for tokens."""
        return self._ask(lambda: self._app.acquire_token_by_auth_code_flow(flow, answer))

    def _ask(self, question: Callable[[], Outcome]) -> Outcome:
        """Call MSAL; what it raises becomes one of our errors, which holds nothing of what was sent or received."""
        try:
            return question()
        except RotatorError:
            raise
        except _LIBRARY_ERRORS as error:
            kind = type(error).__name__
        raise TransientError(
            f"{self._asked.authority} sent an unexpected response ({kind})",
            service="entra",
            operation=self._asked.operation,
            code="entra_unexpected",
            fix="Check entra.authority and tenant in the settings, and whether a proxy stands in between.",
        )


def _make_credential(known: EntraAccount) -> str | dict[str, str] | None:
    """Return what MSAL takes as client credential. ConfigError when a PEM text lacks the key or the certificate."""
    if known.client_secret is not None:
        return known.client_secret().reveal().strip()
    if known.client_certificate is None:
        return None
    blocks = {
        found.group(1): found.group(0)
        for found in reversed(list(_PEM_BLOCK.finditer(known.client_certificate().reveal())))
    }
    keys = [text for label, text in blocks.items() if label in ("PRIVATE KEY", "RSA PRIVATE KEY")]
    if not keys or "CERTIFICATE" not in blocks:
        raise ConfigError(
            [f"account {known.account.name}: client_certificate needs a private key and a certificate in PEM"],
            fix="Put both into one PEM text, the key without a passphrase: cat key.pem cert.pem",
        )
    if not _is_readable(keys[0], blocks["CERTIFICATE"]):  # what the library raises may hold the key
        raise ConfigError(
            [f"account {known.account.name}: client_certificate cannot be used: its key or certificate is damaged"],
            fix="Put an RSA key without a passphrase and its certificate there again, whole: cat key.pem cert.pem",
        )
    return {"private_key": keys[0], "public_certificate": blocks["CERTIFICATE"]}


def _is_readable(key: str, certificate: str) -> bool:
    """Return whether MSAL can use both: it signs with RSA keys, and asks for no passphrase."""
    # Loaded when there is a certificate at all: most accounts have none.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from cryptography.x509 import load_pem_x509_certificate

    try:
        load_pem_x509_certificate(certificate.encode())
        return isinstance(load_pem_private_key(key.encode(), None), RSAPrivateKey)
    except (*ODD_ANSWER, UnsupportedAlgorithm):
        return False
