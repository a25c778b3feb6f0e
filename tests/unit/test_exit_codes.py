"""How a run ends, as an exit code."""

from __future__ import annotations

import pytest

from rotator.domain.exit_code import DONE, FAILED, LOCKED, PARTLY_FAILED
from rotator.engine.context import RunMode
from rotator.engine.exit_codes import find_code_of_errors, find_code_of_report
from rotator.engine.report import OutcomeKind, PatOutcome, RunReport
from rotator.errors import ClaimHeldError, PlanRefusedError, RotatorError, SignInRequiredError


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


HELD, FORBIDDEN, SIGNED_OUT = (
    ClaimHeldError("held"),
    PlanRefusedError("no"),
    SignInRequiredError("sign in", account="a"),
)


@pytest.mark.parametrize(
    ("errors", "code", "code_where_some_was_done"),
    [
        ((), DONE, DONE),
        ((HELD,), LOCKED, PARTLY_FAILED),
        ((FORBIDDEN,), FAILED, PARTLY_FAILED),
        ((HELD, FORBIDDEN), FAILED, PARTLY_FAILED),
        ((HELD, SIGNED_OUT), 10, 10),
    ],
)
def test_code_of_what_was_done_to_several_tells_what_stood_in_the_way(
    errors: tuple[RotatorError, ...], code: int, code_where_some_was_done: int
) -> None:
    assert find_code_of_errors(errors, done=False) == code
    assert find_code_of_errors(errors, done=True) == code_where_some_was_done
