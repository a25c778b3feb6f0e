"""The audit log names which values of secrets were read, by which pass and what for."""

from __future__ import annotations

from datetime import timedelta

import pytest

from rotator.domain.anchor import PREFIX
from rotator.domain.audit_event import AuditEvent
from rotator.domain.job_run import JobName
from rotator.engine.auditing import load_events
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext
from rotator.engine.jobs import JobResult, probe_values, verify_audit, work_due
from rotator.engine.logging_reads import MOST_VALUES, log_reads
from rotator.engine.periods import do_in_period
from rotator.engine.report import RunReport
from rotator.engine.run import run_once
from rotator.engine.sealing import sealed
from rotator.errors import DatabaseError, StoppedError, TransientError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.secret_store import SecretLocation
from tests.support.engine import ACCOUNT, NAME, VAULT, EngineWorld, make_world
from tests.support.engine_fakes import CommitFault
from tests.unit.test_engine_jobs import make_pulse

DAY = timedelta(days=1)


def make_calm_world(*names: str) -> EngineWorld:
    """A world in which nothing is due."""
    world = make_world("other")
    world.forget("other")
    for name in names or (NAME,):
        world.add_managed(name, days_left=29)
    return world


def list_reads(world: EngineWorld) -> list[AuditEvent]:
    """The events that name what was read."""
    return list(load_events(world.database, AuditFilter(event="values_read")))


def name_reads(event: AuditEvent) -> dict[str, set[str]]:
    """What an event names: the secret and its PAT, and which versions."""
    found = (part.split(": ") for part in str(event.entry.details["reads"]).split("; "))
    return {secret: set(versions.split()) for secret, versions in found}


def probe(world: EngineWorld) -> None:
    """The daemon's job."""
    now = world.clock.now()
    do_in_period(world.make_run(), JobName.PROBE, now, "daemon", lambda run: probe_values(run, DAY))


def test_rotation_names_each_version_that_it_read_in_one_event_before_its_checkpoint() -> None:
    world = make_world()
    sealed(run_once)(world.make_run())
    versions = {found.version.version for found in world.secrets.versions_of(world.location())}
    [event] = list_reads(world)
    assert (event.entry.subject, event.entry.details["purpose"]) == (VAULT, "run")
    assert name_reads(event) == {f"contoso-{NAME} of {NAME}": versions}
    with world.database.read() as reading:
        checkpoint = reading.checkpoints.load_newest()
    assert checkpoint is not None
    assert checkpoint.size == event.sequence


def test_probes_name_what_they_read_and_an_idle_tick_writes_nothing() -> None:
    world = make_calm_world(NAME, "ci-build", "deploy")
    probe(world)
    [event] = list_reads(world)
    assert event.entry.details["purpose"] == "probe"
    assert {secret.split(" of ")[1] for secret in name_reads(event)} == {NAME, "ci-build", "deploy"}
    world.advance(minutes=1)
    work_due(world.make_run(), make_pulse(world))
    before = world.database.dump()
    world.advance(minutes=1)
    work_due(world.make_run(), make_pulse(world))
    do_in_period(world.make_run(), JobName.VERIFY_AUDIT, world.clock.now(), "daemon", verify_audit)
    assert len(list_reads(world)) == 1
    assert world.database.dump().count("values_read") == before.count("values_read")


def test_reads_alone_wait_for_the_daily_checkpoint() -> None:
    """Probes read all day: a checkpoint of each pass, and with it a change in each vault, would tell nobody more."""
    world = make_calm_world()
    probe(world)
    assert seal(world.make_run()) is not None
    world.advance(hours=23)
    run = world.make_run()
    run.services.secrets.fetch_latest(world.location())
    log_reads(run)
    assert seal(world.make_run()) is None
    assert seal(world.make_run(), timedelta(0)) is None
    world.advance(hours=1)
    assert seal(world.make_run()) is not None


def test_reads_alone_are_sealed_for_who_needs_each_event_under_a_signature() -> None:
    world = make_calm_world()
    probe(world)
    assert seal(world.make_run()) is not None
    run = world.make_run()
    run.services.secrets.fetch_latest(world.location())
    log_reads(run)
    made = seal(world.make_run(), timedelta(0), counts_reads=True)
    with world.database.read() as reading:
        assert made is not None
        assert made.size == reading.audit.load_newest_number()
    assert seal(world.make_run(), timedelta(0), counts_reads=True) is None


def test_many_values_are_named_by_several_events() -> None:
    world = make_world()
    run = world.make_run()
    for number in range(MOST_VALUES + 1):
        place = SecretLocation(VAULT, f"secret-{number}", ACCOUNT)
        world.secrets.write_foreign(place, "value")
        run.services.secrets.fetch_latest(place)
        run.services.secrets.fetch_latest(place)
    log_reads(run)
    assert [len(name_reads(event)) for event in list_reads(world)] == [MOST_VALUES, 1]


def test_list_without_values_and_our_own_anchors_are_no_reads() -> None:
    world = make_world()
    run, own = world.make_run(), SecretLocation(VAULT, f"{PREFIX}0123", ACCOUNT)
    world.secrets.write_foreign(own, "a checkpoint")
    run.services.secrets.fetch_latest(own)
    run.services.secrets.fetch_versions(world.location())
    log_reads(run)
    assert list_reads(world) == []


def test_list_names_the_newest_where_its_value_told_which_it_is() -> None:
    world = make_world()
    version = world.secrets.write_foreign(world.location(), "of the same second as the first")
    run = world.make_run()
    run.services.secrets.fetch_versions(world.location())
    log_reads(run)
    assert [name_reads(event) for event in list_reads(world)] == [{f"contoso-{NAME}": {version}}]


@pytest.mark.parametrize("error", [StoppedError(), TransientError("away", service="key_vault", operation="get")])
def test_pass_that_ends_early_names_what_it_read(error: StoppedError | TransientError) -> None:
    world = make_world()

    def act(run: RunContext) -> JobResult:
        run.services.secrets.fetch_latest(world.location())
        world.stop.set()
        raise error

    with pytest.raises(type(error)):
        do_in_period(world.make_run(), JobName.PROBE, world.clock.now(), "daemon", act)
    assert len(list_reads(world)) == 1


def test_what_could_not_be_written_is_written_by_the_next_try() -> None:
    world = make_world()
    run = world.make_run()
    run.services.secrets.fetch_latest(world.location())
    world.database.refusals["values_read"] = DatabaseError("the disk is full")
    with pytest.raises(DatabaseError):
        log_reads(run)
    assert list_reads(world) == []
    log_reads(run)
    log_reads(run)
    assert len(list_reads(world)) == 1


def test_run_keeps_its_report_when_a_stop_comes_while_the_database_is_locked() -> None:
    world = make_calm_world()
    run = world.make_run()

    def act(run: RunContext) -> RunReport:
        run.services.secrets.fetch_latest(world.location())
        world.stop.set()
        world.database.faults[world.database.begun + 1] = CommitFault.LOCKED
        return RunReport(run.run_id)

    assert sealed(act)(run).outcomes == ()
    assert list_reads(world) == []
    log_reads(run)
    assert len(list_reads(world)) == 1
