"""What a run's report says in one number."""

from __future__ import annotations

import threading

import pytest

from rotator.engine.exit_codes import find_code_of_errors, find_code_of_report
from rotator.engine.report import OutcomeKind, PatOutcome, RunReport
from rotator.errors import ClaimLostError, PlanRefusedError, RotatorError, SignInRequiredError
from tests.support.records import make_managed_pat

PAT = make_managed_pat()
FAILED, BLOCKED = RotatorError("it broke", code="broke", fix="Mend it."), PlanRefusedError("no")
SIGN_IN, LOST = SignInRequiredError("sign in", account="build-bot"), ClaimLostError("lost")


@pytest.mark.parametrize(
    ("lists", "code"),
    [
        ({}, 0),
        ({"rotated": None}, 0),
        ({"abandoned": None}, 0),
        ({"settling": None}, 0),
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
        ({"held": None, "settling": None, "postponed": None}, 11),
        ({"held": None, "rotated": None}, 0),
        ({"held": None, "failed": FAILED}, 1),
    ],
)
def test_exit_code_says_how_the_run_ended(lists: dict[str, RotatorError | None], code: int) -> None:
    report = RunReport("run-1")
    for name, error in lists.items():
        kind = OutcomeKind(name)
        report.add(PatOutcome.of(kind, PAT) if error is None else PatOutcome.of_error(kind, PAT, error))
    assert find_code_of_report(report) == code


def test_outcome_says_what_failed_and_who_must_act() -> None:
    outcome = PatOutcome.of_error(OutcomeKind.FAILED, PAT, FAILED)
    assert outcome.failure is not None
    assert (outcome.failure.code, outcome.failure.message, outcome.failure.fix) == ("broke", "it broke", "Mend it.")
    assert (outcome.name, outcome.authorization_id, outcome.needs_sign_in) == (PAT.name, PAT.authorization_id, False)
    assert PatOutcome.of_error(OutcomeKind.FAILED, PAT, SIGN_IN).needs_sign_in


def test_outcomes_keep_their_order_when_asked_for_by_kind() -> None:
    report, kinds = RunReport("run-1"), [OutcomeKind.RETIRED, OutcomeKind.FAILED, OutcomeKind.ROTATED]
    for kind in kinds:
        report.add(PatOutcome.of(kind, PAT))
    assert [outcome.kind for outcome in report.outcomes] == kinds
    assert [outcome.kind for outcome in report.of_kind(OutcomeKind.ROTATED, OutcomeKind.RETIRED)] == kinds[::2]


def test_no_outcome_is_lost_when_threads_add_at_once() -> None:
    report = RunReport("run-1")

    def add_many() -> None:
        for _ in range(500):
            report.add(PatOutcome.of(OutcomeKind.ROTATED, PAT))

    threads = [threading.Thread(target=add_many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(report.outcomes) == 4000


@pytest.mark.parametrize(
    ("errors", "done", "refused", "code"),
    [
        ([], True, False, 0),
        ([], False, False, 0),
        ([FAILED], True, False, 3),
        ([FAILED], False, False, 1),
        ([], True, True, 3),
        ([], False, True, 1),
        ([FAILED, SIGN_IN], True, True, 10),
    ],
)
def test_exit_code_of_errors_is_that_of_a_run_when_several_places_were_looked_at(
    errors: list[RotatorError], done: bool, refused: bool, code: int
) -> None:
    assert find_code_of_errors(errors, done=done, refused=refused) == code
