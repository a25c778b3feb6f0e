"""Who asks: finds the application of a request and checks its secret or its signed assertion."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping

import jwt
from cryptography.exceptions import UnsupportedAlgorithm

from rotator.sandbox.entra_errors import (
    ASSERTION_NOT_IN_TIME,
    ASSERTION_WRONG,
    CLIENT_UNKNOWN,
    PARAMETER_MISSING,
    SECRET_EXPIRED,
    SECRET_MISSING,
    SECRET_UNWANTED,
    SECRET_WRONG,
    TENANT_UNKNOWN,
    EntraRefusalError,
)
from rotator.sandbox.world import App, World

SHARED_TENANTS = frozenset({"common", "organizations"})
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def resolve_tenant(world: World, tenant: str) -> str:
    """Return the tenant's id for its id or domain name; keep the name of a shared endpoint as it is."""
    if tenant in SHARED_TENANTS:
        return tenant
    for known in world.tenants.values():
        if tenant.lower() in (known.tenant_id, known.domain):
            return known.tenant_id
    raise EntraRefusalError(TENANT_UNKNOWN)


def find_app(world: World, tenant: str, client_id: str | None) -> App:
    """Find the application with this client id; refuse an unknown one and one of another tenant."""
    if not client_id:
        raise EntraRefusalError(PARAMETER_MISSING)
    app = world.apps.get(client_id)
    if app is None or not (app.multi_tenant or tenant in (app.tenant_id, *SHARED_TENANTS)):
        raise EntraRefusalError(CLIENT_UNKNOWN)
    return app


def check_client(app: App, form: Mapping[str, str], token_endpoint: str, must_authenticate: bool = False) -> None:
    """Refuse a confidential client without a secret or a valid assertion, and a public client with either."""
    secret, assertion = form.get("client_secret"), form.get("client_assertion")
    if app.public and not must_authenticate:
        if not secret and not assertion:
            return
        if app.secret is None and not app.certificates:
            raise EntraRefusalError(SECRET_UNWANTED)
    if assertion:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise EntraRefusalError(PARAMETER_MISSING)
        _check_assertion(app, assertion, token_endpoint)
    elif not secret:
        raise EntraRefusalError(SECRET_MISSING)
    elif app.secret is None or not hmac.compare_digest(secret.encode(), app.secret.encode()):
        raise EntraRefusalError(SECRET_WRONG)
    elif app.secret_expired:
        raise EntraRefusalError(SECRET_EXPIRED)


def _check_assertion(app: App, assertion: str, token_endpoint: str) -> None:
    """Check signature and claims; the times by the real clock, which the client signs with."""
    try:
        public_key = _find_public_key(app, jwt.get_unverified_header(assertion))
        claims = jwt.decode(
            assertion,
            public_key,
            algorithms=["RS256", "PS256"],
            audience=token_endpoint,
            issuer=app.client_id,
            options={"require": ["exp", "aud", "iss", "sub"]},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as refused:
        raise EntraRefusalError(ASSERTION_NOT_IN_TIME) from refused
    except (jwt.PyJWTError, LookupError, binascii.Error, UnsupportedAlgorithm) as refused:
        raise EntraRefusalError(ASSERTION_WRONG) from refused
    if claims["sub"] != app.client_id:
        raise EntraRefusalError(ASSERTION_WRONG)


def _find_public_key(app: App, header: Mapping[str, object]) -> str:
    """Return the PEM that the thumbprint `x5t#S256` (SHA-256) or `x5t` (SHA-1) names, or raise LookupError."""
    coded = str(header.get("x5t#S256") or header.get("x5t") or "").rstrip("=")
    thumbprint = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).hex()
    return app.certificates[thumbprint]
