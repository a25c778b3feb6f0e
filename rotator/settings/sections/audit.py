"""`audit`: how the audit log is sealed."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StrictBool,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from rotator.domain.checkpoint import decode_public_key
from rotator.settings.fields import AuthorityUrl, OptionalFilePath, Section, Text
from rotator.settings.secret_fields import OPTIONAL_LOCAL_SECRET, OPTIONAL_SECRET, SECRET_OR_VAULT, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference


def _parse_key(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None:
        return None
    form = SecretForm.ED25519_KEY
    return parse_secret(value, info, setting="audit.signing_key", form=form, may_be_in_vault=True)


def _parse_previous(value: object, info: ValidationInfo) -> SecretReference:
    form = SecretForm.ED25519_KEY
    return parse_secret(value, info, setting="audit.previous_keys", form=form, may_be_in_vault=True)


def _make_list(value: object) -> object:
    """One key stands for a list of one; nothing for none."""
    return () if value is None else (value,) if isinstance(value, str) else value


_PreviousKey = Annotated[SecretReference, PlainValidator(_parse_previous), SECRET_OR_VAULT]
_SigningKey = Annotated[SecretReference | None, PlainValidator(_parse_key), OPTIONAL_SECRET]
_PublicKeys = Annotated[
    tuple[Text, ...],
    BeforeValidator(_make_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
]


def _parse_webhook(value: object, info: ValidationInfo) -> SecretReference | None:
    return None if value is None else parse_secret(value, info, setting="audit.anchors", form=SecretForm.WEBHOOK_URL)


def _parse_signing(value: object, info: ValidationInfo) -> SecretReference | None:
    return None if value is None else parse_secret(value, info, setting="audit.anchors", form=SecretForm.SIGNING_KEY)


_Webhook = Annotated[SecretReference | None, PlainValidator(_parse_webhook), OPTIONAL_LOCAL_SECRET]
_Signing = Annotated[SecretReference | None, PlainValidator(_parse_signing), OPTIONAL_LOCAL_SECRET]


def _allow_word(schema: dict[str, Any]) -> None:
    """`vault` alone will do, beside a mapping."""
    schema |= {"type": ["object", "string"], "pattern": "^vault$"}


class AnchorSettings(Section):
    """Where checkpoints are kept outside of the database. One of `vault`, `file`, `webhook` and `stamps` is set."""

    model_config = ConfigDict(json_schema_extra=_allow_word)

    vault: StrictBool = Field(
        default=False,
        description="In a secret of our own, `rotator-audit-` and the installation's id, in each vault that the policy "
        "names. The word `vault` alone means this.",
    )
    file: OptionalFilePath = Field(
        default=None,
        description="In a file, one line each, which is only ever appended to. It helps most where those who own this "
        "host cannot change it: on another host, or where it can only be appended to.",
        examples=["/mnt/audit/anchors.jsonl"],
    )
    webhook: _Webhook = Field(
        default=None,
        description="With whoever listens there: each checkpoint is sent in a POST. Whoever knows the address can "
        "write there, so give it as a reference.",
        examples=[{"credential": "anchor-webhook"}],
    )
    secret: _Signing = Field(
        default=None,
        description="What these requests are signed with, by the rules of Standard Webhooks: `whsec_` and 24 to 64 "
        "bytes in base64.",
        examples=[{"credential": "webhook-secret"}],
    )

    stamps: OptionalFilePath = Field(
        default=None,
        description="In a file as above, each with a time stamp (RFC 3161): `authority` signs that it existed, and "
        "when. So who owns this host, the key and the vaults cannot date a log back.",
        examples=["audit-stamps.jsonl"],
    )
    authority: AuthorityUrl | None = Field(
        default=None,
        description="Who is asked for the time stamps.",
        examples=["http://timestamp.digicert.com"],
    )
    certificates: OptionalFilePath = Field(
        default=None,
        description="The certificates (PEM) that the authority's stamps are checked with: its root, and those between "
        "that are not in the stamps.",
        examples=["/etc/rotator/time-stamps.pem"],
    )

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kinds = (self.file, self.webhook, self.stamps)
        if self.vault + sum(kind is not None for kind in kinds) != 1:
            raise ValueError("needs one of vault, file, webhook and stamps")
        if any((self.stamps is None) != (given is None) for given in (self.authority, self.certificates)):
            raise ValueError("stamps, authority and certificates belong together")
        if self.secret is not None and self.webhook is None:
            raise ValueError("secret is for a webhook only")
        return self


def _fill_word(value: object) -> object:
    return {"vault": True} if value == "vault" else value


class AuditSettings(Section):
    """How the audit log is sealed, so that nobody who can write to the database can rewrite it unseen."""

    signing_key: _SigningKey = Field(
        default=None,
        description="The Ed25519 private key (PEM, PKCS#8) that signs the checkpoints of the audit log. Keep it away "
        "from the database and its backups. `rotator init` creates one; so does `openssl genpkey -algorithm ed25519`. "
        "Without it, the checkpoints are not signed.",
        examples=[{"file": "audit-signing.key"}, {"credential": "audit-signing-key"}],
    )
    previous_keys: tuple[_PreviousKey, ...] = Field(
        default=(),
        description="Private keys that signed before. The next run that seals the log has the old key sign that the "
        "new one follows it (`signing_key_changed`); remove the old key then.",
        examples=[[{"file": "audit-signing-2025.key"}]],
    )
    public_key: _PublicKeys = Field(
        default=(),
        validate_default=True,
        description="The public key that the checkpoints are checked with, as `rotator init` printed it: 64 characters "
        "of hex (or 44 of base64, as in earlier versions). A list if there were others before, the newest first. "
        "Without it, that of `signing_key` alone.",
        examples=["1837792dff45495830260acc1042449d4f8f519a82e3e4a6f1fea1dac2b4bc19"],
    )

    anchors: tuple[Annotated[AnchorSettings, BeforeValidator(_fill_word)], ...] = Field(
        default=("vault",),
        validate_default=True,
        description="Where the checkpoints are kept outside of the database: `vault`, in files, by webhooks, with time "
        "stamps. `[]`: nowhere.",
    )

    @field_validator("public_key")
    @classmethod
    def _check_public_key(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            try:
                decode_public_key(key)
            except ValueError:
                raise ValueError(f'"{key}" is not an Ed25519 public key: 64 characters of hex') from None
        return value
