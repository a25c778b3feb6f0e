"""SQLite as people run it: read-only for a while, read by others, with a log that grows, on a network share."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
from contextlib import closing, redirect_stdout
from pathlib import Path

import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.sqlite import LONGEST_WAL, find_share, reading_unchanged
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.cli.main import main
from rotator.errors import DatabaseError, DatabaseLockedError, DatabaseUnreachableError
from tests.support.other_user import do_as_other, give_to_other
from tests.support.records import NOW, make_entry, make_managed_pat
from tests.unit.test_settings_load import ACCOUNT

MOUNTS = """\
21 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 21 0:40 / /srv/share rw,relatime shared:9 - nfs4 server:/export rw,vers=4.2
31 21 0:41 / /srv/win\\040dows rw - cifs //server/share rw
32 30 254:2 / /srv/share/local rw - xfs /dev/vdb rw
"""


@pytest.fixture
def path(others_folder: Path) -> Path:
    """A database of another user, with one record."""
    path = others_folder / "rotator.db"
    upgrade(f"sqlite:///{path}")
    database = SqlDatabase(f"sqlite:///{path}")
    with database.begin() as work:
        work.inventory.add(make_managed_pat())
    database.close()
    give_to_other(path)
    return path


def read_names(path: Path) -> str:
    """What a transaction that only reads shows; or the code and the fix of its error."""
    database = SqlDatabase(f"sqlite:///{path}")
    try:
        with database.read() as reading:
            return ",".join(pat.name for pat in reading.inventory.load_all())
    except DatabaseError as error:
        return f"{error.code}: {error.fix}"
    finally:
        database.close()


def write_event(path: Path) -> str:
    """Write an event; its number, or the code and the fix of the error."""
    database = SqlDatabase(f"sqlite:///{path}")
    try:
        with database.begin() as work:
            return str(work.audit.append(make_entry(), NOW).sequence)
    except DatabaseError as error:
        return f"{error.code}: {error.fix}"
    finally:
        database.close()


def read_while_read_only(path: Path) -> None:
    """Read it, as another program does, while nobody may write it, and leave the files beside it as they are then."""
    path.chmod(0o440)

    def read() -> str:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            return str(connection.execute("SELECT count(*) FROM managed_pat").fetchone())

    assert do_as_other(read) == "(1,)"
    path.chmod(0o600)


def test_database_is_written_again_when_it_was_read_only_for_a_moment(path: Path) -> None:
    """The index that a reader made then has the mode of then, and would keep every later writer out."""
    read_while_read_only(path)
    side = path.with_name("rotator.db-shm")
    assert side.stat().st_mode & 0o777 == 0o440
    assert do_as_other(lambda: write_event(path)) == "1"
    assert do_as_other(lambda: write_event(path)) == "2"


def test_fix_names_the_commands_when_only_root_can_mend_the_files_beside_the_database(path: Path) -> None:
    side = path.with_name("rotator.db-shm")
    side.touch(0o400)
    if side.owner() == path.owner():
        pytest.skip("only root can make a file of another user")
    told = do_as_other(lambda: write_event(path))
    assert told.startswith("database_read_only: As root, run: chown")
    assert str(side) in told


def test_database_is_read_when_the_user_may_not_write_its_folder(path: Path) -> None:
    """And nothing is made beside it; a write is refused by name."""
    path.chmod(0o444)
    path.parent.chmod(0o555)
    assert do_as_other(lambda: read_names(path)) == "npm-feed"
    assert do_as_other(lambda: write_event(path)).startswith("database_read_only")
    assert [item.name for item in path.parent.iterdir()] == ["rotator.db"]


def test_newest_commit_is_read_when_a_writer_is_at_work(path: Path) -> None:
    """What is in `-wal` alone is not passed over."""
    writer = SqlDatabase(f"sqlite:///{path}")
    with writer.begin() as work:
        work.inventory.add(make_managed_pat("newer"))
    for item in path.parent.iterdir():
        item.chmod(0o444)
    path.parent.chmod(0o555)
    seen = do_as_other(lambda: read_names(path))
    path.parent.chmod(0o755)
    writer.close()
    assert "newer" in seen


def test_newest_commit_is_read_through_a_link(path: Path) -> None:
    """SQLite puts `-wal` beside the database, not beside the link that leads to it."""
    links = path.parent / "links"
    links.mkdir()
    link = links / "linked.db"
    link.symlink_to(path)
    writer = SqlDatabase(f"sqlite:///{path}")
    with writer.begin() as work:
        work.inventory.add(make_managed_pat("newer"))
    for item in path.parent.glob("rotator.db*"):
        item.chmod(0o444)
    path.parent.chmod(0o555)
    seen = do_as_other(lambda: read_names(link))
    path.parent.chmod(0o755)
    writer.close()
    assert "newer" in seen


@pytest.mark.parametrize("name", ["a%20b", "what?mode=ro", "100%", "x#y", "a@b:c", "f\u00fcr alle", "file:"])
def test_database_is_made_beside_the_settings_whatever_their_folder_is_called(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    settings = folder / "rotator.yaml"
    settings.write_text(ACCOUNT + "database: 'sqlite:///my%20file%25.db'\n", encoding="utf-8")
    assert main(["--config", str(settings), "db", "upgrade"]) == 0
    assert main(["--config", str(settings), "db", "current"]) == 0
    assert (folder / "my file%.db").exists()
    assert list(tmp_path.iterdir()) == [folder]


def test_database_is_made_where_a_link_leads_to_nothing_yet(others_folder: Path) -> None:
    link = others_folder / "rotator.db"
    link.symlink_to(others_folder / "real.db")
    upgrade(f"sqlite:///{link}")
    assert do_as_other(lambda: write_event(link)) == "1"


def test_reader_without_a_lock_is_told_when_somebody_writes_meanwhile(path: Path) -> None:
    """What it read may be half of each."""

    path.parent.chmod(0o555)

    def read() -> str:
        with pytest.raises(DatabaseLockedError) as told, reading_unchanged(path):
            os.utime(path)
        return told.value.fix

    assert do_as_other(read) == "Try again."


def test_reader_without_a_lock_is_told_when_a_log_appears_meanwhile(path: Path) -> None:
    """A writer has begun, and what it commits is in `-wal` alone."""
    log = path.parent / "logs" / "rotator.db-wal"
    log.parent.mkdir()
    log.parent.chmod(0o777)
    path.with_name(log.name).symlink_to(log)
    path.parent.chmod(0o555)

    def read() -> str:
        with pytest.raises(DatabaseLockedError) as told, reading_unchanged(path):
            log.touch()
        return told.value.fix

    assert do_as_other(read) == "Try again."


def test_log_is_cut_when_a_long_look_is_over(path: Path) -> None:
    """While somebody looks, what was committed meanwhile cannot be moved into the database."""
    database, side = SqlDatabase(f"sqlite:///{path}"), path.with_name("rotator.db-wal")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM managed_pat").fetchone()
        with database.begin() as work:
            for _ in range(2):
                work.inventory.save_untracked("build-bot", "contoso", ())
        with closing(sqlite3.connect(path, isolation_level=None)) as filler:
            filler.execute("CREATE TABLE filler (content)")
            for _ in range(3):
                filler.execute("INSERT INTO filler VALUES (zeroblob(?))", (LONGEST_WAL // 2,))
            assert side.stat().st_size > LONGEST_WAL
            other.execute("ROLLBACK")
            for _ in range(3):
                with database.begin() as work:
                    work.audit.append(make_entry(), NOW)
            assert side.stat().st_size <= LONGEST_WAL
    database.close()


def count_events(path: Path) -> int:
    """How many events a new process finds in the audit log at this path."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM audit_event").fetchone()[0])


def test_nothing_is_committed_when_the_file_was_moved_away_while_it_was_open(path: Path) -> None:
    """A daemon keeps its connections: they would go on with a file that no later process finds."""
    database, away = SqlDatabase(f"sqlite:///{path}"), path.with_name("away.db")
    with database.begin() as work:
        work.audit.append(make_entry(), NOW)
    path.rename(away)
    with pytest.raises(DatabaseUnreachableError, match="moved away"), database.begin():
        pytest.fail("a transaction was begun")
    with pytest.raises(DatabaseUnreachableError, match="moved away"), database.read():
        pytest.fail("a transaction was begun")
    away.rename(path)
    with database.begin() as work:
        assert work.audit.append(make_entry(), NOW).sequence == 2
    database.close()
    assert count_events(path) == 2


def test_next_transaction_opens_the_new_file_when_the_database_was_replaced(path: Path) -> None:
    """And what was not committed yet when that happened is refused."""
    older = path.with_name("older.db")
    shutil.copy(path, older)
    database = SqlDatabase(f"sqlite:///{path}")
    with database.begin() as work:
        work.audit.append(make_entry(), NOW)

    def write_while_it_is_replaced() -> None:
        with database.begin() as work:
            work.audit.append(make_entry(), NOW)
            older.rename(path)

    with pytest.raises(DatabaseUnreachableError, match="replaced"):
        write_while_it_is_replaced()
    for side in ("wal", "shm"):
        path.with_name(f"{path.name}-{side}").unlink()
    with database.begin() as work:
        assert work.audit.append(make_entry(), NOW).sequence == 1
    database.close()
    assert count_events(path) == 1


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        ("/srv/share/rotator/rotator.db", "nfs4"),
        ("/srv/win dows/rotator.db", "cifs"),
        ("/srv/share/local/rotator.db", None),
        ("/var/lib/rotator/rotator.db", None),
    ],
)
def test_network_share_is_found_when_the_database_is_on_one(tmp_path: Path, place: str, kind: str | None) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTS)
    assert find_share(Path(place), table) == kind


SETTINGS = """\
database: sqlite:///{path}
policy: policy.yaml
accounts:
  - name: build-bot
    tenant: contoso.com
    client_id: 11111111-1111-1111-1111-111111111111
    username: build-bot@contoso.com
    organizations: [contoso]
token_cache: {{path: token-cache.bin, key: {{file: token-cache.key}}}}
"""
POLICY = """\
version: 1
defaults: {rotate_before: 7d, overlap: 24h, vault: https://contoso-kv.vault.azure.net, secret_name: "{name}"}
rules: [{name: every}]
"""


def test_check_is_made_by_a_user_who_may_only_read_the_database(path: Path) -> None:
    """It belongs to the group of another folder's owner: no sign-in can be read, and nothing is written."""
    folder = path.parent
    settings = folder / "rotator.yaml"
    settings.write_text(SETTINGS.format(path=path), encoding="utf-8")
    (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    for secret in ("token-cache.key", "token-cache.bin"):
        (folder / secret).write_bytes(b"x")
        (folder / secret).chmod(0)
    path.chmod(0o440)

    def check() -> str:
        folder.chmod(0o550)
        before = sorted(found.name for found in folder.iterdir())
        with redirect_stdout(io.StringIO()) as said:
            codes = [main(["--config", str(settings), "status", option]) for option in ("--nagios", "--check")]
        assert sorted(found.name for found in folder.iterdir()) == before
        return f"{codes} {said.getvalue()}"

    check()  # loads all that it imports
    answer = do_as_other(check)
    assert answer.startswith("[2, 4] ROTATOR CRITICAL: "), answer
    assert "nothing has run yet" in answer
