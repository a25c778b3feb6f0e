"""The daemon as a process on the sandbox: it works, is told things by signals, and ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy
import yaml

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.job_run import JobName, JobOutcome, JobRun
from rotator.sandbox.faults import Fault
from rotator.sandbox.seeds import ORGANIZATION, USERNAME
from tests.support.daemon import RunningDaemon, set_overlap, start_daemon, write_section, write_settings
from tests.support.installed_command import COMMAND, PATIENCE, config_of, sign_in
from tests.support.killing import NAME, Stage
from tests.support.phases import MINT, PHASES
from tests.support.proving import with_sample
from tests.support.terminal import start_on_terminal

CREATE = (
    *("create", "deploy", "--account", "build-bot", "--organization", ORGANIZATION),
    *("--scope", "vso.release", "--lifetime", "30d"),
)


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


def is_rotated(stage: Stage) -> bool:
    """Whether the one PAT was rotated, and all is at rest."""
    return "rotation_completed" in stage.find_events() and not stage.find_open_states() and not stage.find_claims()


def test_daemon_rotates_what_is_due_and_ends_with_0_when_it_is_stopped(stage: Stage) -> None:
    """Its log is JSON, and status knows from its heartbeat that it works."""
    daemon = start_daemon(stage, heartbeat="1s")
    daemon.wait_until(lambda: is_rotated(stage))
    daemon.wait_until(lambda: read_status(stage)["runs"]["last_succeeded_at"] is not None)
    assert daemon.stop() == 0, daemon.run.read()
    events = daemon.list_events()
    assert (events[0], events[-2:]) == ("daemon_started", ["stop_requested", "daemon_stopped"])
    assert not {"job_failed", "bug_found", "thread_died"} & set(events)
    assert daemon.run.output.read_bytes() == b""
    stage.check_end()


def read_status(stage: Stage) -> dict[str, Any]:
    """What `rotator status --json` prints."""
    run = stage.start("status", "--json")
    assert run.wait() == 0, run.read()
    document: dict[str, Any] = json.loads(run.output.read_text(encoding="utf-8"))
    return document


def test_daemon_revokes_at_the_moment_when_the_overlap_ends(stage: Stage) -> None:
    """Long before the next regular look."""
    set_overlap(stage, "3s")
    daemon = start_daemon(stage, work="30m")
    daemon.wait_for("rotation_completed")
    assert daemon.stop() == 0
    log = {line["event"]: line for line in daemon.read_log()}
    assert log["overlap_started"]["timestamp"] < log["revoke_started"]["timestamp"]
    stage.check_end()


ENDS = {signal.SIGTERM: 0, signal.SIGINT: 130}
STOPS = {f"{number.name}-{phase}": (phase, number) for number in ENDS for phase in PHASES}


@pytest.mark.prove
@pytest.mark.parametrize(("phase", "number"), with_sample(STOPS, ["SIGTERM-mint", "SIGINT-store"]))
def test_daemon_finishes_what_exists_only_in_memory_when_it_is_stopped(
    stage: Stage, phase: str, number: signal.Signals
) -> None:
    """Where nothing is in memory only, nothing is begun any more."""
    _, _, states, is_finishing = PHASES[phase]
    daemon = hold_in(stage, phase)
    daemon.send(number)
    daemon.wait_for("stop_requested")
    stage.faults.close()
    assert daemon.run.wait() == ENDS[number], daemon.run.read()
    assert (stage.find_open_states(), stage.find_claims()) == (states, [])
    [asked] = [line for line in daemon.read_log() if line["event"] == "stop_requested"]
    assert asked["finishing"] == is_finishing
    stage.run_until_at_rest()
    stage.check_end()


def hold_in(stage: Stage, phase: str) -> RunningDaemon:
    """Start a daemon whose one rotation stands in that phase; its other jobs were done lately, and ask nobody."""
    now = datetime.now(UTC)
    database = SqlDatabase(stage.database.url())
    with database.begin() as work:
        for job in (JobName.RECONCILE, JobName.REFRESH, JobName.PROBE, JobName.VERIFY_AUDIT):
            work.job_runs.end(JobRun(job, now, "earlier", now, now, JobOutcome.SUCCEEDED))
    database.close()
    request, skip, _, _ = PHASES[phase]
    stage.postpone(*request, skip)
    daemon = start_daemon(stage)
    daemon.wait_until(stage.faults.struck.is_set)
    return daemon


CALLS = {
    f"{number.name}-{phase}": (phase, number, event)
    for number, event in ((signal.SIGHUP, "daemon_reloaded"), (signal.SIGUSR1, "daemon_woken"))
    for phase in PHASES
}


@pytest.mark.prove
@pytest.mark.parametrize(("phase", "number", "event"), with_sample(CALLS, ["SIGHUP-mint", "SIGUSR1-store"]))
def test_daemon_finishes_its_rotation_as_it_began_when_it_is_reloaded_or_woken(
    stage: Stage, phase: str, number: signal.Signals, event: str
) -> None:
    """What it works with stays open until the rotation is over, and nobody else begins one meanwhile."""
    daemon = hold_in(stage, phase)
    daemon.send(number)
    daemon.wait_for(event)
    stage.faults.close()
    daemon.wait_until(lambda: is_rotated(stage))
    daemon.wait_for("pat_revoked")
    assert daemon.stop() == 0
    assert not {"job_failed", "rotation_failed", "rotation_blocked", "bug_found"} & set(daemon.list_events())
    assert daemon.list_events().count("pat_minted") == 1
    stage.check_end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_the_daemon_at_once(stage: Stage, number: signal.Signals) -> None:
    stage.postpone(*MINT)
    daemon = start_daemon(stage)
    daemon.wait_until(stage.faults.struck.is_set)
    daemon.send(number)
    daemon.wait_for("stop_requested")
    while daemon.run.process.poll() is None:
        daemon.send(number)
        try:
            daemon.run.process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert daemon.run.process.returncode == 128 + number
    assert stage.find_open_states() == ["minting"]
    stage.land()
    stage.run_until_at_rest()
    stage.check_end()


def test_daemon_works_and_looks_everywhere_at_once_when_it_is_told_to(stage: Stage) -> None:
    daemon = start_settled(stage)
    daemon.wait_until(lambda: len(stage.find_job_runs("reconcile")) == 1)
    looks = count_looks(stage)
    daemon.send(signal.SIGUSR1)
    daemon.wait_for("daemon_woken")
    daemon.wait_until(lambda: stage.find_job_runs("reconcile").count("succeeded") == 2)
    assert count_looks(stage) > looks
    assert daemon.stop() == 0


def test_daemon_sees_at_its_next_heartbeat_what_a_person_has_left_to_do(stage: Stage) -> None:
    """The overlap of a rotation by hand ends long before the daemon works again."""
    daemon = start_settled(stage, heartbeat="1s")
    set_overlap(stage, "3s")
    revoked = daemon.list_events().count("pat_revoked")
    run(stage, "rotate", NAME, code=0)
    daemon.wait_for("pat_revoked", revoked + 1)
    assert daemon.stop() == 0
    stage.check_end()


def test_daemon_leaves_a_running_creation_alone(stage: Stage) -> None:
    """While its mint hangs nobody else begins one, status calls it well, and then it is created."""
    ca_bundle = str(stage.sandbox.addresses.ca_path)
    write_section(stage, "http", {"ca_bundle": ca_bundle, "read_timeout": "10m", "total_timeout": "10m"})
    daemon = start_settled(stage, work="1s", reconcile="1s")
    stage.postpone(*MINT)
    made = stage.start(*CREATE)
    daemon.wait_until(stage.faults.struck.is_set)
    runs, looks = len(stage.find_job_runs("work")), stage.find_job_runs("reconcile").count("succeeded")
    daemon.send(signal.SIGUSR1)
    daemon.wait_until(lambda: stage.find_job_runs("reconcile").count("succeeded") > looks + 1)
    states = {pat["name"]: (pat["state"], pat["next_action"]) for pat in read_status(stage)["pats"]}
    assert states["deploy"] == ("ok", "none")
    assert len(stage.find_job_runs("work")) == runs
    stage.faults.close()
    assert made.wait() == 0, made.read()
    assert daemon.stop() == 0
    assert not {"job_failed", "rotation_failed"} & set(daemon.list_events())
    stage.check_end()


def start_settled(stage: Stage, work: str = "1h", reconcile: str = "1h", heartbeat: str = "30s") -> RunningDaemon:
    """Start a daemon that has done all there is to do, and works again in an hour."""
    daemon = start_daemon(stage, work=work, reconcile=reconcile, heartbeat=heartbeat)
    daemon.wait_until(lambda: is_rotated(stage))
    daemon.wait_for("pat_revoked")
    return daemon


def count_looks(stage: Stage) -> int:
    """How often the server's list was asked for."""
    return sum(entry.path.endswith("/tokens/pats") and entry.method == "GET" for entry in stage.world.record.all())


def test_daemon_goes_on_with_new_settings_when_it_reloads(stage: Stage) -> None:
    """The policy that is there now is in force after it."""
    daemon = start_settled(stage)
    policy = stage.sandbox.addresses.policy_path
    policy.write_text(policy.read_text(encoding="utf-8") + "\n# another digest\n", encoding="utf-8")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("daemon_reloaded")
    daemon.wait_until(lambda: stage.find_events().count("policy_changed") == 2)
    assert daemon.stop() == 0
    assert "reload_refused" not in daemon.list_events()
    [told] = [line for line in daemon.read_log() if line["event"] == "daemon_reloaded"]
    assert "needs_restart" not in told


def test_daemon_goes_on_as_it_was_when_a_reload_is_refused(stage: Stage) -> None:
    """Settings or a policy that cannot be read, a key that is missing, another database: each is told; it works on."""
    daemon = start_settled(stage)
    path = stage.sandbox.addresses.config_path
    before = path.read_text(encoding="utf-8")
    words = (("token-cache.key", "gone.key"), ("rotator.db", "o.db"), ("policy.yaml", "gone.yaml"))
    broken = (f"{before}zzz: 1\n", *(before.replace(*pair) for pair in words))
    for count, text in enumerate(broken, 1):
        path.write_text(text, encoding="utf-8")
        daemon.send(signal.SIGHUP)
        daemon.wait_for("reload_refused", count)
    told = [line["message"] for line in daemon.read_log() if line["event"] == "reload_refused"]
    for message, word in zip(told, ("zzz", "gone.key", "database", "gone.yaml"), strict=True):
        assert word in message
    looks = count_looks(stage)
    daemon.send(signal.SIGUSR1)
    daemon.wait_until(lambda: count_looks(stage) > looks)
    path.write_text(before, encoding="utf-8")
    assert daemon.stop() == 0


def test_login_on_the_host_heals_the_running_daemon(stage: Stage) -> None:
    """Nothing is restarted or reloaded."""
    out = stage.start("logout", "build-bot", "--yes")
    assert out.wait() == 0, out.read()
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("sign_in_lapsed")
    check = stage.start("status", "--check")
    assert check.wait() == 10, check.read()
    assert "build-bot must sign in again" in check.read()
    log_in(stage)
    daemon.wait_until(lambda: is_rotated(stage))
    assert daemon.stop() == 0
    stage.check_end()


def log_in(stage: Stage) -> None:
    """Sign the account in, as a person on the host."""
    sign_in(stage.sandbox, stage.folder)


@pytest.fixture
def short_tokens(stage: Stage) -> Iterator[None]:
    """Access tokens that are never fresh enough to be used without asking Entra; sign-ins work again at the end."""
    configure = stage.sandbox.entra.configure
    configure({"access_token_lifetime_seconds": 200})
    assert stage.start("logout", "build-bot", "--yes").wait() == 0
    log_in(stage)
    yield
    configure({"access_token_lifetime_seconds": 3599, "users": {USERNAME: {"revoked": False}}})


@pytest.mark.usefixtures("short_tokens")
def test_sign_in_that_entra_ended_is_left_alone_until_somebody_signs_in(stage: Stage) -> None:
    """Everything says so, and nothing is asked in vain; the running daemon is healed by the login."""
    daemon = start_daemon(stage, work="1s", heartbeat="1s", refresh="1s")
    daemon.wait_until(lambda: is_rotated(stage))
    stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})
    daemon.wait_for("sign_in_lapsed")
    asked = len(stage.world.record.all())
    document = json.loads(run(stage, "status", "--json", code=0))
    assert [(pat["state"], pat["next_action"], pat["last_error"]["code"]) for pat in document["pats"][:1]] == [
        ("blocked", "sign_in", "sign_in_required")
    ]
    [account] = document["accounts"]
    assert (account["signed_in"], account["refusal"]["code"]) == (False, "sign_in_revoked")
    assert account["last_interactive_at"] is not None
    head = run(stage, "status", "--check", code=10)
    assert re.search(r"build-bot must sign in again \(AADSTS50173, since .*\): 1 PAT waits, it expires in ", head)
    assert "refused" in run(stage, "accounts", code=0)
    assert stage.world.record.all()[asked:] == []
    log_in(stage)
    daemon.wait_until(lambda: read_status(stage)["pats"][0]["state"] == "ok")
    assert json.loads(run(stage, "accounts", "--json", code=0))["accounts"][0]["signed_in"] is True
    assert daemon.stop() == 0
    assert daemon.list_events().count("sign_in_lapsed") == 1


@pytest.fixture
def revoked(stage: Stage) -> Iterator[None]:
    """A sign-in that Entra ends while an access token has most of its hour left; sign-ins work again at the end."""
    assert stage.start("logout", "build-bot", "--yes").wait() == 0
    log_in(stage)
    stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": True}}})
    yield
    stage.sandbox.entra.configure({"users": {USERNAME: {"revoked": False}}})
    log_in(stage)


@pytest.mark.usefixtures("revoked")
def test_refresh_finds_a_sign_in_that_was_ended_while_its_access_token_is_valid(stage: Stage) -> None:
    daemon = start_daemon(stage, work="30m", refresh="1s")
    daemon.wait_for("sign_in_lapsed")
    assert daemon.stop() == 0
    assert "(AADSTS50173, since " in run(stage, "status", "--check", code=10)


@pytest.mark.usefixtures("revoked")
def test_run_whose_token_is_refused_asks_entra_once_and_says_that_a_person_must_sign_in(stage: Stage) -> None:
    stage.faults.add(Fault("azure_devops", "status", status=401, times=None))
    run(stage, "once", code=10)
    assert "build-bot must sign in again" in run(stage, "status", code=0)


def test_organization_that_denies_is_named_by_status_and_by_a_daemon_that_starts_later(stage: Stage) -> None:
    """Another process met it first, and nobody else would say it again."""
    stage.faults.add(Fault("azure_devops", "status", status=403, times=None))
    run(stage, "once", code=1)
    head = run(stage, "status", code=0).splitlines()
    assert head[0].startswith("build-bot/contoso could not be checked at ")
    assert head[1].startswith("    fix: ")
    daemon = start_daemon(stage, work="1s", heartbeat="1s", reconcile="1s")
    daemon.wait_for("condition_continued")
    stage.faults.close()
    stage.faults.clear()
    daemon.wait_for("organization_restored")
    assert daemon.stop() == 0
    [found] = [line for line in daemon.read_log() if line["event"] == "condition_continued"]
    assert (found["kind"], found["subject"], found["code"]) == ("organization_down", "build-bot/contoso", "denied")
    assert "could not be checked" not in run(stage, "status", code=0)


def test_daemon_that_is_told_to_work_tries_again_what_would_wait(stage: Stage) -> None:
    """The first retry comes after minutes: a person who mended the cause need not wait for it."""
    stage.faults.add(Fault("key_vault", "status", status=503, times=None))
    daemon = start_daemon(stage, work="1s")
    daemon.wait_until(lambda: "rotation_failed" in run(stage, "audit", "list", code=0))
    stage.faults.close()
    stage.faults.clear()
    daemon.send(signal.SIGUSR1)
    daemon.wait_until(lambda: is_rotated(stage))
    assert daemon.stop() == 0


def test_daemon_ends_with_2_and_the_reason_when_the_folder_of_its_database_is_wrong(stage: Stage) -> None:
    path = stage.sandbox.addresses.config_path
    before = path.read_text(encoding="utf-8")
    wrong = {**yaml.safe_load(before), "database": "sqlite:///nowhere/rotator.db"}
    path.write_text(yaml.safe_dump(wrong), encoding="utf-8")
    try:
        made = stage.start("daemon")
        assert made.wait() == 2, made.read()
        assert "nowhere" in made.read()
    finally:
        path.write_text(before, encoding="utf-8")


def run(stage: Stage, *words: str, code: int) -> str:
    """What a command prints that ends with this code."""
    made = stage.start(*words)
    assert made.wait() == code, made.read()
    return made.output.read_text(encoding="utf-8")


def test_end_of_its_terminal_stops_the_daemon(stage: Stage) -> None:
    """Where it has one, SIGHUP is no reload: nobody could read its log any more."""
    write_settings(stage)
    environment = {**os.environ, "ROTATOR_CONFIG": config_of(stage.sandbox)}
    process, ours = start_on_terminal([COMMAND, "daemon"], environment, stage.folder)
    said = b""
    while b"rotation_completed" not in said:
        said += os.read(ours, 4096)
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    assert (stage.find_open_states(), stage.find_claims()) == ([], [])


def test_second_daemon_is_told_who_works_on_the_database(stage: Stage) -> None:
    daemon = start_settled(stage)
    second = stage.start("daemon")
    assert second.wait() == 11
    assert f"process {daemon.run.process.pid} on " in second.read()
    assert daemon.stop() == 0
    third = start_daemon(stage)
    assert third.stop() == 0


@pytest.mark.parametrize(("old", "new"), [("token-cache.key", "gone.key"), ("policy.yaml", "gone.yaml")])
def test_daemon_does_not_start_when_something_is_missing(stage: Stage, old: str, new: str) -> None:
    write_settings(stage)
    path = stage.sandbox.addresses.config_path
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    run = stage.start("daemon")
    assert run.wait() == 2
    assert new in run.read()


def test_daemon_that_is_older_than_its_database_says_so_and_is_not_started_again(stage: Stage) -> None:
    """The unit is not restarted after a 2: no other try would help."""
    engine = sqlalchemy.create_engine(stage.database.url())
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    write_settings(stage)
    run = stage.start("daemon")
    assert run.wait() == 2, run.read()
    assert "has schema 9999, newer than" in run.read()
    assert "fix: Install the version of rotator that upgraded it" in run.read()
