"""Who may do what in the Key Vault stand-in: challenge, token, firewall, permissions, throttling.

The order is that of the service: token, then network and permission, and only then whether the object exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rotator.sandbox.key_vault_errors import KeyVaultRefusalError, forbidden
from rotator.sandbox.messages import Request
from rotator.sandbox.world import AccessToken, Vault, World

WRITES = frozenset({"set", "delete", "recover", "purge"})


@dataclass
class KeyVaultState:
    """What the stand-in remembers besides the World's vaults; the World's lock guards it."""

    authority_url: str = "https://login.microsoftonline.com"
    """The authority in the challenge. Clients read the tenant from it and do not call it."""
    resource: str = "https://vault.azure.net"
    """What the challenge wants a token for."""
    rbac_vaults: set[str] = field(default_factory=set)
    """The vaults that use roles: they refuse with ForbiddenByRbac, the others with ForbiddenByPolicy."""
    throttled_requests: int = 0
    """How many of the next authorized requests get a 429."""
    retry_after_seconds: int = 1


def authorize(world: World, state: KeyVaultState, vault: Vault, request: Request, operation: str) -> AccessToken:
    """Return the caller's token if it may do `operation` here: get, set, list, delete, recover or purge."""
    token = _authenticate(world, state, request)
    if vault.firewall:
        raise forbidden("ForbiddenByFirewall", "The vault's firewall does not allow the address of this client.")
    if token.subject_id in vault.denied_subjects or operation in vault.denied_operations:
        inner_code = "ForbiddenByRbac" if vault.name in state.rbac_vaults else "ForbiddenByPolicy"
        raise forbidden(
            inner_code,
            f"The caller oid={token.subject_id} may not '{operation}' secrets in vault {vault.name}.",
        )
    if vault.read_only and operation in WRITES:
        raise forbidden("VaultReadOnly", "The vault has failed over to another region and takes no writes.")
    if state.throttled_requests > 0:
        state.throttled_requests -= 1
        headers = {"Retry-After": str(state.retry_after_seconds)}
        raise KeyVaultRefusalError(429, "Throttled", "Too many requests to this vault; try again later.", None, headers)
    return token


def _authenticate(world: World, state: KeyVaultState, request: Request) -> AccessToken:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not value:
        raise _challenge(world, state, "AKV10000: the request carries no bearer token.")
    token = world.access_tokens.get(value.strip())
    if token is None:
        raise _challenge(world, state, "AKV10001: the bearer token is not valid.", "invalid_token")
    if world.clock.now() >= token.expires_at:
        raise _challenge(world, state, "AKV10003: the bearer token has expired.", "invalid_token")
    if token.resource != "key_vault":
        raise _challenge(world, state, f"AKV10022: the token is not meant for {state.resource}.", "invalid_token")
    return token


def _challenge(world: World, state: KeyVaultState, message: str, error: str | None = None) -> KeyVaultRefusalError:
    tenant_id = next(iter(world.tenants), "common")
    value = f'Bearer authorization="{state.authority_url}/{tenant_id}", resource="{state.resource}"'
    if error is not None:
        value += f', error="{error}"'
    return KeyVaultRefusalError(401, "Unauthorized", message, None, {"WWW-Authenticate": value})
