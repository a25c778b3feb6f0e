"""What the monitoring of a daemon reads at an idle tick, as PostgreSQL counts it, whatever the number of PATs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.database.migrate import upgrade
from rotator.daemon.beats import Beats
from rotator.daemon.health import Health
from rotator.daemon.job import JobEnd
from rotator.domain.job_run import JobName
from rotator.engine.measuring import RotationTally
from rotator.sandbox.configuration import Addresses, write_configuration
from rotator.wiring.installation import Installation
from rotator.wiring.monitoring import MetricsMonitor
from rotator.wiring.origin import Origin
from tests.bench.idle import count_rows
from tests.support.clock import FakeClock
from tests.support.pages import read_series
from tests.support.records import make_managed_pat

FEW, MANY = 3, 300
NOWHERE = "https://127.0.0.1:1"
ENDED = JobEnd(0)


def open_filled(url: str, folder: Path, count: int) -> Installation:
    """An installation with so many records, none of them due, and a file for its metrics."""
    upgrade(url)
    settings, policy = folder / "rotator.yaml", folder / "policy.yaml"
    write_configuration(Addresses(NOWHERE, NOWHERE, NOWHERE, folder / "ca.pem", settings, policy))
    text = settings.read_text(encoding="utf-8").replace("sqlite:///rotator.db", url)
    settings.write_text(f"{text}metrics_textfile: rotator.prom\n", encoding="utf-8")
    installation, now = Installation(Origin(settings, {}, folder)), datetime.now(UTC).replace(microsecond=0)
    with installation.database.begin() as work:
        for number in range(count):
            pat = make_managed_pat(f"pat-{number}")
            work.inventory.add(replace(pat, valid_from=now, valid_to=now + timedelta(days=90)))
    return installation


@pytest.mark.parametrize("count", [FEW, MANY])
def test_idle_tick_reads_no_record_with_the_monitoring_on(postgres_url: str, tmp_path: Path, count: int) -> None:
    """Metrics, their file and the status page show every PAT all the same."""
    health = Health(Beats(FakeClock()), "text/plain")
    with open_filled(postgres_url, tmp_path, count) as installation:
        monitor = MetricsMonitor(installation, RotationTally(), health, JobName.HEARTBEAT, {})
        run, read = installation.make_run(), []
        for job in (JobName.HEARTBEAT, JobName.HEARTBEAT, JobName.WORK):
            installation.database.close()  # the server counts what a connection has read at its end
            before = count_rows(postgres_url)
            monitor.note_end(job, run, ENDED)
            installation.database.close()
            after = count_rows(postgres_url)
            assert before is not None
            assert after is not None
            read.append(after - before)
    pages = {path: health.find_page(path) for path in ("/metrics", "/")}
    metrics, page = (found.body.decode() for found in pages.values() if found is not None)
    series = read_series(metrics)
    assert sum(key[0] == "rotator_token_state" for key in series) == count
    assert read_series((tmp_path / "rotator.prom").read_text(encoding="utf-8")).keys() == series.keys()
    assert page.count('<th scope="row">pat-') == count
    first, *idle = read
    assert first >= count
    assert max(idle) < FEW, read
