"""The pages of the daemon: what it shows of itself."""

from __future__ import annotations

from datetime import timedelta

from rotator.daemon.beats import Beats
from rotator.daemon.health import Health
from rotator.domain.job_run import JobName
from rotator.ports.pages import Page
from tests.support.clock import FakeClock

MINUTE = timedelta(minutes=1)


def read(health: Health, path: str) -> tuple[int, str]:
    """Status and text of a page."""
    page = health.find_page(path)
    assert page is not None
    return page.status, page.body.decode()


def test_daemon_is_not_ready_before_anything_was_measured() -> None:
    health = Health(Beats(FakeClock()), "text/x")
    unmeasured = (503, "nothing has been measured yet\n")
    assert (read(health, "/metrics"), read(health, "/readyz")) == (unmeasured, unmeasured)
    assert read(health, "/healthz") == (200, "ok\n")
    assert read(health, "/") == unmeasured
    assert health.find_page("/metrics/") is None


def test_daemon_shows_what_was_measured_last() -> None:
    """Metrics that cannot be measured any more stay, for their times tell how old they are; readiness does not."""
    health = Health(Beats(FakeClock()), "text/x")
    health.show(b"a 1\n", ())
    assert health.find_page("/metrics") == Page(200, b"a 1\n", "text/x")
    assert read(health, "/readyz") == (200, "ready\n")
    health.show(b"a 2\n", ("no account can be used", "the clock is wrong"))
    assert read(health, "/readyz") == (503, "no account can be used\nthe clock is wrong\n")
    health.show_problem("the database cannot be used")
    assert read(health, "/readyz") == (503, "the database cannot be used\n")
    assert read(health, "/metrics") == (200, "a 2\n")
    assert read(health, "/healthz") == (200, "ok\n")


def test_daemon_shows_how_the_pats_stand_unless_a_job_gives_no_sign_of_life() -> None:
    """Then nobody knows whether what was shown last is still true."""
    clock = FakeClock()
    beats = Beats(clock)
    health = Health(beats, "text/x")
    page = Page(200, b"<p>", "text/html", (("X", "y"),))
    health.show_status(page)
    assert health.find_page("/") is page
    beats.expect(JobName.WORK, MINUTE)
    clock.advance(2 * MINUTE)
    assert read(health, "/") == (503, "the job work gives no sign of life\n")
    beats.expect(JobName.WORK, MINUTE)
    assert health.find_page("/") is page


def test_daemon_is_neither_alive_nor_ready_while_a_job_gives_no_sign_of_life() -> None:
    clock = FakeClock()
    beats = Beats(clock)
    health = Health(beats, "text/x")
    health.show(b"a 1\n", ())
    beats.expect(JobName.WORK, MINUTE)
    clock.advance(2 * MINUTE)
    late = (503, "the job work gives no sign of life\n")
    assert (read(health, "/healthz"), read(health, "/readyz")) == (late, late)
    beats.expect(JobName.WORK, MINUTE)
    assert read(health, "/healthz") == (200, "ok\n")
