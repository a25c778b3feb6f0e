"""Each story of the engine leaves behind the facts that `trails.txt` tells."""

from __future__ import annotations

from collections import Counter

import pytest

from rotator.engine.auditing import load_events
from tests.support.engine import EngineWorld
from tests.unit.trail_rebuilds import STORIES
from tests.unit.trails import load_page, tell


@pytest.mark.parametrize("name", STORIES)
def test_story_leaves_what_the_page_tells_when_lived_again(name: str) -> None:
    assert tell(name) == load_page().get(name), "read the difference, then run python -m tests.unit.trails --write"


@pytest.mark.parametrize("name", STORIES)
def test_log_has_each_event_of_the_audit_log_when_a_story_is_lived(name: str) -> None:
    """Once, unless a rebuild began with a database that has lost events."""
    for world in (part for part in STORIES[name]() if isinstance(part, EngineWorld)):
        audited = Counter(event.entry.event for event in load_events(world.database))
        logged = Counter(event for event, _ in world.told if event in audited)
        assert audited <= logged if "rebuilt" in name else audited == logged


def test_page_tells_no_story_that_is_gone() -> None:
    assert list(load_page()) == list(STORIES)
