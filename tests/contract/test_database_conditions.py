"""The port Conditions, on every database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta, timezone

import pytest

from rotator.adapters.logs import make_progress
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.events.places import AccountDown, AccountRestored
from rotator.engine.auditing import Author, record
from rotator.errors import UsageError
from rotator.ports.database import Database
from tests.support.records import DAY, NOW

DOWN, NEEDED = ConditionKind.ACCOUNT_DOWN, ConditionKind.SIGN_IN_NEEDED


def test_condition_is_given_back_when_it_lasts(database: Database) -> None:
    """By kind and subject; a time of another zone keeps its moment; a kind and a subject each make it another one."""
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    with database.begin() as work:
        assert work.conditions.load() == ()
        work.conditions.begin(Condition(NEEDED, "release-bot", elsewhere))
        work.conditions.begin(Condition(NEEDED, "build-bot", NOW))
        work.conditions.begin(Condition(DOWN, "build-bot", NOW, told_at=NOW + DAY))
    with database.begin() as work:
        assert work.conditions.load() == (
            Condition(DOWN, "build-bot", NOW, told_at=NOW + DAY),
            Condition(NEEDED, "build-bot", NOW),
            Condition(NEEDED, "release-bot", NOW),
        )


def test_condition_stays_as_it_is_when_it_begins_again(database: Database) -> None:
    with database.begin() as work:
        work.conditions.begin(Condition(DOWN, "build-bot", NOW))
    with database.begin() as work:
        work.conditions.begin(Condition(DOWN, "build-bot", NOW + DAY))
        assert work.conditions.load() == (Condition(DOWN, "build-bot", NOW),)


def test_condition_keeps_its_beginning_when_its_cause_changes(database: Database) -> None:
    with database.begin() as work:
        work.conditions.begin(Condition(DOWN, "build-bot", NOW, code="denied"))
    with database.begin() as work:
        work.conditions.begin(Condition(DOWN, "build-bot", NOW + DAY, code="transient"))
        assert work.conditions.load() == (Condition(DOWN, "build-bot", NOW, code="transient"),)


@pytest.mark.parametrize("shared", [True, False])
def test_lock_gives_the_conditions_of_its_kind(database: Database, shared: bool) -> None:
    with database.begin() as work:
        assert work.conditions.lock(DOWN, shared=shared) == ()
        work.conditions.begin(Condition(DOWN, "release-bot", NOW, code="it's: down"))
        work.conditions.begin(Condition(DOWN, "build-bot", NOW, told_at=NOW + DAY))
        work.conditions.begin(Condition(NEEDED, "build-bot", NOW))
    with database.begin() as work:
        found = work.conditions.lock(DOWN, shared=shared)
        assert found == work.conditions.load_of([DOWN])
        assert [condition.subject for condition in found] == ["build-bot", "release-bot"]


def test_condition_is_gone_when_it_ended_and_begins_anew(database: Database) -> None:
    """Ending one that does not last changes nothing."""
    with database.begin() as work:
        work.conditions.begin(Condition(DOWN, "build-bot", NOW))
        work.conditions.begin(Condition(NEEDED, "build-bot", NOW))
        work.conditions.end([DOWN], "build-bot")
        work.conditions.end([DOWN], "build-bot")
        work.conditions.end([NEEDED], "release-bot")
        assert work.conditions.load() == (Condition(NEEDED, "build-bot", NOW),)
        work.conditions.begin(Condition(DOWN, "build-bot", NOW + DAY))
        assert work.conditions.load()[0].since == NOW + DAY


def test_condition_and_event_are_both_lost_when_the_transaction_is(database: Database) -> None:
    """`record` writes both, or none of them."""
    author = Author("root@host", "run-1", make_progress())

    def stop_midway() -> None:
        with database.begin() as work:
            record(work, author, "build-bot", AccountDown(code="denied"), NOW)
            raise UsageError("stop")

    with pytest.raises(UsageError):
        stop_midway()
    with database.begin() as work:
        assert (work.conditions.load(), work.audit.load_head()) == ((), None)
        record(work, author, "build-bot", AccountDown(code="denied"), NOW)
    with database.begin() as work:
        assert work.conditions.load() == (Condition(DOWN, "build-bot", NOW, code="denied"),)
        record(work, author, "build-bot", AccountRestored(), NOW)
    with database.begin() as work:
        head = work.audit.load_head()
        assert work.conditions.load() == ()
        assert head is not None
        assert (head.sequence, head.entry.event) == (2, "account_restored")


def test_condition_begins_once_when_eight_threads_begin_it(database: Database) -> None:
    def begin(number: int) -> None:
        with database.begin() as work:
            record(
                work,
                Author("root@host", f"run-{number}", make_progress()),
                "build-bot",
                AccountDown(code="denied"),
                NOW,
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(begin, range(8)))
    with database.begin() as work:
        assert work.conditions.load() == (Condition(DOWN, "build-bot", NOW, code="denied"),)
