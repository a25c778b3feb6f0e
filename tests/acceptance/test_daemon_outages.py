"""The running daemon while one part of its world fails: it tells so, goes on elsewhere, and heals by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy
import yaml

from rotator.adapters.database.schema import managed_pat
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ORGANIZATION, OTHER_ORGANIZATION
from tests.support.daemon import RunningDaemon, start_daemon, write_section
from tests.support.killing import CHANGES, Stage
from tests.support.proving import with_sample

OTHER = "fabrikam-build"
THIRD = "npm-feed"
PLACE = f"build-bot/{OTHER_ORGANIZATION}"
_MINT = CHANGES[0]


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


@pytest.fixture
def two_organizations(stage: Stage) -> Stage:
    """Let the account work in a second organization too, where another PAT is due."""
    addresses = stage.sandbox.addresses
    settings = yaml.safe_load(addresses.config_path.read_text(encoding="utf-8"))
    settings["accounts"][0]["organizations"] = [ORGANIZATION, OTHER_ORGANIZATION]
    addresses.config_path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    policy = yaml.safe_load(addresses.policy_path.read_text(encoding="utf-8"))
    policy["rules"].append({"name": "elsewhere", "match": {"organization": OTHER_ORGANIZATION}})
    addresses.policy_path.write_text(yaml.safe_dump(policy), encoding="utf-8")
    run(stage, "inventory", "adopt", OTHER)
    return stage


def run(stage: Stage, *words: str, code: int = 0) -> str:
    """What a command prints that ends with this code."""
    made = stage.start(*words)
    assert made.wait() == code, made.read()
    return made.output.read_text(encoding="utf-8")


def count_requests(stage: Stage, part: str) -> int:
    """How many requests had that in their path."""
    return sum(part in entry.path for entry in stage.world.record.all("azure_devops"))


FAULTS = {
    "lost": (Fault("azure_devops", "status", path=f"/{OTHER_ORGANIZATION}/", times=None, status=503), "server_error"),
    "drips": (Fault("azure_devops", "drip", path=f"/{OTHER_ORGANIZATION}/", times=None), "total_timeout"),
}


@pytest.mark.prove
@pytest.mark.parametrize(("fault", "code"), with_sample(FAULTS, []))
def test_organization_that_is_lost_is_told_and_healed_while_the_other_goes_on(
    two_organizations: Stage, fault: Fault, code: str
) -> None:
    """Lost while the daemon runs, for longer than it waits between two tries; a drip is cut. Nothing is restarted."""
    stage = two_organizations
    ca_bundle = str(stage.sandbox.addresses.ca_path)
    write_section(stage, "http", {"ca_bundle": ca_bundle, "read_timeout": "10m", "total_timeout": "5s"})
    daemon = start_daemon(stage, work="1s", heartbeat="1s", reconcile="1s")
    daemon.wait_for("rotation_completed", 2)
    daemon.wait_for("pat_revoked", 2)
    stage.faults.add(fault)
    daemon.wait_for("organization_down")
    asked = count_requests(stage, f"/{OTHER_ORGANIZATION}/")
    run(stage, "inventory", "adopt", THIRD, code=3)
    daemon.wait_for("pat_revoked", 3)
    daemon.wait_until(lambda: count_requests(stage, f"/{OTHER_ORGANIZATION}/") > asked + 3)
    assert f"{PLACE} cannot be used" in run(stage, "status", "--check", code=4)
    stage.faults.close()
    stage.faults.clear()
    daemon.wait_for("organization_restored")
    assert daemon.stop() == 0
    told = [line for line in daemon.read_log() if line["event"] == "organization_down"]
    assert [(line["organization"], line["code"]) for line in told] == [(PLACE, code)]
    assert not {"job_failed", "rotation_blocked"} & set(daemon.list_events())
    run(stage, "status", "--check")
    stage.check_consumers()
    stage.check_secrecy()


def test_outage_that_outlasts_the_waits_between_tries_ends_in_a_rotation(stage: Stage) -> None:
    """The vault is away for several tries of the PAT, each wait longer than the one before; nobody has to tell."""
    stage.faults.add(Fault("key_vault", "status", status=503, times=None))
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    waits = list[timedelta]()
    for _ in range(3):
        waits.append(await_failure(daemon, len(waits) + 1))
        if len(waits) < 3:
            end_wait(stage)
    assert waits == sorted(set(waits))
    stage.faults.close()
    stage.faults.clear()
    end_wait(stage)
    daemon.wait_for("pat_revoked")
    assert daemon.stop() == 0
    stage.check_end()


def await_failure(daemon: RunningDaemon, count: int) -> timedelta:
    """Return for how long the PAT is left alone once it has failed so often in a row, to the minute."""
    daemon.wait_until(lambda: read_record(daemon.stage).failures == count)
    left: timedelta = read_record(daemon.stage).retry_at - datetime.now(UTC)
    return timedelta(minutes=round(left / timedelta(minutes=1)))


def read_record(stage: Stage) -> Any:
    """The record of the one PAT."""
    with connect(stage) as connection:
        return connection.execute(sqlalchemy.select(managed_pat)).one()


def end_wait(stage: Stage) -> None:
    """Let the time be over for which what failed is left alone."""
    past = datetime.now(UTC) - timedelta(seconds=1)
    with connect(stage) as connection:
        connection.execute(sqlalchemy.update(managed_pat).values(retry_at=past, next_at=past))


@contextmanager
def connect(stage: Stage) -> Iterator[sqlalchemy.Connection]:
    """A transaction beside the daemon."""
    engine = sqlalchemy.create_engine(stage.database.url(), poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        yield connection


def test_list_that_lags_behind_the_mint_of_the_daemon_misleads_nobody(stage: Stage) -> None:
    """Look after look lacks the newest PAT, which is ours: it is neither minted again nor called revoked.

    That it is missing is a failure, which proves nothing and ends when the list has it.
    """
    stage.faults.add(Fault("azure_devops", "lagging", "GET", times=None))
    daemon = start_daemon(stage, work="1s", heartbeat="1s", reconcile="1s")
    daemon.wait_for("overlap_started")
    looks = stage.find_job_runs("reconcile").count("succeeded")
    daemon.wait_until(lambda: stage.find_job_runs("reconcile").count("succeeded") > looks + 3)
    stage.faults.clear()
    daemon.wait_for("pat_revoked")
    looks = stage.find_job_runs("reconcile").count("succeeded")
    daemon.wait_until(lambda: stage.find_job_runs("reconcile").count("succeeded") > looks + 1)
    assert daemon.stop() == 0
    events = daemon.list_events()
    assert not {"rotation_blocked", "pat_left_behind", "job_failed"} & set(events)
    failed = [line["code"] for line in daemon.read_log() if line["event"] == "rotation_failed"]
    is_missed = bool(failed) or "pat_unlisted" in events
    assert (set(failed) <= {"not_listed"}, is_missed) == (True, "pat_reappeared" in events)
    assert sum(entry.path.endswith("/tokens/pats") for entry in stage.world.record.all(*_MINT[:2])) == 1
    stage.check_end()
