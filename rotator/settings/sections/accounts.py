"""`accounts`: the users whose PATs are managed."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, PlainValidator, ValidationInfo, field_validator

from rotator.domain.account import Account
from rotator.settings.fields import Section, Text, is_uuid
from rotator.settings.secret_fields import OPTIONAL_SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference

_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def _parse_account_secret(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None:
        return None
    setting = f"{info.field_name} of account {info.data.get('name', '?')}"
    form = SecretForm.CERTIFICATE if info.field_name == "client_certificate" else SecretForm.TEXT
    return parse_secret(value, info, setting=setting, form=form, may_be_in_vault=True)


_AccountSecret = Annotated[SecretReference | None, PlainValidator(_parse_account_secret), OPTIONAL_SECRET]


class AccountSettings(Section):
    """A user whose PATs are managed, and the app registration that signs the user in."""

    name: Text = Field(
        description="Your name for the account, used in commands and in the audit log.", examples=["build-bot"]
    )
    tenant: Text = Field(
        description="The Entra tenant: its id, one of its domains, or `organizations` for any tenant.",
        examples=["6f89cf12-978b-4d23-ac18-9ef0c127cf87"],
    )
    client_id: Text = Field(
        description="The application (client) id of the app registration.",
        examples=["3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906"],
    )
    username: Text = Field(
        description="The user who signs in. A sign-in by any other user is refused.", examples=["build-bot@contoso.com"]
    )
    organizations: tuple[Text, ...] = Field(
        min_length=1,
        description="The Azure DevOps organizations in which this user's PATs are managed.",
        examples=[["contoso"]],
    )
    client_secret: _AccountSecret = Field(
        default=None,
        description="The client secret of a confidential client. Not needed for a public client.",
        examples=[{"credential": "client-secret"}],
    )
    client_certificate: _AccountSecret = Field(
        default=None,
        description="Instead of a secret: certificate and private key of a confidential client, together in PEM form.",
        examples=[{"file": "client.pem"}],
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _ACCOUNT.fullmatch(value):
            raise ValueError(
                f'"{value}" is not a valid name: use letters, digits, dots, hyphens and underscores, 64 at most'
            )
        return value

    @field_validator("tenant")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        if value in ("common", "consumers"):
            raise ValueError(f'"{value}" includes personal accounts, which have no PATs: write organizations')
        if value != "organizations" and not is_uuid(value) and not _DOMAIN.fullmatch(value):
            raise ValueError(f'"{value}" must be a tenant id, a domain such as contoso.com, or organizations')
        return value

    def make_account(self) -> Account:
        """Return the account."""
        return Account(self.name, self.username, self.tenant, self.organizations)

    @field_validator("client_id")
    @classmethod
    def _check_client_id(cls, value: str) -> str:
        if not is_uuid(value):
            raise ValueError(f'"{value}" must be an application id, such as 3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906')
        return value

    @field_validator("username")
    @classmethod
    def _check_username(cls, value: str) -> str:
        if not re.fullmatch(r"[^\s@]+@[^\s@]+", value):
            raise ValueError(f'"{value}" must be a user name such as build-bot@contoso.com')
        return value

    @field_validator("organizations")
    @classmethod
    def _check_organizations(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if "/" in name:
                raise ValueError(f'"{name}" must be the name alone: contoso for https://dev.azure.com/contoso')
            if not _ORGANIZATION.fullmatch(name):
                raise ValueError(f'"{name}" is not an organization name: use letters, digits and hyphens, 50 at most')
        if len({name.casefold() for name in value}) != len(value):
            raise ValueError("duplicate organization")
        return value
