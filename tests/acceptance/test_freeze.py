"""SIGSTOP beyond the lease, while a request is on its way; another run takes over; SIGCONT."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.killing import CHANGES, MUTATING, Stage, open_stage


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Signed in, with one PAT adopted."""
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@pytest.fixture
def stage(prepared: Stage) -> Stage:
    """The stage at its beginning, with a lease that is soon over."""
    prepared.reset(lease="3s")
    return prepared


@pytest.mark.parametrize("lands", [False, True], ids=["lost", "lands"])
@pytest.mark.parametrize(("service", "method", "path"), CHANGES, ids=[method for _, method, _ in CHANGES])
def test_frozen_run_changes_nothing_more_when_it_thaws_after_another_took_over(
    stage: Stage, service: str, method: str, path: str, lands: bool
) -> None:
    if lands:
        stage.postpone(service, method, path)
    else:
        stage.hold(service, method, path)
    frozen = stage.start_and_hold()
    frozen.freeze()
    held = stage.start("once", "--json")
    assert held.wait() == 11, held.read()  # a run that only stands still is not gone: its lease is honoured

    stage.run_until_at_rest()
    stage.check_consumers()
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
