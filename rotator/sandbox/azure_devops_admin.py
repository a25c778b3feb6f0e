"""What an administrator of an organization may ask: its users (Graph API), and their PATs (token admin API)."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from rotator.sandbox.azure_devops_listing import status_of
from rotator.sandbox.azure_devops_replies import identity_id, make_error, make_unauthorized, render_date
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import Organization, Pat, User, World

_GRAPH_VERSION = "7.1-preview.1"
_ADMIN_VERSION = "7.1"
_LARGEST_PAGE = 100
T = TypeVar("T")


def make_descriptor(user: User) -> str:
    """Return the subject descriptor of a user."""
    coded = base64.urlsafe_b64encode(identity_id(user).encode()).rstrip(b"=").decode()
    return f"aad.{coded}"


class AdminResource:
    """`graph/users`, `tokenadmin/personalaccesstokens/DESCRIPTOR` and `tokenadmin/revocations`.

    The caller holds the world's lock.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(
        self, request: Request, organization: Organization, user: User, permissions: Sequence[str], resource: str
    ) -> Response:
        """Answer one request from a user who may enter the organization, by an application with these permissions."""
        is_graph = resource.lower() == "graph/users"
        is_post = resource.lower() == "tokenadmin/revocations"
        if request.method != ("POST" if is_post else "GET"):
            message = f"The requested resource does not support http method '{request.method}'."
            return make_error(405, "VssRequestException", message)
        if request.query.get("api-version") != (_GRAPH_VERSION if is_graph else _ADMIN_VERSION):
            message = "The requested version of the resource is out of range."
            return make_error(400, "VssVersionOutOfRangeException", message)
        if not {"user_impersonation", "vso.graph" if is_graph else "vso.tokenadministration"} & set(permissions):
            return make_unauthorized(user.object_id)
        if is_graph:
            return self._list_users(request.query, organization)
        if user.object_id not in organization.token_admins:
            return make_unauthorized(user.object_id)
        if is_post:
            return self._revoke(request, organization)
        return self._list_pats(request.query, organization, resource.rpartition("/")[2])

    def _list_users(self, query: Mapping[str, str], organization: Organization) -> Response:
        """Make a page of users; the next one is named by a header alone."""
        subjects = [*map(_render_user, self._list_members(organization)), _render_service(organization)]
        try:
            page, token = _cut(subjects, query.get("continuationToken", ""), organization.graph_page)
        except ValueError as problem:
            return make_error(400, "GraphBadRequestException", f"VS860015: {problem}.")
        headers = {"X-MS-ContinuationToken": token} if token else {}
        return Response.of_json(200, {"count": len(page), "value": page}, headers)

    def _list_members(self, organization: Organization) -> Iterator[User]:
        for user in self._world.users.values():
            if organization.members is None or user.object_id in organization.members:
                yield user

    def _list_pats(self, query: Mapping[str, str], organization: Organization, descriptor: str) -> Response:
        owner = next((user for user in self._list_members(organization) if make_descriptor(user) == descriptor), None)
        if owner is None:
            return make_error(404, "IdentityNotFoundException", f"The identity {descriptor} could not be found.")
        pats = [
            pat
            for pat in self._world.pats.values()
            if pat.user_id == owner.object_id and (not pat.target_accounts or organization.id in pat.target_accounts)
        ]
        size = query.get("pageSize", "20")
        if not size.isdigit() or int(size) < 1 or query.get("isPublic", "false") != "false":
            return make_error(400, "VssPropertyValidationException", "Invalid page size or kind of token.")
        try:
            page, token = _cut(pats, query.get("continuationToken", ""), min(int(size), _LARGEST_PAGE))
        except ValueError as problem:
            return make_error(400, "VssPropertyValidationException", f"Invalid value: {problem}.")
        return Response.of_json(
            200, {"value": [self._render(pat, owner) for pat in page], "continuationToken": token or None}
        )

    def _render(self, pat: Pat, owner: User) -> dict[str, object]:
        """Render a session token: those that ended are listed too, as not valid."""
        return {
            "clientId": str(uuid.UUID(int=0)),
            "accessId": str(uuid.uuid5(uuid.NAMESPACE_OID, pat.authorization_id)),
            "authorizationId": pat.authorization_id,
            "hostAuthorizationId": str(uuid.UUID(int=0)),
            "userId": identity_id(owner),
            "validFrom": render_date(pat.valid_from),
            "validTo": render_date(pat.valid_to),
            "displayName": pat.display_name,
            "scope": pat.scope,
            "targetAccounts": None if pat.target_accounts is None else list(pat.target_accounts),
            "token": None,
            "alternateToken": None,
            "isValid": status_of(pat, self._world.clock.now()) == "active",
            "isPublic": False,
            "publicData": None,
            "source": None,
            "claims": None,
        }

    def _revoke(self, request: Request, organization: Organization) -> Response:
        """Revoke each PAT that is valid here; an id that is not known is passed over."""
        try:
            body = request.json()
            wanted = [str(uuid.UUID(entry["authorizationId"])) for entry in body] if isinstance(body, list) else []
        except (ValueError, KeyError, TypeError, AttributeError):
            wanted = []
        if not wanted:
            return make_error(400, "VssPropertyValidationException", "The request names no authorization ids.")
        for identifier in wanted:
            pat = self._world.pats.get(identifier)
            if pat is not None and (not pat.target_accounts or organization.id in pat.target_accounts):
                pat.revoked = True
        return Response(204)


def _cut(entries: Sequence[T], token: str, size: int) -> tuple[list[T], str]:
    """Return the page that a token names and the token of the next; ValueError for a token that nobody was given."""
    start = uuid.UUID(token).int if token else 0
    if token and not 0 < start < len(entries):
        raise ValueError("the continuation token is not valid")
    end = start + size
    return list(entries[start:end]), str(uuid.UUID(int=end)) if end < len(entries) else ""


def _render_user(user: User) -> dict[str, object]:
    document: dict[str, object] = {
        "subjectKind": "user",
        "metaType": "member",
        "domain": user.tenant_id,
        "principalName": user.username,
        "mailAddress": user.username,
        "origin": "aad",
        "originId": user.object_id,
        "displayName": user.display_name,
        "descriptor": make_descriptor(user),
        "url": f"https://vssps.dev.azure.com/_apis/Graph/Users/{make_descriptor(user)}",
    }
    return {**document, "isDeletedInOrigin": True} if user.deleted else document


def _render_service(organization: Organization) -> dict[str, object]:
    """Render the identity that builds run as: every organization has one."""
    coded = base64.urlsafe_b64encode(organization.id.encode()).rstrip(b"=").decode()
    return {
        "subjectKind": "user",
        "domain": "Build",
        "principalName": organization.id,
        "mailAddress": "",
        "origin": "vsts",
        "originId": organization.id,
        "displayName": f"Project Collection Build Service ({organization.name})",
        "descriptor": f"svc.{coded}",
    }
