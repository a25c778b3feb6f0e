"""`rotator.yaml` as a model: every key with its type, default, meaning and example."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    Field,
    PlainValidator,
    StrictBool,
    StrictInt,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from rotator.settings.fields import Duration, DurationOrZero, EmptyAllowed, Section, ServiceUrl, Text
from rotator.settings.secrets import SecretForm, SecretReference, make_reference

PUBLIC_AUTHORITY = "https://login.microsoftonline.com"
DEFAULT_CACHE_KEY = {"env": "ROTATOR_TOKEN_CACHE_KEY"}
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,49}")
_ACCOUNT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def make_settings_context(folder: Path) -> dict[str, Path]:
    """What validation needs to know: the settings file's folder, which relative paths start from."""
    return {"folder": folder}


def _folder(info: ValidationInfo) -> Path:
    return info.context["folder"] if info.context else Path()


def _parse_path(value: object, info: ValidationInfo) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be the path of a file, as text")
    return _folder(info) / Path(value).expanduser()


def _parse_optional_path(value: object, info: ValidationInfo) -> Path | None:
    return None if value is None else _parse_path(value, info)


FilePath = Annotated[Path, PlainValidator(_parse_path), WithJsonSchema({"type": "string"})]
OptionalFilePath = Annotated[
    Path | None, PlainValidator(_parse_optional_path), WithJsonSchema({"type": ["string", "null"]})
]


def _secret_schema(may_be_in_vault: bool) -> WithJsonSchema:
    names: list[dict[str, object]] = [
        {
            "type": "object",
            "additionalProperties": False,
            "required": [key],
            "properties": {key: {"type": "string"}},
        }
        for key in ("env", "file", "credential")
    ]
    if may_be_in_vault:
        vault = {
            "type": "object",
            "additionalProperties": False,
            "required": ["vault", "name"],
            "properties": {"vault": {"type": "string"}, "name": {"type": "string"}},
        }
        properties = {"key_vault": vault}
        names.append(
            {
                "type": "object",
                "additionalProperties": False,
                "required": ["key_vault"],
                "properties": properties,
            }
        )
        names.append({"type": "null"})
    return WithJsonSchema({"anyOf": [{"type": "string"}, *names], "writeOnly": True})


def _parse_account_secret(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None or isinstance(value, SecretReference):
        return value
    is_certificate = info.field_name == "client_certificate"
    return make_reference(
        value,
        setting=f"{info.field_name} of account {info.data.get('name', '?')}",
        form=SecretForm.CERTIFICATE if is_certificate else SecretForm.TEXT,
        folder=_folder(info),
        may_be_in_vault=True,
    )


def _parse_database(value: object, info: ValidationInfo) -> SecretReference:
    if isinstance(value, SecretReference):
        return value
    return make_reference(value, setting="database", form=SecretForm.DATABASE_URL, folder=_folder(info))


def _parse_cache_key(value: object, info: ValidationInfo) -> SecretReference:
    if isinstance(value, SecretReference):
        return value
    return make_reference(value, setting="token_cache.key", form=SecretForm.FERNET_KEY, folder=_folder(info))


AccountSecret = Annotated[SecretReference | None, PlainValidator(_parse_account_secret), _secret_schema(True)]
DatabaseAddress = Annotated[SecretReference, PlainValidator(_parse_database), _secret_schema(False)]
CacheKey = Annotated[SecretReference, PlainValidator(_parse_cache_key), _secret_schema(False)]


class AccountSettings(Section):
    """A user whose PATs are managed, and the app registration that signs the user in."""

    name: Text = Field(
        description="Your name for the account, in commands and in the audit log.", examples=["build-bot"]
    )
    tenant: Text = Field(
        description="The Entra tenant: its id, one of its domains, or `organizations` for any tenant.",
        examples=["6f89cf12-978b-4d23-ac18-9ef0c127cf87"],
    )
    client_id: Text = Field(
        description="The application (client) id of the app registration.",
        examples=["3f7a1c52-8d44-4be6-9a0e-51c2d7e8b906"],
    )
    username: Text = Field(description="Who must sign in; another user is refused.", examples=["build-bot@contoso.com"])
    organizations: tuple[Text, ...] = Field(
        min_length=1,
        description="The Azure DevOps organizations whose PATs of this user are looked at.",
        examples=[["contoso"]],
    )
    client_secret: AccountSecret = Field(
        default=None,
        description="The secret of a confidential client. Leave it out for a public client.",
        examples=[{"credential": "client-secret"}],
    )
    client_certificate: AccountSecret = Field(
        default=None,
        description="Instead of a secret: certificate and private key of a confidential client in one PEM text.",
        examples=[{"file": "client.pem"}],
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not _ACCOUNT.fullmatch(value):
            raise ValueError(f'"{value}" must be letters, digits, dots, hyphens or underscores, 64 at most')
        return value

    @field_validator("tenant")
    @classmethod
    def _check_tenant(cls, value: str) -> str:
        if value in ("common", "consumers"):
            raise ValueError(f'"{value}" admits personal accounts, which have no PATs: write organizations')
        if value != "organizations" and not _is_uuid(value) and not _DOMAIN.fullmatch(value):
            raise ValueError(f'"{value}" must be a tenant id, a domain such as contoso.com, or organizations')
        return value

    @field_validator("client_id")
    @classmethod
    def _check_client_id(cls, value: str) -> str:
        if not _is_uuid(value):
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
                raise ValueError(f'"{name}" is no organization name: letters, digits and hyphens, 50 at most')
        if len({name.casefold() for name in value}) != len(value):
            raise ValueError("an organization stands here twice")
        return value


class EntraSettings(Section):
    """Where users sign in."""

    authority: ServiceUrl = Field(
        default=PUBLIC_AUTHORITY,
        description="The sign-in service; another one for a national cloud.",
        examples=["https://login.microsoftonline.us"],
    )
    instance_discovery: StrictBool = Field(
        default=True, description="Ask Microsoft whether the authority is one of theirs. Off for a private one."
    )


class AzureDevOpsSettings(Section):
    """Where PATs live."""

    identity_url: ServiceUrl = Field(
        default="https://vssps.dev.azure.com", description="The service that creates and revokes PATs."
    )
    core_url: ServiceUrl = Field(
        default="https://dev.azure.com", description="The service that a new PAT is proved against."
    )
    api_version: Text = Field(default="7.1-preview.1", description="The version of the PAT API.")
    max_parallel: StrictInt = Field(default=8, ge=1, le=64, description="How many PATs are worked on at once.")


class KeyVaultSettings(Section):
    """How the vaults are reached. Which vault a PAT goes to is the policy's matter."""

    credential: Literal["default", "environment", "managed_identity", "workload_identity", "azure_cli", "account"] = (
        Field(
            default="default",
            description="Who writes to the vault: what Azure's libraries find (`default`), one kind of credential, "
            "or the signed-in user of the PAT (`account`).",
        )
    )
    authority: ServiceUrl = Field(
        default=PUBLIC_AUTHORITY, description="The sign-in service for the vault's credential."
    )
    instance_discovery: StrictBool = Field(default=True, description="As in `entra`.")
    verify_challenge_resource: StrictBool = Field(
        default=True,
        description="Refuse a vault whose challenge names another domain. Off for a vault outside of Azure.",
    )


class TokenCacheSettings(Section):
    """Where sign-ins are kept between runs, encrypted."""

    path: FilePath = Field(default="token-cache.bin", validate_default=True, description="The file.")
    key: CacheKey = Field(
        default=DEFAULT_CACHE_KEY,
        validate_default=True,
        description="The Fernet key that encrypts it: 44 characters of url-safe base64. "
        "`rotator init` makes one; so does `openssl rand -base64 32 | tr '+/' '-_'`.",
        examples=[{"file": "token-cache.key"}],
    )


class HttpSettings(Section):
    """What every connection goes by."""

    ca_bundle: OptionalFilePath = Field(
        default=None,
        description="Certificates to trust instead of the usual ones (PEM), for a proxy that inspects TLS.",
        examples=["/etc/ssl/certs/ca-certificates.crt"],
    )
    connect_timeout: Duration = Field(
        default="3s", validate_default=True, description="How long a connection may take to open."
    )
    read_timeout: Duration = Field(
        default="15s", validate_default=True, description="How long an answer may stay silent."
    )


class RotationSettings(Section):
    """The times that recovery and several hosts at once depend on."""

    settle: DurationOrZero = Field(
        default="10m",
        validate_default=True,
        description="How long an unanswered mint or store may still land before recovery decides.",
    )
    lease: Duration = Field(
        default="5m",
        validate_default=True,
        description="How long a run may hold a PAT without renewing its claim.",
    )
    name_marker: bool = Field(
        default=False,
        description="Whether each clone's display name gets a mark, such as `npm-feed #rot-3f9c2a7d10b4e865`, that "
        "proves it ours whatever expiry the server gave it. Without it a clone is known by its exact expiry.",
    )


class Settings(Section):
    """Everything that `rotator.yaml` says, with paths made absolute from the file's folder."""

    database: DatabaseAddress = Field(
        default="sqlite:///rotator.db",
        validate_default=True,
        description="The inventory: a SQLite file for one host, PostgreSQL for several. "
        "The whole address may be a reference, so that a password stays out of this file.",
        examples=["sqlite:////var/lib/rotator/rotator.db", {"env": "ROTATOR_DATABASE"}],
    )
    policy: FilePath = Field(default="policy.yaml", validate_default=True, description="The policy file.")
    accounts: tuple[AccountSettings, ...] = Field(
        min_length=1, description="The users whose PATs are managed, each with its own sign-in."
    )
    entra: Annotated[EntraSettings, EmptyAllowed] = Field(default={}, validate_default=True)
    azure_devops: Annotated[AzureDevOpsSettings, EmptyAllowed] = Field(default={}, validate_default=True)
    key_vault: Annotated[KeyVaultSettings, EmptyAllowed] = Field(default={}, validate_default=True)
    token_cache: Annotated[TokenCacheSettings, EmptyAllowed] = Field(default={}, validate_default=True)
    http: Annotated[HttpSettings, EmptyAllowed] = Field(default={}, validate_default=True)
    rotation: Annotated[RotationSettings, EmptyAllowed] = Field(default={}, validate_default=True)


def _is_uuid(value: str) -> bool:
    try:
        return str(UUID(value)) == value.lower()
    except ValueError:
        return False
