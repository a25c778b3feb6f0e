"""Rows to domain values and back. Columns have the names of the fields; a Failure takes four columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Column, Table

from rotator.adapters.database import schema
from rotator.adapters.database.columns import naming_damage
from rotator.domain.job_run import JobRun
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.domain.organization import OrganizationMemory
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.rotation import Rotation, Trace
from rotator.domain.sign_in import SignInMemory
from rotator.ports.inventory import UntrackedPat

FAILURE = ("failure_code", "failure_message", "failure_fix", "failure_kind")
_ITS = slice(-len(FAILURE), None)
"""Where the columns of a Failure are in a row that ends with them."""


def _pick_columns(table: Table, record: type, failure: str | None = None) -> list[Column[Any]]:
    """Return the columns that hold a record, in the order of its fields, those of its Failure at the end."""
    names = [field.name for field in fields(record) if field.name != failure]
    return [table.c[name] for name in (*names, *(FAILURE if failure else ()))]


MANAGED_PAT_COLUMNS = _pick_columns(schema.managed_pat, ManagedPat, "last_failure")
ROTATION_COLUMNS = _pick_columns(schema.rotation, Rotation, "failure")
TRACE_COLUMNS = _pick_columns(schema.rotation, Trace)
OLD_COLUMNS = _pick_columns(schema.old_rotation, Trace)
PAT_COLUMNS = _pick_columns(schema.untracked_pat, Pat)
UNTRACKED_COLUMNS = [
    schema.untracked_pat.c[name] for name in ("account", "organization", *(c.name for c in PAT_COLUMNS), *FAILURE)
]
PENDING_REVOCATION_COLUMNS = _pick_columns(schema.pending_revocation, PendingRevocation)
JOB_RUN_COLUMNS = _pick_columns(schema.job_run, JobRun, "failure")
SIGN_IN_COLUMNS = _pick_columns(schema.sign_in, SignInMemory, "refusal")
ORGANIZATION_COLUMNS = _pick_columns(schema.organization, OrganizationMemory, "failure")
_MANAGED_PAT_NAMES = [column.name for column in MANAGED_PAT_COLUMNS[: -len(FAILURE)]]
_ROTATION_NAMES = [column.name for column in ROTATION_COLUMNS[: -len(FAILURE)]]
_PAT_NAMES = [column.name for column in PAT_COLUMNS]
_PENDING_NAMES = [column.name for column in PENDING_REVOCATION_COLUMNS]
_JOB_RUN_NAMES = [column.name for column in JOB_RUN_COLUMNS[: -len(FAILURE)]]
_SIGN_IN_NAMES = [column.name for column in SIGN_IN_COLUMNS[: -len(FAILURE)]]
_ORGANIZATION_NAMES = [column.name for column in ORGANIZATION_COLUMNS[: -len(FAILURE)]]


@naming_damage
def make_managed_pat(row: Sequence[Any]) -> ManagedPat:
    """From a row of MANAGED_PAT_COLUMNS."""
    pat = object.__new__(ManagedPat)
    # All fields at once: its own `__init__` sets one after the other, which takes longer than all the rest.
    values = vars(pat)
    values.update(zip(_MANAGED_PAT_NAMES, row, strict=False))
    values["authorization_id"] = values["authorization_id"] or ""
    values["last_failure"] = make_failure(row[_ITS])
    pat.__post_init__()
    return pat


@naming_damage
def make_rotation(row: Sequence[Any]) -> Rotation:
    """From a row of ROTATION_COLUMNS."""
    return Rotation(**dict(zip(_ROTATION_NAMES, row, strict=False)), failure=make_failure(row[_ITS]))


@naming_damage
def make_trace(row: Sequence[Any]) -> Trace:
    """From a row of TRACE_COLUMNS or OLD_COLUMNS."""
    return Trace(*row)


@naming_damage
def make_untracked(row: Sequence[Any]) -> UntrackedPat:
    """From a row of UNTRACKED_COLUMNS."""
    account, organization, *pat = row[: -len(FAILURE)]
    return UntrackedPat(account, organization, Pat(**dict(zip(_PAT_NAMES, pat, strict=True))), make_failure(row[_ITS]))


@naming_damage
def make_pending(row: Sequence[Any]) -> PendingRevocation:
    """From a row of PENDING_REVOCATION_COLUMNS."""
    return PendingRevocation(**dict(zip(_PENDING_NAMES, row, strict=True)))


@naming_damage
def make_job_run(row: Sequence[Any]) -> JobRun:
    """From a row of JOB_RUN_COLUMNS."""
    return JobRun(**dict(zip(_JOB_RUN_NAMES, row, strict=False)), failure=make_failure(row[_ITS]))


@naming_damage
def make_sign_in(row: Sequence[Any]) -> SignInMemory:
    """From a row of SIGN_IN_COLUMNS."""
    return SignInMemory(**dict(zip(_SIGN_IN_NAMES, row, strict=False)), refusal=make_failure(row[_ITS]))


@naming_damage
def make_organization(row: Sequence[Any]) -> OrganizationMemory:
    """From a row of ORGANIZATION_COLUMNS."""
    values = dict(zip(_ORGANIZATION_NAMES, row, strict=False))
    return OrganizationMemory(**values, failure=make_failure(row[_ITS]))


def list_managed_pat(pat: ManagedPat) -> dict[str, object]:
    """Return the columns of a record, but for its id."""
    values: dict[str, object] = {name: getattr(pat, name) for name in _MANAGED_PAT_NAMES if name != "record_id"}
    values["authorization_id"] = pat.authorization_id or None
    values["location"] = pat.place
    return values | list_failure(pat.last_failure)


def list_rotation(rotation: Rotation) -> dict[str, object]:
    """Return the columns of a rotation, but for its record's id."""
    values: dict[str, object] = {name: getattr(rotation, name) for name in _ROTATION_NAMES if name != "record_id"}
    return values | {"location": rotation.place} | list_failure(rotation.failure)


def list_untracked(found: UntrackedPat) -> dict[str, object]:
    """Return the columns of an untracked PAT."""
    values: dict[str, object] = {name: getattr(found.pat, name) for name in _PAT_NAMES}
    return values | {"account": found.account, "organization": found.organization} | list_failure(found.waits)


def list_pending(pending: PendingRevocation) -> dict[str, object]:
    """Return the columns of a pending revocation, but for its record's id."""
    return {name: getattr(pending, name) for name in _PENDING_NAMES if name != "record_id"}


def list_job_run(run: JobRun) -> dict[str, object]:
    """Return the columns of a job's run."""
    values: dict[str, object] = {name: getattr(run, name) for name in _JOB_RUN_NAMES}
    return values | list_failure(run.failure)


def list_sign_in(memory: SignInMemory) -> dict[str, object]:
    """Return the columns of what is remembered of a sign-in."""
    values: dict[str, object] = {name: getattr(memory, name) for name in _SIGN_IN_NAMES}
    return values | list_failure(memory.refusal)


def list_organization(memory: OrganizationMemory) -> dict[str, object]:
    """Return the columns of what is remembered of an organization."""
    values: dict[str, object] = {name: getattr(memory, name) for name in _ORGANIZATION_NAMES}
    return values | list_failure(memory.failure)


def make_failure(row: Sequence[Any]) -> Failure | None:
    """From the columns of a Failure."""
    return None if row[0] is None else Failure(*row)


def list_failure(failure: Failure | None) -> dict[str, object]:
    """Return the columns of a failure."""
    if failure is None:
        return dict.fromkeys(FAILURE)
    return dict(zip(FAILURE, (failure.code, failure.message, failure.fix, failure.kind), strict=True))
