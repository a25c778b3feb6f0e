"""Turns the JSON of Azure DevOps into our values. What does not fit is a MalformedError, never a guess."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rotator.adapters.redaction import redact_text
from rotator.domain.account import Identity
from rotator.domain.managed_pat import Pat
from rotator.domain.outside import find_id, make_canonical, make_harmless
from rotator.domain.secret_value import SecretValue
from rotator.ports.pat_service import MintedPat, PatList

_NO_ID = "00000000-0000-0000-0000-000000000000"
_LONGEST_CODE = 80
_LONGEST_MESSAGE = 300
_ANONYMOUS_IDS = {_NO_ID, "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"}


class MalformedError(ValueError):
    """An answer that is not what the API describes. Says which part, and repeats nothing of its content."""


@dataclass(frozen=True)
class PatRefusal:
    """A `patTokenError` other than `none`, and the message that API 7.2 adds."""

    error: str
    message: str


def parse_json(body: bytes) -> object | None:
    """Return the JSON document, with or without a byte order mark; None if it is not JSON, or only `null`.

    What is not UTF-8 becomes U+FFFD: one bad byte in a name must not cost the new PAT beside it.
    """
    try:
        document: object = json.loads(body.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        # The exception holds the whole text, perhaps a new PAT: it must not be the cause of another one.
        return None
    return document


def parse_moment(value: object) -> datetime:
    """Return an aware UTC moment; the seventh digit of a fraction is dropped."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    # Years that no PAT has, 1 and 9999 among them, cannot be reckoned with.
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 2200:
        raise MalformedError("an invalid date")
    return moment.astimezone(UTC)


def render_moment(moment: datetime) -> str:
    """Return the moment in UTC and whole seconds, `2026-12-03T09:00:00Z`: only this form comes back unchanged."""
    if moment.tzinfo is None:
        raise ValueError("a time without a time zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_pat(document: object) -> Pat:
    """Return the metadata of one PAT."""
    if not isinstance(document, Mapping):
        raise MalformedError("a PAT that is not an object")
    name = document.get("displayName")
    return Pat(
        authorization_id=_read_id(document),
        display_name="" if name is None else _text(document, "displayName", may_be_empty=True),
        scope=_text(document, "scope"),
        target_accounts=_targets(document.get("targetAccounts")),
        valid_from=parse_moment(document.get("validFrom")),
        valid_to=parse_moment(document.get("validTo")),
    )


def parse_page(document: object) -> tuple[PatList, str]:
    """Return the PATs of one page, each read on its own, and the token of the next page, empty at the end."""
    if not isinstance(document, Mapping):
        raise MalformedError("a page that is not an object")
    entries = document.get("patTokens")
    token = document.get("continuationToken")
    if not isinstance(entries, list):
        raise MalformedError("a page without a list of PATs")
    if token is not None and not isinstance(token, str):
        raise MalformedError("a continuation token that is not text")
    pats, unreadable = [], []
    for entry in entries:
        try:
            pats.append(parse_pat(entry))
        except MalformedError:
            unreadable.append(_find_entry_id(entry))
    return PatList(pats, unreadable), token or ""


def parse_answer(document: object) -> MintedPat | PatRefusal:
    """`{patToken, patTokenError}`, as GET of one PAT, POST and PUT answer; only POST's holds a value.

    Success without a PAT, or a PAT together with an error, is malformed.
    """
    if not isinstance(document, Mapping):
        raise MalformedError("an answer that is not an object")
    entry = document.get("patToken")
    refusal = find_refusal(document)
    if refusal is not None:
        if entry is not None:
            raise MalformedError("both a PAT and an error")
        return refusal
    value = entry.get("token") if isinstance(entry, Mapping) else None
    if value is not None and not isinstance(value, str):
        raise MalformedError("a token that is not text")
    return MintedPat(parse_pat(entry), SecretValue(value) if value else None)


def find_refusal(document: object) -> PatRefusal | None:
    """Return the error that an answer about a PAT names; None if it names none, or is not such an answer."""
    error = document.get("patTokenError") if isinstance(document, Mapping) else None
    if error is None or error == "none" or not isinstance(document, Mapping):
        return None
    message = document.get("patTokenErrorMessage")
    return PatRefusal(
        make_harmless(redact_text(str(error)))[:_LONGEST_CODE],  # redacted first: half a secret has no shape
        make_harmless(redact_text(message))[:_LONGEST_MESSAGE] if isinstance(message, str) else "",
    )


def parse_identity(document: object) -> Identity | None:
    """Return who is asking, according to connectionData; None for an anonymous user, or if none is named.

    `instanceId` of the answer is the organization's own id, the one that `targetAccounts` of a PAT holds.
    """
    if not isinstance(document, Mapping) or "authenticatedUser" not in document:
        raise MalformedError("an answer that says nothing of a user")
    user = document.get("authenticatedUser")
    if not isinstance(user, Mapping):
        return None
    user_id, name = user.get("id"), user.get("customDisplayName") or user.get("providerDisplayName")
    if not isinstance(user_id, str) or not user_id or user_id.lower() in _ANONYMOUS_IDS:
        return None
    if not isinstance(name, str) or name.strip().casefold() in ("", "anonymous"):
        return None
    instance = document.get("instanceId")
    organization_id = make_canonical(instance) if isinstance(instance, str) and instance not in ("", _NO_ID) else None
    return Identity(make_canonical(user_id), make_harmless(name), organization_id)


def _text(document: Mapping[object, object], name: str, *, may_be_empty: bool = False) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not (value or may_be_empty):
        raise MalformedError(f"a PAT without {name}")
    return make_harmless(value)


def _read_id(document: Mapping[object, object]) -> str:
    identifier = find_id(_text(document, "authorizationId"))
    if identifier is None:
        raise MalformedError("a PAT whose authorizationId is not an id")
    return identifier


def _find_entry_id(entry: object) -> str:
    """The id of an entry that cannot be read, empty where there is none."""
    identifier = entry.get("authorizationId") if isinstance(entry, Mapping) else None
    return (find_id(identifier) or "") if isinstance(identifier, str) else ""


def _targets(value: object) -> tuple[str, ...] | None:
    # Absent is read as null, which means all organizations: a PAT that nobody clones or revokes by mistake.
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(entry, str) for entry in value):
        raise MalformedError("targetAccounts that is not a list of ids")
    return tuple(make_canonical(entry) for entry in value)
