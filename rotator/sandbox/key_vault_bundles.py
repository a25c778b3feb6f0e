"""What the Key Vault stand-in reads and writes: write requests, bundles and pages."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from rotator.sandbox.key_vault_errors import bad_parameter
from rotator.sandbox.messages import Request
from rotator.sandbox.world import Secret, SecretVersion

MAX_TAGS = 15
MAX_TAG_LENGTH = 256
MAX_CONTENT_TYPE_LENGTH = 255
MAX_VALUE_BYTES = 25_600
MAX_PAGE = 25
RETENTION = timedelta(days=90)
_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")


@dataclass(frozen=True)
class SecretChange:
    """A requested PUT or PATCH. None: not mentioned; a PATCH leaves it as it is, a PUT takes the default."""

    value: str | None
    content_type: str | None
    tags: dict[str, str] | None
    enabled: bool | None
    expires: datetime | None
    not_before: datetime | None


def check_name(name: str) -> None:
    """Refuse a name that is not 1 to 127 letters, digits and dashes."""
    if not _NAME.fullmatch(name):
        raise bad_parameter("The secret's name must be 1 to 127 characters of 0-9, a-z, A-Z and -.")


def parse_change(request: Request) -> SecretChange:
    """Parse the body of a PUT or PATCH and check it against the service's limits."""
    try:
        document = request.json()
    except ValueError as refused:
        raise bad_parameter("The body is not JSON.") from refused
    if not isinstance(document, dict):
        raise bad_parameter("The body must be an object.")
    attributes = document.get("attributes") or {}
    if not isinstance(attributes, dict):
        raise bad_parameter("attributes must be an object.")
    change = SecretChange(
        value=_parse_text(document, "value", MAX_VALUE_BYTES),
        content_type=_parse_text(document, "contentType", MAX_CONTENT_TYPE_LENGTH),
        tags=_parse_tags(document.get("tags")),
        enabled=_parse_enabled(attributes.get("enabled")),
        expires=_parse_time(attributes, "exp"),
        not_before=_parse_time(attributes, "nbf"),
    )
    if change.expires and change.not_before and change.expires <= change.not_before:
        raise bad_parameter("exp must be later than nbf.")
    return change


def make_bundle(
    vault_url: str,
    secret: Secret,
    version: SecretVersion,
    with_value: bool = False,
    with_version: bool = True,
) -> dict[str, object]:
    """Write a version as JSON. Only GET and PUT show the value; lists of secrets name no version."""
    attributes: dict[str, object] = {"enabled": version.enabled}
    if version.not_before is not None:
        attributes["nbf"] = int(version.not_before.timestamp())
    if version.expires is not None:
        attributes["exp"] = int(version.expires.timestamp())
    attributes |= {
        "created": int(version.created.timestamp()),
        "updated": int(version.updated.timestamp()),
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": RETENTION.days,
    }
    address = f"{vault_url}/secrets/{secret.name}"
    bundle: dict[str, object] = {"id": f"{address}/{version.version}" if with_version else address}
    if with_value:
        bundle["value"] = version.value
    if version.content_type is not None:
        bundle["contentType"] = version.content_type
    if version.tags:
        bundle["tags"] = dict(version.tags)
    return {**bundle, "attributes": attributes}


def make_deleted_bundle(vault_url: str, secret: Secret, with_version: bool = True) -> dict[str, object]:
    """Write a soft-deleted secret as JSON: when it was deleted, when it will be purged, where to recover it."""
    deleted_at = secret.deleted_at
    if deleted_at is None:
        raise ValueError(f"secret {secret.name} is not deleted")
    return {
        "recoveryId": f"{vault_url}/deletedsecrets/{secret.name}",
        "deletedDate": int(deleted_at.timestamp()),
        "scheduledPurgeDate": int((deleted_at + RETENTION).timestamp()),
        **make_bundle(vault_url, secret, secret.versions[-1], with_version=with_version),
    }


def make_page(request: Request, items: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Make one page of a list: at most `maxresults` (1 to 25) items, and the address of the next page or null."""
    asked = request.query.get("maxresults", str(MAX_PAGE))
    if not asked.isascii() or not asked.isdecimal() or not 1 <= int(asked) <= MAX_PAGE:
        raise bad_parameter(f"maxresults must be 1 to {MAX_PAGE}.")
    size, start = int(asked), _parse_skip_token(request.query.get("$skiptoken"))
    page, rest = items[start : start + size], items[start + size :]
    next_link = None
    if rest:
        token = base64.urlsafe_b64encode(f"from:{start + size}".encode()).decode()
        api_version = request.query["api-version"]
        next_link = f"{request.base_url}{request.path}?api-version={api_version}&$skiptoken={token}&maxresults={size}"
    return {"value": list(page), "nextLink": next_link}


def _parse_skip_token(token: str | None) -> int:
    if token is None:
        return 0
    try:
        prefix, _, start = base64.urlsafe_b64decode(token).decode().partition(":")
        if prefix != "from":
            raise ValueError(token)
        return int(start)
    except (ValueError, binascii.Error) as refused:
        raise bad_parameter("$skiptoken is unknown.") from refused


def _parse_text(document: Mapping[str, object], name: str, limit: int) -> str | None:
    text = document.get(name)
    if text is None:
        return None
    if not isinstance(text, str):
        raise bad_parameter(f"{name} must be a text.")
    if len(text.encode()) > limit:
        raise bad_parameter(f"{name} is longer than {limit} bytes.")
    return text


def _parse_tags(tags: object) -> dict[str, str] | None:
    if tags is None:
        return None
    if not isinstance(tags, dict) or not all(isinstance(text, str) for text in tags.values()):
        raise bad_parameter("tags must be an object of texts.")
    if len(tags) > MAX_TAGS:
        raise bad_parameter(f"A secret has at most {MAX_TAGS} tags.")
    if any(len(name) > MAX_TAG_LENGTH or len(text) > MAX_TAG_LENGTH for name, text in tags.items()):
        raise bad_parameter(f"A tag's name and value have at most {MAX_TAG_LENGTH} characters.")
    return dict(tags)


def _parse_enabled(enabled: object) -> bool | None:
    if enabled is not None and not isinstance(enabled, bool):
        raise bad_parameter("attributes.enabled must be true or false.")
    return enabled


def _parse_time(attributes: Mapping[str, object], name: str) -> datetime | None:
    seconds = attributes.get(name)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int):
        raise bad_parameter(f"attributes.{name} must be whole seconds since 1970.")
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError) as refused:
        raise bad_parameter(f"attributes.{name} is out of range.") from refused
