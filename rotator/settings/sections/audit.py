"""`audit`: how the audit log is sealed."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema, field_validator

from rotator.domain.checkpoint import decode_public_key
from rotator.settings.fields import Section, Text
from rotator.settings.secret_fields import OPTIONAL_SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference


def _parse_key(value: object, info: ValidationInfo) -> SecretReference | None:
    if value is None:
        return None
    form = SecretForm.ED25519_KEY
    return parse_secret(value, info, setting="audit.signing_key", form=form, may_be_in_vault=True)


def _make_list(value: object) -> object:
    """One key stands for a list of one; nothing for none."""
    return () if value is None else (value,) if isinstance(value, str) else value


_SigningKey = Annotated[SecretReference | None, PlainValidator(_parse_key), OPTIONAL_SECRET]
_PublicKeys = Annotated[
    tuple[Text, ...],
    BeforeValidator(_make_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "null"}]}),
]


class AuditSettings(Section):
    """How the audit log is sealed, so that nobody who can write to the database can rewrite it unseen."""

    signing_key: _SigningKey = Field(
        default=None,
        description="The Ed25519 private key (PEM, PKCS#8) that signs the checkpoints of the audit log. Keep it away "
        "from the database and its backups. `rotator init` creates one; so does `openssl genpkey -algorithm ed25519`. "
        "Without it, the checkpoints are not signed.",
        examples=[{"file": "audit-signing.key"}, {"credential": "audit-signing-key"}],
    )
    public_key: _PublicKeys = Field(
        default=(),
        validate_default=True,
        description="The public key that the checkpoints are checked with, as `rotator init` printed it: 44 characters "
        "of base64. A list if there were others before. Without it, that of `signing_key` alone.",
        examples=["GDd5Lf9FSVgwJgrMEEJEnU+PUZqC4+Sm8f6h2sK0vBk="],
    )

    anchors: tuple[Literal["vault"], ...] = Field(
        default=("vault",),
        description="Where the checkpoints are kept outside of the database: `vault` is a secret of our own, "
        "`rotator-audit-` and the installation's id, in each vault that the policy names. `[]`: nowhere.",
    )

    @field_validator("public_key")
    @classmethod
    def _check_public_key(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for key in value:
            try:
                decode_public_key(key)
            except ValueError:
                raise ValueError(f'"{key}" is not an Ed25519 public key: 44 characters of base64') from None
        return value
