"""A stand-in for what Azure Pipelines keeps: variable groups and service connections, over TLS.

As the real one: a PUT replaces all that it is given, and what it is not given is gone; a secret is shown as null, and
one that is sent as null stays; a PUT goes to the organization, and must name the projects.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

from rotator.sandbox.messages import Request, Response
from rotator.sandbox.server import HttpsServer, Reply
from tests.support.receiver_server import make_server_context

ORGANIZATION, PROJECT = "contoso", "builds"
BEARER = "canary-of-a-bearer-0d9f5b4e7a31"
GROUP, CONNECTION = 7, "5f1e7a3c-90aa-4c55-8f0e-2f5d2a6c1b11"
_GROUPS = "/_apis/distributedtask/variablegroups/"
_CONNECTIONS = "/_apis/serviceendpoint/endpoints/"


def _make_group() -> dict[str, Any]:
    reference = {"projectReference": {"id": "p1", "name": PROJECT}, "name": "feeds", "description": "of the builds"}
    return {
        "id": GROUP,
        "name": "feeds",
        "type": "Vsts",
        "description": "of the builds",
        "isShared": False,
        "createdBy": {"displayName": "A Person"},
        "variables": {
            "NPM_TOKEN": {"value": "old", "isSecret": True},
            "OTHER_TOKEN": {"value": "of another feed", "isSecret": True},
            "FEED": {"value": "npm-feed"},
        },
        "variableGroupProjectReferences": [reference],
    }


def _make_connection() -> dict[str, Any]:
    projects = ({"id": "p1", "name": PROJECT}, {"id": "p2", "name": "web"})
    return {
        "id": CONNECTION,
        "name": "npm of contoso",
        "type": "externalnpmregistry",
        "url": "https://pkgs.dev.azure.com/contoso/_packaging/feed/npm/registry/",
        "description": "for the builds",
        "data": {"kept": "as it is"},
        "authorization": {"scheme": "Token", "parameters": {"apitoken": "old"}},
        "isShared": True,
        "owner": "library",
        "serviceEndpointProjectReferences": [
            {"projectReference": project, "name": "npm of contoso", "description": ""} for project in projects
        ],
    }


class PipelinesServer:
    """`group` and `connection` are what it keeps, secrets included. `watch` is called with every request.

    `answers` are sent to the next requests in place of what they ask for.
    """

    def __init__(self, certificate: Path) -> None:
        self._server = HttpsServer(make_server_context(certificate), self._reply)
        self._guard = threading.Lock()
        self.address = self._server.base_url
        self.group, self.connection = _make_group(), _make_connection()
        self.requests: list[Request] = []
        self.answers: list[Response] = []
        self.watch: Callable[[Request], None] = lambda _: None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve inside."""
        self._server.start()
        try:
            yield
        finally:
            self._server.stop()

    @property
    def methods(self) -> list[str]:
        """How it was asked."""
        return [request.method for request in self.requests]

    def _reply(self, request: Request) -> Reply:
        with self._guard:
            self.requests.append(request)
            self.watch(request)
            return Reply(self.answers.pop(0) if self.answers else self._handle(request))

    def _handle(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {BEARER}":
            return Response.of_html(203, "<html>Sign in</html>")
        if request.query.get("api-version") != "7.1":
            return _refuse(400, "the version of the API is missing")
        place = f"/{ORGANIZATION}" if request.method == "PUT" else f"/{ORGANIZATION}/{PROJECT}"
        if request.path == f"{place}{_GROUPS}{GROUP}":
            return self._handle_group(request)
        if request.path == f"{place}{_CONNECTIONS}{CONNECTION}":
            return self._handle_connection(request)
        return Response.of_json(HTTPStatus.OK, None)  # as for one that is not there, or may not be seen

    def _handle_group(self, request: Request) -> Response:
        if request.method == "PUT":
            sent = _read(request)
            if not sent.get("variableGroupProjectReferences"):
                return Response(HTTPStatus.UNAUTHORIZED)
            for name, variable in sent["variables"].items():
                if variable.get("isSecret") and variable.get("value") is None:
                    variable["value"] = self.group["variables"][name]["value"]
            self.group = sent
        shown = copy.deepcopy(self.group)
        for variable in shown["variables"].values():
            if variable.get("isSecret"):
                variable["value"] = None
        return Response.of_json(HTTPStatus.OK, shown)

    def _handle_connection(self, request: Request) -> Response:
        if request.method == "PUT":
            sent = _read(request)
            if not sent.get("serviceEndpointProjectReferences"):
                return _refuse(400, "Value cannot be null. Parameter name: endpointProjectReferences")
            self.connection = sent
        shown = copy.deepcopy(self.connection)
        for name in shown["authorization"]["parameters"]:
            if name != "username":
                shown["authorization"]["parameters"][name] = None
        return Response.of_json(HTTPStatus.OK, shown)


def _read(request: Request) -> dict[str, Any]:
    sent = request.json()
    assert isinstance(sent, dict)
    return sent


def _refuse(status: int, message: str) -> Response:
    return Response.of_json(status, {"message": message, "typeKey": "ArgumentException"})
