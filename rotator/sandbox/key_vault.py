"""The stand-in for Azure Key Vault: secrets, their versions and soft deletion, over the vaults of a World."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Mapping

from rotator.sandbox.key_vault_access import KeyVaultState, authorize
from rotator.sandbox.key_vault_bundles import (
    RETENTION,
    SecretChange,
    check_name,
    make_bundle,
    make_deleted_bundle,
    make_page,
    parse_change,
)
from rotator.sandbox.key_vault_errors import (
    KeyVaultRefusalError,
    bad_parameter,
    conflict,
    forbidden,
    make_error_answer,
    not_found,
)
from rotator.sandbox.key_vault_settings import configure_key_vault
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import Secret, SecretVersion, Vault, World

Document = dict[str, object]


class KeyVaultService:
    """Answers every request to a vault, which the address names. The World's lock guards `state`."""

    def __init__(self, world: World) -> None:
        self.state = KeyVaultState()
        self._world = world

    def configure(self, document: Mapping[str, object]) -> None:
        """Apply all that `key_vault_settings` describes, or raise ValueError and apply nothing."""
        with self._world.lock:
            configure_key_vault(self._world, self.state, document)

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        with self._world.lock:
            try:
                response = self._route(request)
            except KeyVaultRefusalError as refusal:
                response = make_error_answer(refusal)
        headers = {
            "Cache-Control": "no-cache",
            "x-ms-keyvault-region": "sandbox",
            "x-ms-keyvault-service-version": "1.9.0.0",
            "x-ms-request-id": str(uuid.uuid4()),
            **response.headers,
        }
        return Response(response.status, response.body, headers)

    def _route(self, request: Request) -> Response:
        vault = self._world.vault_at(request.base_url)
        parts = request.path.strip("/").split("/")
        if request.overtaken_by is not None and parts[0] == "secrets" and len(parts) > 1:
            body = json.dumps({"value": request.overtaken_by}).encode()
            self._set(vault, dataclasses.replace(request, body=body), parts[1])
        operation = _find_operation(request.method, parts)
        if operation is None:
            # Even an unknown address asks for a token first.
            authorize(self._world, self.state, vault, request, "get")
            raise KeyVaultRefusalError(405, "MethodNotAllowed", "There is no such operation.")
        authorize(self._world, self.state, vault, request, operation)
        if "api-version" not in request.query:
            raise bad_parameter("The query has no api-version.")
        if len(parts) > 1:
            check_name(parts[1])
        self._purge_what_is_due(vault)
        return self._carry_out(vault, request, parts)

    def _carry_out(self, vault: Vault, request: Request, parts: list[str]) -> Response:
        """Do what an admitted request of a known operation asks for."""
        match request.method, parts:
            case "GET", ["secrets"]:
                return Response.of_json(200, self._list_secrets(vault, request))
            case "GET", ["secrets", name, "versions"]:
                return Response.of_json(200, self._list_versions(vault, request, name))
            case "GET", ["secrets", name, *version]:
                return Response.of_json(200, self._get(vault, request, name, version))
            case "PUT", ["secrets", name]:
                return Response.of_json(200, self._set(vault, request, name))
            case "PATCH", ["secrets", name, *version]:
                return Response.of_json(200, self._update(vault, request, name, version))
            case "DELETE", ["secrets", name]:
                return Response.of_json(200, self._delete(vault, request.base_url, name))
            case "GET", ["deletedsecrets"]:
                return Response.of_json(200, self._list_deleted(vault, request))
            case "GET", ["deletedsecrets", name]:
                return Response.of_json(200, _show_deleted(vault, request.base_url, name))
            case "POST", ["deletedsecrets", name, "recover"]:
                return Response.of_json(200, self._recover(vault, request.base_url, name))
            case _:  # DELETE deletedsecrets/name: the only operation left
                _forget(vault, _find_deleted(vault, parts[1]))
                return Response(204)

    def _list_secrets(self, vault: Vault, request: Request) -> Document:
        alive = sorted((entry for entry in vault.secrets.values() if entry.deleted_at is None), key=_name_of)
        url = request.base_url
        return make_page(request, [make_bundle(url, entry, entry.versions[-1], with_version=False) for entry in alive])

    def _list_deleted(self, vault: Vault, request: Request) -> Document:
        gone = sorted((entry for entry in vault.secrets.values() if entry.deleted_at is not None), key=_name_of)
        return make_page(request, [make_deleted_bundle(request.base_url, entry, with_version=False) for entry in gone])

    def _list_versions(self, vault: Vault, request: Request, name: str) -> Document:
        secret = _find_alive(vault, name)
        # By version id, which is random: a client must not take the order for an order of age.
        ordered = sorted(_list_shown(secret, request), key=lambda entry: entry.version)
        return make_page(request, [make_bundle(request.base_url, secret, entry) for entry in ordered])

    def _get(self, vault: Vault, request: Request, name: str, version: list[str]) -> Document:
        secret = _find_alive(vault, name)
        shown = secret.versions if version else _list_shown(secret, request)
        if not shown:
            raise not_found(name)
        found = _find_version(secret, version) if version else shown[-1]
        if not found.enabled:
            raise forbidden("SecretDisabled", "A disabled secret cannot be read.")
        return make_bundle(request.base_url, secret, found, with_value=True)

    def _set(self, vault: Vault, request: Request, name: str) -> Document:
        change = parse_change(request)
        if change.value is None:
            raise bad_parameter("value is missing.")
        secret = _find(vault, name)
        if secret is not None and secret.deleted_at is not None:
            raise conflict(
                "ObjectIsDeletedButRecoverable",
                f"Secret {name} is deleted but recoverable: the name is taken.",
            )
        now = self._world.clock.now()
        version = SecretVersion(
            version=uuid.uuid4().hex,
            value=change.value,
            tags=change.tags or {},
            content_type=change.content_type,
            enabled=change.enabled is not False,
            created=now,
            updated=now,
            expires=change.expires,
            not_before=change.not_before,
        )
        if secret is None:
            secret = vault.secrets[name] = Secret(name)
        secret.versions.append(version)
        return make_bundle(request.base_url, secret, version, with_value=True)

    def _update(self, vault: Vault, request: Request, name: str, version: list[str]) -> Document:
        change = parse_change(request)
        secret = _find_alive(vault, name)
        found = _find_version(secret, version)
        _apply(change, found)
        found.updated = self._world.clock.now()
        return make_bundle(request.base_url, secret, found)

    def _delete(self, vault: Vault, vault_url: str, name: str) -> Document:
        secret = _find_alive(vault, name)
        secret.deleted_at = self._world.clock.now()
        return make_deleted_bundle(vault_url, secret)

    def _recover(self, vault: Vault, vault_url: str, name: str) -> Document:
        secret = _find_deleted(vault, name)
        secret.deleted_at = None
        return make_bundle(vault_url, secret, secret.versions[-1])

    def _purge_what_is_due(self, vault: Vault) -> None:
        limit = self._world.clock.now() - RETENTION
        for secret in list(vault.secrets.values()):
            if secret.deleted_at is not None and secret.deleted_at <= limit:
                _forget(vault, secret)


def _find_operation(method: str, parts: list[str]) -> str | None:
    """Return the permission that a request needs, or None if there is no such operation."""
    match method, parts:
        case ("GET", ["secrets"] | ["secrets", _, "versions"] | ["deletedsecrets"]):
            return "list"
        case ("GET", ["secrets", _] | ["secrets", _, _] | ["deletedsecrets", _]):
            return "get"
        case ("PUT", ["secrets", _]) | ("PATCH", ["secrets", _] | ["secrets", _, _]):
            return "set"
        case ("DELETE", ["secrets", _]):
            return "delete"
        case ("POST", ["deletedsecrets", _, "recover"]):
            return "recover"
        case ("DELETE", ["deletedsecrets", _]):
            return "purge"
        case _:
            return None


def _apply(change: SecretChange, version: SecretVersion) -> None:
    """Replace what a PATCH mentions, the tags as a whole; the value cannot be changed."""
    if change.tags is not None:
        version.tags = change.tags
    if change.content_type is not None:
        version.content_type = change.content_type
    if change.enabled is not None:
        version.enabled = change.enabled
    if change.expires is not None:
        version.expires = change.expires
    if change.not_before is not None:
        version.not_before = change.not_before


def _find(vault: Vault, name: str) -> Secret | None:
    """Find the secret of this name in any case, deleted or not."""
    if name in vault.secrets:
        return vault.secrets[name]
    return next((entry for entry in vault.secrets.values() if entry.name.lower() == name.lower()), None)


def _forget(vault: Vault, secret: Secret) -> None:
    for key in [key for key, entry in vault.secrets.items() if entry is secret]:
        del vault.secrets[key]


def _find_alive(vault: Vault, name: str) -> Secret:
    secret = _find(vault, name)
    if secret is None or secret.deleted_at is not None or not secret.versions:
        raise not_found(name)
    return secret


def _find_deleted(vault: Vault, name: str) -> Secret:
    secret = _find(vault, name)
    if secret is None or secret.deleted_at is None:
        raise not_found(name)
    return secret


def _show_deleted(vault: Vault, url: str, name: str) -> Document:
    secret = _find_deleted(vault, name)
    if not secret.versions[-1].enabled:
        raise forbidden("SecretDisabled", "Operation getDeletedSecret is not allowed on a disabled secret.")
    return make_deleted_bundle(url, secret)


def _list_shown(secret: Secret, request: Request) -> list[SecretVersion]:
    """The versions that a read without a version id knows, the oldest first."""
    return secret.versions[:-1] if request.is_stale else secret.versions


def _find_version(secret: Secret, version: list[str]) -> SecretVersion:
    """Find the version that the rest of the path names, or the newest if there is no rest."""
    if not version:
        return secret.versions[-1]
    for entry in secret.versions:
        if entry.version == version[0].lower():
            return entry
    raise not_found(f"{secret.name}/{version[0]}")


def _name_of(secret: Secret) -> str:
    return secret.name.lower()
