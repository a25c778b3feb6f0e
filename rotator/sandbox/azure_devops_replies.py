"""The Azure DevOps replies that are not PATs: errors, the sign-in page, dates and identities."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta

from rotator.sandbox.messages import Request, Response
from rotator.sandbox.world import Organization, User

_FRAMEWORK = "Microsoft.TeamFoundation.Framework.Server"
_NOBODY = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><title>Azure DevOps Services | Sign In</title></head>
<body><h1>Sign in</h1><form method="post"><input name="login"><button>Next</button></form></body>
</html>
"""
# The service stores times in ticks of 1/300 second.
_TICKS_PER_SECOND = 300


def to_ticks(moment: datetime) -> datetime:
    """Round to the nearest 1/300 s, as the service does, within the microseconds of a datetime."""
    ticks = round(moment.microsecond * _TICKS_PER_SECOND / 1_000_000)
    micros = round(ticks * 1_000_000 / _TICKS_PER_SECOND)
    return moment.replace(microsecond=0) + timedelta(microseconds=micros)


def render_date(moment: datetime) -> str:
    """Write UTC with up to seven decimals and no trailing zeros: `2026-01-02T03:04:05.1033333Z`."""
    kept = to_ticks(moment)
    ticks = round(kept.microsecond * _TICKS_PER_SECOND / 1_000_000)
    fraction = f"{round(ticks * 10_000_000 / _TICKS_PER_SECOND):07d}".rstrip("0")
    return f"{kept:%Y-%m-%dT%H:%M:%S}" + (f".{fraction}" if fraction else "") + "Z"


def make_error(status: int, type_key: str, message: str, *, bom: bool = False) -> Response:
    """Make the framework's error document, with a byte order mark where the real service sends one."""
    document = {
        "$id": "1",
        "innerException": None,
        "message": message,
        "typeName": f"{_FRAMEWORK}.{type_key}, {_FRAMEWORK}",
        "typeKey": type_key,
        "errorCode": 0,
        "eventId": 3000,
    }
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    return Response(status, (b"\xef\xbb\xbf" if bom else b"") + body, headers)


def make_unauthorized(user_id: str = "") -> Response:
    """Make a 401 with the challenges, in JSON after a byte order mark."""
    message = f"TF400813: The user '{user_id}' is not authorized to access this resource."
    refused = make_error(401, "UnauthorizedRequestException", message, bom=True)
    challenge = {"WWW-Authenticate": 'Bearer, Basic realm="sandbox", TFS-Federated'}
    return Response(401, refused.body, {**refused.headers, **challenge})


def make_sign_in_page(status: int, request: Request) -> Response:
    """Make a 203 with the page itself, or a 302 that leads to it."""
    location = {"Location": f"{request.base_url}/_signin?realm=sandbox"} if status == 302 else {}
    return Response.of_html(status, _PAGE, location)


def identity_id(user: User) -> str:
    """Return the user's id within Azure DevOps: it never changes, and is not the Entra object id."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, user.object_id))


def make_connection_answer(user: User, organization: Organization) -> Response:
    """Make the connectionData of a signed-in user."""
    properties = {"Account": {"$type": "System.String", "$value": user.username}}
    return _make_connection_data(identity_id(user), user.display_name, properties, organization.id)


def make_anonymous_answer() -> Response:
    """Make the connectionData of an anonymous caller, which is a 200 too."""
    properties = {"Account": {"$type": "System.String", "$value": "Anonymous"}}
    return _make_connection_data(_NOBODY, "Anonymous", properties, str(uuid.UUID(int=0)))


def _make_connection_data(
    identifier: str, name: str, properties: dict[str, dict[str, str]], instance_id: str
) -> Response:
    identity = {
        "id": identifier,
        "descriptor": f"Microsoft.IdentityModel.Claims.ClaimsIdentity;{identifier}",
        "subjectDescriptor": f"aad.{identifier}",
        "providerDisplayName": name,
        "isActive": True,
        "properties": properties,
        "resourceVersion": 2,
        "metaTypeId": 0,
    }
    document = {
        "authenticatedUser": identity,
        "authorizedUser": identity,
        "instanceId": instance_id,
        "deploymentId": str(uuid.uuid5(uuid.NAMESPACE_OID, "sandbox deployment")),
        "deploymentType": "hosted",
        "locationServiceData": {"serviceOwner": str(uuid.UUID(int=0)), "defaultAccessMappingMoniker": "x"},
    }
    return Response.of_json(200, document)
