"""What monitoring gets from the real daemon and from `rotator once`: pages, a file, and no secret in either."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.daemon import RunningDaemon, set_overlap, start_daemon
from tests.support.killing import NAME, Stage
from tests.support.pages import Pages, Series, find_free_port, read_series


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """Reset the stage, with a lease that outlasts the test."""
    prepared.reset(lease="1h")
    yield prepared
    prepared.end()


def change_settings(stage: Stage, **settings: Any) -> None:
    """Set keys of `rotator.yaml`."""
    path = stage.sandbox.addresses.config_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump({**document, **settings}), encoding="utf-8")


def serve_pages(stage: Stage) -> Pages:
    """Have the next daemon serve its pages."""
    pages = Pages()
    change_settings(stage, listen=pages.address)
    return pages


def name_pat(metric: str, *more: str) -> tuple[str, ...]:
    """A series of the one PAT."""
    return (metric, "build-bot", NAME, "contoso", *more)


def await_rotation(daemon: RunningDaemon, pages: Pages) -> Series:
    """Return the figures once the rotation is completed and they tell of it."""
    daemon.wait_until(lambda: pages.scrape().get(("rotator_rotations_total", "completed")) == 1)
    daemon.wait_until(lambda: pages.scrape().get(("rotator_pending_revocations",)) == 0)
    return pages.scrape()


def test_daemon_shows_its_figures_and_that_it_is_well(stage: Stage) -> None:
    """The file has what the page has. A record that is forgotten has no series any more."""
    pages, textfile = serve_pages(stage), stage.folder / "rotator.prom"
    change_settings(stage, metrics_textfile=str(textfile))
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_until(lambda: ("rotator_audit_chain_ok",) in pages.scrape())
    series = await_rotation(daemon, pages)
    for metric in ("rotator_token_expiry_timestamp_seconds", "rotator_token_rotation_due_timestamp_seconds"):
        assert series[name_pat(metric)] > 1.7e9
    assert series[name_pat("rotator_token_state", "ok")] == 1
    assert series["rotator_signin_needs_human", "build-bot"] == 0
    assert series["rotator_signin_refresh_timestamp_seconds", "build-bot"] > 1.7e9
    assert series["rotator_source_up", "azure_devops", "build-bot/contoso"] == 1
    assert abs(series["rotator_clock_skew_seconds",]) < 60
    for service in ("azure_devops", "key_vault"):
        assert series["rotator_api_requests_total", "succeeded", service] > 0
    assert series["rotator_api_throttled_total",] == 0
    assert series["rotator_audit_chain_ok",] == 1
    assert {("rotator_job_last_success_timestamp_seconds", job) for job in ("work", "heartbeat")} <= series.keys()
    assert (pages.get("/healthz"), pages.get("/readyz")) == ((200, "ok\n"), (200, "ready\n"))
    status, page = pages.get("/")
    assert (status, f'<th scope="row">{NAME}' in page, "in order.</h1>" in page) == (200, True, True)
    assert pages.get("/index.html")[0] == 404
    assert read_series(textfile.read_text(encoding="utf-8")).keys() == series.keys()
    assert textfile.stat().st_mode & 0o777 == 0o644
    forgotten = stage.start("inventory", "forget", NAME, "--yes")
    assert forgotten.wait() == 0, forgotten.read()
    daemon.wait_until(lambda: name_pat("rotator_token_expiry_timestamp_seconds") not in pages.scrape())
    assert daemon.stop() == 0
    assert "metrics_failed" not in daemon.list_events()


def test_daemon_names_no_pat_where_the_settings_say_so(stage: Stage) -> None:
    """In the metrics, in their file and on the page it has the id that `inventory show` tells."""
    shown = stage.start("inventory", "show", NAME, "--json")
    assert shown.wait() == 0, shown.read()
    record_id = json.loads(shown.read())["pat"]["record_id"]
    pages, textfile = serve_pages(stage), stage.folder / "rotator.prom"
    change_settings(stage, metrics_names=False, metrics_textfile=str(textfile))
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    await_rotation(daemon, pages)
    seen = (pages.get("/metrics")[1], pages.get("/")[1], textfile.read_text(encoding="utf-8"))
    assert [record_id in text for text in seen] == [True] * 3
    assert [NAME in text for text in seen] == [False] * 3
    assert daemon.stop() == 0


def test_daemon_tries_the_value_that_consumers_read(stage: Stage) -> None:
    """One that is refused, although its PAT is listed as active, is told with the likely cause, until it works."""
    pages, metric = serve_pages(stage), name_pat("rotator_token_probe_success")
    daemon = start_daemon(stage, work="1s", heartbeat="1s", probe="1s")
    await_rotation(daemon, pages)
    daemon.wait_until(lambda: pages.scrape().get(metric) == 1)
    [current] = stage.find_ours()
    value = current.value
    with stage.world.lock:
        current.value = stage.world.new_pat_value()
    daemon.wait_until(lambda: pages.scrape().get(metric) == 0)
    daemon.wait_for("probe_failed")
    [told] = [line for line in daemon.read_log() if line["event"] == "probe_failed"]
    assert (told["name"], told["code"]) == (NAME, "owner_must_sign_in")
    check = stage.start("status", "--check")
    assert (check.wait(), "probe_failing" in check.read()) == (4, True), check.read()
    with stage.world.lock:
        current.value = value
    daemon.wait_until(lambda: pages.scrape().get(metric) == 1)
    daemon.wait_until(lambda: "probe_restored" in stage.find_events())
    assert daemon.stop() == 0
    stage.check_end()


def test_daemon_is_alive_but_not_ready_while_a_person_must_sign_in(stage: Stage) -> None:
    out = stage.start("logout", "build-bot", "--yes")
    assert out.wait() == 0, out.read()
    pages = serve_pages(stage)
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_until(lambda: pages.scrape().get(("rotator_signin_needs_human", "build-bot")) == 1)
    daemon.wait_until(lambda: pages.scrape().get(("rotator_source_up", "entra", "build-bot")) == 0)
    daemon.wait_until(lambda: pages.scrape().get(name_pat("rotator_token_state", "blocked")) == 1)
    assert pages.get("/readyz") == (503, "no account can be used: build-bot must sign in\n")
    assert pages.get("/healthz") == (200, "ok\n")
    assert "No account can be used: build-bot must sign in" in pages.get("/")[1]
    assert daemon.stop() == 0


def test_daemon_is_not_ready_while_its_database_is_away(stage: Stage) -> None:
    """The figures stay as they were: their times tell how old they are."""
    pages = serve_pages(stage)
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    await_rotation(daemon, pages)
    jobs = ("work", "refresh", "reconcile", "probe", "verify_audit", "heartbeat")
    ended = {("rotator_job_last_success_timestamp_seconds", job) for job in jobs}
    daemon.wait_until(lambda: ended <= pages.scrape().keys())
    before = pages.scrape()
    database, away = stage.folder / "rotator.db", stage.folder / "away.db"
    database.rename(away)
    daemon.wait_until(lambda: pages.get("/readyz") == (503, "the database cannot be used (database_unreachable)\n"))
    assert pages.scrape().keys() == before.keys()
    daemon.wait_until(lambda: "The database cannot be used (database_unreachable)" in pages.get("/")[1])
    assert f'<th scope="row">{NAME}' in pages.get("/")[1]
    away.rename(database)
    daemon.wait_until(lambda: pages.get("/readyz") == (200, "ready\n"))
    assert daemon.stop() == 0
    events = daemon.list_events()
    assert (events.count("metrics_failed"), events.count("metrics_restored")) == (1, 1)


def test_daemon_keeps_its_address_when_it_reloads_and_takes_no_other(stage: Stage) -> None:
    pages = serve_pages(stage)
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_until(lambda: pages.get("/readyz")[0] == 200)
    config = stage.sandbox.addresses.config_path
    before = config.read_text(encoding="utf-8")
    change_settings(stage, listen=f"127.0.0.1:{find_free_port()}")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("reload_refused")
    config.write_text(before, encoding="utf-8")
    daemon.send(signal.SIGHUP)
    daemon.wait_for("daemon_reloaded")
    daemon.wait_until(lambda: pages.get("/readyz")[0] == 200)
    assert daemon.stop() == 0


def test_daemon_goes_on_although_its_textfile_cannot_be_written(stage: Stage) -> None:
    """That is told once, and again when it can."""
    folder = stage.folder / "gone"
    change_settings(stage, metrics_textfile=str(folder / "rotator.prom"))
    daemon = start_daemon(stage, work="1s", heartbeat="1s")
    daemon.wait_for("metrics_failed")
    daemon.wait_for("pat_revoked")
    folder.mkdir()
    daemon.wait_for("metrics_restored")
    assert daemon.stop() == 0
    assert daemon.list_events().count("metrics_failed") == 1


def test_file_after_a_run_has_the_same_counters_as_the_daemon(stage: Stage, tmp_path: Path) -> None:
    """`rotator once` under cron, run after run."""
    textfile = tmp_path / "rotator.prom"
    change_settings(stage, metrics_textfile=str(textfile))
    set_overlap(stage, "0s")
    sent = 0.0
    for expected in (1, 1):
        run = stage.start("once")
        assert run.wait() == 0, run.read()
        series = read_series(textfile.read_text(encoding="utf-8"))
        assert series["rotator_rotations_total", "completed"] == expected
        assert series["rotator_job_last_success_timestamp_seconds", "work"] > 1.7e9
        before, sent = sent, series["rotator_api_requests_total", "succeeded", "azure_devops"]
        assert sent > before
    pages = serve_pages(stage)
    daemon = start_daemon(stage, work="1h", heartbeat="1s")
    assert await_rotation(daemon, pages)["rotator_rotations_total", "completed"] == 1
    assert daemon.stop() == 0


def test_file_is_written_after_a_run_that_failed(stage: Stage, tmp_path: Path) -> None:
    """Work has no success then."""
    textfile = tmp_path / "rotator.prom"
    change_settings(stage, metrics_textfile=str(textfile))
    out = stage.start("logout", "build-bot", "--yes")
    assert out.wait() == 0, out.read()
    run = stage.start("once")
    assert run.wait() == 10, run.read()
    series = read_series(textfile.read_text(encoding="utf-8"))
    assert series["rotator_signin_needs_human", "build-bot"] == 1
    assert ("rotator_job_last_success_timestamp_seconds", "work") not in series


def test_daemon_does_not_start_when_its_address_cannot_be_had(stage: Stage, tmp_path: Path) -> None:
    change_settings(stage, listen=f"unix:{tmp_path}/gone/http.sock")
    run = stage.start("daemon")
    assert run.wait() == 2
    assert "listen: cannot listen on unix:" in run.read()
