"""Accounts: who is signed in, what ends it, signing in and out."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, TypedDict

from rotator.documents.document import (
    SCHEMA_VERSION,
    Document,
    FailureDocument,
    Moment,
    make_failure_document,
    write_moment,
    write_moment_or_none,
)
from rotator.domain.organization import OrganizationMemory
from rotator.engine.signing_in import AccountView, SignInRisk, SignInSight
from rotator.ports.sign_in import DevicePrompt, SignInStatus


class SignInRefusalDocument(FailureDocument):
    """What Entra refused last."""

    at: Annotated[Moment, "Since when."]


class OrganizationFailureDocument(FailureDocument):
    """Why an organization could not be worked with."""

    at: Annotated[Moment, "Since when."]


class PlaceDocument(TypedDict):
    """One organization of an account, as the last look at it found it."""

    organization: Annotated[str, "Azure DevOps organization."]
    last_worked_at: Annotated[Moment | None, "When it last worked, to within 5 minutes. Null: never, or not known."]
    last_error: Annotated[
        OrganizationFailureDocument | None,
        "Why it does not work since. Null: it does, or nobody looked since its account was refused.",
    ]


class SignInDocument(TypedDict):
    """The sign-in of an account, and the organizations that it was used for."""

    name: Annotated[str, "Account, as the settings name it."]
    signed_in: Annotated[bool | None, "Whether somebody is signed in, and was not refused since. Null: not known."]
    last_refresh_at: Annotated[Moment | None, "When Entra last gave tokens. Null: never, or not known."]
    last_interactive_at: Annotated[Moment | None, "When a person last signed in. Null: never, or not known."]
    lapses_at: Annotated[
        Moment | None, "When the sign-in is expected to end: as an earlier one did, or unused. Null: not known."
    ]
    refusal: Annotated[SignInRefusalDocument | None, "What Entra refused since it last gave tokens. Null: nothing."]
    places: Annotated[list[PlaceDocument], "Where rotator looked last for the account, by organization."]


class AccountDocument(SignInDocument):
    """An account and its sign-in."""

    username: Annotated[str, "The only user accepted for it."]
    tenant: Annotated[str, "Entra tenant."]
    client_id: Annotated[str, "Application (client) id of the app registration."]
    organizations: Annotated[list[str], "Azure DevOps organizations that it reaches."]
    access_token_expires_at: Annotated[Moment | None, "When the access token at hand expires. Null: there is none."]
    risks: Annotated[list[SignInRisk], "What will end the sign-in, or keeps it from being used."]


class AccountsDocument(Document):
    """Who is signed in."""

    accounts: Annotated[list[AccountDocument], "One for each account of the settings."]


class LogoutDocument(Document):
    """An account that was signed out."""

    account: Annotated[str, "Account, as the settings name it."]
    was_signed_in: Annotated[bool, "Whether anybody was signed in."]


class DevicePromptDocument(Document):
    """The first line of `rotator login --device-code --json`: what a person must enter."""

    verification_uri: Annotated[str, "Page to open, on any device."]
    user_code: Annotated[str, "Code to enter there."]
    expires_at: Annotated[Moment, "Until when."]


class LoginDocument(Document):
    """The last line of `rotator login --json`, for each account that was signed in."""

    account: Annotated[str, "Account, as the settings name it."]
    username: Annotated[str | None, "User that signed in."]


def make_sign_in_document(
    sight: SignInSight, organizations: Iterable[OrganizationMemory], now: datetime
) -> SignInDocument:
    """Say how an account is signed in, and how its organizations work."""
    return {
        "name": sight.memory.account,
        "signed_in": sight.is_signed_in(now),
        "last_refresh_at": write_moment_or_none(sight.last_refresh_at),
        "last_interactive_at": write_moment_or_none(sight.memory.interactive_at),
        "lapses_at": write_moment_or_none(sight.lapses_at),
        "refusal": _make_refusal(sight),
        "places": [_make_place(memory) for memory in organizations],
    }


def make_accounts_document(views: Iterable[AccountView], now: datetime) -> AccountsDocument:
    """Say of every account who is signed in and what ends it."""
    return {"schema_version": SCHEMA_VERSION, "accounts": [_make_account(view, now) for view in views]}


def make_logout_document(account: str, *, was_signed_in: bool) -> LogoutDocument:
    """Say who was signed out."""
    return {"schema_version": SCHEMA_VERSION, "account": account, "was_signed_in": was_signed_in}


def make_prompt_document(prompt: DevicePrompt) -> DevicePromptDocument:
    """Say where a person enters which code."""
    return {
        "schema_version": SCHEMA_VERSION,
        "verification_uri": prompt.verification_uri,
        "user_code": prompt.user_code,
        "expires_at": write_moment(prompt.expires_at),
    }


def make_login_document(status: SignInStatus) -> LoginDocument:
    """Say who signed in."""
    return {"schema_version": SCHEMA_VERSION, "account": status.account, "username": status.username}


def _make_refusal(sight: SignInSight) -> SignInRefusalDocument | None:
    refusal, at = sight.refusal, sight.memory.refused_at
    return None if refusal is None or at is None else {**make_failure_document(refusal), "at": write_moment(at)}


def _make_place(memory: OrganizationMemory) -> PlaceDocument:
    failure, at = memory.failure, memory.failed_at
    return {
        "organization": memory.organization,
        "last_worked_at": write_moment_or_none(memory.worked_at),
        "last_error": None
        if failure is None or at is None
        else {**make_failure_document(failure), "at": write_moment(at)},
    }


def _make_account(view: AccountView, now: datetime) -> AccountDocument:
    return {
        **make_sign_in_document(view.sight, view.organizations, now),
        "username": view.account.username,
        "tenant": view.account.tenant,
        "client_id": view.registration.client_id,
        "organizations": list(view.account.organizations),
        "access_token_expires_at": write_moment_or_none(view.status.access_expires_at),
        "risks": list(view.risks),
    }
