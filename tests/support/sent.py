"""The kinds of requests that rotator sends to Azure DevOps and Key Vault, for tests that kill it at each of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.killing import MUTATING, Stage


@dataclass(frozen=True)
class Sent:
    """A kind of request: the service, the method, and a pattern of its path and query."""

    service: str
    method: str
    path: str

    def __str__(self) -> str:
        words = re.sub(r"[^a-zA-Z]+", "-", self.path).strip("-")
        return f"{self.service}-{self.method}-{words}"


IDENTITY = Sent("azure_devops", "GET", "/connectionData")
LIST = Sent("azure_devops", "GET", r"/tokens/pats\?.*displayFilterOption")
SHOW = Sent("azure_devops", "GET", r"/tokens/pats\?.*authorizationId")
MINT = Sent("azure_devops", "POST", "/tokens/pats")
REVOKE = Sent("azure_devops", "DELETE", "/tokens/pats")
VERSIONS = Sent("key_vault", "GET", "/versions")
READ = Sent("key_vault", "GET", r"/secrets/[^/]+/\?")
TAG = Sent("key_vault", "PATCH", "/secrets/")
STORE = Sent("key_vault", "PUT", "/secrets/")
WRITTEN = Sent("key_vault", "GET", r"/secrets/[^/]+/[0-9a-f]{32}\?")
NAMES = Sent("key_vault", "GET", r"/secrets\?")
DELETED = Sent("key_vault", "GET", "/deletedsecrets/")

INTENT = {TAG: "planned", MINT: "minting", STORE: "storing", REVOKE: "retiring"}
"""The state that is committed before a request changes anything."""


def list_points(requests: Sequence[Sent]) -> dict[str, tuple[Sent, int, bool]]:
    """Each request with the number of those like it that came before, and whether it has its effect; by a name.

    Reading has no effect: before or after it, the world is the same.
    """
    points = {}
    for position, sent in enumerate(requests):
        skip = requests[:position].count(sent)
        for effect in (False, True) if sent.method in MUTATING else (False,):
            points[f"{sent}-{skip}-{'after' if effect else 'before'}"] = (sent, skip, effect)
    return points


def check_requests(stage: Stage, expected: Sequence[Sent]) -> None:
    """AssertionError unless the services saw exactly these requests, in this order."""
    requests = stage.world.record.all()
    targets = [f"{entry.path}?{'&'.join(entry.query)}" for entry in requests]
    assert [
        (entry.service, entry.method, re.search(sent.path, target) is not None)
        for entry, target, sent in zip(requests, targets, expected, strict=True)
    ] == [(sent.service, sent.method, True) for sent in expected]
