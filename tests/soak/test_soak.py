"""Weeks of a daemon; `make soak` lives 1,000 days."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.simulation.world import InvariantError
from tests.soak.keeping import keep, open_kept
from tests.soak.years import BOUNDED, EVENTS, STEADY, Report, Years, check_growth
from tests.support.html_page import read_page, read_table

FLAT = dict.fromkeys((*BOUNDED, *STEADY), 2)


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings(r"ignore:Exception ignored in. <generator object:pytest.PytestUnraisableExceptionWarning")
def test_daemon_keeps_every_pat_alive_and_comes_to_rest() -> None:
    """Faults, outages, wrong clocks, crashes and reboots included; a crash leaves generators to the collection."""
    report = Years(3).live(30)
    check_growth(report)
    assert report.counts["rotations"] >= 6
    assert min(report.counts[f"{job} runs"] for job in ("work", "reconcile", "refresh", "probe", "heartbeat")) > 50
    assert min(report.counts[what] for what in ("faults", "database faults")) > 5


def test_kept_days_are_told_to_a_reviewer_and_proven_without_rotator(tmp_path: Path) -> None:
    """`python -m tests.soak --days 365 --keep DIR` does it with a year."""
    with open_kept(2) as years:
        years.live(2)
        said = list(keep(years, tmp_path))
    page = read_page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert [row[0] for row in sorted(read_table(page, "pats"))] == [
        "ci-build",
        "docs-site",
        "npm-feed",
        "release-notes",
    ]
    assert {row[5] for row in read_table(page, "by-hand")} == {"ci-build", "docs-site", "npm-feed", "release-notes"}
    assert "checkpoints fit" in page.text()
    with ZipFile(tmp_path / "evidence.zip") as packed:
        packed.extractall(tmp_path / "unpacked")
    checked = [sys.executable, "-I", "verify.py", "--public-key", said[-1].rpartition(" ")[2]]
    done = subprocess.run(checked, cwd=tmp_path / "unpacked", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "anchors, of vaults and other places, name events that are here, and fit." in done.stdout


def test_weeks_are_the_same_when_they_are_lived_again_from_their_seed() -> None:
    assert Years(4).live(6).counts == Years(4).live(6).counts


def test_pat_that_nobody_could_rotate_breaks_the_promise() -> None:
    """What the weeks find is found."""
    years = Years(5)
    years.world.clock.advance(timedelta(days=12))
    with pytest.raises(InvariantError, match="I1"):
        years.live(13)


@pytest.mark.parametrize("what", [*BOUNDED, *STEADY])
def test_growth_is_found(what: str) -> None:
    check_growth(Report(1, sizes=[FLAT, FLAT]))
    with pytest.raises(InvariantError, match=what):
        check_growth(Report(1, sizes=[FLAT, {**FLAT, what: BOUNDED.get(what, 2) + 1}]))


def test_what_is_measured_has_bounds() -> None:
    report = Years(6).live(1)
    assert set(report.sizes[0]) == {*BOUNDED, *STEADY}
    assert report.sizes[0][EVENTS] > 0
