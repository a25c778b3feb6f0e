"""A daemon gives back a claim whose COMMIT got no answer while PostgreSQL still carries that COMMIT out.

So it is where the connection broke and the server waits, for a standby or for its disk: what it does then comes later.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.engine.lives import give_back
from rotator.engine.pulse import Pulse
from tests.integration.test_adopting_races import is_waiting
from tests.support.engine import NAME, make_world

LEASE = timedelta(minutes=5)


def test_claim_that_is_committed_after_nobody_waited_for_it_any_more_is_given_back(postgres_url: str) -> None:
    upgrade(postgres_url)
    world = make_world()
    pulse = Pulse("start@a#1.1", world.clock.now())
    database, another = SqlDatabase(postgres_url), SqlDatabase(postgres_url)
    with database.begin() as work:
        work.inventory.add(world.record())
    services = replace(world.make_services(), database=another, closing_database=another)
    run = replace(world.make_run(services), pulse=pulse)
    giving = threading.Thread(target=give_back, args=[run])
    with another.read():
        pass  # it has looked at the schema
    with database.begin() as work:
        pulse.leave(work.claims.claim(NAME, "run-1@a#1.1", now=work.now(), span=LEASE))
        giving.start()
        while giving.is_alive() and not is_waiting(postgres_url):
            giving.join(0.01)
    giving.join(30)
    with database.read() as reading:
        assert not reading.claims.find_held([NAME], now=reading.now(), span=LEASE)
    database.close()
    another.close()
