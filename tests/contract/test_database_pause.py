"""On PostgreSQL, whose transactions write at the same time: nothing begins once a pause of everything is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import ModuleType

import pytest

from rotator.domain.account import Account
from rotator.engine import minting, retiring
from rotator.engine.auditing import load_events
from rotator.engine.context import RunContext
from rotator.engine.in_force import check_not_paused
from rotator.engine.pausing import pause_all
from rotator.engine.run import run_once
from rotator.ports.database import Database, UnitOfWork
from tests.support.engine import ACCOUNT, NAME, EngineWorld
from tests.support.policies import RULE, make_policy


def make_runs_on(database: Database) -> Callable[[], RunContext]:
    """Return what begins a run in a world with one PAT that is due, on a real database."""
    accounts = (Account(ACCOUNT, "build-bot@contoso.com", "contoso", ("contoso", "fabrikam")),)
    world = EngineWorld(make_policy(replace(RULE, overlap=timedelta(0))), accounts)
    world.add_managed(NAME)
    with database.begin() as work:
        work.inventory.add(world.record())
    services = replace(world.make_services(), database=database, closing_database=database)
    return lambda: world.make_run(services)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("module", "begun"), [(minting, "mint_started"), (retiring, "revoke_started")])
def test_nothing_begins_after_everything_was_paused(
    database: Database, monkeypatch: pytest.MonkeyPatch, module: ModuleType, begun: str
) -> None:
    """A person's command comes right after the transaction with the intent has looked whether all is paused."""
    make_run = make_runs_on(database)
    persons: list[threading.Thread] = []

    def check(work: UnitOfWork) -> None:
        check_not_paused(work)
        if not persons:
            persons.append(threading.Thread(target=lambda: pause_all(make_run()), daemon=True))
            persons[0].start()
            persons[0].join(timeout=2)  # as far as it comes: it may commit, or wait for this transaction

    monkeypatch.setattr(module, "check_not_paused", check)
    run_once(make_run())
    persons[0].join(timeout=30)
    events = [event.entry.event for event in load_events(database)]
    assert begun in events[: events.index("all_paused")], events
    assert begun not in events[events.index("all_paused") :], events


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_those_who_begin_do_not_wait_for_each_other(database: Database) -> None:
    """Each holds up a pause of everything until it is committed, and nobody else."""
    begun = threading.Event()

    def begin() -> None:
        with database.begin() as work:
            check_not_paused(work)
            begun.set()

    with database.begin() as work:
        check_not_paused(work)
        other = threading.Thread(target=begin, daemon=True)
        other.start()
        assert begun.wait(timeout=8)
    other.join(timeout=30)
