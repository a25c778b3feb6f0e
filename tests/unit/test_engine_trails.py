"""Each story of the engine leaves behind the facts that `trails.txt` tells."""

from __future__ import annotations

import pytest

from tests.unit.trail_rebuilds import STORIES
from tests.unit.trails import load_page, tell


@pytest.mark.parametrize("name", STORIES)
def test_story_leaves_what_the_page_tells_when_lived_again(name: str) -> None:
    assert tell(name) == load_page().get(name), "read the difference, then run python -m tests.unit.trails --write"


def test_page_tells_no_story_that_is_gone() -> None:
    assert list(load_page()) == list(STORIES)
