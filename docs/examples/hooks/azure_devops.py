"""Reads what Azure DevOps keeps, and writes it back with one change: a PUT replaces all of it."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import requests
from stored_value import ask_az, read_told

_RESOURCE = "499b84ac-1321-427f-aa17-267ca6975798"
"""Azure DevOps, as Entra knows it."""
_LIMITS = (5, 30)
"""Seconds for connecting, and for each read."""


def add_place(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say in which organization and project."""
    parser.add_argument("--organization", help="default: the organization of the PAT")
    parser.add_argument("--project", required=True)
    parser.add_argument("--address", default="https://dev.azure.com", help="where Azure DevOps is")


class Kept:
    """One thing that Azure DevOps keeps. Read within its project, it is written for the whole organization.

    `kind` and `route` name it: "variable group 7", "distributedtask/variablegroups/7".
    """

    def __init__(self, place: argparse.Namespace, kind: str, route: str) -> None:
        self._kind, self._route = kind, route
        self._organization = f"{place.address}/{place.organization or read_told('ORGANIZATION')}"
        self._project = f"{self._organization}/{place.project}"
        token = ask_az("account", "get-access-token", "--resource", _RESOURCE, "--query", "accessToken", "-o", "tsv")
        self._session = requests.Session()
        self._session.auth = _Bearer(token)  # a .netrc would replace a header

    def read(self) -> dict[str, Any]:
        """Return the whole document."""
        return self._send("GET", self._project, None)

    def write(self, document: dict[str, Any]) -> dict[str, Any]:
        """Replace the whole document, and return what is kept now."""
        return self._send("PUT", self._organization, document)

    def _send(self, method: str, place: str, document: dict[str, Any] | None) -> dict[str, Any]:
        url = f"{place}/_apis/{self._route}?api-version=7.1"
        try:
            answer = self._session.request(method, url, json=document, timeout=_LIMITS, allow_redirects=False)
        except requests.RequestException as error:
            sys.exit(f"Azure DevOps cannot be reached: {type(error).__name__}")
        if answer.status_code in (203, 302, 401):  # a sign-in page is no answer
            sys.exit(f"Azure DevOps does not know the identity that az is signed in as, for {self._organization}")
        try:
            found = answer.json()
        except json.JSONDecodeError:
            sys.exit(f"Azure DevOps answered {answer.status_code} without JSON to a {method} of the {self._kind}")
        if answer.status_code == 404 or found is None:
            sys.exit(f"there is no {self._kind} in {place}, or the identity that az is signed in as may not see it")
        if answer.status_code != 200 or not isinstance(found, dict):
            said = found.get("message", "") if isinstance(found, dict) else ""
            sys.exit(f"Azure DevOps refused a {method} of the {self._kind} with {answer.status_code}: {said}")
        return found


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request
