"""What `rotator doctor` says: for each check and each thing that it looked at, how that is, and its fix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How something is. `warn`: it works now, but may soon stop, or not work as intended. `fail`: it does not work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Remark:
    """What a check says of one thing. `subject` is its name, empty where there is only one."""

    subject: str
    grade: Grade
    message: str
    fix: str = ""


@dataclass(frozen=True)
class CheckResult:
    """A remark, with the name of the check that makes it."""

    name: str
    remark: Remark


def praise(subject: str, message: str) -> Remark:
    """Say that something is as it should be."""
    return Remark(subject, Grade.OK, message)


def warn(subject: str, message: str, fix: str) -> Remark:
    """Say that something works now, but may soon stop, or may not work as intended."""
    return Remark(subject, Grade.WARN, message, fix)


def fail(subject: str, message: str, fix: str) -> Remark:
    """Say that something does not work."""
    return Remark(subject, Grade.FAIL, message, fix)


def find_worst(results: Iterable[CheckResult]) -> Grade:
    """Return how bad the worst of them is."""
    grades = {result.remark.grade for result in results}
    return next((grade for grade in (Grade.FAIL, Grade.WARN) if grade in grades), Grade.OK)
