"""`token_cache`: where sign-ins are stored."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from pydantic import Field, PlainValidator

from rotator.settings.fields import FilePath, Section
from rotator.settings.secret_fields import SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference

_parse_key = partial(parse_secret, setting="token_cache.key", form=SecretForm.FERNET_KEY)
_CacheKey = Annotated[SecretReference, PlainValidator(_parse_key), SECRET]
_parse_previous = partial(parse_secret, setting="token_cache.previous_keys", form=SecretForm.FERNET_KEY)
_PreviousKey = Annotated[SecretReference, PlainValidator(_parse_previous), SECRET]


class TokenCacheSettings(Section):
    """Where sign-ins are stored, encrypted."""

    store: Literal["file", "database"] = Field(
        default="file",
        description="Where they are: in a file of this host, or in the database, where every host that shares it has "
        "the same sign-ins. That needs PostgreSQL.",
    )
    path: FilePath = Field(
        default="token-cache.bin",
        validate_default=True,
        description="The file that holds the sign-ins, where `store` is `file`.",
    )
    key: _CacheKey = Field(
        default={"env": "ROTATOR_TOKEN_CACHE_KEY"},
        validate_default=True,
        description="The Fernet key that encrypts them: 44 characters of URL-safe base64. "
        "`rotator init` creates one; so does `openssl rand -base64 32 | tr '+/' '-_'`.",
        examples=[{"file": "token-cache.key"}],
    )
    previous_keys: tuple[_PreviousKey, ...] = Field(
        default=(),
        description="Keys that they may still be encrypted with. When they are next written, `key` encrypts them.",
        examples=[[{"file": "token-cache-2025.key"}]],
    )
