"""When a checkpoint is made, what it covers, and what happens where none can be made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from rotator.adapters.signing import Ed25519Signer, is_signed, make_signing_key
from rotator.cli.output.audit import render_seals
from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.engine.anchoring import AnchorSight
from rotator.engine.auditing import load_events
from rotator.engine.checkpointing import check_begun, seal
from rotator.engine.context import RunContext, Services, Trust
from rotator.engine.gaps import accept_gap
from rotator.engine.jobs import work_due
from rotator.engine.log_checking import check_log, verify_log
from rotator.engine.run import run_once
from rotator.engine.sealing import sealed
from rotator.errors import AuditChainError, DatabaseError, StoppedError
from rotator.ports.checkpoints import Checkpoints
from rotator.ports.database import UnitOfWork
from tests.support.engine import NAME, EngineWorld, make_world
from tests.support.engine_fakes import CommitFault
from tests.support.records import make_entry
from tests.support.whole_tree import make_root
from tests.unit.test_engine_jobs import make_pulse

KEY = Ed25519Signer(make_signing_key())
QUARTER = timedelta(minutes=15)


def make_services(world: EngineWorld, signer: Ed25519Signer | None = KEY) -> Services:
    """The world's services, with a key."""
    return replace(world.make_services(), signer=signer)


def run(world: EngineWorld, signer: Ed25519Signer | None = KEY) -> None:
    """One run, sealed."""
    sealed(run_once)(world.make_run(make_services(world, signer)))


def list_checkpoints(world: EngineWorld) -> list[Checkpoint]:
    """All of them, by size."""
    with world.database.read() as reading:
        return list(reading.checkpoints.load_after(0, 99))


def append(world: EngineWorld, count: int = 1) -> None:
    """Add events by hand."""
    with world.database.begin() as work:
        for _ in range(count):
            work.audit.append(make_entry(), world.clock.now())


def check(world: EngineWorld, *keys: Ed25519Signer) -> int:
    """How many events signed checkpoints cover, in a log that is intact."""
    return check_log(world.database, (), Trust(tuple(key.public_key for key in keys), is_signed)).signed


def test_run_that_did_something_ends_with_a_checkpoint_of_all_that_it_wrote() -> None:
    world = make_world()
    run(world)
    [made] = list_checkpoints(world)
    events = list(load_events(world.database))
    assert (made.size, made.head) == (len(events), events[-1].hash)
    assert made.root == make_root([bytes.fromhex(event.hash) for event in events]).hex()
    assert made.key_id == made.installation == make_key_id(KEY.public_key)
    assert made.signature is not None
    assert is_signed(made.make_statement(), made.signature, KEY.public_key)
    assert check(world, KEY) == len(events)


def test_checkpoints_grow_and_are_made_once_in_a_quarter_of_an_hour_at_most() -> None:
    """What is left over is sealed by the next run after that time, although it finds nothing to do."""
    world = make_world()
    run(world)
    append(world, 5)
    run(world)
    assert len(list_checkpoints(world)) == 1
    world.clock.advance(QUARTER)
    run(world)
    first, second = list_checkpoints(world)
    assert second.size == first.size + 5
    assert check(world, KEY) == second.size
    run(world)
    world.clock.advance(QUARTER)
    run(world)
    assert len(list_checkpoints(world)) == 2


def test_tick_of_the_daemon_writes_nothing_when_the_log_has_not_grown() -> None:
    world = make_world()
    pulse = make_pulse(world)
    work_due(world.make_run(make_services(world)), pulse)
    assert len(list_checkpoints(world)) == 1
    world.clock.advance(QUARTER)
    begun = world.database.begun
    work_due(world.make_run(make_services(world)), pulse)
    assert world.database.begun == begun


def test_log_is_sealed_before_work_when_a_checkpoint_is_owed() -> None:
    """What people did since, and an earlier run that died, are covered before anything is changed."""
    world = make_world()
    append(world)
    run(world)
    before, after = list_checkpoints(world)
    assert before.size == 1
    assert after.size == len(list(load_events(world.database)))


@pytest.mark.parametrize("fault", [CommitFault.LOCKED, CommitFault.DROPPED])
def test_checkpoint_is_made_when_the_database_was_away_for_a_moment(fault: CommitFault) -> None:
    world = make_world()
    append(world)
    world.database.faults[world.database.begun + 1] = fault
    seal(world.make_run(make_services(world)))
    assert len(list_checkpoints(world)) == 1


def test_checkpoint_is_there_once_when_the_answer_to_its_commit_was_lost() -> None:
    world = make_world()
    append(world)
    world.database.faults[world.database.begun + 1] = CommitFault.KEPT
    seal(world.make_run(make_services(world)))
    assert [found.size for found in list_checkpoints(world)] == [1]


class FullCheckpoints:
    """Port Checkpoints, with no room for another."""

    def __init__(self, inner: Checkpoints) -> None:
        self.load_newest, self.load_after, self.load_signed = inner.load_newest, inner.load_after, inner.load_signed
        self.hold, self.load_verified, self.save_verified = inner.hold, inner.load_verified, inner.save_verified

    def add(self, checkpoint: Checkpoint, after: int) -> bool:
        """See the port."""
        raise DatabaseError("the disk is full", code="database_full")


class FullDatabase:
    """Port Database, in which no checkpoint can be written."""

    def __init__(self, world: EngineWorld) -> None:
        self.read = world.database.read
        self._inner = world.database

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        """See the port."""
        with self._inner.begin() as work:
            work.checkpoints = FullCheckpoints(work.checkpoints)
            yield work


def test_nothing_is_changed_when_a_checkpoint_is_owed_and_cannot_be_written() -> None:
    world = make_world()
    append(world)
    services = replace(make_services(world), database=FullDatabase(world))
    with pytest.raises(DatabaseError, match="full"):
        sealed(run_once)(world.make_run(services))
    assert world.pats.calls == []
    assert world.secrets.calls == []
    assert len(list(load_events(world.database))) == 1


class BrokenKey:
    """Port Signer, that cannot sign."""

    public_key = KEY.public_key

    def sign(self, statement: bytes) -> str:
        """See the port."""
        raise DatabaseError("the key is gone", code="key_gone")


def test_nothing_is_changed_when_a_checkpoint_is_owed_and_cannot_be_signed() -> None:
    world = make_world()
    append(world)
    with pytest.raises(DatabaseError, match="key is gone"):
        sealed(run_once)(world.make_run(replace(world.make_services(), signer=BrokenKey())))
    assert world.pats.calls == []


def test_nothing_is_changed_when_events_are_missing_that_are_not_sealed() -> None:
    world = make_world()
    append(world, 3)
    del world.database._tables.events[1]
    with pytest.raises(AuditChainError, match="cannot be sealed"):
        sealed(run_once)(world.make_run(make_services(world)))
    assert world.pats.calls == []


def test_one_of_two_processes_makes_the_checkpoint_when_both_begin_it() -> None:
    """The other finds it there, and takes it as its own."""
    world = make_world()
    append(world)
    services = make_services(world)

    class Late:
        """Port Signer, so slow that another process is done before."""

        public_key = KEY.public_key

        def sign(self, statement: bytes) -> str:
            """See the port."""
            append(world)
            assert seal(world.make_run(services)) is not None
            return KEY.sign(statement)

    assert seal(world.make_run(replace(services, signer=Late()))) is None
    assert [found.size for found in list_checkpoints(world)] == [2]
    assert check(world, KEY) == 2


def test_stopped_run_makes_no_checkpoint() -> None:
    world = make_world()
    services = make_services(world)
    world.database.interrupts["minted"] = world.stop.set
    report = sealed(run_once)(world.make_run(services))
    assert report.is_stopped
    assert list_checkpoints(world) == []
    with pytest.raises(StoppedError):
        seal(world.make_run(services))


def test_installation_gets_the_id_of_its_first_key_and_keeps_it() -> None:
    """Before there is a key, an id by chance."""
    world, other = make_world(), Ed25519Signer(make_signing_key())
    for signer in (None, None, KEY, other):
        append(world)
        seal(world.make_run(make_services(world, signer)), timedelta(0))
    unsigned, again, signed, later = list_checkpoints(world)
    assert (unsigned.key_id, unsigned.signature) == (again.key_id, again.signature) == (None, None)
    assert unsigned.installation == again.installation != signed.installation
    assert signed.installation == later.installation == make_key_id(KEY.public_key)
    assert later.key_id == make_key_id(other.public_key)
    assert check(world, other, KEY) == 4


def test_log_of_an_older_version_is_sealed_as_a_whole_when_it_is_long() -> None:
    """More than what one transaction reads."""
    world = make_world()
    append(world, 10_050)
    made = seal(world.make_run(make_services(world)))
    assert made is not None
    assert made.size == 10_050
    assert check(world, KEY) == 10_050
    assert NAME in world.database.dump()


@pytest.mark.parametrize("peak", ["zz", "ab", 1, None])
def test_altered_peaks_of_any_kind_are_an_error_in_words(peak: object) -> None:
    world = make_world()
    append(world)
    run(world)
    [made, *_] = list_checkpoints(world)
    with pytest.raises(ValueError, match=r"peaks|hexadecimal"):
        replace(made, peaks=(cast("str", peak),) * len(made.peaks)).make_tree()


def make_rewritten(world: EngineWorld) -> RunContext:
    """Let somebody delete the checkpoints of a log of which rotator worked two days ago; return a run after that."""
    run(world)
    world.database._tables.checkpoints.clear()
    world.advance(days=2)
    append(world)
    services = replace(make_services(world), trust=Trust((KEY.public_key,), is_signed))
    return replace(world.make_run(services), reason="the key is new")


def test_log_that_should_have_had_a_signed_checkpoint_is_signed_by_a_persons_word_only() -> None:
    """A run goes on with its work; its signature would end the alarm about a log that somebody rewrote."""
    world = make_world()
    context = make_rewritten(world)
    trust = context.services.trust
    assert sealed(run_once)(context).outcomes
    assert list_checkpoints(world) == []
    with pytest.raises(AuditChainError, match="no signed checkpoint") as caught:
        check_log(world.database, (), trust, world.clock.now())
    assert "accept-gap" in caught.value.fix
    with pytest.raises(AuditChainError, match="no signed checkpoint covers it"):
        check_begun(context)
    [accepted] = accept_gap(context)
    assert accepted.startswith("unsigned:")
    summary, anchors = verify_log(world.database, AnchorSight((), {}), cast("Trust", trust), world.clock.now())
    assert (summary.signed, anchors) == (summary.events, 0)
    assert accept_gap(context) == []
    check_begun(context)
    append(world)
    assert seal(context, timedelta(0)) is not None


def test_checkpoint_that_comes_late_is_told() -> None:
    """As after days in which nobody ran rotator, or of a log that somebody wrote anew."""
    world = make_world()
    append(world)
    seal(world.make_run(make_services(world)))
    append(world, 2)
    world.clock.advance(timedelta(days=3))
    seal(world.make_run(make_services(world)))
    append(world)
    world.clock.advance(timedelta(hours=24))
    seal(world.make_run(make_services(world)))
    late = check_log(world.database, (), Trust((KEY.public_key,), is_signed)).late
    assert late is not None
    assert (late.first.sequence, late.checkpoint.size, late.lag) == (2, 3, timedelta(days=3))
    *_, said = render_seals(check_log(world.database, (), Trust((KEY.public_key,), is_signed)))
    assert said.startswith("The checkpoint of 3 events was made 3d after event 2, the first that no earlier signed one")


def test_first_checkpoint_is_made_when_people_worked_for_days_before_rotator_did() -> None:
    """As they set it up."""
    world = make_world()
    with world.database.begin() as work:
        work.audit.append(replace(make_entry(), event="signed_in"), world.clock.now())
    world.clock.advance(timedelta(days=3))
    run(world)
    assert check(world, KEY) == len(list(load_events(world.database)))


@pytest.mark.parametrize("peaks", [(), ("ab" * 32,), ("zz",)])
def test_run_goes_on_when_somebody_altered_peaks_and_verifying_names_them(peaks: tuple[str, ...]) -> None:
    world = make_world()
    append(world, 3)
    for size in (3, 6, 11):
        seal(world.make_run(make_services(world)), timedelta(0))
        append(world, 5 if size == 6 else 3)
    checkpoints = world.database._tables.checkpoints
    for size in (3, 6):
        checkpoints[size] = replace(checkpoints[size], peaks=peaks)
    newest = max(checkpoints)
    checkpoints[newest] = replace(checkpoints[newest], peaks=peaks)
    world.clock.advance(QUARTER)
    run(world)
    made = list_checkpoints(world)[-1]
    assert made.size > newest
    assert made.make_tree().size == made.size
    with pytest.raises(AuditChainError, match="checkpoint of 3 audit events does not hold: it cannot be continued"):
        check(world, KEY)


def test_altered_peaks_over_other_events_end_the_run() -> None:
    world = make_world()
    append(world, 3)
    seal(world.make_run(make_services(world)))
    checkpoints = world.database._tables.checkpoints
    checkpoints[3] = replace(checkpoints[3], peaks=(), root="ab" * 32)
    append(world)
    with pytest.raises(AuditChainError, match="does not end the events that its checkpoint covers"):
        seal(world.make_run(make_services(world)), timedelta(0))
