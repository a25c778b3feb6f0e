"""Making tokens: the token endpoint's answer, its id token, the key set, and the resources of scopes."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import jwt

from rotator.sandbox.entra_errors import SCOPE_INVALID, EntraRefusalError
from rotator.sandbox.entra_state import REFRESH_TOKEN_IDLE_LIMIT, EntraState, SignIn
from rotator.sandbox.world import AccessToken, App, RefreshToken, User, World

AZURE_DEVOPS_ID = "499b84ac-1321-427f-aa17-267ca6975798"
PROTOCOL_SCOPES = frozenset({"openid", "profile", "email", "offline_access"})
RESOURCE_PREFIXES = {
    f"{AZURE_DEVOPS_ID}/": "azure_devops",
    "https://app.vssps.visualstudio.com/": "azure_devops",
    "https://vault.azure.net/": "key_vault",
    "https://vault.usgovcloudapi.net/": "key_vault",
    "https://vault.azure.cn/": "key_vault",
}
AUDIENCES = {
    "azure_devops": AZURE_DEVOPS_ID,
    "key_vault": "https://vault.azure.net",
    "other": "https://graph.microsoft.com",
}


@dataclass(frozen=True)
class TokenRequest:
    """What a token is requested for: the app, the scopes, and the address that the request came to."""

    app: App
    scopes: tuple[str, ...]
    base_url: str
    wants_client_info: bool


def parse_scopes(scope: str) -> tuple[str, ...]:
    """Split a scope parameter; refuse an empty one and one that names two resources."""
    words = tuple(scope.split())
    if not words or len({find_resource((word,)) for word in words if word not in PROTOCOL_SCOPES}) > 1:
        raise EntraRefusalError(SCOPE_INVALID)
    return words


def find_resource(scopes: tuple[str, ...]) -> str:
    """Return the service that these scopes belong to: azure_devops, key_vault or other."""
    for word in scopes:
        for prefix, resource in RESOURCE_PREFIXES.items():
            if word.lower().startswith(prefix):
                return resource
    return "other"


def make_user_answer(world: World, state: EntraState, asked: TokenRequest, sign_in: SignIn) -> dict[str, object]:
    """Make a user's token answer: an access token, and an id and a refresh token if the scope asks for them."""
    user = world.users[sign_in.user_id]
    answer = _make_access_answer(world, state, asked, user)
    if "openid" in asked.scopes:
        answer["id_token"] = _make_id_token(state, asked, user, sign_in, world.clock.now())
    if "offline_access" in asked.scopes:
        answer["refresh_token"] = _issue_refresh_token(world, state, asked, user, sign_in)
    if asked.wants_client_info:
        client_info = json.dumps({"uid": user.object_id, "utid": user.tenant_id}).encode()
        answer["client_info"] = base64.urlsafe_b64encode(client_info).rstrip(b"=").decode()
    return answer


def make_app_answer(world: World, state: EntraState, asked: TokenRequest) -> dict[str, object]:
    """Make the token answer of the app itself, as a service principal: an access token and nothing else."""
    answer = _make_access_answer(world, state, asked, None)
    del answer["scope"]
    return answer


def make_jwks(state: EntraState) -> dict[str, object]:
    """Return the public half of the signing key as a key set."""
    key = jwt.algorithms.RSAAlgorithm.to_jwk(state.signing_key.public_key(), as_dict=True)
    return {"keys": [{**key, "use": "sig", "kid": state.key_id, "alg": "RS256"}]}


def make_issuer(base_url: str, tenant_id: str) -> str:
    """Return the issuer of a tenant's tokens."""
    return f"{base_url}/{tenant_id}/v2.0"


def _make_access_answer(world: World, state: EntraState, asked: TokenRequest, user: User | None) -> dict[str, object]:
    subject_id = user.object_id if user else asked.app.object_id
    resource = find_resource(asked.scopes)
    now = world.clock.now()
    expires_at = now + state.access_token_lifetime
    tenant_id = user.tenant_id if user else asked.app.tenant_id
    claims: dict[str, object] = {
        "aud": AUDIENCES[resource],
        "iss": f"https://sts.windows.net/{tenant_id}/",
        "iat": int(now.timestamp()),
        "nbf": int(now.timestamp()),
        "exp": int(expires_at.timestamp()),
        "appid": asked.app.client_id,
        "idtyp": "user" if user else "app",
        "oid": subject_id,
        "sub": subject_id,
        "tid": tenant_id,
        "ver": "1.0",
        "uti": secrets.token_urlsafe(16),
    }
    if user is not None:
        claims |= {"upn": user.username, "name": user.display_name}
    value = jwt.encode(claims, state.signing_key, algorithm="RS256", headers={"kid": state.key_id})
    world.access_tokens[value] = AccessToken(
        value=value,
        subject_id=subject_id,
        username=user.username if user else None,
        tenant_id=tenant_id,
        client_id=asked.app.client_id,
        resource=resource,
        expires_at=expires_at,
    )
    lifetime = int(state.access_token_lifetime.total_seconds())
    granted = " ".join(_list_granted(asked, resource if user else ""))
    return {
        "token_type": "Bearer",
        "scope": granted,
        "expires_in": lifetime,
        "ext_expires_in": lifetime,
        "access_token": value,
    }


def _list_granted(asked: TokenRequest, resource: str) -> Iterator[str]:
    """The scopes of the answer: `.default` stands for the app's permissions, which are named beside it."""
    for word in asked.scopes:
        if word.endswith("/.default") and resource == "azure_devops":
            yield from (word.replace(".default", permission) for permission in asked.app.permissions)
        if word != "offline_access":
            yield word


def _issue_refresh_token(world: World, state: EntraState, asked: TokenRequest, user: User, sign_in: SignIn) -> str:
    now = world.clock.now()
    token = RefreshToken(
        value=f"1.AX{secrets.token_urlsafe(20)}.AgABAwEAAAB{secrets.token_urlsafe(320)}",
        subject_id=user.object_id,
        tenant_id=user.tenant_id,
        client_id=asked.app.client_id,
        issued_at=now,
        expires_at=now + REFRESH_TOKEN_IDLE_LIMIT,
    )
    world.refresh_tokens[token.value] = token
    state.sign_ins[token.value] = sign_in
    return token.value


def _make_id_token(state: EntraState, asked: TokenRequest, user: User, sign_in: SignIn, now: datetime) -> str:
    issued = int(now.timestamp())
    claims: dict[str, object] = {
        "aud": asked.app.client_id,
        "iss": make_issuer(asked.base_url, user.tenant_id),
        "iat": issued,
        "nbf": issued,
        "exp": issued + int(state.access_token_lifetime.total_seconds()),
        "tid": user.tenant_id,
        "oid": user.object_id,
        "sub": str(uuid.uuid5(uuid.UUID(asked.app.client_id), user.object_id)),
        "preferred_username": user.username,
        "name": user.display_name,
        "auth_time": int(sign_in.at.timestamp()),
        "ver": "2.0",
    }
    if sign_in.nonce is not None:
        claims["nonce"] = sign_in.nonce
    return jwt.encode(claims, state.signing_key, algorithm="RS256", headers={"kid": state.key_id})
