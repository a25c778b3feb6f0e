"""How a run ends, as an exit code."""

from __future__ import annotations

import pytest

from rotator.domain.exit_code import DONE, FAILED, LOCKED, PARTLY_FAILED
from rotator.engine.context import RunMode
from rotator.engine.exit_codes import find_code_of_report
from rotator.engine.report import OutcomeKind, PatOutcome, RunReport


@pytest.mark.parametrize(
    ("kinds", "code", "code_by_hand"),
    [
        ((), DONE, DONE),
        ((OutcomeKind.ROTATED,), DONE, DONE),
        ((OutcomeKind.HELD,), LOCKED, LOCKED),
        ((OutcomeKind.ROTATED, OutcomeKind.HELD), DONE, PARTLY_FAILED),
        ((OutcomeKind.FAILED, OutcomeKind.HELD), FAILED, FAILED),
        ((OutcomeKind.ROTATED, OutcomeKind.FAILED), PARTLY_FAILED, PARTLY_FAILED),
    ],
)
def test_pat_that_another_run_works_on_was_not_done_when_a_person_asked_for_it(
    kinds: tuple[OutcomeKind, ...], code: int, code_by_hand: int
) -> None:
    report = RunReport("run-1")
    for number, kind in enumerate(kinds):
        report.add(PatOutcome(kind, f"pat-{number}", "build-bot", "contoso"))
    codes = [find_code_of_report(report, mode) for mode in (RunMode.DUE, RunMode.BY_HAND, RunMode.RECOVER)]
    assert codes == [code, code_by_hand, code_by_hand]
