"""Databases that were restored, lost or damaged, an audit log that was touched, and `rotator recover`, installed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ACCOUNT, ORGANIZATION, VAULT
from rotator.sandbox.world import SecretVersion
from tests.support.installed_command import COMMAND, PATIENCE, config_of
from tests.support.killing import CHANGES, MINTED, MUTATING, NAME, SECRET, Stage, open_stage
from tests.support.postgres import PostgresServer
from tests.support.published import check_printed

Document = dict[str, Any]
REBUILD = "rotator inventory rebuild"


@dataclass(frozen=True)
class Result:
    """What a command ended with and said."""

    words: tuple[str, ...]
    code: int
    output: str
    errors: str

    def read(self) -> Document:
        """Its one JSON document."""
        document: Document = json.loads(self.output)
        assert document["schema_version"] == 1
        check_printed(self.words, document)
        return document


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """The stage at its beginning; what a test changes of policy and organization is put back."""
    yield from _reset(prepared)


@pytest.fixture(scope="module")
def prepared_postgres(tmp_path_factory: pytest.TempPathFactory, postgres_server: PostgresServer) -> Iterator[Stage]:
    """The same on PostgreSQL."""
    with open_stage(tmp_path_factory.mktemp("stage"), postgres_server) as stage:
        yield stage


@pytest.fixture
def postgres_stage(prepared_postgres: Stage) -> Iterator[Stage]:
    """The stage on PostgreSQL at its beginning."""
    yield from _reset(prepared_postgres)


def _reset(stage: Stage) -> Iterator[Stage]:
    policy = stage.sandbox.addresses.policy_path
    text = policy.read_text(encoding="utf-8")
    stage.reset()
    yield stage
    policy.write_text(text, encoding="utf-8")
    stage.world.organizations[ORGANIZATION].max_lifetime = None


def run(stage: Stage, *arguments: str) -> Result:
    """The installed command, to its end. What it says stays in the stage's folder, where `check_end` looks too."""
    started = stage.start(*arguments)
    code = started.wait()
    return Result(
        arguments, code, started.output.read_text(encoding="utf-8"), started.errors.read_text(encoding="utf-8")
    )


def succeed(stage: Stage, *arguments: str) -> Result:
    result = run(stage, *arguments)
    assert result.code == 0, result
    return result


def set_overlap(stage: Stage, overlap: str) -> None:
    path = stage.sandbox.addresses.policy_path
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [f"  overlap: {overlap}\n" if line.startswith("  overlap:") else line for line in lines]
    assert changed != lines or f"  overlap: {overlap}\n" in lines
    path.write_text("".join(changed), encoding="utf-8")


def database_path(stage: Stage) -> Path:
    return stage.folder / "rotator.db"


def change_database(stage: Stage, *statements: str) -> None:
    """What somebody who owns the database file can do to it."""
    connection = sqlite3.connect(database_path(stage), isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
    finally:
        connection.close()


def list_triggers(stage: Stage) -> list[str]:
    connection = sqlite3.connect(database_path(stage))
    try:
        return [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    finally:
        connection.close()


def list_mutations(stage: Stage) -> list[str]:
    """The requests that change PATs or secrets, as `METHOD path`, since the record was cleared."""
    services = ("azure_devops", "key_vault")
    entries = [entry for entry in stage.world.record.all() if entry.service in services and entry.method in MUTATING]
    return [f"{entry.method} {entry.path}" for entry in entries]


def list_alive(stage: Stage) -> list[str]:
    """The ids of our live PATs, those of people left out."""
    return [pat.authorization_id for pat in stage.find_ours()]


def find_original(stage: Stage) -> str:
    [pat] = stage.find_ours()
    return pat.authorization_id


def rotate(stage: Stage, overlap: str) -> None:
    """A whole rotation; with an overlap of `0s` the old PAT is revoked at once."""
    set_overlap(stage, overlap)
    assert [entry["name"] for entry in succeed(stage, "once", "--json").read()["rotated"]] == [NAME]


def retire(stage: Stage) -> Document:
    """What the run reports that finds the overlap over: the services' clocks tell whole seconds."""
    reports = (succeed(stage, "once", "--json").read() for _ in range(5))
    return next(report for report in reports if report["retired"])


def lose_database(stage: Stage) -> None:
    for ending in ("", "-wal", "-shm"):
        Path(f"{database_path(stage)}{ending}").unlink(missing_ok=True)


@pytest.mark.parametrize("overlap", ["24h", "0s"], ids=["in_the_overlap", "after_it"])
def test_once_freezes_and_rebuild_heals_when_the_database_is_from_before_a_rotation(stage: Stage, overlap: str) -> None:
    """Seen by `once`, named with its fix; a dry run changes nothing, a rebuild the database alone, then all is well."""
    original = find_original(stage)
    rotate(stage, overlap)
    alive = list_alive(stage)
    stage.database.restore()
    stage.world.record.clear()

    told = run(stage, "once")
    assert told.code == 1, told
    assert REBUILD in told.errors
    frozen = succeed(stage, "status", NAME, "--json").read()["pats"][0]
    assert (frozen["state"], frozen["last_error"]["code"]) == ("blocked", "database_behind")
    by_hand = run(stage, "rotate", NAME, "--json")
    assert by_hand.code == 1
    assert by_hand.read()["blocked"][0]["error"]["code"] == "database_behind"
    assert list_alive(stage) == alive
    assert {mutation.partition(" ")[0] for mutation in list_mutations(stage)} <= {"PATCH"}

    stage.world.record.clear()
    before = succeed(stage, "inventory", "show", NAME, "--json").read()
    dry = succeed(stage, "inventory", "rebuild", "--dry-run", "--json").read()
    clone = stage.find_latest().tags["rotator-authorization-id"]
    assert dry.keys() == {"schema_version", "dry_run", "rebuilt", "unchanged", "refused", "errors"}
    assert (dry["dry_run"], dry["unchanged"], dry["refused"], dry["errors"]) == (True, 0, [], [])
    assert dry["rebuilt"] == [
        {
            "name": NAME,
            "account": ACCOUNT,
            "organization": ORGANIZATION,
            "authorization_id": clone,
            "before": original,
            "overlapping": overlap == "24h",
            "gone": [],
        }
    ]
    assert succeed(stage, "inventory", "show", NAME, "--json").read() == before
    set_overlap(stage, "0s")
    text = succeed(stage, "inventory", "rebuild", "--yes")
    assert f"{NAME}  {clone}  (was {original})" in text.output
    assert text.output.endswith("1 rebuilt, 0 unchanged.\n")
    assert list_mutations(stage) == []
    assert list_alive(stage) == alive

    again = succeed(stage, "once", "--json").read()
    assert [entry["name"] for entry in again["retired"]] == ([NAME] if overlap == "24h" else [])
    assert again["rotated"] == []
    stage.check_end()
    assert succeed(stage, "inventory", "rebuild", "--yes", "--json").read()["rebuilt"] == []


def test_committed_value_is_put_back_after_a_rebuild_when_the_vault_hands_out_one_that_is_gone(stage: Stage) -> None:
    """The backup is from before a rotation, and its clone was revoked since: consumers read a dead PAT."""
    original = find_original(stage)
    rotate(stage, "24h")
    clone = stage.find_latest().tags["rotator-authorization-id"]
    with stage.world.lock:
        stage.world.pats[clone].revoked = True
    stage.database.restore()
    assert REBUILD in run(stage, "once").errors

    dry = succeed(stage, "inventory", "rebuild", "--dry-run", "--json").read()
    assert [(item["authorization_id"], item["gone"]) for item in dry["rebuilt"]] == [(original, [clone])]
    text = succeed(stage, "inventory", "rebuild", "--yes").output
    assert (
        f"the vault still holds the value of {clone}, which no longer exists: `rotator once` writes this one's back"
        in text
    )
    stage.world.record.clear()
    shown = succeed(stage, "recover", "--dry-run", "--json").read()
    assert (shown["interrupted"], shown["late_writes"], shown["errors"]) == ([], [NAME], [])
    assert f"late write  {NAME}: " in succeed(stage, "recover", "--dry-run").output
    assert list_mutations(stage) == []
    stage.hold("azure_devops", "POST", CHANGES[0][2])
    healing = stage.start("once")
    assert stage.faults.struck.wait(PATIENCE), healing.read()
    stage.check_consumers()  # with the old one, before another is minted
    assert list_alive(stage) == [original]
    healing.kill()
    stage.faults.close()
    set_overlap(stage, "0s")
    stage.run_until_at_rest()
    stage.check_end()


@pytest.mark.parametrize("overlap", ["24h", "0s"], ids=["in_the_overlap", "after_it"])
def test_rebuild_makes_the_inventory_again_when_the_database_was_lost(stage: Stage, overlap: str) -> None:
    rotate(stage, overlap)
    alive = list_alive(stage)
    lose_database(stage)
    stage.world.record.clear()
    missing = run(stage, "once")
    assert (missing.code, "rotator db upgrade" in missing.errors) == (1, True), missing
    succeed(stage, "db", "upgrade")
    assert "rotator inventory adopt" in succeed(stage, "status").output
    set_overlap(stage, "0s")
    rebuilt = succeed(stage, "inventory", "rebuild", "--yes", "--json").read()
    assert [(item["name"], item["before"]) for item in rebuilt["rebuilt"]] == [(NAME, None)]
    assert list_mutations(stage) == []
    assert list_alive(stage) == alive
    report = succeed(stage, "once", "--json").read()
    assert [entry["name"] for entry in report["retired"]] == ([NAME] if overlap == "24h" else [])
    assert (report["rotated"], report["failed"], report["blocked"]) == ([], [], [])
    stage.check_end()


def test_rebuild_names_what_it_cannot_make_again_when_the_clone_is_gone(stage: Stage) -> None:
    rotate(stage, "0s")
    [clone] = stage.find_ours()
    with stage.world.lock:
        clone.revoked = True
    lose_database(stage)
    succeed(stage, "db", "upgrade")
    result = run(stage, "inventory", "rebuild", "--yes")
    assert result.code == 1
    assert f"not rebuilt  {NAME}: secret {SECRET}" in result.errors
    assert "fix: " in result.errors
    refused = run(stage, "inventory", "rebuild", "--yes", "--json")
    assert (refused.code, [item["name"] for item in refused.read()["refused"]]) == (1, [NAME])


# Where the rotation stands in the backup: a copy is taken while the request that changes something is under way.
@pytest.mark.parametrize(("service", "method", "path"), CHANGES, ids=["minting", "storing", "retiring"])
def test_nothing_that_lives_is_revoked_when_the_restored_database_has_the_rotation_open(
    stage: Stage, service: str, method: str, path: str
) -> None:
    stage.postpone(service, method, path)
    held = stage.start_and_hold()
    _copy_database(database_path(stage), stage.folder / "backup.db")
    stage.land()
    assert held.wait() == 0, held.read()
    alive = list_alive(stage)
    _restore_database(stage, stage.folder / "backup.db")
    stage.world.record.clear()

    first = run(stage, "once")
    if method == "POST":
        assert first.code == 1
        assert REBUILD in first.errors
    assert list_alive(stage) == alive
    stage.check_consumers()
    assert not [mutation for mutation in list_mutations(stage) if mutation.startswith(("POST", "PUT"))]
    succeed(stage, "inventory", "rebuild", "--yes")
    stage.run_until_at_rest()
    assert list_alive(stage) == alive
    stage.check_end()


def test_nothing_that_lives_is_revoked_when_the_restored_database_has_an_older_overlap_open(stage: Stage) -> None:
    """Its clone is the old PAT of a rotation that this database knows nothing of."""
    rotate(stage, "24h")
    backup = stage.folder / "backup.db"
    _copy_database(database_path(stage), backup)
    succeed(stage, "revoke", NAME, "--previous", "--yes")
    succeed(stage, "rotate", NAME)
    middle, newest = list_alive(stage)
    _restore_database(stage, backup)
    frozen = run(stage, "revoke", NAME, "--previous", "--yes")
    assert frozen.code == 1
    for _ in range(2):
        run(stage, "once")
    assert list_alive(stage) == [middle, newest]
    set_overlap(stage, "0s")
    succeed(stage, "inventory", "rebuild", "--yes")
    assert succeed(stage, "once", "--json").read()["retired"][0]["name"] == NAME
    assert list_alive(stage) == [newest]
    stage.check_end()


def test_mint_is_revoked_when_the_database_was_replaced_by_a_copy_from_before_it(stage: Stage) -> None:
    """The process died after the POST, and the file that knew of it is gone: the vault's tag tells of the mint."""
    backup = stage.folder / "backup.db"
    _copy_database(database_path(stage), backup)
    original = find_original(stage)
    service, method, path = CHANGES[0]
    stage.hold(service, method, path, effect=True)
    stage.start_and_hold().kill()
    [lost] = set(list_alive(stage)) - {original}
    _restore_database(stage, backup)
    stage.faults.close()

    stage.run_until_at_rest()
    assert not {lost, original} & set(list_alive(stage))
    assert "unknown_intent_found" in stage.find_events()
    stage.check_end()


# What somebody did to the log, and the event that is named.
TAMPERINGS = {
    "altered": ("UPDATE audit_event SET actor = 'mallory@host' WHERE sequence = 3", 3),
    "unreadable": ("UPDATE audit_event SET details = 'x' WHERE sequence = 3", 3),
    "hash_altered_too": ("UPDATE audit_event SET subject = 'x', hash = previous_hash WHERE sequence = 3", 3),
    "deleted": ("DELETE FROM audit_event WHERE sequence = 4", 4),
    "beginning_deleted": ("DELETE FROM audit_event WHERE sequence < 3", 1),
}


@pytest.mark.parametrize(("statement", "sequence"), TAMPERINGS.values(), ids=TAMPERINGS)
def test_audit_verify_names_the_first_bad_event_when_the_log_was_touched(
    stage: Stage, statement: str, sequence: int
) -> None:
    rotate(stage, "0s")
    assert run(stage, "audit", "verify").code == 0
    change_database(stage, *(f"DROP TRIGGER {name}" for name in list_triggers(stage)), statement)
    _check_named(stage, sequence)


def test_audit_verify_names_the_first_bad_event_when_two_were_swapped(stage: Stage) -> None:
    rotate(stage, "0s")
    swap = (
        "UPDATE audit_event SET sequence = 0 WHERE sequence = 5",
        "UPDATE audit_event SET sequence = 5 WHERE sequence = 6",
        "UPDATE audit_event SET sequence = 6 WHERE sequence = 0",
    )
    change_database(stage, *(f"DROP TRIGGER {name}" for name in list_triggers(stage)), *swap)
    _check_named(stage, 5)


def test_audit_log_refuses_changes_when_its_triggers_are_in_place(stage: Stage) -> None:
    for statement, _ in TAMPERINGS.values():
        with pytest.raises(sqlite3.IntegrityError):
            change_database(stage, statement)


def test_audit_verify_sees_a_cut_off_end_when_it_reads_the_anchors(stage: Stage) -> None:
    """The chain alone is sound; the vault notes an event that is gone, and beside which secret."""
    rotate(stage, "0s")
    whole = succeed(stage, "audit", "verify", "--anchors", "--json").read()
    assert (whole["valid"], whole["anchors"]) == (True, 1)
    sequence = int(stage.find_latest().tags["rotator-audit-head"].partition(":")[0])
    # The vault notes the event before that of the write's intent.
    cut = (
        "DELETE FROM audit_event WHERE sequence >= (SELECT sequence - 1 FROM audit_event WHERE event = 'store_started')"
    )
    change_database(stage, *(f"DROP TRIGGER {name}" for name in list_triggers(stage)), cut)
    cut_off = run(stage, "audit", "verify", "--json")
    assert (cut_off.code, cut_off.read()["error"]["found"]) == (1, f"{sequence - 1} events")
    text = run(stage, "audit", "verify", "--anchors")
    assert text.code == 1
    assert f"audit event {sequence}, which the vault's tags name beside the secret of {NAME}, is gone" in text.errors
    document = run(stage, "audit", "verify", "--anchors", "--json").read()
    assert (document["valid"], document["error"]["sequence"]) == (False, sequence)
    assert document["error"]["found"] == "nothing"


# When the audit cannot be written, and what then may have been asked of the services: nothing that changes anything.
@pytest.mark.parametrize("event", ["rotation_planned", "mint_started"])
@pytest.mark.parametrize("command", [("once",), ("rotate", NAME)], ids=["once", "rotate"])
def test_nothing_is_minted_when_the_audit_refuses_an_event(stage: Stage, event: str, command: tuple[str, ...]) -> None:
    _refuse_event(stage, event)
    alive = list_alive(stage)
    stage.world.record.clear()
    result = run(stage, *command)
    assert result.code == 1, result
    assert result.errors.startswith("failed  ")
    assert f"failed  {NAME}  (contoso): the database " in result.errors
    assert "Traceback" not in result.errors
    allowed = {"PATCH"} if event == "mint_started" else set()
    assert {mutation.partition(" ")[0] for mutation in list_mutations(stage)} <= allowed
    assert list_alive(stage) == alive


@pytest.mark.parametrize(
    ("event", "command", "forbidden", "code"),
    [
        ("store_started", ("once",), ("PUT",), 1),
        ("revoke_started", ("once",), ("DELETE",), 3),  # the PAT beside it is rotated all the same
        ("revoke_started", ("revoke", NAME, "--yes"), MUTATING, 1),
    ],
    ids=["store", "retire", "revoke"],
)
def test_nothing_is_sent_without_its_audit_line_when_the_audit_refuses_it(
    stage: Stage, event: str, command: tuple[str, ...], forbidden: tuple[str, ...], code: int
) -> None:
    """And once the audit can be written again, the next runs bring it to a good end."""
    _refuse_event(stage, event)
    stage.world.record.clear()
    assert run(stage, *command).code == code
    assert not [mutation for mutation in list_mutations(stage) if mutation.startswith(forbidden)]
    stage.check_consumers()
    change_database(stage, "DROP TRIGGER refusal")
    stage.run_until_at_rest()
    stage.check_end()


def test_nothing_is_changed_when_the_disk_is_full(stage: Stage) -> None:
    """A limit on the size of files stands for the disk: what is over it cannot be written, by root neither."""
    alive = list_alive(stage)
    stage.world.record.clear()
    result = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -f 0; exec "$0" "$@"', COMMAND, "once"],
        env={**os.environ, "ROTATOR_CONFIG": config_of(stage.sandbox)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 1, result
    assert result.stderr.startswith("error: the database "), result.stderr
    assert "\nfix: " in result.stderr
    assert (list_mutations(stage), list_alive(stage)) == ([], alive)


def _garble(path: Path) -> None:
    path.write_bytes(b"not a database at all " * 500)


def _wreck_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("damage", "command"),
    [
        (_garble, ("once",)),
        (_wreck_pages, ("once",)),
        (_cut, ("once",)),
        (_wreck_pages, ("inventory", "rebuild", "--yes")),
        (_wreck_pages, ("recover",)),
    ],
    ids=["garbage", "pages", "cut", "pages_rebuild", "pages_recover"],
)
def test_nothing_is_changed_when_the_database_is_damaged(
    stage: Stage, damage: Callable[[Path], None], command: tuple[str, ...]
) -> None:
    alive = list_alive(stage)
    for ending in ("-wal", "-shm"):
        Path(f"{database_path(stage)}{ending}").unlink(missing_ok=True)
    damage(database_path(stage))
    stage.world.record.clear()
    started = stage.start(*command)
    assert started.wait() == 1, started.read()
    errors = started.errors.read_text(encoding="utf-8")
    assert errors.startswith(f"error: the database {database_path(stage)} is damaged, or is not a database"), errors
    assert "restore the newest backup" in errors
    assert (list_mutations(stage), list_alive(stage)) == ([], alive)


def test_nothing_is_changed_when_postgresql_lets_us_write_everything_but_the_audit(postgres_stage: Stage) -> None:
    stage = postgres_stage
    role = "without_audit"
    _administer(
        stage,
        f"DROP ROLE IF EXISTS {role}",
        f"CREATE ROLE {role} LOGIN",
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}",
        f"REVOKE INSERT ON audit_event FROM {role}",
    )
    alive = list_alive(stage)
    config = stage.sandbox.addresses.config_path
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("//postgres@", f"//{role}@"), encoding="utf-8")
    stage.world.record.clear()
    result = run(stage, "once")
    assert result.code == 1
    assert "permission denied for table audit_event" in result.errors
    assert "the user's rights on the database" in result.errors
    assert (list_mutations(stage), list_alive(stage)) == ([], alive)
    config.write_text(text, encoding="utf-8")
    _administer(stage, f"DROP OWNED BY {role}", f"DROP ROLE {role}")
    stage.run_until_at_rest()
    stage.check_end()


def test_nothing_is_changed_when_postgresql_is_read_only(postgres_stage: Stage) -> None:
    """As on a standby after a failover."""
    stage = postgres_stage
    name = sqlalchemy.make_url(stage.database.url()).database
    alive = list_alive(stage)
    _administer(stage, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    stage.world.record.clear()
    result = run(stage, "once")
    assert result.code == 1
    assert "cannot be written" in result.errors
    assert "primary server" in result.errors
    assert (list_mutations(stage), list_alive(stage)) == ([], alive)


def test_rebuild_heals_when_a_postgresql_database_was_restored(postgres_stage: Stage) -> None:
    stage = postgres_stage
    rotate(stage, "0s")
    stage.database.restore()
    stage._write_config()
    result = run(stage, "once")
    assert result.code == 1
    assert REBUILD in result.errors
    succeed(stage, "inventory", "rebuild", "--yes")
    stage.run_until_at_rest()
    stage.check_end()


def test_recover_shows_keeps_and_revokes_on_a_persons_word_when_a_pat_is_unproven(stage: Stage) -> None:
    """The server shortens the lifetime without a word and the answer is lost: nobody can prove whose that PAT is."""
    stage.world.organizations[ORGANIZATION].max_lifetime = timedelta(days=20)
    stage.world.faults.add(Fault("azure_devops", "lost_after", method="POST", path="/tokens/pats"))
    original = find_original(stage)
    assert run(stage, "once").code == 1
    [near] = set(list_alive(stage)) - {original}
    interrupted = succeed(stage, "recover", "--dry-run", "--json").read()
    assert [(item["name"], item["state"]) for item in interrupted["interrupted"]] == [(NAME, "minting")]

    shown = _recover_until(stage, lambda document: bool(document["left_behind"]))
    assert shown["interrupted"] == shown["late_mints"] == shown["errors"] == []
    [left] = shown["left_behind"]
    assert left.keys() == {"kind", "name", "authorization_id", "display_name", "rotation_id", "fix"}
    assert (left["kind"], left["name"], left["authorization_id"]) == ("unproven_mint", NAME, near)
    text = succeed(stage, "recover", "--dry-run").output
    assert f"rotator recover --revoke {near}" in text
    assert near in list_alive(stage)
    succeed(stage, "rotate", NAME)
    [row] = [pat for pat in succeed(stage, "status", "--json").read()["pats"] if pat["authorization_id"] == near]
    assert (row["state"], row["last_error"]["code"]) == ("untracked", "left_behind")
    assert row["last_error"]["fix"].endswith(f"rotator recover --revoke {near}")
    [scanned] = [pat for pat in run(stage, "scan", "--json").read()["pats"] if pat["authorization_id"] == near]
    assert scanned["state"] == "left_behind"

    current = stage.find_latest().tags["rotator-authorization-id"]
    for other in (current, *stage.by_people, "nothing"):
        refused = run(stage, "recover", "--revoke", other, "--yes", "--json")
        assert refused.code == 2
        assert refused.read()["error"]["fix"]
    both = run(stage, "recover", "--dry-run", "--revoke", near)
    assert both.code == 2
    document = succeed(stage, "recover", "--revoke", near, "--yes", "--json").read()
    [revoked] = document["revoked"]
    assert revoked.keys() == {"name", "which", "authorization_id", "confirmed"}
    assert (revoked["which"], revoked["authorization_id"]) == ("unproven_mint", near)
    assert revoked["confirmed"] is True
    assert list_alive(stage) == [current]
    pats = succeed(stage, "status", "--json").read()["pats"]
    assert near not in {pat["authorization_id"] for pat in pats}
    events = succeed(stage, "audit", "list", "--run", document["run_id"], "--json").read()["events"]
    assert [event["event"] for event in events] == [
        "revoke_started",
        "revocation_requested",
        "pat_revoked",
        "left_behind_resolved",
        "values_read",
    ]
    assert run(stage, "recover", "--revoke", near, "--yes").code == 2
    stage.check_end()


def test_recover_revokes_a_pat_left_by_a_failed_rotation_on_a_persons_word_when_its_rotation_was_frozen(
    stage: Stage,
) -> None:
    """Frozen by a foreign write; a person rotates by hand, and the first old PAT lives on without an owner."""
    original = find_original(stage)
    rotate(stage, "24h")
    _write_foreign(stage)
    frozen = run(stage, "revoke", NAME, "--previous", "--yes")
    assert (frozen.code, "written by somebody else" in frozen.errors) == (1, True), frozen
    succeed(stage, "rotate", NAME)
    shown = succeed(stage, "recover", "--dry-run", "--json").read()
    assert [(item["kind"], item["authorization_id"]) for item in shown["left_behind"]] == [
        ("failed_rotation", original)
    ]
    busy = run(stage, "recover", "--revoke", original, "--yes")
    assert (busy.code, "unfinished rotation" in busy.errors) == (2, True)
    succeed(stage, "revoke", NAME, "--previous", "--yes")
    assert f"rotator recover --revoke {original}" in succeed(stage, "recover").output
    assert original in list_alive(stage)
    text = succeed(stage, "recover", "--revoke", original, "--yes")
    assert text.output == f"revoked  {original}, left behind by {NAME} (failed rotation)\n"
    assert succeed(stage, "recover").output == "Nothing was interrupted, and no PAT was left behind.\n"
    stage.check_end()


def test_revocation_is_told_and_repeated_when_the_server_accepted_it_and_did_nothing(stage: Stage) -> None:
    """The rotation is closed; every command names the PAT that lives on; a person is told; the next run revokes it."""
    original = find_original(stage)
    ids = {"ActivityId": "activity-of-nothing"}
    stage.world.faults.add(Fault("azure_devops", "status", method="DELETE", status=204, times=2, headers=ids))
    set_overlap(stage, "0s")
    done = retire(stage)
    assert [entry["revoked_authorization_id"] for entry in done["retired"]] == [original]
    assert [entry["pending_authorization_id"] for entry in done["settling"]] == [original]
    assert original in list_alive(stage)
    again = succeed(stage, "once")
    assert f"the revocation of {original} is not confirmed yet" in again.output
    status = succeed(stage, "status", "--check", "--json").read()
    assert [(item["authorization_id"], item["requests"]) for item in status["pending_revocations"]] == [(original, 2)]
    rows = {row["authorization_id"]: row for row in status["pats"]}
    assert rows[original]["last_error"]["code"] == "left_behind"
    assert rows[original]["next_action"] == "confirm_revocation"
    shown = succeed(stage, "inventory", "show", NAME, "--json").read()
    assert [item["overdue"] for item in shown["pending_revocations"]] == [False]
    states = {pat["authorization_id"]: pat["state"] for pat in run(stage, "scan", "--json").read()["pats"]}
    assert states[original] == "pending_revocation"
    plan = succeed(stage, "recover", "--dry-run", "--json").read()
    assert [(item["kind"], item["authorization_id"]) for item in plan["left_behind"]] == [
        ("pending_revocation", original)
    ]
    change_database(stage, "UPDATE pending_revocation SET since = '2026-01-01T00:00:00.000000Z'")
    assert run(stage, "status", "--check").code == 4
    succeed(stage, "once")
    assert original not in list_alive(stage)
    assert succeed(stage, "status", "--check", "--json").read()["pending_revocations"] == []
    told = succeed(stage, "audit", "list", "--json").read()["events"]
    for event in told:
        is_answer = event["event"] in ("pat_minted", "secret_stored", "revocation_requested")
        assert bool({"activity_id", "request_id"} & event["details"].keys()) == is_answer
    events = [event["event"] for event in told]
    assert (events.count("revocation_requested"), events.count("pat_revoked")) == (3, 1)
    assert events.count("revocation_unconfirmed") == events.count("revocation_resolved") == 1
    stage.check_end()


def test_recover_finishes_what_was_interrupted_and_rotates_nothing(stage: Stage) -> None:
    original = find_original(stage)
    stage.die("after", MINTED)
    assert len(list_alive(stage)) == 2
    stage.world.record.clear()
    dry = succeed(stage, "recover", "--dry-run", "--json").read()
    assert dry.keys() == {"schema_version", "interrupted", "left_behind", "late_mints", "late_writes", "errors"}
    assert [(item["name"], item["state"]) for item in dry["interrupted"]] == [(NAME, "minted")]
    assert "while minted" in succeed(stage, "recover", "--dry-run").output
    assert list_mutations(stage) == []
    done = succeed(stage, "recover", "--json").read()
    assert [entry["name"] for entry in done["abandoned"]] == [NAME]
    assert (done["rotated"], done["retired"], done["failed"], done["left_behind"]) == ([], [], [], [])
    assert [mutation.partition(" ")[0] for mutation in list_mutations(stage)] == ["DELETE"]
    assert list_alive(stage) == [original]
    stage.run_until_at_rest()
    stage.check_end()


def test_recover_says_who_must_sign_in_when_it_cannot_look(stage: Stage) -> None:
    (stage.folder / "token-cache.bin").unlink()
    (stage.folder / "token-cache.bin.previous").unlink(missing_ok=True)
    for arguments in (("recover", "--dry-run"), ("recover",), ("inventory", "rebuild", "--dry-run")):
        result = run(stage, *arguments)
        assert result.code == 10, result
        assert f"rotator login {ACCOUNT}" in result.errors
        assert "no PAT was left behind" not in result.output
    document = run(stage, "recover", "--dry-run", "--json").read()
    assert [error["account"] for error in document["errors"]] == [ACCOUNT]


@pytest.mark.parametrize("command", [("recover",), ("inventory", "rebuild"), ("audit", "verify")])
def test_help_ends_with_examples_when_asked_for(stage: Stage, command: tuple[str, ...]) -> None:
    assert f"rotator {' '.join(command)}" in succeed(stage, *command, "--help").output.partition("Examples:")[2]


def _copy_database(source: Path, target: Path) -> None:
    """A backup as docs/databases.md says, safe while a run is at work."""
    reading, writing = sqlite3.connect(source), sqlite3.connect(target)
    try:
        reading.backup(writing)
    finally:
        reading.close()
        writing.close()


def _restore_database(stage: Stage, backup: Path) -> None:
    lose_database(stage)
    _copy_database(backup, database_path(stage))


def _check_named(stage: Stage, sequence: int) -> None:
    text = run(stage, "audit", "verify")
    assert text.code == 1
    assert f"audit event {sequence} " in text.errors
    document = run(stage, "audit", "verify", "--json")
    assert document.code == 1
    assert document.read()["valid"] is False
    assert document.read()["error"]["sequence"] == sequence


def _refuse_event(stage: Stage, event: str) -> None:
    change_database(
        stage,
        "CREATE TRIGGER refusal BEFORE INSERT ON audit_event "
        f"WHEN NEW.event = '{event}' BEGIN SELECT RAISE(ABORT, 'not today'); END",
    )


def _write_foreign(stage: Stage) -> None:
    """Somebody writes the value that works now into the vault once more, by hand."""
    latest, now = stage.find_latest(), stage.world.clock.now()
    version = SecretVersion("f" * 32, latest.value, {}, None, enabled=True, created=now, updated=now)
    with stage.world.lock:
        stage.world.vaults[VAULT].secrets[SECRET].versions.append(version)


def _administer(stage: Stage, *statements: str) -> None:
    engine = sqlalchemy.create_engine(stage.database.url(), isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))


def _recover_until(stage: Stage, is_there: Callable[[Document], bool]) -> Document:
    """`recover` until its dry run shows it: the settle time of a second is over soon."""
    for _ in range(10):
        run(stage, "recover")
        document = succeed(stage, "recover", "--dry-run", "--json").read()
        if is_there(document):
            return document
    raise AssertionError(f"not there: {document}")
