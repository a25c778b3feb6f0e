"""The audit log of an organization: what is entered by itself, by a control call, and how it is served."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime

from rotator.sandbox.azure_devops_replies import identity_id, make_error, render_date
from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import AuditEntry, Organization, Pat, User, World

_VERSION = "7.1-preview.1"
_LARGEST_PAGE = 1000
_CATEGORIES = {"PatCreateEvent": "create", "PatUpdateEvent": "modify"}


def note_in_log(world: World, organization: Organization, event: str, pat: Pat, user: User, activity: str = "") -> None:
    """Enter what a user did to a PAT. The caller holds the world's lock."""
    document = {
        "correlationId": activity or str(uuid.uuid4()),
        "activityId": activity or str(uuid.uuid4()),
        "actorUserId": identity_id(user),
        "actorUPN": user.username,
        "actorDisplayName": user.display_name,
        "actionId": f"Token.{event}",
        "data": {
            "DisplayName": pat.display_name,
            "OwnerName": user.display_name,
            "Scopes": pat.scope.split(),
            "ValidTo": render_date(pat.valid_to),
        },
        "details": f'Personal Access Token "{pat.display_name}"',
        "category": _CATEGORIES.get(event, "remove"),
    }
    add_to_log(world, organization, world.clock.now(), document)


def add_to_log(world: World, organization: Organization, at: datetime, document: Mapping[str, object]) -> None:
    """Enter a document, if auditing is on. The caller holds the world's lock."""
    if not organization.auditing:
        return
    entry = {
        "id": f"{len(organization.audit_log)};{uuid.uuid4()}",
        "correlationId": str(uuid.uuid4()),
        "activityId": str(uuid.uuid4()),
        "timestamp": render_date(at),
        "scopeType": "organization",
        "scopeDisplayName": f"{organization.name} (Organization)",
        "scopeId": organization.id,
        "authenticationMechanism": "OAuth",
        "area": "Token",
        **document,
    }
    organization.audit_log.append(AuditEntry(at, entry))


class AuditResource:
    """`/{organization}/_apis/audit/auditlog`. The caller holds the world's lock."""

    def __init__(self, world: World) -> None:
        self._world = world

    def answer(self, request: Request, organization: Organization, user: User) -> Response:
        """Answer one request from a user who may enter the organization."""
        if request.method != "GET":
            message = f"The requested resource does not support http method '{request.method}'."
            return make_error(405, "VssRequestException", message)
        if request.query.get("api-version") != _VERSION:
            message = "The requested version of the resource is out of range."
            return make_error(400, "VssVersionOutOfRangeException", message)
        if organization.audit_readers is not None and user.object_id not in organization.audit_readers:
            message = f"TF50309: The following account does not have sufficient permissions: {user.display_name}."
            return make_error(403, "AccessCheckException", message)
        try:
            return Response.of_json(200, self._page(request.query, organization))
        except ValueError as problem:
            return make_error(400, "VssPropertyValidationException", f"Invalid value: {problem}.")

    def _page(self, query: Mapping[str, str], organization: Organization) -> dict[str, object]:
        """Make a page, the newest entry first, as the real service does; a part of it may come again on the next."""
        now = self._world.clock.now()
        since = _moment(query.get("startTime"), datetime.min.replace(tzinfo=now.tzinfo))
        until = min(_moment(query.get("endTime"), now), now - organization.audit_lag)
        wanted = [entry for entry in organization.audit_log if since <= entry.at <= until]
        wanted.sort(key=lambda entry: entry.at, reverse=True)
        size = min(int(query.get("batchSize", "100")), _LARGEST_PAGE)
        start = int(query.get("continuationToken", "0"))
        begin = max(0, start - organization.audit_overlap) if start else 0
        page, end = wanted[begin : start + size], start + size
        has_more = end < len(wanted)
        return {
            "decoratedAuditLogEntries": [entry.document for entry in page],
            "continuationToken": str(end) if has_more else None,
            "hasMore": has_more,
        }


def _moment(text: str | None, default: datetime) -> datetime:
    return default if text is None else datetime.fromisoformat(text)
