"""Hooks: what each is given on its stdin or in a POST, and what `rotator hooks test` says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_or_none,
    write_moment,
    write_moment_or_none,
)
from rotator.domain.audit_event import Detail
from rotator.domain.events.event import Severity
from rotator.domain.hook import HookEvent
from rotator.errors import RotatorError


class HookDocument(Document):
    """What a hook is given."""

    id: Annotated[str, "Id of the call, also in `ROTATOR_HOOK_ID` or `webhook-id`: the same when it is made again."]
    event: Annotated[str, "Name of the event; `test` for a test."]
    severity: Annotated[Severity, "How much it matters."]
    subject: Annotated[str, "What it happened to: the name of a managed PAT or an account, for example."]
    occurred_at: Annotated[Moment, "When it happened."]
    sequence: Annotated[int | None, "Number of the event in the audit log. Null: a test."]
    name: Annotated[str | None, "Name of the managed PAT. Null: it is about none."]
    account: Annotated[str | None, "Account of the managed PAT, as the settings name it."]
    organization: Annotated[str | None, "Azure DevOps organization."]
    authorization_id: Annotated[str | None, "Id of the PAT that it is about: during a rotation of the new one."]
    vault: Annotated[str | None, "Vault that the value is in."]
    secret_name: Annotated[str | None, "Name of the secret."]
    secret_version: Annotated[str | None, "Version of the secret that has that PAT's value."]
    expires_at: Annotated[Moment | None, "When that PAT expires."]
    rotation_id: Annotated[str | None, "Id of the rotation."]
    details: Annotated[dict[str, Detail], "Fields of the event, as docs/events.md lists them."]


class HookTestDocument(TypedDict):
    """What became of a test."""

    name: Annotated[str, "Name of the hook."]
    succeeded: Annotated[bool, "Whether it succeeded."]
    output: Annotated[str | None, "What it printed, or what came back. Null: it could not be called."]
    error: Annotated[FailureDocument | None, "Why it did not succeed."]


class HooksTestDocument(Document):
    """What became of the tests."""

    hooks: Annotated[list[HookTestDocument], "Each hook that was called."]


@dataclass(frozen=True)
class HookTest:
    """What became of a test of one hook."""

    name: str
    output: str | None = None
    error: RotatorError | None = None


def make_hook_document(event: HookEvent, delivery_id: str) -> HookDocument:
    """Give an event."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": delivery_id,
        "event": event.event,
        "severity": event.severity,
        "subject": event.subject,
        "occurred_at": write_moment(event.occurred_at),
        "sequence": event.sequence,
        "name": event.name,
        "account": event.account,
        "organization": event.organization,
        "authorization_id": event.authorization_id,
        "vault": event.vault,
        "secret_name": event.secret_name,
        "secret_version": event.secret_version,
        "expires_at": write_moment_or_none(event.expires_at),
        "rotation_id": event.rotation_id,
        "details": dict(event.details),
    }


def make_hooks_test_document(tests: Iterable[HookTest]) -> HooksTestDocument:
    """Say what became of tests."""
    return {"schema_version": SCHEMA_VERSION, "hooks": [_make_test(test) for test in tests]}


def _make_test(test: HookTest) -> HookTestDocument:
    return {
        "name": test.name,
        "succeeded": test.error is None,
        "output": test.output,
        "error": make_failure_or_none(test.error),
    }
