"""What all documents share: the version, how a time is written, what went wrong.

A document is a TypedDict: a plain dict at run time, checked by mypy where it is made. The text beside each field is its
description in the JSON Schema (`rotator/documents/schemas`).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Literal, NewType, Protocol, TypedDict

from rotator.domain.error_codes import find_runbook

SCHEMA_VERSION: Final = 1
_OFFSET = -len("+00:00")

Moment = NewType("Moment", str)
"""A time in UTC, to the second: `2026-12-03T09:00:00Z`."""
ExactMoment = NewType("ExactMoment", str)
"""A time in UTC, to the microsecond: `2026-12-03T09:00:00.000000Z`."""


class Document(TypedDict):
    """What each document begins with."""

    schema_version: Annotated[Literal[1], "Version of this format."]


class FailureDocument(TypedDict):
    """What went wrong."""

    code: Annotated[str, "Stable name of the problem, for programs. `docs/errors.md` lists them."]
    message: Annotated[str, "What failed and why."]
    fix: Annotated[str, "Who must do what. Empty when there is nothing to do."]
    runbook: Annotated[str, "Where the runbook tells more. Empty: nowhere."]


class PlaceFailureDocument(FailureDocument):
    """An account or organization that could not be checked."""

    account: Annotated[str, "Account, as the settings name it."]
    organization: Annotated[str, "Azure DevOps organization. Empty when it is the whole account."]


class ErrorDocument(Document):
    """What a command prints when it fails as a whole."""

    error: Annotated[FailureDocument, "What went wrong."]


class HasFailure(Protocol):
    """An error, or a failure that was written down."""

    @property
    def code(self) -> str:
        """Stable name of the problem."""

    @property
    def message(self) -> str:
        """What failed and why."""

    @property
    def fix(self) -> str:
        """Who must do what."""


def write_moment(moment: datetime) -> Moment:
    """Write a time in UTC, to the second."""
    return Moment(moment.astimezone(UTC).isoformat("T", "seconds")[:_OFFSET] + "Z")


def write_moment_or_none(moment: datetime | None) -> Moment | None:
    """Write a time as `write_moment` does; None stays None."""
    return None if moment is None else write_moment(moment)


def write_exact_moment(moment: datetime) -> ExactMoment:
    """Write a time in UTC, to the microsecond."""
    return ExactMoment(moment.astimezone(UTC).isoformat("T", "microseconds")[:_OFFSET] + "Z")


def make_failure_document(failure: HasFailure) -> FailureDocument:
    """Give code, message and fix of an error, or of a failure that was written down."""
    return _make_failure(failure.code, failure.message, failure.fix)


def make_failure_or_none(failure: HasFailure | None) -> FailureDocument | None:
    """As `make_failure_document`; None stays None."""
    return None if failure is None else make_failure_document(failure)


def make_place_failure(account: str, organization: str, failure: HasFailure) -> PlaceFailureDocument:
    """Say what went wrong at an account or organization."""
    return {"account": account, "organization": organization, **make_failure_document(failure)}


def make_error_document(code: str, message: str, fix: str) -> ErrorDocument:
    """Say why a command failed as a whole."""
    return {"schema_version": SCHEMA_VERSION, "error": _make_failure(code, message, fix)}


def _make_failure(code: str, message: str, fix: str) -> FailureDocument:
    return {"code": code, "message": message, "fix": fix, "runbook": find_runbook(code)}
