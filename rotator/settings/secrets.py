"""Where a secret setting comes from, and fetching it when it is needed.

A secret is written as a literal, or better as a reference: `{env: NAME}`, `{file: PATH}`, `{credential: NAME}` (a
systemd credential), and for an app's own secret or certificate `{key_vault: {vault: URL, name: NAME}}`.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError
from rotator.settings.addresses import (
    check_apprise_url,
    check_ping_url,
    check_proxy,
    check_webhook_url,
    parse_vault,
)
from rotator.settings.database_url import make_database_url, mask_database_url
from rotator.settings.paths import expand_home
from rotator.settings.words import say_alternatives

FetchFromVault = Callable[[str, str], SecretValue]
"""(vault URL, secret name) -> its current value."""

Warn = Callable[[str, str, str], None]
"""Told which setting has a problem that is no error, the problem, and its fix."""

MAKE_SIGNING_KEY = "openssl genpkey -algorithm ed25519"
_ED25519 = bytes.fromhex("302e020100300506032b657004220420")
"""What the 32 bytes of an Ed25519 key follow in PKCS#8."""
MAKE_KEY = "openssl rand -base64 32 | tr '+/' '-_'"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_CREDENTIAL = re.compile(r"[A-Za-z0-9_.-]+")
_SECRET_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")


class SecretSource(StrEnum):
    """How a secret is given."""

    LITERAL = "literal"
    ENV = "env"
    FILE = "file"
    CREDENTIAL = "credential"
    KEY_VAULT = "key_vault"


class SecretForm(StrEnum):
    """What a secret must look like once it is there."""

    TEXT = "text"
    FERNET_KEY = "fernet_key"
    CERTIFICATE = "certificate"
    DATABASE_URL = "database_url"
    PROXY = "proxy"
    PING_URL = "ping_url"
    WEBHOOK_URL = "webhook_url"
    APPRISE_URL = "apprise_url"
    SIGNING_KEY = "signing_key"
    ED25519_KEY = "ed25519_key"


_KEYS = frozenset({SecretForm.FERNET_KEY, SecretForm.CERTIFICATE, SecretForm.ED25519_KEY})


@dataclass(frozen=True)
class SecretReference:
    """A secret setting. `setting` names it in errors: `token_cache.key`.

    `name` is the variable, the absolute path, the credential or the vault secret; `literal` is set for a literal
    only. `folder` is the settings file's, which relative paths start from; `file` is the settings file, if it is read
    from one.
    """

    setting: str
    source: SecretSource
    form: SecretForm
    folder: Path
    name: str = ""
    vault: str = ""
    literal: SecretValue | None = None
    file: Path | None = None


def make_reference(
    value: object,
    *,
    setting: str,
    form: SecretForm,
    folder: Path,
    file: Path | None = None,
    may_be_in_vault: bool = False,
) -> SecretReference:
    """The reference that a setting's value gives. ValueError, never with the value in it, when it is not one."""
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("must not be empty")
        literal = SecretValue(value)
        check_form(literal, form, folder)
        return SecretReference(setting, SecretSource.LITERAL, form, folder, literal=literal, file=file)
    sources = [source for source in SecretSource if source is not SecretSource.LITERAL]
    if not may_be_in_vault:
        sources.remove(SecretSource.KEY_VAULT)
    ways = say_alternatives(f"{{{source}: ...}}" for source in sources)
    if not isinstance(value, Mapping):
        raise ValueError(f"must be text in quotes, or {ways}")
    given = [source for source in sources if source in value]
    if len(given) != 1 or len(value) != 1:
        raise ValueError(f"must be exactly one of {ways}")
    source = given[0]
    inner = value[source]
    if source is SecretSource.KEY_VAULT:
        vault, name = _read_vault_reference(inner)
        return SecretReference(setting, source, form, folder, name, vault)
    if not isinstance(inner, str) or not inner.strip():
        raise ValueError(f"{{{source}: ...}} needs a name, as text")
    if source is SecretSource.FILE:
        return SecretReference(setting, source, form, folder, str(folder / expand_home(inner)))
    if not (_NAME if source is SecretSource.ENV else _CREDENTIAL).fullmatch(inner):
        kind = "an environment variable" if source is SecretSource.ENV else "a credential"
        raise ValueError(f"{{{source}: ...}} takes the name of {kind}, not the secret itself")
    return SecretReference(setting, source, form, folder, inner)


def _read_vault_reference(value: object) -> tuple[str, str]:
    if not isinstance(value, Mapping) or set(value) != {"vault", "name"}:
        raise ValueError("{key_vault: ...} takes two keys: {vault: https://NAME.vault.azure.net, name: SECRET}")
    name = value["name"]
    if not isinstance(name, str) or not _SECRET_NAME.fullmatch(name):
        raise ValueError("key_vault.name must be a secret's name: letters, digits and hyphens")
    return parse_vault(value["vault"]), name


def _say_nothing(setting: str, problem: str, fix: str) -> None:
    """Keep it to ourselves."""


def resolve(
    reference: SecretReference,
    environ: Mapping[str, str],
    fetch_from_vault: FetchFromVault | None,
    warn: Warn = _say_nothing,
) -> SecretValue:
    """The secret itself, in the form it must have; a database URL comes with an absolute SQLite path.

    `warn` is told of a file that too many can read.

    ConfigError names the setting, what is missing and what to do. Errors of `fetch_from_vault` pass through.
    """
    secret = _fetch(reference, environ, fetch_from_vault, warn)
    if not secret.reveal().strip():
        raise _make_error(reference, f"{describe(reference)} is empty", "Put the secret there")
    try:
        return check_form(secret, reference.form, reference.folder)
    except ValueError as error:
        reason, fix = f"the value of {describe(reference)} cannot be used: {error}", "Correct it"
        raise _make_error(reference, reason, fix) from None


_LARGEST = 64 * 1024
"""Bytes. The largest secret is a private key of a few kB."""


def _fetch(
    reference: SecretReference, environ: Mapping[str, str], fetch_from_vault: FetchFromVault | None, warn: Warn
) -> SecretValue:
    name = reference.name
    if reference.literal is not None:
        if reference.file is not None and _is_secret(reference.literal, reference.form):
            _check_mode(reference, reference.file, warn)
        return reference.literal
    if reference.source is SecretSource.ENV:
        if name not in environ:
            raise _make_error(reference, f"the environment variable {name} is not set", f"Set {name}")
        return SecretValue(environ[name].strip("\r\n"))
    if reference.source is SecretSource.FILE:
        _check_mode(reference, Path(name), warn)
        return _read_file(reference, Path(name), "Create it, readable by the user rotator runs as")
    if reference.source is SecretSource.CREDENTIAL:
        folder = environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise _make_error(
                reference,
                f"the systemd credential {name} is not available, because CREDENTIALS_DIRECTORY is not set",
                f"Run rotator as a systemd unit with LoadCredential={name}:PATH",
            )
        return _read_file(reference, Path(folder) / name, f"Add LoadCredential={name}:PATH to the unit")
    if fetch_from_vault is None:
        raise _make_error(
            reference, "secrets in Key Vault cannot be used here", "Give it as {env: NAME} or {file: PATH}"
        )
    return fetch_from_vault(reference.vault, name)


def _check_mode(reference: SecretReference, path: Path, warn: Warn) -> None:
    """Refuse a key that every user of this host can read or change; tell of whoever else can, and of other secrets."""
    try:
        mode = path.stat().st_mode  # of the file itself: Kubernetes mounts secrets as links
    except OSError:
        return  # reading it says what is wrong
    fix = f"Run: chmod 600 {path} (in Kubernetes, set the volume's defaultMode to 0400 or 0440)"
    if reference.literal is not None:
        fix = f"Run: chmod 600 {path}, or keep the secret in a file of its own: {{file: PATH}}"
    for others, group, act in ((stat.S_IROTH, stat.S_IRGRP, "read"), (stat.S_IWOTH, stat.S_IWGRP, "change")):
        who = "every user of this host" if mode & others else "its group" if mode & group else None
        if who is None:
            continue
        problem = f"{who} can {act} {path}"
        if mode & others and reference.form in _KEYS:
            raise ConfigError([problem], setting=reference.setting, fix=fix)
        warn(reference.setting, problem, fix)


def _is_secret(literal: SecretValue, form: SecretForm) -> bool:
    """Whether a text in the settings is secret: an address is, if it holds a password."""
    if form not in (SecretForm.DATABASE_URL, SecretForm.PROXY):
        return True
    return mask_database_url(literal.reveal()) != literal.reveal()


def _read_file(reference: SecretReference, path: Path, fix: str) -> SecretValue:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise _make_error(reference, f"{path} is no regular file", fix)
        if found.st_size > _LARGEST:
            raise _make_error(reference, f"{path} is too large for a secret: {found.st_size} bytes", fix)
        return SecretValue(path.read_text(encoding="utf-8-sig").strip("\r\n"))
    except UnicodeDecodeError:
        raise _make_error(reference, f"{path} is not UTF-8 text", "Store the secret as text") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _make_error(reference, f"{path} cannot be read: {reason}", fix) from None


def _make_error(reference: SecretReference, what: str, fix: str) -> ConfigError:
    setting = reference.setting
    return ConfigError([what], setting=setting, fix=f"{fix}, or change {setting} in the settings.")


def describe(reference: SecretReference) -> str:
    """The reference as it is written, a literal as `***`; of a database address all but the password."""
    if reference.literal is not None:
        is_url = reference.form in (SecretForm.DATABASE_URL, SecretForm.PROXY)
        return mask_database_url(reference.literal.reveal()) if is_url else "***"
    if reference.source is SecretSource.KEY_VAULT:
        return f"{{key_vault: {{vault: {reference.vault}, name: {reference.name}}}}}"
    return f"{{{reference.source}: {reference.name}}}"


def check_form(secret: SecretValue, form: SecretForm, folder: Path) -> SecretValue:
    """The secret, made usable. ValueError, never with the value in it, when it does not have the required form."""
    value = secret.reveal()
    if form is SecretForm.FERNET_KEY and not _is_fernet_key(value):
        raise ValueError(f"it is not a Fernet key (44 characters of url-safe base64); make one with: {MAKE_KEY}")
    if form is SecretForm.CERTIFICATE:
        if "-----BEGIN CERTIFICATE-----" not in value:
            raise ValueError("it contains no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
        if "PRIVATE KEY-----" not in value:
            raise ValueError("it contains no private key in PEM form: put certificate and key into one text")
    if form is SecretForm.PING_URL:
        return SecretValue(check_ping_url(value.strip()))
    if form is SecretForm.WEBHOOK_URL:
        return SecretValue(check_webhook_url(value.strip()))
    if form is SecretForm.APPRISE_URL:
        return SecretValue(check_apprise_url(value.strip()))
    if form is SecretForm.SIGNING_KEY and not _is_signing_key(value.strip()):
        raise ValueError(
            "it is not whsec_ and 24 to 64 bytes in base64; make one with: echo whsec_$(openssl rand -base64 32)"
        )
    if form is SecretForm.ED25519_KEY and not _is_ed25519_key(value):
        raise ValueError(f"it is not an Ed25519 private key in PEM (PKCS#8); make one with: {MAKE_SIGNING_KEY}")
    if form is SecretForm.PROXY:
        return SecretValue(check_proxy(value.strip()))
    if form is SecretForm.DATABASE_URL:
        return SecretValue(make_database_url(value.strip(), folder))
    return secret


def _is_fernet_key(value: str) -> bool:
    try:
        return len(value) == 44 and len(base64.b64decode(value, altchars=b"-_", validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


def _is_ed25519_key(value: str) -> bool:
    lines = value.strip().splitlines()
    if (lines[:1], lines[-1:]) != (["-----BEGIN PRIVATE KEY-----"], ["-----END PRIVATE KEY-----"]):
        return False
    try:
        key = base64.b64decode("".join(lines[1:-1]), validate=True)
    except (binascii.Error, ValueError):
        return False
    return key.startswith(_ED25519) and len(key) == len(_ED25519) + 32


def _is_signing_key(value: str) -> bool:
    try:
        key = base64.b64decode(value.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        return False
    return value.startswith("whsec_") and 24 <= len(key) <= 64
