"""How a run ends, as an exit code: `rotator once` ends with it, and a ping of the daemon reports it."""

from __future__ import annotations

from collections.abc import Iterable

from rotator.domain.exit_code import DONE, FAILED, LOCKED, PARTLY_FAILED
from rotator.engine.context import RunMode
from rotator.engine.report import DONE_KINDS, OutcomeKind, OutcomeReason, RunReport
from rotator.errors import ClaimHeldError, RotatorError, SignInRequiredError


def find_exit_code(*, done: bool, failed: bool, needs_sign_in: bool = False, held: bool = False) -> int:
    """Find the code of work that was done in part or as a whole.

    `held`: another run was at work. Where several fit, the first of 10, 1 or 3, 11 counts.
    """
    if needs_sign_in:
        return SignInRequiredError.exit_code
    if failed:
        return PARTLY_FAILED if done else FAILED
    return LOCKED if held and not done else DONE


def find_code_of_errors(errors: Iterable[RotatorError], *, done: bool, refused: bool = False) -> int:
    """Find the code of what was done at several places, or to several PATs; `refused`: something else was not done.

    What a person asked for and another run works on was not done.
    """
    met = list(errors)
    needs_sign_in = any(isinstance(error, SignInRequiredError) for error in met)
    held = any(isinstance(error, ClaimHeldError) for error in met)
    failed = refused or (done and held) or not all(isinstance(error, ClaimHeldError) for error in met)
    return find_exit_code(done=done, failed=failed, needs_sign_in=needs_sign_in, held=held)


def find_code_of_report(report: RunReport, mode: RunMode = RunMode.DUE) -> int:
    """Find the code of a run. What it only looked at, gave up, postponed or waits for counts neither way.

    The run itself was done when it is a hook that failed. What a person asked for and another run works on was not
    done; a run for whatever is due leaves it to the other one.
    """
    failures = report.of_kind(OutcomeKind.FAILED, OutcomeKind.BLOCKED)
    is_hook = any(outcome.reason is OutcomeReason.HOOK_FAILED for outcome in failures)
    done = bool(report.of_kind(*DONE_KINDS)) or is_hook
    held = any(outcome.held_back is None for outcome in report.of_kind(OutcomeKind.HELD))
    return find_exit_code(
        done=done,
        failed=bool(failures) or (mode is not RunMode.DUE and done and held),
        needs_sign_in=any(outcome.needs_sign_in for outcome in failures),
        held=held,
    )
