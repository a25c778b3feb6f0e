"""A log rewritten by somebody who owns the database and recomputes every hash, but does not have the signing key.

What is wrong is named by the check behind `rotator audit verify`; what only an anchor elsewhere can show, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext, Services, Trust
from rotator.engine.jobs import verify_audit
from rotator.engine.log_checking import LogSummary, check_log
from rotator.engine.verified import load_verified
from rotator.errors import AuditChainError
from tests.support.engine import make_world
from tests.support.forgery import Change, chain_anew, drop_triggers, execute, forge_checkpoint, load_log, write_log
from tests.support.records import NOW, make_entry
from tests.support.stage_database import PostgresCopy, SqliteFile, StageDatabase

KEY, THEIRS = Ed25519Signer(make_signing_key()), Ed25519Signer(make_signing_key())
TRUST = Trust((KEY.public_key,), is_signed)
LATER = NOW + timedelta(days=40)
SIZES = (20, 40, 60)
EVENTS = 65


@dataclass(frozen=True)
class Log:
    """A log of 65 events in a real database, with signed checkpoints of 20, 40 and 60."""

    url: str
    database: SqlDatabase

    def check(self, trust: Trust = TRUST) -> LogSummary:
        """What the command checks."""
        return check_log(self.database, (), trust, LATER)

    def find_wrong(self, trust: Trust = TRUST) -> AuditChainError:
        """The error of the check."""
        with pytest.raises(AuditChainError) as caught:
            self.check(trust)
        assert caught.value.fix
        return caught.value

    def rewrite(
        self,
        change: Callable[[list[AuditEvent]], list[AuditEvent]],
        seal_anew: Callable[[Checkpoint, list[AuditEvent]], Checkpoint | None] = lambda found, events: found,
    ) -> None:
        """Change the events, make all their hashes fit, and put other checkpoints in place of ours."""
        events, checkpoints = load_log(self.database)
        forged = chain_anew(change(events))
        kept = [seal_anew(found, forged) if found.size > 20 else found for found in checkpoints]
        drop_triggers(self.url)
        write_log(self.url, forged, [found for found in kept if found is not None])


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> StageDatabase:
    """A database with the log as rotator wrote it, remembered."""
    stage: StageDatabase
    if request.param == "sqlite":
        stage = SqliteFile(tmp_path_factory.mktemp("log") / "rotator.db")
    else:
        stage = PostgresCopy(request.getfixturevalue("postgres_server"))
    upgrade(stage.url())
    database = SqlDatabase(stage.url())
    services: Services = replace(make_world().make_services(), database=database, signer=KEY)
    run: RunContext = make_world().make_run(services)
    for size in (*SIZES, EVENTS):
        with database.begin() as work:
            for number in range(work.audit.load_newest_number() + 1, size + 1):
                work.audit.append(make_entry(subject=f"feed-{number}"), NOW + timedelta(seconds=number))
        if size in SIZES:
            seal(run, timedelta(0), begins=True)
    database.close()
    stage.keep()
    return stage


@pytest.fixture
def log(stage: StageDatabase) -> Iterator[Log]:
    """The log, as it was."""
    stage.restore()
    database = SqlDatabase(stage.url())
    yield Log(stage.url(), database)
    database.close()


def alter(events: list[AuditEvent], number: int = 30) -> list[AuditEvent]:
    """Another actor in one event."""
    event = events[number - 1]
    changed = replace(event, entry=replace(event.entry, actor="nobody@host"))
    return [*events[: number - 1], changed, *events[number:]]


CHANGES: dict[str, Callable[[list[AuditEvent]], list[AuditEvent]]] = {
    "altered": alter,
    "deleted": lambda events: [*events[:29], *events[30:]],
    "inserted": lambda events: [*events[:29], events[3], *events[29:]],
    "reordered": lambda events: [*events[:29], events[30], events[29], *events[31:]],
    "rewritten from there on": lambda events: [*events[:29], *(alter([event], 1)[0] for event in events[29:])],
}


@pytest.mark.parametrize("trust", [TRUST, Trust((THEIRS.public_key,), is_signed)], ids=["by the old", "by the new"])
def test_log_whose_key_was_changed_is_checked_by_either_key(log: Log, trust: Trust) -> None:
    """And what was rewritten before the change is named, although whoever did it has the old key."""
    services = replace(make_world().make_services(), database=log.database, signer=THEIRS, old_signers=(KEY,))
    assert seal(make_world().make_run(services), timedelta(0)) is not None
    summary = log.check(trust)
    assert (summary.signed, [*summary.changes]) == (EVENTS + 1, [EVENTS + 1])
    log.rewrite(alter, lambda found, events: forge_checkpoint(found, events, KEY) if found.size <= 60 else None)
    assert "the signing key was changed after event 60" in log.find_wrong(trust).message


@pytest.mark.parametrize("change", ["SET size = 'x'", "SET checked_at = 'x'"], ids=["size", "moment"])
def test_what_was_verified_is_remembered_and_counts_for_nothing_when_it_cannot_be_read(log: Log, change: str) -> None:
    services = replace(make_world().make_services(), database=log.database, signer=KEY, trust=TRUST)
    run = make_world().make_run(services)
    now = services.clock.now()
    assert verify_audit(run).counts == {"events": EVENTS}
    assert verify_audit(run).counts == {"events": EVENTS - SIZES[-1]}
    found = load_verified(log.database, TRUST, now)
    assert found is not None
    assert (found.size, found.checkpoints, found.checked_at) == (SIZES[-1], len(SIZES), now)
    if log.url.startswith("sqlite"):  # which takes anything in any column
        execute(log.url, " ".join(("UPDATE verified_log", change)))
    else:
        execute(log.url, "DELETE FROM verified_log")
    assert load_verified(log.database, TRUST, now) is None
    assert verify_audit(run).counts == {"events": EVENTS}


def test_log_is_intact_as_it_was_written(log: Log) -> None:
    summary = log.check()
    assert (summary.events, summary.checkpoints, summary.signed) == (EVENTS, 3, 60)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_checkpoint_is_named_when_the_log_before_it_is_another_one(log: Log, change: Change) -> None:
    log.rewrite(change)
    error = log.find_wrong()
    assert (error.sequence, error.checkpoint) == (40, 40)
    assert "from event 21 on or later" in error.message


def test_signature_is_named_when_the_checkpoints_were_made_to_fit(log: Log) -> None:
    log.rewrite(alter, lambda found, events: forge_checkpoint(found, events, None))
    error = log.find_wrong()
    assert error.checkpoint == 40
    assert "signature does not fit" in error.message


def test_key_is_named_when_the_checkpoints_are_signed_with_another(log: Log) -> None:
    log.rewrite(alter, lambda found, events: forge_checkpoint(found, events, THEIRS))
    error = log.find_wrong()
    assert error.checkpoint == 40
    assert "which the settings do not name" in error.message


def test_missing_signature_is_named_when_earlier_checkpoints_have_one(log: Log) -> None:
    def unsign(found: Checkpoint, events: list[AuditEvent]) -> Checkpoint:
        return replace(forge_checkpoint(found, events, None), key_id=None, signature=None)

    log.rewrite(alter, unsign)
    assert log.find_wrong().checkpoint == 40


def test_missing_checkpoints_are_named_when_all_were_deleted(log: Log) -> None:
    drop_triggers(log.url)
    execute(log.url, "DELETE FROM checkpoint")
    assert "no signed checkpoint" in log.find_wrong().message
    assert log.check(Trust((), is_signed)).signed == 0


@pytest.mark.parametrize("kept", [19, 59])
def test_cut_is_named_when_a_greater_checkpoint_is_left(log: Log, kept: int) -> None:
    events, checkpoints = load_log(log.database)
    drop_triggers(log.url)
    write_log(log.url, events[:kept], checkpoints)
    error = log.find_wrong()
    assert error.checkpoint == (20 if kept < 20 else 60)
    assert f"ends at event {kept}" in error.message


def test_replaced_event_is_named_when_the_triggers_were_not_even_dropped(log: Log) -> None:
    """`INSERT OR REPLACE` deletes a row of SQLite without its triggers."""
    if not log.url.startswith("sqlite"):
        drop_triggers(log.url)
        execute(log.url, "UPDATE audit_event SET actor = 'nobody' WHERE sequence = 30")
    else:
        execute(
            log.url,
            "INSERT OR REPLACE INTO audit_event SELECT sequence, occurred_at, event, subject, outcome, 'nobody', "
            "run_id, details, previous_hash, hash, encoding FROM audit_event WHERE sequence = 30",
        )
    assert log.find_wrong().sequence == 30


ALTERED_CHECKPOINTS = {
    "made_at": "UPDATE checkpoint SET made_at = '2026-04-01T00:00:00.000000Z' WHERE size = 40",
    "installation": "UPDATE checkpoint SET installation = '0123456789abcdef' WHERE size = 40",
    "anchors": "UPDATE checkpoint SET anchors = 7 WHERE size = 40",
    "root": "UPDATE checkpoint SET root = head WHERE size = 40",
    "head": "UPDATE checkpoint SET head = root WHERE size = 40",
    "signature": "UPDATE checkpoint SET signature = 'x' WHERE size = 40",
    "another's signature": "UPDATE checkpoint SET signature = "
    "(SELECT signature FROM checkpoint WHERE size = 20) WHERE size = 40",
    "unreadable": "UPDATE checkpoint SET peaks = '{' WHERE size = 40",
}


@pytest.mark.parametrize("statement", ALTERED_CHECKPOINTS.values(), ids=ALTERED_CHECKPOINTS)
def test_checkpoint_is_named_when_it_was_altered_itself(log: Log, statement: str) -> None:
    drop_triggers(log.url)
    execute(log.url, statement)
    error = log.find_wrong()
    assert error.sequence == 40
    assert "40" in error.message


@pytest.mark.parametrize("statement", ["UPDATE checkpoint SET root = head", "DELETE FROM checkpoint"])
def test_database_refuses_to_change_a_checkpoint_while_its_triggers_are_there(log: Log, statement: str) -> None:
    with pytest.raises(Exception, match="append-only"):
        execute(log.url, statement)
    assert log.check().checkpoints == 3


def test_cut_is_not_seen_when_the_checkpoints_after_it_are_gone_too(log: Log) -> None:
    """That is what the anchors outside of the database are for."""
    drop_triggers(log.url)
    execute(log.url, "DELETE FROM audit_event WHERE sequence > 45", "DELETE FROM checkpoint WHERE size > 45")
    assert log.check().signed == 40
