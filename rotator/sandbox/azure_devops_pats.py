"""The PAT lifecycle resource: list, get, create, update and revoke, for the user who asks."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from datetime import datetime

from rotator.sandbox.azure_devops_audit import note_in_log
from rotator.sandbox.azure_devops_listing import Listing, ListingError, status_of
from rotator.sandbox.azure_devops_policies import (
    PatWish,
    check_policies,
    check_wish,
    clamp,
    error_in_version,
    error_message,
)
from rotator.sandbox.azure_devops_replies import make_error, render_date, to_ticks
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import Organization, Pat, User, World

_VERSION = re.compile(r"(7\.[12])-preview(\.1)?")
_KNOWN_VERSION = re.compile(r"\d+\.\d+(-preview(\.\d+)?)?")


class PatResource:
    """`/{organization}/_apis/tokens/pats`. The caller holds the world's lock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(self, request: Request, organization: Organization, user: User, activity: str) -> Response:
        """Answer one request from a user who may enter the organization; `activity` is the id of its answer."""
        given = request.query.get("api-version", "")
        match = _VERSION.fullmatch(given)
        if match is None:
            return _refuse_version(given, request.method)
        version = match[1]
        if request.method == "GET":
            one = "authorizationId" in request.query
            return self._get(request, user, version) if one else self._list(request, user)
        if request.method == "DELETE":
            return self._revoke(request, organization, user, version, activity)
        if request.method not in ("POST", "PUT"):
            message = f"The requested resource does not support http method '{request.method}'."
            return make_error(405, "VssRequestException", message)
        body = _read_body(request)
        if body is None:
            return make_error(400, "VssPropertyValidationException", "The request body is not a valid document.")
        if request.method == "POST":
            return self._create(body, organization, user, version, activity)
        return self._update(body, organization, user, version, activity)

    def _list(self, request: Request, user: User) -> Response:
        try:
            listing = Listing.of_query(request.query)
        except ListingError as refusal:
            return make_error(400, "VssPropertyValidationException", f"Invalid value for {refusal}.")
        own = [pat for pat in self._world.pats.values() if pat.user_id == user.object_id]
        page, token = listing.page(own, self._world.clock.now())
        entries = [_render(pat) for pat in page]
        return Response.of_json(200, {"continuationToken": token, "patTokens": entries})

    def _get(self, request: Request, user: User, version: str) -> Response:
        pat, error = self._find(request.query["authorizationId"], user)
        return _result(_render(pat) if pat else None, error, version)

    def _revoke(
        self, request: Request, organization: Organization, user: User, version: str, activity: str
    ) -> Response:
        pat, error = self._find(request.query.get("authorizationId", ""), user)
        if pat is None or pat.revoked:
            gone = "tokenNotFound" if error in ("none", "authorizationNotFound") else error
            return _result(None, gone, version, status=404)
        pat.revoked = True
        note_in_log(self._world, organization, "PatRevokeEvent", pat, user, activity)
        return Response(204)

    def _create(
        self, body: Mapping[str, object], organization: Organization, user: User, version: str, activity: str
    ) -> Response:
        now = to_ticks(self._world.clock.now())
        wish = PatWish(
            display_name=_text(body, "displayName"),
            scope=_text(body, "scope"),
            valid_to=_moment(body.get("validTo")),
            all_organizations=body.get("allOrgs") is True,
        )
        error = check_wish(wish, now)
        if error == "none":
            error = check_policies(wish, organization, now)
        if error != "none" or wish.valid_to is None:
            return _result(None, error, version)
        pat = self._world.add_pat(
            user,
            wish.display_name,
            wish.scope,
            None if wish.all_organizations else (organization,),
            now,
            to_ticks(clamp(wish.valid_to, organization, now)),
        )
        note_in_log(self._world, organization, "PatCreateEvent", pat, user, activity)
        return _result({**_render(pat), "token": pat.value}, "none", version)

    def _update(
        self, body: Mapping[str, object], organization: Organization, user: User, version: str, activity: str
    ) -> Response:
        pat, error = self._find(_text(body, "authorizationId"), user)
        if pat is None:
            return _result(None, error, version)
        now = self._world.clock.now()
        status = status_of(pat, now)
        if status != "active":
            failure = "failedToUpdateAccessToken" if status == "revoked" else "expiredPatCannotBeExtended"
            return _result(None, failure, version)
        was_global = pat.target_accounts is None
        all_organizations = body.get("allOrgs", was_global) is True
        wish = PatWish(
            display_name=_text(body, "displayName", pat.display_name),
            scope=_text(body, "scope", pat.scope),
            valid_to=_moment(body["validTo"]) if "validTo" in body else pat.valid_to,
            all_organizations=all_organizations,
        )
        error = check_wish(wish, now)
        if error == "none":
            error = check_policies(wish, organization, pat.valid_from)
        if error != "none" or wish.valid_to is None:
            return _result(None, error, version)
        pat.display_name, pat.scope = wish.display_name, wish.scope
        pat.valid_to = to_ticks(clamp(wish.valid_to, organization, pat.valid_from))
        if all_organizations != was_global:
            pat.target_accounts = None if all_organizations else (organization.id,)
        note_in_log(self._world, organization, "PatUpdateEvent", pat, user, activity)
        return _result(_render(pat), "none", version)

    def _find(self, identifier: str, user: User) -> tuple[Pat | None, str]:
        """Find a PAT of this user, even a revoked one, or return the error. Other users' PATs do not exist for them."""
        try:
            wanted = str(uuid.UUID(identifier))
        except ValueError:
            return None, "invalidAuthorizationId"
        pat = self._world.pats.get(wanted)
        if pat is None or pat.user_id != user.object_id:
            return None, "authorizationNotFound"
        return pat, "none"


def _refuse_version(given: str, method: str) -> Response:
    if not given:
        message = f'No api-version was supplied for the "{method}" request.'
        return make_error(400, "VssVersionNotSpecifiedException", message)
    if not _KNOWN_VERSION.fullmatch(given):
        message = f'The requested version "{given}" is not of the form major.minor[-preview[.resource]].'
        return make_error(400, "VssVersionFormatException", message)
    if "-preview" not in given:
        message = f'Version "{given}" of the resource is under preview: supply the -preview flag.'
        return make_error(400, "VssInvalidPreviewVersionException", message)
    message = f'The requested version "{given}" of the resource is out of range.'
    return make_error(400, "VssVersionOutOfRangeException", message)


def _read_body(request: Request) -> Mapping[str, object] | None:
    try:
        body = request.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _text(body: Mapping[str, object], name: str, default: str = "") -> str:
    value = body.get(name, default)
    return value if isinstance(value, str) else ""


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else to_ticks(moment)


def _render(pat: Pat) -> dict[str, object]:
    """Render the PAT without its value, which is only shown at creation."""
    return {
        "displayName": pat.display_name,
        "validTo": render_date(pat.valid_to),
        "scope": pat.scope,
        "targetAccounts": None if pat.target_accounts is None else list(pat.target_accounts),
        "validFrom": render_date(pat.valid_from),
        "authorizationId": pat.authorization_id,
        "token": None,
    }


def _result(pat: dict[str, object] | None, error: str, version: str, status: int = 200) -> Response:
    document: dict[str, object] = {"patToken": pat, "patTokenError": error_in_version(error, version)}
    if version == "7.2":
        document["patTokenErrorMessage"] = error_message(error)
    return Response.of_json(status, document)
