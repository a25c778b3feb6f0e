"""What a control document may set in the Entra stand-in.

```
{"transient_failures": 2,                     the next token requests get 90033 with 503
 "device_code_interval": 1,                   seconds
 "access_token_lifetime_seconds": 3599,
 "replaced_token_grace_seconds": 0,            a refresh token works once; by default, for a day after its successor
 "tenants": {"contoso.com": {"device_code_allowed": false}},       by domain or id
 "users": {"build-bot@contoso.com": {
     "enabled": true, "deleted": false, "mfa_required": false, "conditional_access_blocked": false,
     "mfa_enrollment_required": false, "revoked": true, "sign_in_frequency_seconds": 3600,
     "refresh_error": 70043}},
 "apps": {"<client id>": {
     "consented": true, "public": true, "multi_tenant": false, "secret": "...", "secret_expired": false,
     "permissions": ["vso.pats"], "certificate": "-----BEGIN CERTIFICATE-----..."}}}
```
Every key is optional. `revoked: true` ends all sign-ins made so far. `certificate` registers the public key of
a PEM certificate under both its thumbprints. null clears `secret`, `refresh_error` and the frequency.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from rotator.sandbox.entra_state import EntraState
from rotator.sandbox.world import App, User, World

_USER_SWITCHES = ("enabled", "deleted", "mfa_required", "conditional_access_blocked")
_APP_SWITCHES = ("consented", "public", "multi_tenant", "secret_expired")
Change = Callable[[], None]


def configure_entra(world: World, state: EntraState, document: Mapping[str, object]) -> None:
    """Apply all of a control document, or raise ValueError and apply nothing if a part is wrong."""
    changes: list[Change] = []
    for name, value in document.items():
        if name == "users":
            for username, settings in _mapping(name, value).items():
                user = world.user_named(username)
                if user is None:
                    raise ValueError(f"users: there is no user {username!r}")
                changes += [_user_change(world, state, user, *item) for item in _mapping(username, settings).items()]
        elif name == "apps":
            for client_id, settings in _mapping(name, value).items():
                if client_id not in world.apps:
                    raise ValueError(f"apps: there is no app {client_id!r}")
                app = world.apps[client_id]
                changes += [_app_change(app, *item) for item in _mapping(client_id, settings).items()]
        elif name == "tenants":
            for tenant, settings in _mapping(name, value).items():
                changes += [_tenant_change(world, tenant, *item) for item in _mapping(tenant, settings).items()]
        else:
            changes.append(_service_change(state, name, value))
    for change in changes:
        change()


def add_certificate(app: App, certificate_pem: str) -> None:
    """Register the public key of a PEM certificate with an app, by SHA-256 and by SHA-1 thumbprint."""
    certificate = x509.load_pem_x509_certificate(certificate_pem.encode())
    public_key = certificate.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    content = certificate.public_bytes(serialization.Encoding.DER)
    for digest in (hashlib.sha256(content), hashlib.sha1(content, usedforsecurity=False)):
        app.certificates[digest.hexdigest()] = public_key.decode()


def _service_change(state: EntraState, name: str, value: object) -> Change:
    if name in ("transient_failures", "device_code_interval"):
        number = _number(name, value)
        return lambda: setattr(state, name, number)
    if name in ("access_token_lifetime_seconds", "replaced_token_grace_seconds"):
        span = timedelta(seconds=_number(name, value))
        return lambda: setattr(state, name.removesuffix("_seconds"), span)
    raise ValueError(f"unknown setting {name!r}")


def _tenant_change(world: World, tenant: str, name: str, value: object) -> Change:
    found = [entry for entry in world.tenants.values() if tenant in (entry.tenant_id, entry.domain)]
    if not found or name != "device_code_allowed":
        raise ValueError(f"tenants: there is no {tenant!r}, or no setting {name!r}")
    allowed = _boolean(name, value)
    return lambda: setattr(found[0], name, allowed)


def _user_change(world: World, state: EntraState, user: User, name: str, value: object) -> Change:
    conditions = state.user(user.object_id)
    if name in _USER_SWITCHES:
        switch = _boolean(name, value)
        return lambda: setattr(user, name, switch)
    if name == "mfa_enrollment_required":
        required = _boolean(name, value)
        return lambda: setattr(conditions, name, required)
    if name == "revoked":
        revoked_at = world.clock.now() if _boolean(name, value) else None
        return lambda: setattr(user, "sign_ins_revoked_at", revoked_at)
    if name == "refresh_error":
        number = None if value is None else _number(name, value)
        return lambda: setattr(user, name, number)
    if name == "sign_in_frequency_seconds":
        frequency = None if value is None else timedelta(seconds=_number(name, value))
        return lambda: setattr(conditions, "sign_in_frequency", frequency)
    raise ValueError(f"unknown setting {name!r} of a user")


def _app_change(app: App, name: str, value: object) -> Change:
    if name in _APP_SWITCHES:
        switch = _boolean(name, value)
        return lambda: setattr(app, name, switch)
    if name == "secret":
        if value is not None and not isinstance(value, str):
            raise ValueError("secret: expected a text or null")
        return lambda: setattr(app, "secret", value)
    if name == "permissions":
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError("permissions: expected a list of texts")
        return lambda: setattr(app, "permissions", tuple(value))
    if name == "certificate":
        if not isinstance(value, str):
            raise ValueError("certificate: expected PEM text")
        scratch = App(app.client_id, app.tenant_id)
        add_certificate(scratch, value)
        return lambda: app.certificates.update(scratch.certificates)
    raise ValueError(f"unknown setting {name!r} of an app")


def _mapping(name: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected an object")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false")
    return value


def _number(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{name}: expected a whole number, not negative")
    return value
