"""The port TokenCacheStore, on a file and on PostgreSQL, and what the token cache makes of each."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import Engine, create_engine, text

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.token_caches import SqlTokenCaches, SqlTokenCacheStore
from rotator.adapters.entra.cache_shape import REFRESH_TOKEN, SIGN_IN, Entry
from rotator.adapters.entra.file_store import FileTokenCacheStore
from rotator.adapters.entra.memory_cache import MemoryTokenCache
from rotator.adapters.entra.token_cache import LARGEST_CACHE, EncryptedTokenCache, TokenCacheKeyError
from rotator.domain.events.event import Event
from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError, DatabaseUnreachableError, SchemaError, StoppedError, TransientError
from rotator.ports.token_cache_store import TokenCacheStore
from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
MINE, OTHER = "build-bot@contoso.com|tenant|client|host", "other@contoso.com|tenant|client|host"
CANARY = "CANARY-refresh-token-0123456789"
LONG, SHORT = timedelta(seconds=60), timedelta(milliseconds=1)
Opener = Callable[[str], TokenCacheStore]


@pytest.fixture
def database(postgres_server: PostgresServer, postgres_template: str) -> Iterator[str]:
    """The URL of a PostgreSQL database with the schema."""
    name = postgres_server.create_database(postgres_template)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    """A look at it from outside."""
    engine = create_engine(database, isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(params=["file", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where it is kept: a path, or the URL of a database."""
    if request.param == "file":
        return str(tmp_path / "cache.bin")
    url: str = request.getfixturevalue("database")
    return url


def open_at(place: str, sign_in: str) -> TokenCacheStore:
    """Open a store anew, as another process does."""
    if place.startswith("postgresql"):
        return SqlTokenCacheStore(SqlTokenCaches(place), sign_in)
    return FileTokenCacheStore(Path(place))


@pytest.fixture
def open_store(place: str) -> Iterator[Opener]:
    """Opens a store anew; every connection is closed afterwards."""
    opened: list[SqlTokenCaches] = []

    def open_another(sign_in: str) -> TokenCacheStore:
        if not place.startswith("postgresql"):
            return open_at(place, sign_in)
        opened.append(SqlTokenCaches(place))
        return SqlTokenCacheStore(opened[-1], sign_in)

    yield open_another
    for caches in opened:
        caches.close()


def put(store: TokenCacheStore, content: bytes) -> None:
    """Write it, for the first time."""
    with store.writing():
        store.write(content, None)


def make_content(seed: bytes) -> bytes:
    """Make what a token cache writes: a Fernet text and a newline."""
    return Fernet(base64.urlsafe_b64encode(b"k" * 32)).encrypt(seed) + b"\n"


# ---- the port


def test_row_is_not_written_when_the_database_was_upgraded_since_it_was_opened(database: str, engine: Engine) -> None:
    """By a process that was frozen or cut off meanwhile: it knows nothing of what the newer version keeps there."""
    caches = SqlTokenCaches(database)
    store = SqlTokenCacheStore(caches, MINE)
    with store.writing():
        store.write(b"of the old version", None)
    with engine.connect() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError) as caught, store.writing():
        store.write(b"again", None)
    caches.close()
    assert caught.value.code == "database_newer"
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT content FROM token_cache")) == "of the old version"


def test_store_gives_what_was_kept_and_another_mark_with_each_write(open_store: Opener) -> None:
    first, second = open_store(MINE), open_store(MINE)
    assert (first.find_mark(), first.read(100), first.read_previous(100)) == (None, None, None)
    marks = []
    for content in (make_content(b"a"), make_content(b"a"), make_content(b"b")):
        with first.writing():
            given = first.write(content, None)
        assert second.find_mark() == given
        assert (second.read(1000), second.read(5)) == (content, content[:5])
        marks.append(given)
    assert len({None, *marks}) == 4


def test_store_keeps_a_generation_only_where_a_write_can_be_cut(open_store: Opener) -> None:
    old, new = make_content(b"old"), make_content(b"new")
    store = open_store(MINE)
    put(store, old)
    with store.writing():
        store.write(new, old)
    assert open_store(MINE).read_previous(1000) == (old if isinstance(store, FileTokenCacheStore) else None)


def test_lock_is_held_by_one_and_may_be_taken_again(open_store: Opener) -> None:
    first, second = open_store(MINE), open_store(MINE)
    put(first, make_content(b"a"))
    mine = first.make_lock(MINE, LONG, lambda _: None)
    with mine:
        with mine, first.writing():
            first.write(make_content(b"b"), None)
        with mine, pytest.raises(TransientError) as refused:
            second.make_lock(MINE, SHORT, lambda _: None).__enter__()
        assert refused.value.code == "token_cache_locked"
        assert "has been locked for more than 0 seconds" in refused.value.message
    with second.make_lock(MINE, SHORT, lambda _: None):
        pass


def test_lock_of_another_sign_in_is_free(open_store: Opener) -> None:
    stores = {name: open_store(name) for name in (MINE, OTHER)}
    for store in stores.values():
        put(store, make_content(b"a"))
    with (
        stores[MINE].make_lock(MINE, LONG, lambda _: None),
        stores[OTHER].make_lock(OTHER, SHORT, lambda _: None),
    ):
        pass


def test_lock_keeps_threads_of_one_process_apart(open_store: Opener) -> None:
    store = open_store(MINE)
    put(store, make_content(b"0"))
    lock, total = store.make_lock(MINE, LONG, lambda _: None), [0]

    def add() -> None:
        with lock:
            before = total[0]
            store.find_mark()
            total[0] = before + 1

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(add) for _ in range(40)]:
            done.result()
    assert total == [40]


def test_whoever_waits_for_the_lock_ends_when_the_process_must_stop(open_store: Opener) -> None:
    first, second = open_store(MINE), open_store(MINE)
    put(first, make_content(b"a"))

    def stop(_: float) -> None:
        raise StoppedError

    with first.make_lock(MINE, LONG, lambda _: None), pytest.raises(StoppedError):
        second.make_lock(MINE, LONG, stop).__enter__()
    with second.make_lock(MINE, SHORT, lambda _: None):
        pass


HOLD = """
import sys
from tests.contract.test_token_cache_store import *
with open_at(sys.argv[1], MINE).make_lock(MINE, LONG, lambda _: None):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_lock_is_free_when_its_holder_was_killed(place: str, open_store: Opener) -> None:
    store = open_store(MINE)
    put(store, make_content(b"a"))
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, place], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.communicate()
    with store.make_lock(MINE, LONG, lambda _: None):
        pass


COUNT = """
import sys
from tests.contract.test_token_cache_store import *
place, key, who = sys.argv[1:]
cache = EncryptedTokenCache(open_at(place, MINE), SecretValue(key))
for number in range(20):
    with cache.writing():
        total = next((int(e["secret"]) for e in cache.search(REFRESH_TOKEN) if e["home_account_id"] == "total"), 0)
        add(cache, "total", str(total + 1))
        add(cache, f"{who}-{number}")
"""


def test_cache_loses_nothing_when_four_processes_write_at_once(place: str, open_store: Opener) -> None:
    key = Fernet.generate_key().decode()
    cache = EncryptedTokenCache(open_store(MINE), SecretValue(key))
    add(cache, "total", "0")
    writers = [
        subprocess.Popen([sys.executable, "-c", COUNT, place, key, f"writer{number}"], cwd=ROOT) for number in range(4)
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    found = {entry["home_account_id"]: entry["secret"] for entry in cache.search(REFRESH_TOKEN)}
    assert (found.pop("total"), len(found)) == ("80", 80)


# ---- the cache on each of them


def make_cache(store: TokenCacheStore, key: str, *previous: str) -> EncryptedTokenCache:
    """Make a cache that tells nobody."""
    return EncryptedTokenCache(store, SecretValue(key), previous_keys=[SecretValue(old) for old in previous])


def add(cache: EncryptedTokenCache, name: str, secret: str = CANARY) -> None:
    """Add a refresh token of somebody."""
    entry = {"home_account_id": name, "environment": "host", "client_id": "app", "secret": secret}
    tokens = MemoryTokenCache()
    tokens.modify(REFRESH_TOKEN, entry, entry)
    cache.save_tokens({}, tokens)


def names(cache: EncryptedTokenCache) -> set[str]:
    """Whose refresh tokens there are."""
    return {entry["home_account_id"] for entry in cache.search(REFRESH_TOKEN)}


def test_cache_is_seen_by_others_and_forgotten_by_all(open_store: Opener) -> None:
    key = Fernet.generate_key().decode()
    first, second = make_cache(open_store(MINE), key), make_cache(open_store(MINE), key)
    owner = {"home_account_id": "a", "environment": "host", "client_id": "app"}
    sign_in: Entry = {**owner, "realm": "t", "username": "u", "tenant": "t"}
    tokens = MemoryTokenCache()
    tokens.modify(REFRESH_TOKEN, {**owner, "secret": CANARY}, {**owner, "secret": CANARY})
    assert names(second) == set()
    first.save_sign_in(sign_in, tokens)
    assert (names(second), len(second.search(SIGN_IN))) == ({"a"}, 1)
    second.remove_sign_in(sign_in)
    assert (names(first), first.search(SIGN_IN)) == (set(), [])


def test_wrong_key_is_told_and_nothing_is_overwritten(open_store: Opener) -> None:
    key, other = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    add(make_cache(open_store(MINE), key), "a")
    stranger = make_cache(open_store(MINE), other)
    before = open_store(MINE).read(LARGEST_CACHE)
    for use in (names, lambda cache: add(cache, "b")):
        with pytest.raises(TokenCacheKeyError) as refused:
            use(stranger)
        assert refused.value.code == "token_cache_key"
        assert f"cannot decrypt the token cache {stranger.store.place}" in refused.value.message
        assert stranger.store.removal in refused.value.fix
        assert other not in refused.value.message + refused.value.fix
    assert open_store(MINE).read(LARGEST_CACHE) == before
    both = make_cache(open_store(MINE), other, key)
    add(both, "b")
    assert names(make_cache(open_store(MINE), other)) == {"a", "b"}


def test_nothing_that_is_kept_shows_a_token_in_any_spelling(open_store: Opener) -> None:
    key = Fernet.generate_key().decode()
    store = open_store(MINE)
    add(make_cache(store, key), "a")
    add(make_cache(store, key), "b")
    check_hidden(store.read(LARGEST_CACHE) or b"", key)
    check_hidden(store.read_previous(LARGEST_CACHE) or b"", key)


def check_hidden(content: bytes, key: str) -> None:
    """Neither the token nor the key is there, nor either in base64 at any offset."""
    decoded = base64.urlsafe_b64decode(content + b"==")
    for secret in (CANARY, key):
        assert secret.encode() not in content + decoded
        for shift in range(3):
            assert base64.b64encode(b" " * shift + secret.encode())[4:-4] not in content


# ---- PostgreSQL alone


class Events:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def __call__(self, event: Event, subject: str, /) -> None:
        self.told.append((event.type.name, subject))


def list_rows(engine: Engine) -> list[tuple[str, str]]:
    """Return the whole table."""
    with engine.connect() as connection:
        return [(row[0], row[1]) for row in connection.execute(text("SELECT * FROM token_cache ORDER BY sign_in"))]


def end_sessions(engine: Engine) -> None:
    """End every session but this one, as a restart of the server does."""
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


@pytest.fixture
def caches(database: str) -> Iterator[SqlTokenCaches]:
    """The caches of one process."""
    caches = SqlTokenCaches(database)
    yield caches
    caches.close()


def test_each_sign_in_has_a_row_that_shows_whose_it_is_and_no_token(caches: SqlTokenCaches, engine: Engine) -> None:
    key = Fernet.generate_key().decode()
    for sign_in in (MINE, OTHER):
        add(make_cache(SqlTokenCacheStore(caches, sign_in), key), sign_in)
    rows = list_rows(engine)
    assert [sign_in for sign_in, _ in rows] == [MINE, OTHER]
    for _, content in rows:
        check_hidden(content.encode(), key)


def test_row_that_was_damaged_is_told_and_healed_by_the_next_write(caches: SqlTokenCaches, engine: Engine) -> None:
    key, events = Fernet.generate_key().decode(), Events()
    cache = EncryptedTokenCache(SqlTokenCacheStore(caches, MINE), SecretValue(key), progress=events)
    add(cache, "a")
    with engine.connect() as connection:
        connection.execute(text("UPDATE token_cache SET content = 'rubbish'"))
    assert (names(cache), events.told) == (set(), [("token_cache_damaged", cache.store.place)])
    assert cache.damage == f"the token cache {cache.store.place} is damaged"
    assert cache.store.place.startswith("in the PostgreSQL database test_")
    add(cache, "b")
    assert names(cache) == {"b"}
    assert not cache.damage


def test_row_that_somebody_removed_is_forgotten(caches: SqlTokenCaches, engine: Engine) -> None:
    cache = make_cache(SqlTokenCacheStore(caches, MINE), Fernet.generate_key().decode())
    add(cache, "a")
    with engine.connect() as connection:
        connection.execute(text("DELETE FROM token_cache"))
    assert (names(cache), cache.damage) == (set(), None)


def test_only_who_still_has_the_lock_writes(caches: SqlTokenCaches, engine: Engine) -> None:
    """The server ended its session: somebody else may have refreshed since."""
    store = SqlTokenCacheStore(caches, MINE)
    old = make_content(b"old")
    put(store, old)
    with store.make_lock(MINE, LONG, lambda _: None):
        end_sessions(engine)
        with pytest.raises(DatabaseUnreachableError), store.writing():
            store.write(make_content(b"new"), None)
        assert store.read(1000) == old
        put(store, make_content(b"newer"))  # with the lock again
    assert list_rows(engine)[0][1] != old.decode()


def test_nothing_is_said_of_a_lock_that_was_lost_and_not_needed(caches: SqlTokenCaches, engine: Engine) -> None:
    store = SqlTokenCacheStore(caches, MINE)
    put(store, make_content(b"a"))
    with store.make_lock(MINE, LONG, lambda _: None):
        end_sessions(engine)
    with store.make_lock(MINE, LONG, lambda _: None):
        assert store.read(1000) is not None


def test_work_goes_on_from_memory_while_the_database_is_away(caches: SqlTokenCaches, engine: Engine) -> None:
    key, events = Fernet.generate_key().decode(), Events()
    store = SqlTokenCacheStore(caches, MINE)
    cache = EncryptedTokenCache(store, SecretValue(key), progress=events)
    owner = {"home_account_id": "a", "environment": "host", "client_id": "app", "realm": "t"}
    sign_in: Entry = {**owner, "username": "u", "tenant": "t"}
    cache.save_sign_in(sign_in, MemoryTokenCache())
    with store.make_lock(MINE, LONG, lambda _: None):
        end_sessions(engine)
        with engine.connect() as connection:
            connection.execute(text("ALTER TABLE token_cache RENAME TO away"))
        add(cache, "a")
    assert (names(cache), [name for name, _ in events.told]) == ({"a"}, ["token_cache_unsaved"])
    assert cache.unsaved is not None
    with engine.connect() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO token_cache"))
    assert names(make_cache(SqlTokenCacheStore(caches, MINE), key)) == set()
    cache.save_again()
    assert [name for name, _ in events.told] == ["token_cache_unsaved", "token_cache_saved"]
    assert names(make_cache(SqlTokenCacheStore(caches, MINE), key)) == {"a"}


def test_holder_that_stands_still_loses_the_lock_before_others_give_up(caches: SqlTokenCaches, database: str) -> None:
    """The session of a frozen process: nothing is heard of it, and nothing ends it but the server."""
    frozen, others = SqlTokenCacheStore(caches, MINE), SqlTokenCaches(database)
    put(frozen, make_content(b"a"))
    patience = timedelta(seconds=7)

    def refresh() -> None:
        other = SqlTokenCacheStore(others, MINE)
        with other.make_lock(MINE, patience, lambda _: None), other.writing():
            other.write(make_content(b"other"), None)

    with frozen.make_lock(MINE, patience, lambda _: None):
        with ThreadPoolExecutor(1) as pool:
            pool.submit(refresh).result()
        others.close()
        with pytest.raises(DatabaseUnreachableError), frozen.writing():
            frozen.write(make_content(b"b"), None)


def test_row_is_locked_and_written_through_a_pooler(pgbouncer_url: str) -> None:
    """Its transactions share the sessions of the server; nothing of one is left for the next."""
    upgrade(pgbouncer_url)
    caches = SqlTokenCaches(pgbouncer_url)
    store = SqlTokenCacheStore(caches, MINE)
    for content in (make_content(b"a"), make_content(b"b")):
        with store.make_lock(MINE, LONG, lambda _: None), store.writing():
            store.write(content, None)
        assert store.read(1000) == content
    with caches.open()[1].begin() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "10s"
    caches.close()


def test_schema_is_checked_before_the_first_use(postgres_url: str) -> None:
    with pytest.raises(SchemaError) as refused:
        SqlTokenCacheStore(SqlTokenCaches(postgres_url), MINE).find_mark()
    assert refused.value.code == "database_not_initialised"


def test_sqlite_is_refused_with_the_setting_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="PostgreSQL") as refused:
        SqlTokenCaches(f"sqlite:///{tmp_path}/rotator.db")
    assert (refused.value.setting, list(tmp_path.iterdir())) == ("token_cache.store", [])
