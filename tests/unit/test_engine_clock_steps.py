"""What the events of a database say of how wrong a host's clock was."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.audit_event import AuditEntry, Detail, Outcome
from rotator.engine.review.reviewing import load_misdated
from tests.support.engine import make_world

HOUR = timedelta(hours=1)


def test_stretch_in_which_a_host_knew_that_its_clock_was_wrong_is_put_right() -> None:
    """From its doubt to what ended it, of that host; of a doubt that lasts, up to the newest event."""
    world = make_world()
    began, wrong = world.clock.now() - 90 * HOUR, timedelta(hours=40)
    step, code = int(wrong.total_seconds()), {"code": "x"}
    story: list[tuple[str, str, timedelta, dict[str, Detail]]] = [
        ("daemon_woken", "rotator@a", 0 * HOUR, {}),
        ("clock_doubted", "rotator@a", HOUR - wrong, {"seconds": step}),
        ("vault_down", "rotator@b", 2 * HOUR, {**code}),
        ("vault_restored", "rotator@a", 3 * HOUR - wrong, {}),
        ("clock_confirmed", "rotator@a", 4 * HOUR, {}),
        ("clock_doubted", "rotator@a", 5 * HOUR + wrong, {"seconds": -step}),
        ("vault_down", "rotator@a", 6 * HOUR + wrong, {**code}),
    ]
    with world.database.begin() as work:
        first = work.audit.load_newest_number() + 1
        for name, actor, after, details in story:
            subject = "host" if name.startswith("clock") else "kv"
            work.audit.append(AuditEntry(name, subject, Outcome.SUCCEEDED, actor, "run", details), began + after)
    found = load_misdated(world.database, world.clock.now())
    assert {number - first: (placed.at - began, placed.is_known) for number, placed in found.items()} == {
        1: (HOUR, True),
        3: (3 * HOUR, True),
        5: (5 * HOUR, True),
        6: (6 * HOUR, True),
    }
