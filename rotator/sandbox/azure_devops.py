"""The Azure DevOps stand-in: who is asking, and for which of the resources.

One host plays `vssps.dev.azure.com` (PATs, users and their PATs), `dev.azure.com` (connectionData) and
`auditservice.dev.azure.com` (the audit log).
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import re
import uuid
from datetime import UTC, datetime

from rotator.sandbox.azure_devops_admin import AdminResource
from rotator.sandbox.azure_devops_audit import AuditResource
from rotator.sandbox.azure_devops_pats import PatResource
from rotator.sandbox.azure_devops_replies import (
    make_connection_answer,
    make_error,
    make_sign_in_page,
    make_unauthorized,
    to_ticks,
)
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import AccessToken, Organization, User, World

GLOBAL_PATS_END = datetime(2026, 12, 1, tzinfo=UTC)
"""From then on all-organization PATs authenticate nobody."""

_PATH = re.compile(
    r"/(?P<organization>[^/]+)/_apis/(?P<resource>tokens/pats|connectiondata|audit/auditlog|graph/users"
    r"|tokenadmin/revocations|tokenadmin/personalaccesstokens/[^/]+)/?",
    re.I,
)
_OF_ADMINS = ("graph/", "tokenadmin/")


class AzureDevOpsService:
    """The PAT lifecycle API and connectionData, for the organizations of the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._pats = PatResource(world)
        self._audit = AuditResource(world)
        self._admin = AdminResource(world)

    def handle(self, request: Request) -> Response:
        """Do what the request asks, and give every response an activity id."""
        activity = str(uuid.uuid4())
        with self._world.lock:
            response = self._route(request, activity)
        traced = {**response.headers, "ActivityId": activity, "X-VSS-E2EID": activity}
        return dataclasses.replace(response, headers=traced)

    def _route(self, request: Request, activity: str) -> Response:
        match = _PATH.fullmatch(request.path)
        if match is None:
            return make_error(404, "VssResourceNotFoundException", f"There is no resource at {request.path}.")
        name = match["organization"]
        organization = self._world.organizations.get(name.lower())
        if organization is None:
            return make_error(404, "HostDoesNotExistException", f"The organization {name} does not exist.")
        if match["resource"].lower() == "connectiondata":
            return self._connection_data(request, organization)
        if match["resource"].lower() == "audit/auditlog":
            return self._audit_log(request, organization)
        if match["resource"].lower().startswith(_OF_ADMINS):
            return self._administration(request, organization, match["resource"])
        return self._tokens_pats(request, organization, activity)

    def _audit_log(self, request: Request, organization: Organization) -> Response:
        token = self._bearer(request)
        if token is None:
            return _refuse(request)
        user = self._admitted(token.subject_id, organization)
        permissions = self._world.apps[token.client_id].permissions
        if user is None or not {"user_impersonation", "vso.auditlog"} & set(permissions):
            return make_unauthorized(token.subject_id)
        return self._audit.answer(request, organization, user)

    def _administration(self, request: Request, organization: Organization, resource: str) -> Response:
        token = self._bearer(request)
        if token is None:
            return _refuse(request)
        user = self._admitted(token.subject_id, organization)
        if user is None:
            return make_unauthorized(token.subject_id)
        permissions = self._world.apps[token.client_id].permissions
        return self._admin.answer(request, organization, user, permissions, resource)

    def _tokens_pats(self, request: Request, organization: Organization, activity: str) -> Response:
        token = self._bearer(request)
        if token is None:
            # The real service takes no PAT here: it wants a user's Entra token.
            return _refuse(request)
        if token.username is None:
            message = "Service principals are not allowed to perform this action."
            return make_error(403, "InvalidAccessException", message)
        user = self._admitted(token.subject_id, organization)
        if user is None:
            return make_unauthorized(token.subject_id)
        return self._pats.answer(request, organization, user, activity)

    def _connection_data(self, request: Request, organization: Organization) -> Response:
        if request.method != "GET":
            message = f"The requested resource does not support http method '{request.method}'."
            return make_error(405, "VssRequestException", message)
        if _scheme(request) == "basic":
            user = self._pat_user(request, organization)
            challenge = {"WWW-Authenticate": 'Basic realm="sandbox"'}
            return make_connection_answer(user, organization) if user else Response(401, b"", challenge)
        token = self._bearer(request)
        if token is None:
            return _refuse(request)
        user = self._admitted(token.subject_id, organization)
        return make_connection_answer(user, organization) if user else make_unauthorized(token.subject_id)

    def _bearer(self, request: Request) -> AccessToken | None:
        if _scheme(request) != "bearer":
            return None
        token = self._world.access_tokens.get(request.headers["authorization"].partition(" ")[2].strip())
        if token is None or token.resource != "azure_devops" or token.expires_at <= self._world.clock.now():
            return None
        return token

    def _admitted(self, subject_id: str, organization: Organization) -> User | None:
        user = self._world.users.get(subject_id)
        if user is None or not user.enabled:
            return None
        outside = organization.members is not None and user.object_id not in organization.members
        return None if outside else user

    def _pat_user(self, request: Request, organization: Organization) -> User | None:
        value = _basic_password(request)
        # Dates are kept rounded, so a new PAT may begin a moment after the true time: compare like with like.
        now = to_ticks(self._world.clock.now())
        pat = next((pat for pat in self._world.pats.values() if pat.value == value), None)
        if pat is None or pat.revoked or not pat.valid_from <= now < pat.valid_to:
            return None
        if pat.target_accounts is None and now >= GLOBAL_PATS_END:
            return None
        if pat.target_accounts is not None and organization.id not in pat.target_accounts:
            return None
        return self._admitted(pat.user_id, organization)


def _scheme(request: Request) -> str:
    return request.headers.get("authorization", "").partition(" ")[0].lower()


def _basic_password(request: Request) -> str | None:
    coded = request.headers["authorization"].partition(" ")[2].strip()
    try:
        decoded = base64.b64decode(coded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return decoded.partition(":")[2]


def _refuse(request: Request) -> Response:
    """Send browsers to the sign-in page, and clients that ask for no redirect a 401."""
    if request.headers.get("x-tfs-fedauthredirect", "").lower() == "suppress":
        return make_unauthorized()
    # The real service redirects a request without a credential, and answers a refused credential with the page itself.
    return make_sign_in_page(203 if _scheme(request) else 302, request)
