"""A run is stopped with SIGSTOP for longer than its lease while a request is open; another takes over; SIGCONT."""

from __future__ import annotations

import pytest

from tests.support.killing import CHANGES, MUTATING, Stage
from tests.support.proving import with_sample

pytestmark = pytest.mark.prove


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """Reset the stage, with a short lease."""
    prepared.reset(lease="4s")
    return prepared


@pytest.mark.sample
def test_second_run_is_held_off_until_the_first_is_gone_when_that_only_stands_still(prepared: Stage) -> None:
    prepared.reset(lease="1h")
    prepared.hold(*CHANGES[0])
    frozen = prepared.start_and_hold()
    frozen.freeze()
    second = prepared.start("once", "--json")
    assert second.wait() == 11, second.read()
    assert prepared.find_open_states() == ["minting"]
    frozen.kill()
    prepared.faults.close()
    prepared.run_until_at_rest()  # immediately, although its lease has most of an hour left
    prepared.check_end()


CASES = {
    f"{change[1]}-{'lands' if lands else 'lost'}": (*change, lands) for change in CHANGES for lands in (False, True)
}


@pytest.mark.parametrize(("service", "method", "path", "lands"), with_sample(CASES, ["PUT-lands"]))
def test_frozen_run_changes_nothing_more_when_it_thaws_after_another_took_over(
    stage: Stage, service: str, method: str, path: str, lands: bool
) -> None:
    if lands:
        stage.postpone(service, method, path)
    else:
        stage.hold(service, method, path)
    frozen = stage.start_and_hold()
    frozen.freeze()
    stage.run_until_at_rest()
    changes = _count_changes(stage)
    before = len(stage.find_ours()), stage.find_latest()
    stage.faults.close()
    frozen.thaw()
    assert frozen.wait() != 0, frozen.read()
    assert _count_changes(stage) == changes
    has_landed = (len(stage.find_ours()), stage.find_latest()) != before
    assert has_landed == (lands and method != "DELETE")  # what was revoked meanwhile cannot be revoked again

    stage.run_until_at_rest()
    stage.check_end()


def _count_changes(stage: Stage) -> int:
    return sum(entry.method in MUTATING and entry.service != "entra" for entry in stage.world.record.all())
