"""The credentials of `key_vault.credential`, and the guard that turns their failures into our errors.

azure-identity costs 150 ms to import: only `make_credential` does, when it is called.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

from rotator.adapters.bearer import is_sendable
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.scopes import check_scopes
from rotator.adapters.odd_answers import ODD_ANSWER
from rotator.adapters.redaction import redact_text, shorten
from rotator.adapters.regular_files import check_regular
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError, DeniedError, FailureKind, RemoteError, TransientError
from rotator.ports.stop import Stop

if TYPE_CHECKING:
    from azure.core.credentials import AccessToken, TokenCredential, TokenProvider

CredentialKind = Literal["default", "environment", "managed_identity", "workload_identity", "azure_cli"]

_CERTIFICATE = "AZURE_CLIENT_CERTIFICATE_PATH"
_FILES = (_CERTIFICATE, "AZURE_FEDERATED_TOKEN_FILE")
_SERVICE_FABRIC = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT")
"""Where all are set, the library asks for the host's identity in a session of its own, which may wait for ever."""
_LONGEST_REASON = 900
_LONGEST_LINE = 250
_ADVERTS = re.compile(r"(?:Visit|To mitigate this issue, please refer to)[^\n]*?https://aka\.ms/\S+[^\n]*")


def make_credential(
    kind: CredentialKind,
    *,
    authority: str,
    instance_discovery: bool,
    http: HttpOptions,
    stop: Stop,
    client_id: str | None = None,
) -> TokenCredential:
    """Return the azure-identity credential of that name; it makes no request until a token is needed.

    `default` tries environment, workload identity, managed identity and the Azure CLI, in this order.
    `client_id` is that of a user-assigned identity, else AZURE_CLIENT_ID is; without either, the host's own is used.
    `authority` is the https address of Entra; without `instance_discovery` it is trusted unchecked. ConfigError
    when the credential's own settings (its environment variables) are incomplete.
    """
    from azure import identity

    if kind not in ("managed_identity", "azure_cli"):
        _check_files(kind)
    from rotator.adapters.key_vault.azure_cli import AzureCliCredential
    from rotator.adapters.key_vault.transport import make_transport

    network: dict[str, Any] = {
        "transport": make_transport(http, stop),
        # For a transport that the library makes itself, as some releases do where a cluster has a proxy for tokens.
        "connection_timeout": http.connect_timeout.total_seconds(),
        "read_timeout": http.read_timeout.total_seconds(),
        "use_env_settings": False,
        "retry_total": 1,
    }
    client_id = client_id or os.environ.get("AZURE_CLIENT_ID") or None
    entra: dict[str, Any] = {
        "authority": authority,
        "disable_instance_discovery": not instance_discovery,
    }

    def make_workload_identity() -> TokenCredential:
        return identity.WorkloadIdentityCredential(client_id=client_id, **entra, **network)

    def replace_own(credential: TokenProvider) -> TokenProvider:
        """The chain's own workload identity asks the public cloud's Entra whatever the authority is."""
        if isinstance(credential, identity.WorkloadIdentityCredential):
            return make_workload_identity()
        return AzureCliCredential(stop) if isinstance(credential, identity.AzureCliCredential) else credential

    is_unbounded = all(os.environ.get(name) for name in _SERVICE_FABRIC)
    if is_unbounded and kind == "managed_identity":
        raise ConfigError(
            ["key_vault.credential: managed_identity cannot be used on Service Fabric: its library keeps no limits"],
            fix="Set key_vault.credential to workload_identity or environment, and the variables that it needs.",
        )
    try:
        match kind:
            case "environment":
                return identity.EnvironmentCredential(**entra, **network)
            case "managed_identity":
                return identity.ManagedIdentityCredential(client_id=client_id, **network)
            case "workload_identity":
                return make_workload_identity()
            case "azure_cli":
                return AzureCliCredential(stop)
            case "default":
                chain = identity.DefaultAzureCredential(
                    exclude_shared_token_cache_credential=True,
                    exclude_visual_studio_code_credential=True,
                    exclude_developer_cli_credential=True,
                    exclude_powershell_credential=True,
                    exclude_broker_credential=True,
                    managed_identity_client_id=client_id,
                    **entra,
                    **network,
                )
                chain.credentials = tuple(
                    replace_own(credential)
                    for credential in chain.credentials
                    if not (is_unbounded and isinstance(credential, identity.ManagedIdentityCredential))
                )
                return chain
    except ValueError as error:
        problem = f"key_vault.credential: {kind} cannot be used: {_say_reason(error)}"
    raise ConfigError([problem], fix="Set what this credential needs, or choose another key_vault.credential.")


def _check_files(kind: CredentialKind) -> None:
    """ConfigError when what the environment names is no file: the library would wait for a pipe for ever."""
    for variable in (name for name in _FILES if os.environ.get(name)):
        try:
            check_regular(Path(os.environ[variable]))
        except OSError as error:
            raise ConfigError(
                [f"key_vault.credential: {kind} cannot be used: {variable} names no file: {error.strerror}"],
                fix=f"Let {variable} name a file that the user that runs rotator can read.",
            ) from error


def find_key_file(kind: str) -> Path | None:
    """Return the file that the environment names with a private key, where that kind of credential would use it."""
    found = os.environ.get(_CERTIFICATE) if kind in ("default", "environment") else None
    return Path(found) if found else None


@runtime_checkable
class RenewableCredential(Protocol):
    """A credential that can replace a token before its time."""

    def renew(self, refused: SecretValue, scope: str) -> bool:
        """Have a token for this scope replaced that the vault did not accept; return whether there is another one."""


class GuardedCredential:
    """A credential whose own failures arrive as our errors, so that they are never taken for the vault's answers.

    Errors of rotator raised inside (a sign-in that a person must repeat) pass unchanged. It belongs to one client.
    """

    def __init__(self, inner: TokenCredential, vault: str) -> None:
        self._inner = inner
        self._vault = vault
        self._given: tuple[SecretValue, str] | None = None
        """The token that was given last, and its scope; None when it was found to be refused."""

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **options: object,
    ) -> AccessToken:
        """Return a token for Key Vault. DeniedError when there is none, TransientError when there is none now."""
        from azure.core.exceptions import AzureError

        scope = check_scopes(scopes, "rotator's identity")
        try:
            token = self._inner.get_token(scope, claims=claims, tenant_id=tenant_id, enable_cae=enable_cae, **options)
        except (AzureError, *ODD_ANSWER) as error:
            failure = self._explain(error)
        else:
            if is_sendable(token.token):
                self._given = SecretValue(token.token), scope
                return token
            failure = self._make_unexpected("text that is no token")
        # Outside the handler: the library's error may carry the token request, and must not be our context.
        raise failure

    def renew(self) -> bool:
        """Have the token replaced that the vault has just refused. Return whether there is another one now.

        The library only forgets it, and would be given the same one again. Raises what the credential raises.
        """
        given, self._given = self._given, None
        return given is not None and isinstance(self._inner, RenewableCredential) and self._inner.renew(*given)

    def close(self) -> None:
        """Do nothing: the credential belongs to whoever made it."""

    def _explain(self, error: Exception) -> RemoteError:
        from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError

        # The libraries raise ValueError with a sentence; what else they raise is what they stumbled over.
        if not isinstance(error, AzureError) and (type(error) is not ValueError or "invalid literal" in str(error)):
            return self._make_unexpected("an unexpected response")
        host = urlsplit(self._vault).netloc
        reason = _say_reason(error)
        causes = list(_causes(error))
        statuses = [status for cause in causes if (status := getattr(cause, "status_code", None)) is not None]
        unreachable = any(isinstance(cause, ServiceRequestError | ServiceResponseError) for cause in causes)
        if unreachable or any(status == 429 or status >= 500 for status in statuses):
            return TransientError(
                f"no token for the vault {host}: Entra cannot be reached now: {reason}",
                service="key_vault",
                operation="fetch_token",
                code="vault_credential_unreachable",
                fix="Check the network to Entra, key_vault.authority and http.ca_bundle.",
            )
        return DeniedError(
            f"no token for the vault {host}: {reason}",
            kind=FailureKind.DENIED,
            service="key_vault",
            operation="fetch_token",
            code="vault_credential_refused",
            fix="Give this host the credential that key_vault.credential names, or name another one there.",
        )

    def _make_unexpected(self, what: str) -> TransientError:
        return TransientError(
            f"no token for the vault {urlsplit(self._vault).netloc}: whatever key_vault.credential asks sent {what}",
            service="key_vault",
            operation="fetch_token",
            code="vault_credential_unexpected",
            fix="This usually passes by itself; if not, check key_vault.credential, and that no proxy answers instead.",
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__


def _say_reason(error: Exception) -> str:
    """Return the error's text in one line, without anything that looks like a secret.

    Each credential that was tried has its own line, and what a program printed last says most: long ones lose their
    middle.
    """
    lines = [" ".join(line.split()) for line in _ADVERTS.sub("", redact_text(str(error))).splitlines()]
    return shorten(" ".join(shorten(line, _LONGEST_LINE) for line in lines if line), _LONGEST_REASON)
