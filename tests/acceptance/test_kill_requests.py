"""A run is killed at every HTTP request of a rotation; before and after its effect if it has one."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.support.killing import MUTATING, Stage
from tests.support.proving import with_sample

pytestmark = pytest.mark.prove


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

ROTATION = (
    (IDENTITY, 0),
    (LIST, 0),
    (VERSIONS, 0),
    (VERSIONS, 1),
    (SHOW, 0),
    (VERSIONS, 2),
    (VERSIONS, 3),
    (READ, 0),
    (TAG, 0),
    (MINT, 0),
    (SHOW, 1),
    (IDENTITY, 1),
    (STORE, 0),
    (WRITTEN, 0),
    (READ, 1),
    (READ, 2),
    (VERSIONS, 4),
    (IDENTITY, 2),
    (SHOW, 2),
    (LIST, 1),
    (LIST, 2),
    (REVOKE, 0),
    (LIST, 3),
)
"""Every request of a rotation in order, with the number of requests like it that came before."""

INTENT = {TAG: "planned", MINT: "minting", STORE: "storing", REVOKE: "retiring"}
"""The state that is committed before a request changes anything."""


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


CASES = {
    f"{sent}-{skip}-{'after' if effect else 'before'}": (sent, skip, effect)
    for sent, skip in ROTATION
    # Reading has no effect: before or after it, the world is the same.
    for effect in ((False, True) if sent.method in MUTATING else (False,))
}
SAMPLE = (f"{TAG}-0-after", f"{MINT}-0-after", f"{STORE}-0-after", f"{REVOKE}-0-before")


def check_requests(stage: Stage, expected: tuple[tuple[Sent, int], ...]) -> None:
    """AssertionError unless the services saw exactly these requests, in this order."""
    requests = stage.world.record.all()
    targets = [f"{entry.path}?{'&'.join(entry.query)}" for entry in requests]
    assert [
        (entry.service, entry.method, re.search(sent.path, target) is not None)
        for entry, target, (sent, _) in zip(requests, targets, expected, strict=True)
    ] == [(sent.service, sent.method, True) for sent, _ in expected]


@pytest.mark.sample
def test_rotation_sends_exactly_the_requests_that_are_killed_when_undisturbed(stage: Stage) -> None:
    assert stage.run_until_at_rest() == 1
    check_requests(stage, ROTATION)
    stage.check_end()


@pytest.mark.parametrize(("sent", "skip", "effect"), with_sample(CASES, SAMPLE))
def test_once_loses_nothing_when_killed_at_a_request(stage: Stage, sent: Sent, skip: int, effect: bool) -> None:
    stage.hold(sent.service, sent.method, sent.path, skip, effect=effect)
    run = stage.start_and_hold()
    if sent in INTENT:
        assert stage.find_open_states() == [INTENT[sent]]
    run.kill()
    stage.check_consumers()
    stage.check_secrecy()
    stage.faults.close()
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.parametrize("sent", with_sample({str(sent): (sent,) for sent in (MINT, STORE, REVOKE)}, [str(STORE)]))
def test_once_loses_nothing_when_the_request_of_a_killed_run_lands_after_its_recovery(stage: Stage, sent: Sent) -> None:
    stage.postpone(sent.service, sent.method, sent.path)
    stage.start_and_hold().kill()
    stage.run_until_at_rest()
    before = len(stage.find_ours()), stage.find_latest()
    stage.land()
    if sent is not REVOKE:
        assert (len(stage.find_ours()), stage.find_latest()) != before
    stage.run_until_at_rest()
    stage.check_end()
