"""A run is killed at every HTTP request of a rotation; before and after its effect if it has one."""

from __future__ import annotations

import pytest

from tests.support.killing import Stage
from tests.support.proving import with_sample
from tests.support.sent import (
    IDENTITY,
    INTENT,
    LIST,
    MINT,
    READ,
    REVOKE,
    SHOW,
    STORE,
    TAG,
    VERSIONS,
    WRITTEN,
    Sent,
    check_requests,
    list_points,
)

pytestmark = pytest.mark.prove


ROTATION = (
    IDENTITY,
    LIST,
    VERSIONS,
    VERSIONS,
    SHOW,
    VERSIONS,
    VERSIONS,
    READ,
    TAG,
    MINT,
    SHOW,
    IDENTITY,
    STORE,
    WRITTEN,
    READ,
    READ,
    VERSIONS,
    IDENTITY,
    SHOW,
    LIST,
    LIST,
    SHOW,
    LIST,
    REVOKE,
    LIST,
    LIST,
)
"""Every request of a rotation in order."""


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage."""
    prepared.reset()
    return prepared


CASES = list_points(ROTATION)
SAMPLE = (f"{TAG}-0-after", f"{MINT}-0-after", f"{STORE}-0-after", f"{REVOKE}-0-before")


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
