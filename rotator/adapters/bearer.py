"""How an adapter gets the access token that it sends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from rotator.domain.secret_value import SecretValue

AZURE_DEVOPS_SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default"
VAULT_SCOPES = frozenset(
    f"https://{suffix}/.default" for suffix in ("vault.azure.net", "vault.usgovcloudapi.net", "vault.azure.cn")
)
"""What a vault of Azure's public cloud, of the one of the US government, or of China asks tokens for."""


@dataclass(frozen=True)
class Bearer:
    """An access token for one resource."""

    value: SecretValue
    expires_at: datetime


def is_sendable(token: object) -> bool:
    """Return whether a token can stand in an HTTP header: visible ASCII, as every token is."""
    return isinstance(token, str) and token.isascii() and token.isprintable() and " " not in token and token != ""


class BearerSource(Protocol):
    """Access tokens of the signed-in accounts."""

    def fetch_bearer(
        self, account: str, scope: str, *, claims: str | None = None, refused: SecretValue | None = None
    ) -> Bearer:
        """Return a token with some minutes left, refreshed silently when needed.

        `claims` is a claims challenge to satisfy with one forced refresh. `refused` is a token that a service did not
        accept: another one is returned, or the same when one was replaced just now. SignInRequiredError when a person
        must act, TransientError when Entra cannot be asked now.
        """
