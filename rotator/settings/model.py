"""`rotator.yaml` as a model: its own keys, and one line for each section of `rotator.settings.sections`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, StrictBool

from rotator.domain.hook import HookTerms
from rotator.settings.addresses import parse_listening
from rotator.settings.fields import FilePath, Filled, OptionalFilePath, Section, Text
from rotator.settings.problem import Location
from rotator.settings.secret_fields import SECRET, parse_secret
from rotator.settings.secrets import SecretForm, SecretReference
from rotator.settings.sections.accounts import AccountSettings
from rotator.settings.sections.audit import AuditSettings
from rotator.settings.sections.azure_devops import AzureDevOpsSettings
from rotator.settings.sections.daemon import DaemonSettings
from rotator.settings.sections.entra import EntraSettings
from rotator.settings.sections.hooks import HookSettings
from rotator.settings.sections.http import HttpSettings
from rotator.settings.sections.key_vault import KeyVaultSettings
from rotator.settings.sections.notify import NotifySettings
from rotator.settings.sections.pings import PingSettings
from rotator.settings.sections.rotation import RotationSettings
from rotator.settings.sections.token_cache import TokenCacheSettings

_parse_database = partial(parse_secret, setting="database", form=SecretForm.DATABASE_URL)
_DatabaseAddress = Annotated[SecretReference, PlainValidator(_parse_database), SECRET]


def _check_listening(text: str) -> str:
    parse_listening(text)
    return text


def _check_textfile(path: Path | None) -> Path | None:
    if path is not None and path.suffix != ".prom":
        raise ValueError(f'"{path}" must end in .prom: the node exporter reads no other files')
    return path


_ListenAddress = Annotated[Text, AfterValidator(_check_listening)]
_Textfile = Annotated[OptionalFilePath, AfterValidator(_check_textfile)]


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
    listen: _ListenAddress | None = Field(
        default=None,
        description="Where the daemon serves a status page at `/`, and `/metrics`, `/healthz` and `/readyz`: an "
        "address of this host and a port, or `unix:` and the path of a socket, which the daemon's group may use. "
        "Without it, nowhere.",
        examples=["127.0.0.1:9464", "[::1]:9464", "unix:/run/rotator/http.sock"],
    )
    listen_public: StrictBool = Field(
        default=False,
        description="Allow an address in `listen` that other hosts can reach. There is no password: whoever reaches it "
        "can read the names of all PATs, how each stands and what is wrong with it.",
    )
    metrics_names: StrictBool = Field(
        default=True,
        description="Whether the metrics and the status page name PATs. `false`: each has an opaque id there, which "
        "`rotator inventory show` tells, and messages that may contain names are left out.",
    )
    metrics_textfile: _Textfile = Field(
        default=None,
        description="A file that the metrics are written to after every run of `rotator once` and every job of the "
        "daemon, for the textfile collector of Prometheus' node exporter. Its name must end in `.prom`.",
        examples=["/var/lib/prometheus/node-exporter/rotator.prom"],
    )
    pings: tuple[PingSettings, ...] = Field(
        default=(),
        description="Checks that are pinged when a job begins and ends: they raise an alarm when no ping comes.",
    )

    notify: tuple[NotifySettings, ...] = Field(
        default=(),
        description="Who is notified of problems, and when they are over: by chat, mail and much else through apprise, "
        "or by webhook.",
    )
    hooks: tuple[HookSettings, ...] = Field(
        default=(), description="What is called when something happens: commands and webhooks."
    )
    audit: Filled[AuditSettings]

    def list_hook_terms(self) -> tuple[HookTerms, ...]:
        """Return the name of each hook, and when it is called."""
        return tuple(hook.make_terms() for hook in self.hooks)

    def list_secrets(self) -> list[SecretReference]:
        """Return every secret that these settings refer to and that a process may need."""
        return [secret for _, secret in self.place_secrets()]

    def place_previous_keys(self) -> Iterator[tuple[Location, SecretReference]]:
        """Give the keys of before, with where each stands: only some processes need them."""
        for section, keys in (("token_cache", self.token_cache.previous_keys), ("audit", self.audit.previous_keys)):
            yield from (((section, "previous_keys", index), key) for index, key in enumerate(keys))

    def place_secrets(self) -> Iterator[tuple[Location, SecretReference]]:
        """Give where each of these secrets stands, with the secret."""
        single = {
            ("database",): self.database,
            ("token_cache", "key"): self.token_cache.key,
            ("http", "proxy"): self.http.proxy,
            ("audit", "signing_key"): self.audit.signing_key,
        }
        yield from ((location, secret) for location, secret in single.items() if secret is not None)
        lists: tuple[tuple[str, Sequence[Section], tuple[str, ...]], ...] = (
            ("accounts", self.accounts, ("client_secret", "client_certificate")),
            ("pings", self.pings, ("url",)),
            ("notify", self.notify, ("url", "secret")),
            ("hooks", self.hooks, ("url", "secret")),
        )
        for section, entries, keys in lists:
            for index, entry in enumerate(entries):
                for key in keys:
                    if (secret := getattr(entry, key)) is not None:
                        yield (section, index, key), secret
        for index, anchor in enumerate(self.audit.anchors):
            for key in ("webhook", "secret"):
                if (secret := getattr(anchor, key)) is not None:
                    yield ("audit", "anchors", index, key), secret
