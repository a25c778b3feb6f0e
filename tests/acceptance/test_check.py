"""`rotator status --check` is red where every command before it ended with 0, and nobody runs any more or will act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.killing import Stage
from tests.support.moved_clock import MovedWallClock

BY_HAND = "deploy-manual"


@pytest.fixture
def stage(prepared: Stage) -> Iterator[Stage]:
    """A stage at rest: `once` has rotated and revoked all there was, and a check is green."""
    prepared.reset(lease="1h")
    prepared.run_until_at_rest()
    assert check(prepared)[0] == 0
    yield prepared
    prepared.end()


def check(stage: Stage, *words: str, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The exit code of a check, and what it says."""
    run = stage.start_installed("status", *(words or ("--check",)), environment=environment)
    return run.wait(), run.read()


def test_check_is_red_when_the_line_of_cron_is_gone(stage: Stage, tmp_path: Path) -> None:
    """Hours after the last run; how many is a matter of --max-age."""
    clock = MovedWallClock(tmp_path)
    for hours, words, expected in ((2.8, (), 0), (3.2, (), 4), (3.2, ("--max-age", "4h"), 0)):
        clock.move(timedelta(hours=hours))
        code, said = check(stage, "--check", *words, environment=clock.environment)
        assert (code, "check: no recent run succeeded" in said) == (expected, expected == 4), said
    code, said = check(stage, "--nagios", environment=clock.environment)
    assert (code, said.startswith("ROTATOR CRITICAL: no recent run succeeded")) == (2, True), said


def test_check_is_red_when_a_pat_that_a_person_must_replace_has_minutes_left(stage: Stage) -> None:
    """The rule only tells, so each run ends with 0."""
    with stage.world.lock:
        [pat] = [found for found in stage.world.pats.values() if found.display_name == BY_HAND]
        pat.valid_to = stage.world.clock.now().replace(microsecond=0) + timedelta(minutes=5)
    for words in (("inventory", "adopt", BY_HAND), ("once",)):
        run = stage.start(*words)
        assert run.wait() == 0, run.read()
    code, said = check(stage, "--check", "--within", "1h")
    assert (code, f"check: {BY_HAND} will not be rotated in time" in said) == (4, True), said
    code, said = check(stage, "--nagios")
    assert (code, said.startswith(f"ROTATOR CRITICAL: {BY_HAND} will not be rotated in time")) == (2, True), said
