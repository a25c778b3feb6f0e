"""What a run's report says in one number."""

from __future__ import annotations

import threading

import pytest

from rotator.engine.report import RunReport
from rotator.errors import LeaseLostError, PlanRefusedError, RotatorError, SignInRequiredError
from tests.support.records import make_managed_pat

PAT = make_managed_pat()
FAILED, BLOCKED = RotatorError("it broke", code="broke", fix="Mend it."), PlanRefusedError("no")
SIGN_IN, LOST = SignInRequiredError("sign in", account="build-bot"), LeaseLostError("lost")


@pytest.mark.parametrize(
    ("lists", "code"),
    [
        ({}, 0),
        ({"rotated": None}, 0),
        ({"abandoned": None}, 0),
        ({"failed": FAILED}, 1),
        ({"blocked": BLOCKED}, 1),
        ({"failed": LOST}, 1),
        ({"failed": FAILED, "abandoned": None}, 1),
        ({"failed": FAILED, "rotated": None}, 3),
        ({"blocked": BLOCKED, "retired": None}, 3),
        ({"failed": FAILED, "recovered": None}, 3),
        ({"failed": SIGN_IN}, 10),
        ({"failed": SIGN_IN, "rotated": None, "blocked": BLOCKED}, 10),
        ({"held": None}, 11),
        ({"held": None, "rotated": None}, 0),
        ({"held": None, "failed": FAILED}, 1),
    ],
)
def test_exit_code_says_how_the_run_ended(lists: dict[str, RotatorError | None], code: int) -> None:
    report = RunReport("run-1")
    for name, error in lists.items():
        report.add(getattr(report, name), PAT, error=error)
    assert report.exit_code == code


def test_entry_says_what_failed_and_who_must_act() -> None:
    report = RunReport("run-1")
    report.add(report.failed, PAT, error=FAILED)
    (entry,) = report.failed
    assert entry.failure is not None
    assert (entry.failure.code, entry.failure.message, entry.failure.fix) == ("broke", "it broke", "Mend it.")
    assert (entry.name, entry.authorization_id, entry.error) == (PAT.name, PAT.authorization_id, FAILED)


def test_no_entry_is_lost_when_threads_add_at_once() -> None:
    report = RunReport("run-1")

    def add_many() -> None:
        for _ in range(500):
            report.add(report.rotated, PAT)

    threads = [threading.Thread(target=add_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(report.rotated) == 4000
