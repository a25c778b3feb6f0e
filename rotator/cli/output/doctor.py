"""What the checks of `rotator doctor` say, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rotator.cli.console import Cell, clean
from rotator.cli.exit_codes import ATTENTION
from rotator.cli.output.words import say_counts
from rotator.cli.widths import Column
from rotator.domain.checkup import CheckResult, Grade, find_worst
from rotator.domain.exit_code import DONE, FAILED

COLUMNS = (
    Column("", fixed=True),
    Column("check", fixed=True),
    Column("subject", is_key=True),
    Column("what was found", wraps=True),
)
_COLOURS = {Grade.OK: "green", Grade.WARN: "yellow", Grade.FAIL: "red"}


def list_check_rows(results: Iterable[CheckResult]) -> Iterator[list[Cell | str]]:
    """Give a row for each: OK, WARN or FAIL comes first."""
    for result in results:
        remark = result.remark
        grade = Cell(remark.grade.value.upper(), _COLOURS[remark.grade])
        yield [grade, result.name, remark.subject or "-", remark.message]


def render_fixes(results: Iterable[CheckResult]) -> Iterator[str]:
    """Say the fix of each that is not as it should be, the worst first."""
    for result in _sort_problems(results):
        yield clean(f"fix {_name(result)}: {result.remark.fix}")


def render_problems(results: Iterable[CheckResult]) -> Iterator[str]:
    """Say what is not as it should be, the worst first, and its fix."""
    for result in _sort_problems(results):
        yield clean(f"{result.remark.grade.value.upper()} {_name(result)}: {result.remark.message}")
        yield clean(f"    fix: {result.remark.fix}")


def _sort_problems(results: Iterable[CheckResult]) -> list[CheckResult]:
    found = [result for result in results if result.remark.grade is not Grade.OK]
    return sorted(found, key=lambda result: result.remark.grade is not Grade.FAIL)


def _name(result: CheckResult) -> str:
    return f"{result.name} {result.remark.subject}".strip()


def render_summary(results: Sequence[CheckResult], ending: str) -> str:
    """Say how many are as they should be and how many are not, and the ending."""
    counts = Counter(result.remark.grade for result in results)
    return f"{say_counts({grade.value.upper(): counts[grade] for grade in Grade})}. {ending}"


def find_code_of_checks(results: Iterable[CheckResult]) -> int:
    """Find the exit code: 1 if something does not work, 4 if something may soon stop."""
    return {Grade.OK: DONE, Grade.WARN: ATTENTION, Grade.FAIL: FAILED}[find_worst(results)]
