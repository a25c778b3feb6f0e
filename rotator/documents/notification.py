"""Notifications: what a webhook receives, and what `rotator notify test` says."""

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
from rotator.domain.digest import Digest, MailAbout
from rotator.domain.events.event import Severity
from rotator.domain.notification import Notification, NotificationKind
from rotator.domain.telling import Phase
from rotator.errors import RotatorError


class DatedDocument(TypedDict):
    """A managed PAT, and a moment."""

    name: Annotated[str, "Its name."]
    at: Annotated[Moment, "When it was rotated, or will be."]


class WaitDocument(TypedDict):
    """What a person must do."""

    needs: Annotated[str, "Who must do what."]
    names: Annotated[list[str], "The PATs that wait for it, by expiry."]
    first_expires_at: Annotated[Moment, "When the first of them expires."]


class MailDocument(TypedDict):
    """A mail that Microsoft will send."""

    account: Annotated[str, "The account whose user gets it."]
    name: Annotated[str, "The PAT that it is about."]
    about: Annotated[MailAbout, "A PAT that is new, or one that expires."]
    at: Annotated[Moment, "About when."]


class DigestDocument(TypedDict):
    """The week behind, and the week ahead."""

    since: Annotated[Moment, "From when on it tells what was rotated."]
    until: Annotated[Moment, "Until when it tells what is coming."]
    rotated: Annotated[list[DatedDocument], "What was rotated, by time."]
    coming: Annotated[list[DatedDocument], "What will be rotated, by time."]
    waiting: Annotated[list[WaitDocument], "What waits for a person, by expiry."]
    mails: Annotated[list[MailDocument], "The mails that Microsoft will send, by time."]
    is_whole: Annotated[
        bool, "False: the audit log has too much for one digest or cannot be read, and more may have been rotated."
    ]


class NotificationDocument(Document):
    """What a webhook receives."""

    id: Annotated[str, "Id of the delivery, also in the header `webhook-id`: the same when it is sent again."]
    type: Annotated[NotificationKind, "A condition, which lasts; a single event; the digest of a week; or a test."]
    timestamp: Annotated[Moment, "When it was made."]
    name: Annotated[str, "Name of the condition or the event; `digest`; `test` for a test."]
    phase: Annotated[Phase | None, "Of a condition: whether it begins, more joined, it lasts, or it is over."]
    severity: Annotated[Severity, "How much it matters."]
    title: Annotated[str, "All of it in one line."]
    text: Annotated[str, "All of it in words, with line breaks."]
    subjects: Annotated[list[str], "What it is about: names of PATs or accounts, for example. Over: what it was about."]
    code: Annotated[str | None, "Stable name of the cause, where there is one."]
    since: Annotated[Moment | None, "When the first of a condition's subjects was met. Null when it is over."]
    waiting: Annotated[int, "How many managed PATs are not rotated because of it."]
    first_expires_at: Annotated[Moment | None, "When the first of these expires."]
    command: Annotated[str, "Command that shows more, or fixes it. Empty: there is none."]
    fix: Annotated[str, "Who must do what. Empty: nothing is to be done."]
    runbook: Annotated[str, "Where the runbook tells more. Empty: nowhere."]
    digest: Annotated[DigestDocument | None, "The digest of a week. Null: it is something else."]


class ReceiverTestDocument(TypedDict):
    """What became of a test."""

    name: Annotated[str, "Name of the receiver."]
    delivered: Annotated[bool, "Whether the receiver took it."]
    answer: Annotated[str | None, "What came back."]
    error: Annotated[FailureDocument | None, "Why it did not."]


class NotifyTestDocument(Document):
    """What became of the tests."""

    receivers: Annotated[list[ReceiverTestDocument], "Each receiver that was tried."]


@dataclass(frozen=True)
class ReceiverTest:
    """What became of a test of one receiver."""

    name: str
    answer: str | None = None
    error: RotatorError | None = None


def make_notification_document(notification: Notification, delivery_id: str) -> NotificationDocument:
    """Give a notification."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": delivery_id,
        "type": notification.kind,
        "timestamp": write_moment(notification.made_at),
        "name": notification.name,
        "phase": notification.phase,
        "severity": notification.severity,
        "title": notification.title,
        "text": notification.text,
        "subjects": list(notification.subjects),
        "code": notification.code,
        "since": write_moment_or_none(notification.since),
        "waiting": notification.waiting,
        "first_expires_at": write_moment_or_none(notification.first_expires_at),
        "command": notification.command,
        "fix": notification.fix,
        "runbook": notification.runbook,
        "digest": None if notification.digest is None else _make_digest(notification.digest),
    }


def _make_digest(digest: Digest) -> DigestDocument:
    return {
        "since": write_moment(digest.since),
        "until": write_moment(digest.until),
        "rotated": [{"name": each.name, "at": write_moment(each.at)} for each in digest.rotated],
        "coming": [{"name": each.name, "at": write_moment(each.at)} for each in digest.coming],
        "waiting": [
            {"needs": wait.needs, "names": list(wait.names), "first_expires_at": write_moment(wait.first_expires_at)}
            for wait in digest.waiting
        ],
        "mails": [
            {"account": mail.account, "name": mail.name, "about": mail.about, "at": write_moment(mail.at)}
            for mail in digest.mails
        ],
        "is_whole": digest.is_whole,
    }


def make_notify_test_document(tests: Iterable[ReceiverTest]) -> NotifyTestDocument:
    """Say what became of tests."""
    return {"schema_version": SCHEMA_VERSION, "receivers": [_make_test(test) for test in tests]}


def _make_test(test: ReceiverTest) -> ReceiverTestDocument:
    return {
        "name": test.name,
        "delivered": test.error is None,
        "answer": test.answer,
        "error": make_failure_or_none(test.error),
    }
