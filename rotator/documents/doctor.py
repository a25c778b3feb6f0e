"""`rotator doctor`: what each check says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, TypedDict

from rotator.documents.document import SCHEMA_VERSION, Document
from rotator.domain.checkup import CheckResult, Grade


class CheckDocument(TypedDict):
    """What a check says of one thing."""

    name: Annotated[str, "Name of the check."]
    subject: Annotated[str, "What it looked at: an account, a vault, a setting. Empty: the installation as a whole."]
    outcome: Annotated[
        Grade, "Whether it works (`ok`), may soon stop or not work as intended (`warn`), or does not work (`fail`)."
    ]
    message: Annotated[str, "What was found."]
    fix: Annotated[str, "Who must do what. Empty when it is `ok`."]


class DoctorDocument(Document):
    """How everything is that rotator depends on."""

    checks: Annotated[list[CheckDocument], "What the checks say, in their order."]


def make_doctor_document(results: Iterable[CheckResult]) -> DoctorDocument:
    """Give what each check says."""
    return {"schema_version": SCHEMA_VERSION, "checks": [_make_check(result) for result in results]}


def _make_check(result: CheckResult) -> CheckDocument:
    remark = result.remark
    return {
        "name": result.name,
        "subject": remark.subject,
        "outcome": remark.grade,
        "message": remark.message,
        "fix": remark.fix,
    }
