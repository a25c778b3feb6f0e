"""What is remembered of PATs that no record names."""

from __future__ import annotations

from dataclasses import replace

from rotator.engine.records import add_untracked
from tests.support.engine import ACCOUNT, ORGANIZATION, make_world


def test_pat_that_is_added_to_the_untracked_ones_takes_the_place_of_what_was_known_of_it_and_of_no_other() -> None:
    world = make_world("a", "b", "c")
    first, second, third = (fake.pat for fake in world.pats.live_pats())
    with world.database.begin() as work:
        work.inventory.save_untracked(ACCOUNT, ORGANIZATION, (first, second))
        work.inventory.save_untracked(ACCOUNT, "fabrikam", (third,))
        for pat in (replace(second, display_name="renamed"), third):
            add_untracked((ACCOUNT, ORGANIZATION), pat, work)
        known = {(item.organization, item.pat) for item in work.inventory.load_untracked()}
    here = {first, replace(second, display_name="renamed"), third}
    assert known >= {(ORGANIZATION, pat) for pat in here}
    assert {pat.authorization_id for place, pat in known if place == ORGANIZATION} == {
        pat.authorization_id for pat in here
    }
