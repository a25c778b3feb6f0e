"""A live PAT that only lists lack is not deleted at once, whatever a person does to its record meanwhile."""

from __future__ import annotations

from contextlib import suppress

import pytest

from rotator.engine.keeping import resume
from rotator.errors import RotatorError
from tests.support.engine_fakes import ProcessDied
from tests.unit.test_engine_vanished import NEW, hide, make_adopted


@pytest.mark.parametrize("resumes", [False, True])
def test_live_pat_is_not_deleted_when_a_person_resumes_its_record_while_its_replacement_is_interrupted(
    resumes: bool,
) -> None:
    world, current = make_adopted("A" * 76 + "AZDO" + "A" * 4)
    hide(world, current)
    world.database.dies_after = "stored"
    for _ in range(3):
        world.advance(minutes=6)
        with suppress(RotatorError):
            try:
                world.run()
            except ProcessDied:
                world.database.revive()
                break
        if world.states(NEW):
            break
    world.heal()
    assert world.states(NEW) == ["stored"]
    if resumes:
        world.advance(minutes=6)
        resume(world.make_run(), NEW)
    world.pats.change_listed = None
    for _ in range(4):
        world.advance(minutes=6)
        world.run()
    assert current in world.live_ids(NEW), (world.states(NEW), world.events(NEW)[-8:])
