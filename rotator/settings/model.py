"""`rotator.yaml` as a model: its own keys, and one line for each section of `rotator.settings.sections`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from pydantic import Field, PlainValidator

from rotator.settings.fields import FilePath, Filled, Section
from rotator.settings.secret_fields import SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference
from rotator.settings.sections.accounts import AccountSettings
from rotator.settings.sections.azure_devops import AzureDevOpsSettings
from rotator.settings.sections.daemon import DaemonSettings
from rotator.settings.sections.entra import EntraSettings
from rotator.settings.sections.http import HttpSettings
from rotator.settings.sections.key_vault import KeyVaultSettings
from rotator.settings.sections.rotation import RotationSettings
from rotator.settings.sections.token_cache import TokenCacheSettings

_parse_database = partial(parse_secret, setting="database", form=SecretForm.DATABASE_URL)
_DatabaseAddress = Annotated[SecretReference, PlainValidator(_parse_database), SECRET]


class Settings(Section):
    """Everything that `rotator.yaml` says, with paths made absolute from the file's folder."""

    database: _DatabaseAddress = Field(
        default="sqlite:///rotator.db",
        validate_default=True,
        description="The database: a SQLite file for one host, PostgreSQL for several. "
        "To keep a password out of this file, give the whole address as a reference.",
        examples=["sqlite:////var/lib/rotator/rotator.db", {"env": "ROTATOR_DATABASE"}],
    )
    policy: FilePath = Field(default="policy.yaml", validate_default=True, description="The policy file.")
    accounts: tuple[AccountSettings, ...] = Field(
        min_length=1, description="The users whose PATs are managed. Each signs in separately."
    )
    entra: Filled[EntraSettings]
    azure_devops: Filled[AzureDevOpsSettings]
    key_vault: Filled[KeyVaultSettings]
    token_cache: Filled[TokenCacheSettings]
    http: Filled[HttpSettings]
    rotation: Filled[RotationSettings]
    daemon: Filled[DaemonSettings]
