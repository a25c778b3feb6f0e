"""A person adopts a PAT in one session of PostgreSQL, while another one revokes it, adopts it or rotates beside it.

One of the two sessions is stopped at each place in turn; there the other one does its work, until that has ended or
waits for a lock of the first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import make_url

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.rotation import RotationKind, RotationState
from rotator.engine.adopting import adopt, propose
from rotator.engine.choices import Choice
from rotator.engine.context import RunContext
from rotator.engine.left_behind import revoke_left_behind
from rotator.engine.log_checking import check_log
from rotator.engine.run import run_once
from rotator.errors import ClaimHeldError, PlanRefusedError, UsageError
from tests.support.engine import ACCOUNT, NAME, ORGANIZATION, SCOPE, VAULT, EngineWorld, make_world
from tests.support.postgres import PostgresServer
from tests.support.proving import with_sample
from tests.support.records import DAY, make_rotation

pytestmark = pytest.mark.prove

Act = Callable[[RunContext], object]


@dataclass
class Scene:
    """A world whose database is on PostgreSQL, the PAT that two sessions want, and what each does."""

    world: EngineWorld
    database: SqlDatabase
    wanted: str
    acts: tuple[Act, Act]

    def make_run(self, database: SqlDatabase) -> RunContext:
        """A run of another process."""
        services = replace(self.world.make_services(), database=database, closing_database=database)
        return self.world.make_run(services)


def adopt_as(name: str, wanted: str) -> Act:
    """`inventory adopt ID --as NAME --secret NAME`."""

    def act(run: RunContext) -> object:
        return adopt(run, propose(run, [wanted], everything=False, choice=Choice(name=name, secret_name=name)))

    return act


def make_scene(url: str, *, due: bool = False) -> Scene:
    """One ManagedPat, due or not, and another live PAT of its display name, which no record has."""
    world = make_world("elsewhere")
    world.clock.set(datetime.now(UTC) - world.clock.now())  # the database has a clock of its own, and they agree
    record = world.add_managed(NAME, days_left=5 if due else 25)
    end = world.clock.now() + 20 * DAY
    other = world.pats.add_pat(ACCOUNT, ORGANIZATION, NAME, SCOPE, end, valid_from=world.clock.now())
    database = SqlDatabase(url, host_now=world.clock.now)
    with database.begin() as work:
        work.inventory.add(record)
        work.inventory.add(world.record("elsewhere"))
    return Scene(world, database, other.pat.authorization_id, (run_once, run_once))


def make_asked_again(url: str) -> Scene:
    """A run requests the revocation of a clone once more, which had no effect; a person wants that PAT after all."""
    scene = make_scene(url)
    with scene.database.begin() as work:
        claim = work.claims.claim(NAME, "earlier", now=work.now(), span=timedelta(minutes=5))
        asked = work.now() - timedelta(minutes=10)
        pending = PendingRevocation(
            authorization_id=scene.wanted,
            name=NAME,
            account=ACCOUNT,
            organization=ORGANIZATION,
            vault=VAULT,
            secret_name=scene.world.record().secret_name,
            kind=RevocationKind.ABANDONED,
            valid_to=scene.world.clock.now() + 20 * DAY,
            since=asked,
            requested_at=asked,
        )
        work.revocations.save(pending, claim)
        work.claims.release(claim)
    return replace(scene, acts=(adopt_as("taken", scene.wanted), run_once))


def make_left_behind(url: str) -> Scene:
    """One person has what looks like a lost mint revoked; another one knows it, and adopts it."""
    scene = make_scene(url)
    now = scene.world.clock.now()
    rotation = replace(
        make_rotation(name=NAME, created_at=now),
        display_name=NAME,
        scope=SCOPE,
        predecessor_id="",
        secret_name=scene.world.record().secret_name,
        state=RotationState.ABANDONED,
        sent_at=now,
        planned_valid_to=now + 25 * DAY,
    )
    with scene.database.begin() as work:
        claim = work.claims.claim(NAME, "earlier", now=work.now(), span=timedelta(minutes=5))
        work.journal.insert(rotation, claim)
        work.claims.release(claim)
    return replace(scene, acts=(adopt_as("taken", scene.wanted), lambda run: revoke_left_behind(run, scene.wanted)))


def make_adopted_twice(url: str) -> Scene:
    """Two persons give it two names."""
    scene = make_scene(url)
    return replace(scene, acts=(adopt_as("one", scene.wanted), adopt_as("two", scene.wanted)))


def make_rotated(url: str) -> Scene:
    """A run mints a clone, while a person adopts each PAT of that display name."""
    scene = make_scene(url, due=True)

    def adopt_each(run: RunContext) -> object:
        return [adopt_as(f"taken-{found}", found)(run) for found in scene.world.live_ids()]

    return replace(scene, acts=(adopt_each, run_once))


class Stop:
    """Stops the thread that makes it before one place, by number, in its transactions that write; `other` goes there.

    A place is a statement, where all of them count, or the begin or the commit of a transaction.
    """

    def __init__(self, at: int, *, statements: bool, other: Callable[[], None]) -> None:
        self._at, self._other = at, other
        self._thread = threading.current_thread()
        self.places = 0
        names = ["begin", "commit", *(["before_cursor_execute"] if statements else [])]
        self._listeners: list[tuple[str, Callable[..., None]]] = [(name, self._meet) for name in names]

    def __enter__(self) -> Stop:
        for name, listener in self._listeners:
            event.listen(Engine, name, listener)
        return self

    def __exit__(self, *_: object) -> None:
        for name, listener in self._listeners:
            event.remove(Engine, name, listener)

    def _meet(self, connection: Connection, *_: object) -> None:
        if threading.current_thread() is not self._thread or connection.get_execution_options().get(READS_ONLY):
            return
        self.places += 1
        if self.places == self._at:
            self._other()


READS_ONLY = "rotator_reads_only"
REFUSALS = (ClaimHeldError, PlanRefusedError, UsageError)
"""How a session may end that came second."""


def is_waiting(url: str) -> bool:
    """Whether a session of this database waits for a lock."""
    parsed = make_url(url)
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(host=str(parsed.query["host"]), user="postgres", dbname=parsed.database) as session:
        found = session.execute(query).fetchone()
    return bool(found and found[0])


def meet(scene: Scene, url: str, at: int, *, stopped: int) -> bool:
    """Stop one of the two acts there and let the other one go on. Return whether there was such a place."""
    databases = [SqlDatabase(url, host_now=scene.world.clock.now) for _ in scene.acts]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with suppress(*REFUSALS):
                scene.acts[number](scene.make_run(databases[number]))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work, args=[1 - stopped])

    def go_there() -> None:
        thread.start()
        while thread.is_alive() and not is_waiting(url):
            thread.join(0.01)

    for database in databases:
        with database.read():
            pass  # it has looked at the schema
    with Stop(at, statements=stopped == 0, other=go_there) as stop:
        work(stopped)
    if stop.places >= at:
        thread.join(30)
        assert not thread.is_alive()
    for database in databases:
        database.close()
    assert failures == []
    return stop.places >= at


@pytest.fixture(scope="module")
def template(postgres_server: PostgresServer) -> str:
    """A PostgreSQL database with the schema."""
    name = postgres_server.create_database()
    upgrade(postgres_server.url(name))
    return name


def check_one_won(scene: Scene) -> None:
    """Every record has a PAT of its own, which lives; what was wanted has one record, or was revoked."""
    pats = {found: fake.revoked for found, fake in scene.world.pats.pats.items()}
    with scene.database.read() as reading:
        records = {pat.authorization_id: pat.name for pat in reading.inventory.load_all()}
        assert len(records) == len(reading.inventory.load_all())
        rotations = [r for r in reading.journal.load_for(NAME) if r.kind is RotationKind.ROTATION]
    assert [found for found in records if pats[found]] == []
    assert (scene.wanted in records) != pats[scene.wanted]
    assert {records.get(r.new_authorization_id or "", NAME) for r in rotations} <= {NAME}


@pytest.mark.parametrize(
    ("make", "stopped"),
    with_sample(
        {
            "the-adopter-beside-a-repeated-revocation": (make_asked_again, 0),
            "a-repeated-revocation-beside-the-adopter": (make_asked_again, 1),
            "the-adopter-beside-a-revocation-by-hand": (make_left_behind, 0),
            "a-revocation-by-hand-beside-the-adopter": (make_left_behind, 1),
            "the-adopter-beside-another": (make_adopted_twice, 0),
            "the-adopter-beside-a-mint": (make_rotated, 0),
            "a-mint-beside-the-adopter": (make_rotated, 1),
        },
        ["the-adopter-beside-a-revocation-by-hand"],
    ),
)
def test_one_session_wins_wherever_it_is_stopped(
    postgres_server: PostgresServer, template: str, make: Callable[[str], Scene], stopped: int
) -> None:
    at, is_met = 0, True
    while is_met:
        at += 1
        name = postgres_server.create_database(template)
        scene = make(postgres_server.url(name))
        with closing(scene.database):
            is_met = meet(scene, postgres_server.url(name), at, stopped=stopped)
            if is_met:
                scene.world.advance(hours=9)
                run_once(scene.make_run(scene.database))
                check_one_won(scene)
            check_log(scene.database)
        postgres_server.drop_database(name)
    assert at > 5
