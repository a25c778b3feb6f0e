"""The schema: what the migrations build, and every database that we must refuse."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, text

from rotator.adapters.daemon_lock import only_daemon
from rotator.adapters.database.engine import MIGRATION, number_topic
from rotator.adapters.database.migrate import Revision, current, make_config, upgrade
from rotator.adapters.database.partial_indexes import metadata
from rotator.adapters.database.records import list_managed_pat, list_pending, list_rotation
from rotator.adapters.database.schema import REVISIONS
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.managed_pat import Failure
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.rotation import RotationState
from rotator.engine.auditing import load_events
from rotator.errors import DatabaseError, DatabaseLockedError, SchemaError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.queue import Basis
from tests.support.clock import FakeClock
from tests.support.postgres import PostgresServer
from tests.support.records import NOW, make_entry, make_managed_pat, make_rotation

HEAD = REVISIONS[-1]
COLUMNS = """
audit_event: sequence occurred_at event subject outcome actor run_id details previous_hash hash encoding
checkpoint: size head root installation made_at anchors key_id signature peaks
condition: kind subject since told_at code
delivery: receiver topic id notification made_at messages repeats sequence tries delivered_at set_aside_at
heartbeat: holder began_at beat_at work_began_at work_succeeded_at binds_for actor version policy
hook_call: hook sequence id event made_at tries retry_at set_aside_at failure_code failure_message failure_fix done_at
    failure_kind
job_run: job period holder began_at ended_at outcome counts failure_code failure_message failure_fix failure_kind
lifetime_limit: account organization longest learned_at
managed_pat: name account organization authorization_id display_name scope valid_from valid_to vault secret_name
    location state secret_version failures retry_at failure_code failure_message failure_fix blocked epoch
    claimed_by claimed_until hold all_organizations confirmed_version short_lived meant_lifetime
    wanted_display_name wanted_scope wanted_lifetime claimed_at taken_over record_id next_at next_basis next_from
    probe_id probe_at probe_works probe_failures failure_kind wanted_account
pending_revocation: authorization_id name account organization kind valid_to since requested_at requests rotation_id
    missed_at vault secret_name record_id
receiver: name cursor cursor_at failures retry_at delivered_at failure_code failure_message failure_fix
    claimed_by claimed_until failure_kind
request_count: service outcome requests
rotation: id name account organization display_name scope predecessor_id predecessor_valid_to rule vault secret_name
    overlap disable_previous created_at updated_at state planned_valid_to known_ids sent_at
    new_authorization_id new_valid_from new_valid_to secret_version overlap_until failure_code failure_message
    failure_fix tried_store mint_begun_at kind ending overlap_began marked keeps_predecessor record_id location
    awaited_hooks failure_kind predecessor_account
old_rotation: id account display_name predecessor_id vault secret_name created_at kind state ending sent_at
    new_authorization_id secret_version tried_store
organization: account organization worked_at failed_at failure_code failure_message failure_fix failure_kind
sign_in: account interactive_at refreshed_at failure_code failure_message failure_fix refused_at asked_at
    generation lifespan warned_days failure_kind
sight: boot_id process since span ends_at timeline
throttle_hold: account begun_at until
token_cache: sign_in content
verified_log: id installation size head checkpoints checked_at key_id signature
untracked_pat: account organization authorization_id display_name scope target_accounts valid_from valid_to
    failure_code failure_message failure_fix failure_kind
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without tables (SQLite: without a file)."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/rotator.db"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    name = server.create_database()
    yield server.url(name)
    server.drop_database(name)


def _execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _refuse(url: str) -> DatabaseError:
    """The error of the first transaction, of whichever kind; it says what to do and carries no library exception."""
    database = SqlDatabase(url)
    with pytest.raises(DatabaseError) as reading, database.read():
        pytest.fail("a transaction began")
    with pytest.raises(DatabaseError) as refused, database.begin():
        pytest.fail("a transaction began")
    database.close()
    assert (reading.value.code, reading.value.message) == (refused.value.code, refused.value.message)
    assert refused.value.fix
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value


def test_migrations_build_the_schema_when_run_on_an_empty_database(url: str) -> None:
    """Tables, columns, types, indexes and constraints are those of schema.py."""
    assert current(url) == Revision(None, HEAD)
    assert upgrade(url) == (None, HEAD)
    assert current(url) == Revision(HEAD, HEAD)
    engine = create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        indexes = inspect(connection).get_indexes("rotation")
    engine.dispose()
    partial = next(index for index in indexes if index["name"] == "rotation_one_open")
    assert partial["unique"]
    condition = str(next(iter(partial["dialect_options"].values())))
    assert set(re.findall(r"'(\w+)'", condition)) == {"completed", "abandoned", "failed"}


def test_migrations_make_no_column_for_a_secret_when_listed(url: str) -> None:
    """Every column there is: a reviewer reads this list. `secret_name` and `secret_version` are names in the vault."""
    upgrade(url)
    expected = {}
    for line in COLUMNS.replace("\n    ", " ").strip().splitlines():
        table, names = line.split(": ")
        expected[table] = names.split()
    engine = create_engine(url)
    inspector = inspect(engine)
    found = {
        table: [column["name"] for column in inspector.get_columns(table)]
        for table in inspector.get_table_names()
        if table != "alembic_version"
    }
    binary = [
        column["name"]
        for table in found
        for column in inspector.get_columns(table)
        if column["type"].python_type is bytes
    ]
    engine.dispose()
    assert found == expected
    assert binary == []


def test_migrations_are_all_known_to_the_code_when_listed() -> None:
    """REVISIONS, which saves loading Alembic at each start, is what the folder holds, in one line."""
    scripts = ScriptDirectory.from_config(make_config())
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS


def test_upgrade_changes_nothing_when_run_again(url: str) -> None:
    """And keeps the data."""
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    assert upgrade(url) == (HEAD, HEAD)
    with database.begin() as work:
        assert work.inventory.load_all() == (make_managed_pat(),)
    database.close()


def _build(url: str, revision: str, *rows: tuple[str, dict[str, object]]) -> None:
    """A database of an older schema: of each row, what its table had then."""
    engine = create_engine(url)
    with engine.begin() as connection:
        config = make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for table, row in rows:
            known = {column["name"] for column in inspect(connection).get_columns(table)}
            values = {name: value for name, value in row.items() if name in known}
            connection.execute(insert(metadata.tables[table]).values(values))
    engine.dispose()


def _select(url: str, query: str) -> list[tuple[object, ...]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(query))]
    engine.dispose()
    return rows


def test_upgrade_dates_older_mints_by_their_plan_when_the_column_is_new(url: str) -> None:
    """They count within the hour as they did; a rotation that never asked for a mint has no date."""
    planned = make_rotation("planned")
    asked = replace(make_rotation("asked", "other"), planned_valid_to=NOW)
    _build(url, "0001", *(("rotation", list_rotation(rotation)) for rotation in (planned, asked)))
    assert upgrade(url) == ("0001", HEAD)
    database = SqlDatabase(url)
    with database.begin() as work:
        assert {r.id: r.mint_begun_at for r in work.journal.load_open()} == {"planned": None, "asked": NOW}
    database.close()


def test_upgrade_turns_failure_codes_into_fields_when_the_columns_are_new(url: str) -> None:
    """What a record waits for, what a rotation was for, how it ended."""
    pats = (("frozen", "foreign_write"), ("gone", "revoked_elsewhere"), ("tired", "vault_failed"))
    records = (replace(make_managed_pat(name), last_failure=Failure(code, "it failed")) for name, code in pats)
    rotations = (
        replace(make_rotation(code), state=RotationState.FAILED, failure=Failure(code, "it failed"))
        for code in ("stray", "mint_ambiguous", "clone_revoked_elsewhere", "vault_failed")
    )
    rows = [("managed_pat", list_managed_pat(record)) for record in records]
    _build(url, "0002", *rows, *(("rotation", list_rotation(rotation)) for rotation in rotations))
    assert upgrade(url) == ("0002", HEAD)
    held = _select(url, "SELECT name, hold FROM managed_pat ORDER BY name")
    assert held == [("frozen", "foreign_write"), ("gone", "revoked_elsewhere"), ("tired", None)]
    assert sorted(_select(url, "SELECT id, kind, ending, failure_code FROM rotation"), key=str) == [
        ("clone_revoked_elsewhere", "rotation", "clone_lost", "clone_revoked_elsewhere"),
        ("mint_ambiguous", "rotation", "mint_ambiguous", "mint_ambiguous"),
        ("stray", "revocation", None, "left_behind"),
        ("vault_failed", "rotation", None, "vault_failed"),
    ]


def test_upgrade_gives_each_failure_its_kind_when_the_column_is_new(url: str) -> None:
    """What decided by its code until then: in a record, in a rotation, in a receiver. Any other failure has no kind."""
    kinds = {
        "not_listed": "not_listed",
        "blocked": "forbidden",
        "secret_unconfirmed": "unconfirmed",
        "late_write_kept": "late_write_kept",
        "value_lost": "explained_loss",
        "lifetime_clamped": "explained_loss",
        "vault_failed": None,
    }
    failures = {code: Failure(code, "it failed") for code in kinds}
    pats = (replace(make_managed_pat(code), last_failure=failure) for code, failure in failures.items())
    rotations = (
        replace(make_rotation(code), state=RotationState.FAILED, failure=failure) for code, failure in failures.items()
    )
    rows = [("managed_pat", list_managed_pat(pat) | {"record_id": pat.name}) for pat in pats]
    _build(url, "0028", *rows, *(("rotation", list_rotation(rotation)) for rotation in rotations))
    names = ("receiver_unusable", "hook_unusable", "delivery_failed")
    receiver = "INSERT INTO receiver (name, cursor, cursor_at, failures, failure_code) VALUES"
    _execute(url, *(f"{receiver} ('{name}', 0, '2026-11-28T09:00:00.000000Z', 1, '{name}')" for name in names))
    assert upgrade(url) == ("0028", HEAD)
    assert set(_select(url, "SELECT failure_code, failure_kind FROM managed_pat")) == set(kinds.items())
    assert set(_select(url, "SELECT failure_code, failure_kind FROM rotation")) == set(kinds.items())
    found = set(_select(url, "SELECT name, failure_kind FROM receiver"))
    assert found == {("receiver_unusable", "unusable"), ("hook_unusable", "unusable"), ("delivery_failed", None)}


def test_upgrade_gives_pending_revocations_the_secret_of_their_record_when_the_columns_are_new(url: str) -> None:
    """What belongs to no record any more, or to another one of that name, is detached: it is never asked for again."""
    record = make_managed_pat("npm-feed")
    owned = PendingRevocation(
        authorization_id="owned",
        name=record.name,
        account=record.account,
        organization=record.organization,
        vault="",
        secret_name="",
        kind=RevocationKind.ROTATED,
        valid_to=NOW,
        since=NOW,
        requested_at=NOW,
    )
    strays = [
        replace(owned, authorization_id="forgotten", name="forgotten"),
        replace(owned, authorization_id="moved", organization="elsewhere"),
        replace(owned, authorization_id="theirs", account="another-bot"),
    ]
    rows = [("pending_revocation", list_pending(item)) for item in (owned, *strays)]
    _build(url, "0015", ("managed_pat", list_managed_pat(record)), *rows)
    assert upgrade(url) == ("0015", HEAD)
    database = SqlDatabase(url)
    with database.read() as reading:
        found = {item.authorization_id: item for item in reading.revocations.load()}
    database.close()
    assert not found["owned"].is_detached
    assert found.pop("owned") == replace(owned, vault=record.vault, secret_name=record.secret_name)
    assert found == {item.authorization_id: item for item in strays}
    assert all(item.is_detached for item in found.values())


def test_upgrade_gives_each_row_the_record_that_it_belongs_to_when_the_column_is_new(url: str) -> None:
    """By its name. What is closed and wrote another secret is an earlier record's; so is what is detached."""
    records = [
        make_managed_pat("npm-feed"),
        replace(make_managed_pat("docs"), vault="https://Contoso-KV.vault.azure.net/"),
    ]
    closed = replace(make_rotation("closed"), state=RotationState.FAILED)
    elsewhere = "https://other.vault.azure.net"
    rotations = (
        closed,
        replace(make_rotation("docs-1", "docs"), state=RotationState.COMPLETED),
        replace(closed, id="namesake", vault=elsewhere),
        replace(make_rotation("open"), vault=elsewhere),
        replace(closed, id="forgotten", name="forgotten"),
    )
    pending = PendingRevocation(
        authorization_id="owned",
        name="npm-feed",
        account="build-bot",
        organization="contoso",
        vault="",
        secret_name="",
        kind=RevocationKind.ROTATED,
        valid_to=NOW,
        since=NOW,
        requested_at=NOW,
    )
    rows = [("managed_pat", list_managed_pat(record)) for record in records]
    rows += [("rotation", list_rotation(rotation)) for rotation in rotations]
    rows += [("pending_revocation", list_pending(replace(pending, authorization_id=i))) for i in ("owned", "detached")]
    _build(url, "0019", *rows)
    _execute(url, "UPDATE pending_revocation SET is_detached = TRUE WHERE authorization_id = 'detached'")
    assert upgrade(url) == ("0019", HEAD)
    database = SqlDatabase(url)
    with database.read() as reading:
        ids = {pat.name: pat.record_id for pat in reading.inventory.load_all()}
        found = {name: {r.id for r in reading.journal.load_for(name)} for name in ids}
        owners = {item.authorization_id: item.record_id for item in reading.revocations.load()}
        every = [rotation.id for rotation in rotations]
        places = {record.name: len(reading.journal.load_writers(record.place, every)) for record in records}
        assert not any(r.has_record for r in reading.journal.load_leaving(NOW) if r.id in ("namesake", "forgotten"))
    database.close()
    assert all(ids.values())
    assert len(set(ids.values())) == 2
    assert found == {"npm-feed": {"closed", "open"}, "docs": {"docs-1"}}
    assert owners == {"owned": ids["npm-feed"], "detached": None}
    assert places == {"npm-feed": 2, "docs": 1}


def test_upgrade_is_refused_while_a_daemon_works_on_the_file(tmp_path: Path) -> None:
    """It would go on with its knowledge of the old schema. Where there is nothing to upgrade, nobody is disturbed."""
    path = tmp_path / "rotator.db"
    url = f"sqlite:///{path}"
    upgrade(url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (REVISIONS[-2],))
    with only_daemon(path, NOW):
        with pytest.raises(DatabaseLockedError, match=r"a daemon works on .*: process \d+ on ") as refused:
            upgrade(url)
        assert (refused.value.code, refused.value.exit_code) == ("daemon_running", 11)
        assert current(url).current == REVISIONS[-2]
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("UPDATE alembic_version SET version_num = ?", (HEAD,))
        assert upgrade(url) == (HEAD, HEAD)


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """Somebody else, whose every statement is committed."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_process_that_was_at_work_while_its_database_was_upgraded_writes_nothing_any_more(url: str) -> None:
    """A daemon that was cut off, whose connection outlived that, and a command that looked a moment before."""
    upgrade(url)
    with closing(SqlDatabase(url, boot=FakeClock())) as database, connected(url) as other:
        with database.begin() as work:
            work.inventory.add(make_managed_pat("before"))
        other.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        for _ in range(2):
            with pytest.raises(SchemaError, match="schema 9999, newer than") as refused, database.begin() as work:
                work.inventory.add(make_managed_pat("after"))
            assert refused.value.code == "database_newer"
        assert other.scalars(text("SELECT name FROM managed_pat")).all() == ["before"]


def test_upgrade_waits_for_what_is_being_written_and_the_other_way_round(postgres_url: str) -> None:
    """So nothing is committed by the old version once the new one is there."""
    upgrade(postgres_url)
    quick = timedelta(milliseconds=50)
    with closing(SqlDatabase(postgres_url, lock_wait=quick)) as database, connected(postgres_url) as other:
        begin = text(f"SELECT pg_try_advisory_lock({number_topic(MIGRATION)})")
        with database.begin():
            assert other.scalar(begin) is False
        assert other.scalar(begin) is True
        with pytest.raises(DatabaseLockedError), database.begin():
            pytest.fail("a transaction began")
        with database.read() as reading:
            assert reading.inventory.load_all() == ()


@pytest.mark.parametrize(
    "is_over", ["UPDATE heartbeat SET beat_at = now() - interval '3 minutes'", "UPDATE job_run SET outcome = 'stopped'"]
)
def test_upgrade_is_refused_on_postgresql_while_a_daemon_beats(postgres_url: str, is_over: str) -> None:
    """Until it has stopped, or was silent for long enough. Where there is nothing to upgrade, nobody is disturbed."""
    _build(postgres_url, "0028")
    _execute(
        postgres_url,
        "INSERT INTO heartbeat (holder, began_at, beat_at) VALUES ('run-1@elsewhere#1.1', now(), now())",
        "INSERT INTO job_run (job, period, holder, began_at, counts) "
        "SELECT 'heartbeat', began_at, holder, began_at, '{}' FROM heartbeat",
    )
    with pytest.raises(DatabaseLockedError, match=r"a daemon works on .*: run-1@elsewhere#1.1, whose last") as refused:
        upgrade(postgres_url)
    assert (refused.value.code, refused.value.exit_code) == ("daemon_running", 11)
    assert "Stop every daemon first" in refused.value.fix
    assert current(postgres_url).current == "0028"
    _execute(postgres_url, is_over)
    assert upgrade(postgres_url) == ("0028", HEAD)
    _execute(postgres_url, "UPDATE heartbeat SET beat_at = now()", "UPDATE job_run SET outcome = NULL")
    assert upgrade(postgres_url) == (HEAD, HEAD)


def test_daemon_counts_for_the_upgrade_as_long_as_it_told_itself(postgres_url: str) -> None:
    """It may be of a version that allowed longer pauses than this one's settings do."""
    _build(postgres_url, "0035")
    _execute(
        postgres_url,
        "INSERT INTO heartbeat (holder, began_at, beat_at, binds_for) "
        "VALUES ('run-1@elsewhere#1.1', now(), now() - interval '9 minutes', 600000000)",
    )
    with pytest.raises(DatabaseLockedError, match="elsewhere") as refused:
        upgrade(postgres_url)
    assert "counts for 10m after" in refused.value.fix
    _execute(postgres_url, "UPDATE heartbeat SET beat_at = now() - interval '11 minutes'")
    assert upgrade(postgres_url) == ("0035", HEAD)


def test_upgrade_happens_once_when_four_processes_start_it(url: str) -> None:
    """One builds, the others find it built."""
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(upgrade, [url] * 4))
    assert sorted(results, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]


def test_database_is_refused_when_not_initialised(url: str) -> None:
    """Nothing is created by looking."""
    error = _refuse(url)
    assert error.code == "database_not_initialised"
    assert "rotator db upgrade" in error.fix
    assert current(url).current is None


def test_database_is_refused_when_the_sqlite_file_is_empty(tmp_path: Path) -> None:
    """As a file without a schema; the upgrade takes it over, with its mode corrected."""
    path = tmp_path / "rotator.db"
    path.touch(mode=0o644)
    url = f"sqlite:///{path}"
    assert _refuse(url).code == "database_not_initialised"
    assert upgrade(url) == (None, HEAD)
    assert path.stat().st_mode & 0o777 == 0o600


def test_database_is_refused_when_newer(url: str) -> None:
    """By an upgrade too."""
    upgrade(url)
    _execute(url, "UPDATE alembic_version SET version_num = '9999'")
    assert _refuse(url).code == "database_newer"
    for refused in (upgrade, current):
        with pytest.raises(DatabaseError, match="9999") as error:
            refused(url)
        assert error.value.code == "database_newer"


def test_database_is_refused_when_it_belongs_to_something_else(url: str) -> None:
    """With or without a version table of Alembic's; its content is left alone."""
    _execute(url, "CREATE TABLE customer (id INTEGER)")
    assert _refuse(url).code == "database_foreign"
    _execute(url, "CREATE TABLE alembic_version (version_num VARCHAR(32))")
    _execute(url, "INSERT INTO alembic_version VALUES ('3f1c9a')")
    assert _refuse(url).code == "database_foreign"
    with pytest.raises(DatabaseError) as error:
        upgrade(url)
    assert error.value.code == "database_foreign"
    engine = create_engine(url)
    assert set(inspect(engine).get_table_names()) == {"alembic_version", "customer"}
    engine.dispose()


def test_database_is_refused_when_the_file_is_no_database(tmp_path: Path) -> None:
    """Text under the name, and a database that lost its middle."""
    path = tmp_path / "rotator.db"
    path.write_text("this is not a database, but long enough to look at: " * 20)
    assert _refuse(f"sqlite:///{path}").code == "database_corrupt"
    with pytest.raises(DatabaseError) as error:
        upgrade(f"sqlite:///{path}")
    assert error.value.code == "database_corrupt"
    torn = tmp_path / "torn.db"
    upgrade(f"sqlite:///{torn}")
    torn.write_bytes(torn.read_bytes()[:100] + b"\xff" * 8000)
    assert _refuse(f"sqlite:///{torn}").code == "database_corrupt"


def test_database_is_refused_when_the_folder_is_missing(tmp_path: Path) -> None:
    """Named in the message, and not created."""
    folder = tmp_path / "absent"
    url = f"sqlite:///{folder}/rotator.db"
    with pytest.raises(DatabaseError) as upgrading:
        upgrade(url)
    for error in (_refuse(url), upgrading.value):
        assert str(folder) in error.message
        assert error.code == "database_unreachable"
    assert not folder.exists()


def test_audit_log_refuses_changes_when_made_by_hand(url: str) -> None:
    """By the database itself."""
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        event = work.audit.append(make_entry(), NOW)
    engine = create_engine(url)
    statements = ["UPDATE audit_event SET actor = 'x'", "DELETE FROM audit_event"]
    for statement in statements + (["TRUNCATE audit_event"] if url.startswith("postgresql") else []):
        with engine.connect() as connection, pytest.raises(Exception, match="append-only"):
            connection.execute(text(statement))
    engine.dispose()
    assert list(load_events(database)) == [event]
    database.close()


def test_sqlite_files_are_for_their_owner_alone_when_created(tmp_path: Path) -> None:
    """The database, its write-ahead log and the log's index."""
    url = f"sqlite:///{tmp_path}/rotator.db"
    upgrade(url)
    database = SqlDatabase(url)
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    database.close()
    assert modes == {"rotator.db": 0o600, "rotator.db-wal": 0o600, "rotator.db-shm": 0o600}


def test_sqlite_commit_is_on_disk_and_in_wal_when_looked_at(tmp_path: Path) -> None:
    """Another program reads what was committed, while a transaction of ours is open."""
    path = tmp_path / "rotator.db"
    upgrade(f"sqlite:///{path}")
    database = SqlDatabase(f"sqlite:///{path}")
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
        claim = work.claims.claim("npm-feed", "run-1", now=work.now(), span=timedelta(minutes=5))
    with database.begin() as work, closing(sqlite3.connect(path)) as other:
        work.inventory.remove("npm-feed", claim)
        assert other.execute("SELECT count(*) FROM managed_pat").fetchone() == (1,)
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


@contextmanager
def explained(*beginnings: str) -> Iterator[list[list[str]]]:
    """SQLite's plan of each statement inside that begins so, line by line."""
    plans: list[list[str]] = []

    def explain(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith(beginnings):
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.append([str(row[3]) for row in rows])

    event.listen(Engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(Engine, "before_cursor_execute", explain)


def test_queue_is_asked_by_indexes_alone_when_nothing_is_due(tmp_path: Path) -> None:
    """So an idle tick reads no row, however many records there are."""
    url = f"sqlite:///{tmp_path}/rotator.db"
    upgrade(url)
    database = SqlDatabase(url)
    with database.read() as reading, explained("SELECT") as plans:
        reading.queue.load_due(NOW)
        reading.queue.find_next(NOW)
        reading.queue.find_stale(Basis("aa", "aabb", NOW, "a"), 200)
    database.close()
    looks = [[line for line in plan if line.startswith(("SEARCH", "SCAN"))] for plan in plans]
    assert [len(look) for look in looks] == [1, 1, 5]
    used = [re.sub(r" COVERING|SEARCH managed_pat USING| \(.*", "", line).strip() for look in looks for line in look]
    assert used == ["INDEX managed_pat_by_next"] * 2 + ["INDEX managed_pat_by_basis"] * 5


def test_what_is_asked_for_often_is_found_by_an_index_when_asked_for(tmp_path: Path) -> None:
    """By SQLite's own plan: nothing is read that is not given, and nothing is sorted."""
    url = f"sqlite:///{tmp_path}/rotator.db"
    upgrade(url)
    database = SqlDatabase(url)
    with explained("SELECT audit_event", "SELECT managed_pat", "SELECT rotation") as plans, database.read() as reading:
        reading.audit.load(1)
        reading.audit.load_newest(1, AuditFilter(event="policy_changed"))
        reading.audit.load_newest(100, AuditFilter(subject="npm-feed"))
        reading.audit.load_newest_number()
        reading.inventory.load_by_ids(["id-1"])
        reading.inventory.find_names(["npm-feed"])
        reading.journal.load_for("npm-feed")
        reading.journal.load_writers("https://contoso-kv.vault.azure.net/contoso-npm-feed", ["v1"])
        reading.journal.load_naming(["id-1"])
        reading.journal.load_traces(["id-1"])
        reading.journal.load_sent_mints(NOW)
    database.close()
    searches = [line for plan in plans for line in plan if line.startswith(("SCAN", "SEARCH"))]
    assert [line.partition(" USING ")[2].split(" (")[0] for line in searches] == [
        "INDEX sqlite_autoindex_audit_event_1",
        "INDEX audit_event_by_event",
        "INDEX audit_event_by_subject",
        "COVERING INDEX sqlite_autoindex_audit_event_1",
        "INDEX managed_pat_by_authorization",
        "COVERING INDEX sqlite_autoindex_managed_pat_1",
        "INDEX rotation_by_record",
        "INDEX sqlite_autoindex_managed_pat_1",
        "INDEX rotation_open_by_location",
        "INDEX sqlite_autoindex_rotation_1",
        "INDEX rotation_by_secret_version",
        "INDEX rotation_by_clone",
        "INDEX sqlite_autoindex_old_rotation_1",
        "INDEX old_rotation_by_secret_version",
        "INDEX old_rotation_by_new_authorization_id",
        "INDEX rotation_by_predecessor",
        "INDEX rotation_by_clone",
        "INDEX rotation_by_predecessor",
        "INDEX rotation_by_clone",
        "INDEX old_rotation_by_predecessor_id",
        "INDEX old_rotation_by_new_authorization_id",
        "INDEX rotation_by_clone",
    ]
