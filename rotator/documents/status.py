"""`rotator status`: how every PAT stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, NotRequired, TypedDict

from rotator.documents.accounts import SignInDocument, make_sign_in_document
from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_or_none,
    write_moment,
    write_moment_or_none,
)
from rotator.documents.pat import PatFacts, make_facts
from rotator.documents.revocation import PendingRevocationDocument, make_pending_document
from rotator.domain.job_run import RunTimes
from rotator.domain.next_step import NextAction
from rotator.domain.pending_revocation import PendingRevocation
from rotator.engine.alarm import Cause, Finding
from rotator.engine.signing_in import AccountStatus
from rotator.engine.status import PatState, PatStatus


class PatStatusDocument(PatFacts):
    """How one PAT stands."""

    state: Annotated[PatState, "Its state, in one word."]
    rotate_after: Annotated[Moment | None, "When the PAT is due. Null: never, or not known."]
    revoke_after: Annotated[Moment | None, "When the overlap ends and the old PAT is revoked. Null: there is none."]
    next_at: Annotated[Moment | None, "When something is to be done next; a time in the past means now. Null: never."]
    next_action: Annotated[NextAction, "What is to be done then."]
    vault: Annotated[str | None, "Address of the Key Vault that its value goes to. Null: it is not managed."]
    secret_name: Annotated[str | None, "Name of the secret in that vault. Null: it is not managed."]
    last_error: Annotated[FailureDocument | None, "What is wrong. Null: nothing."]


class ForecastDocument(TypedDict):
    """What falls due before a sign-in ends, and after it."""

    due_before: Annotated[int, "How many managed PATs of the account fall due before that."]
    due_after: Annotated[int, "How many fall due later, when a person must have signed in again."]


class StatusSignInDocument(SignInDocument):
    """The sign-in of an account, and what depends on it."""

    forecast: Annotated[ForecastDocument | None, "What falls due before `lapses_at` and after it. Null: not known."]


class RunsDocument(TypedDict):
    """When the last runs were, of `rotator once` or of a daemon."""

    last_started_at: Annotated[Moment | None, "When the last run began. Null: never."]
    last_succeeded_at: Annotated[
        Moment | None, "When the last run ended that could work with every account and organization. Null: never."
    ]


class FindingDocument(TypedDict):
    """One reason why a check is red."""

    cause: Annotated[Cause, "What kind of reason."]
    subjects: Annotated[list[str], "What it is about: PATs, accounts, places, conditions."]


class StatusDocument(Document):
    """How every PAT stands."""

    generated_at: Annotated[Moment, "When this was made."]
    pats: Annotated[list[PatStatusDocument], "Managed PATs by expiry, then those that nobody manages."]
    pending_revocations: Annotated[list[PendingRevocationDocument], "Revocations that are not confirmed yet."]
    accounts: Annotated[list[StatusSignInDocument], "The sign-in of each account of the settings."]
    runs: Annotated[RunsDocument, "When the last runs were."]
    check: NotRequired[Annotated[list[FindingDocument], "Why the check is red; empty: it is not. Only with --check."]]


def make_status_document(
    rows: Iterable[PatStatus],
    accounts: Iterable[AccountStatus],
    now: datetime,
    runs: RunTimes,
    pending: Iterable[PendingRevocation] = (),
) -> StatusDocument:
    """Give every PAT, every account's sign-in, and when the last runs were."""
    return {
        "schema_version": SCHEMA_VERSION,
        "generated_at": write_moment(now),
        "pats": make_rows(rows),
        "pending_revocations": [make_pending_document(item, now) for item in pending],
        "accounts": [_make_account(account, now) for account in accounts],
        "runs": {
            "last_started_at": write_moment_or_none(runs.started_at),
            "last_succeeded_at": write_moment_or_none(runs.succeeded_at),
        },
    }


def make_rows(rows: Iterable[PatStatus]) -> list[PatStatusDocument]:
    """Give how each PAT stands."""
    return [_make_row(row) for row in rows]


def make_check_document(findings: Iterable[Finding]) -> list[FindingDocument]:
    """Give every reason why a check is red."""
    return [{"cause": finding.cause, "subjects": list(finding.subjects)} for finding in findings]


def _make_account(account: AccountStatus, now: datetime) -> StatusSignInDocument:
    found = account.forecast
    return {
        **make_sign_in_document(account.sight, account.organizations, now),
        "forecast": None if found is None else {"due_before": found.due_before, "due_after": found.due_after},
    }


def _make_row(row: PatStatus) -> PatStatusDocument:
    rotate_after = write_moment_or_none(row.rotate_after)
    # Mostly the same moment: of many PATs, writing times takes longer than all the rest.
    next_at = rotate_after if row.next_at is row.rotate_after else write_moment_or_none(row.next_at)
    return {
        **make_facts(row),
        "state": row.state,
        "rotate_after": rotate_after,
        "revoke_after": write_moment_or_none(row.revoke_after),
        "next_at": next_at,
        "next_action": row.next_action,
        "vault": row.vault,
        "secret_name": row.secret_name,
        "last_error": make_failure_or_none(row.last_error),
    }
