"""What a command tells in words at its end has no line of the log as well."""

from __future__ import annotations

from rotator.cli.held_log import HeldLog
from rotator.domain.events.event import Event
from rotator.domain.events.service_log import LeakReported, OutsideChangeFound, OwnChangesUnlisted
from tests.support.records import NOW

FOUND = (
    OutsideChangeFound(kind="minted", display_name="npm", at=NOW, by="me", entry_id="0;1"),
    LeakReported(kind="found_in_public", display_name="npm", at=NOW, entry_id="0;2"),
    OwnChangesUnlisted(changes=1, first_at=NOW, last_at=NOW, numbers="7"),
)


def test_what_a_comparison_shows_in_its_table_is_not_logged_as_well() -> None:
    """An organization that could not be compared has no rows: what is known of it is logged."""
    logged: list[tuple[Event, str]] = []
    held = HeldLog(lambda event, subject: logged.append((event, subject)))
    for place in ("build-bot/contoso", "build-bot/fabrikam"):
        for event in FOUND:
            held(event, place)
    assert logged == []
    held.release(told=["build-bot/contoso"])
    assert logged == [(event, "build-bot/fabrikam") for event in FOUND]
