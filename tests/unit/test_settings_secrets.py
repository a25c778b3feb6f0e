"""Secret settings: where they come from, and what is said when they are not there."""

import base64
import os
import re
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from rotator.domain.secret_value import SecretValue
from rotator.errors import ConfigError
from rotator.settings.secrets import SecretForm, SecretReference, describe, make_reference, resolve

CANARY = "canary-4711"


def make(value: object, folder: Path, form: SecretForm = SecretForm.TEXT) -> SecretReference:
    """A reference for a setting that may be in a vault too."""
    return make_reference(value, setting="some.key", form=form, folder=folder, may_be_in_vault=True)


def failure(reference: SecretReference, environ: dict[str, str]) -> ConfigError:
    """The error of resolving."""
    with pytest.raises(ConfigError) as caught:
        resolve(reference, environ, None)
    return caught.value


def test_secret_is_the_literal_when_written_as_text(tmp_path: Path) -> None:
    reference = make(CANARY, tmp_path)
    assert resolve(reference, {}, None).reveal() == CANARY
    assert describe(reference) == "***"
    assert CANARY not in repr(reference)


def test_secret_comes_from_the_environment_when_it_names_a_variable(tmp_path: Path) -> None:
    reference = make({"env": "SOME_KEY"}, tmp_path)
    assert resolve(reference, {"SOME_KEY": f"{CANARY}\n"}, None).reveal() == CANARY
    assert describe(reference) == "{env: SOME_KEY}"


def test_secret_comes_from_the_file_when_the_path_is_relative_to_the_settings(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text(f"{CANARY}\r\n")
    reference = make({"file": "secret.txt"}, tmp_path)
    assert resolve(reference, {}, None).reveal() == CANARY
    assert describe(reference) == f"{{file: {tmp_path}/secret.txt}}"


def test_secret_comes_from_systemd_when_it_is_a_credential(tmp_path: Path) -> None:
    (tmp_path / "cache-key").write_text(CANARY)
    reference = make({"credential": "cache-key"}, tmp_path / "elsewhere")
    assert resolve(reference, {"CREDENTIALS_DIRECTORY": str(tmp_path)}, None).reveal() == CANARY
    assert describe(reference) == "{credential: cache-key}"


def test_secret_comes_from_the_vault_when_it_names_one(tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []

    def fetch(vault: str, name: str) -> SecretValue:
        asked.append((vault, name))
        return SecretValue(CANARY)

    reference = make({"key_vault": {"vault": "https://kv.vault.azure.net/", "name": "app"}}, tmp_path)
    assert resolve(reference, {}, fetch).reveal() == CANARY
    assert asked == [("https://kv.vault.azure.net", "app")]
    assert describe(reference) == "{key_vault: {vault: https://kv.vault.azure.net, name: app}}"


@pytest.mark.parametrize(
    ("value", "environ", "message", "fix"),
    [
        ({"env": "SOME_KEY"}, {}, "some.key: the environment variable SOME_KEY is not set", "Set SOME_KEY, or"),
        ({"env": "SOME_KEY"}, {"SOME_KEY": " "}, "some.key: {env: SOME_KEY} is empty", "Put the secret there, or"),
        ({"file": "none"}, {}, "none cannot be read: No such file or directory", "Create it, readable by"),
        ({"file": "."}, {}, "cannot be read: Is a directory", "Create it, readable by"),
        ({"credential": "k"}, {}, "CREDENTIALS_DIRECTORY is not set", "LoadCredential=k:PATH"),
        ({"credential": "k"}, {"CREDENTIALS_DIRECTORY": "/none"}, "/none/k cannot be read", "LoadCredential=k:PATH"),
        (
            {"key_vault": {"vault": "https://kv", "name": "n"}},
            {},
            "secrets in Key Vault cannot be used here",
            "Give it as {env: NAME} or {file: PATH}, or change some.key",
        ),
    ],
)  # fmt: skip
def test_secret_error_says_what_is_missing_and_what_to_do_when_it_is_not_there(
    tmp_path: Path, value: object, environ: dict[str, str], message: str, fix: str
) -> None:
    error = failure(make(value, tmp_path), environ)
    assert message in str(error)
    assert fix in error.fix
    assert "some.key" in str(error)


def test_secret_file_is_refused_when_it_is_a_pipe_that_nobody_writes_or_far_too_large(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("x" * 65_537)
    assert "is no regular file" in str(failure(make({"file": "pipe"}, tmp_path), {}))
    assert "is too large for a secret: 65537 bytes" in str(failure(make({"file": "large"}, tmp_path), {}))


@pytest.mark.parametrize(
    ("mode", "is_refused", "told"),
    [
        (0o600, False, []),
        (0o640, False, ["its group can read"]),
        (0o660, False, ["its group can read", "its group can change"]),
        (0o620, False, ["its group can change"]),
        (0o622, True, []),
        (0o644, True, []),
        (0o666, True, []),
    ],
)
@pytest.mark.parametrize("is_literal", [False, True])
def test_key_is_refused_or_told_when_others_can_read_or_change_where_it_stands(
    tmp_path: Path, mode: int, is_refused: bool, told: list[str], is_literal: bool
) -> None:
    key = Fernet.generate_key().decode()
    path = tmp_path / ("rotator.yaml" if is_literal else "key")
    path.write_text(key)
    path.chmod(mode)
    value = key if is_literal else {"file": "key"}
    reference = make_reference(
        value, setting="token_cache.key", form=SecretForm.FERNET_KEY, folder=tmp_path, file=tmp_path / "rotator.yaml"
    )
    warned: list[str] = []
    if is_refused:
        with pytest.raises(ConfigError, match="every user of this host can") as caught:
            resolve(reference, {}, None, lambda setting, problem, _: warned.append(f"{setting}: {problem}"))
        assert "chmod 600" in caught.value.fix
    else:
        resolve(reference, {}, None, lambda setting, problem, _: warned.append(f"{setting}: {problem}"))
    assert warned == [f"token_cache.key: {what} {path}" for what in told]


@pytest.mark.parametrize(
    ("form", "text", "told"),
    [
        (SecretForm.TEXT, "a-client-secret", 2),
        (SecretForm.DATABASE_URL, "sqlite:///rotator.db", 0),
        (SecretForm.DATABASE_URL, "postgresql+psycopg://u@h/rotator", 0),
        (SecretForm.DATABASE_URL, "postgresql+psycopg://u:p@h/rotator", 2),
        (SecretForm.PROXY, "http://proxy:3128", 0),
        (SecretForm.PROXY, "http://u:p@proxy:3128", 2),
        (SecretForm.PING_URL, "https://hc-ping.com/a-key", 2),
    ],
)
def test_other_secret_in_the_settings_is_told_when_everybody_can_read_or_change_them(
    tmp_path: Path, form: SecretForm, text: str, told: int
) -> None:
    settings = tmp_path / "rotator.yaml"
    settings.touch()
    settings.chmod(0o666)
    reference = make_reference(text, setting="some.key", form=form, folder=tmp_path, file=settings)
    warned: list[str] = []
    resolve(reference, {}, None, lambda setting, problem, _: warned.append(f"{setting}: {problem}"))
    assert len(warned) == told
    assert "a-client-secret" not in "".join(warned)


def test_secret_has_no_byte_order_mark_when_its_file_begins_with_one(tmp_path: Path) -> None:
    """Editors of Windows write one, and no service would know the secret."""
    (tmp_path / "secret.txt").write_bytes(b"\xef\xbb\xbf" + f"{CANARY}\r\n".encode())
    assert resolve(make({"file": "secret.txt"}, tmp_path), {}, None).reveal() == CANARY


def test_secret_file_is_refused_when_it_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in str(failure(make({"file": "secret"}, tmp_path), {}))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", "must not be empty"),
        (4711, "must be text in quotes, or {env: ...}, {file: ...}, {credential: ...} or {key_vault: ...}"),
        ([CANARY], "must be text in quotes"),
        ({}, "must be exactly one of"),
        ({"env": "A", "file": "b"}, "must be exactly one of"),
        ({"value": CANARY}, "must be exactly one of"),
        ({"env": f"{CANARY}!"}, "takes the name of an environment variable, not the secret itself"),
        ({"credential": "../etc/shadow"}, "takes the name of a credential, not the secret itself"),
        ({"env": 7}, "needs a name, as text"),
        ({"file": ""}, "needs a name, as text"),
        ({"key_vault": "https://kv"}, "takes two keys"),
        ({"key_vault": {"vault": "https://kv", "name": "a_b"}}, "letters, digits and hyphens"),
        ({"key_vault": {"vault": "kv-name", "name": "n"}}, "write https://kv-name.vault.azure.net"),
    ],
)
def test_reference_is_refused_without_its_value_when_it_is_written_wrong(
    tmp_path: Path, value: object, expected: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(expected)) as caught:
        make(value, tmp_path)
    assert CANARY not in str(caught.value)


def test_reference_to_a_vault_is_refused_when_the_setting_may_not_be_there(tmp_path: Path) -> None:
    value = {"key_vault": {"vault": "https://kv", "name": "n"}}
    with pytest.raises(ValueError, match=re.escape("of {env: ...}, {file: ...} or {credential: ...}")):
        make_reference(value, setting="token_cache.key", form=SecretForm.FERNET_KEY, folder=tmp_path)


def test_cache_key_is_accepted_when_fernet_made_it(tmp_path: Path) -> None:
    key = Fernet.generate_key().decode()
    reference = make({"env": "KEY"}, tmp_path, SecretForm.FERNET_KEY)
    assert resolve(reference, {"KEY": key}, None).reveal() == key


@pytest.mark.parametrize("key", [CANARY, "a" * 44, "a" * 43 + "!", base64.b64encode(b"x" * 16).decode()])
def test_cache_key_is_refused_with_the_command_that_makes_one_when_it_is_no_key(tmp_path: Path, key: str) -> None:
    error = failure(make({"env": "KEY"}, tmp_path, SecretForm.FERNET_KEY), {"KEY": key})
    assert "some.key: the value of {env: KEY} cannot be used: it is not a Fernet key" in str(error)
    assert "openssl rand -base64 32" in str(error)
    assert key not in str(error)
    assert error.__cause__ is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (CANARY, "it contains no certificate in PEM form"),
        (f"-----BEGIN CERTIFICATE-----\n{CANARY}\n", "it contains no private key in PEM form"),
    ],
)
def test_certificate_is_refused_when_a_part_is_missing(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "client.pem").write_text(text)
    (tmp_path / "client.pem").chmod(0o600)
    error = failure(make({"file": "client.pem"}, tmp_path, SecretForm.CERTIFICATE), {})
    assert expected in str(error)
    assert CANARY not in str(error)


def test_certificate_is_accepted_when_certificate_and_key_are_there(tmp_path: Path) -> None:
    text = "-----BEGIN PRIVATE KEY-----\nx\n-----BEGIN CERTIFICATE-----\ny"
    (tmp_path / "client.pem").write_text(text)
    (tmp_path / "client.pem").chmod(0o600)
    reference = make({"file": "client.pem"}, tmp_path, SecretForm.CERTIFICATE)
    assert resolve(reference, {}, None).reveal() == text


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:///a/b.db", "sqlite:///{folder}/a/b.db"),
        ("sqlite:////var/lib/b.db", "sqlite:////var/lib/b.db"),
        ("sqlite:///a b.db", "sqlite:///{folder}/a b.db"),
        ("sqlite:///a%20%25%3Fb.db", "sqlite:///{folder}/a %25%3Fb.db"),
        ("SQLite:////var/lib/b%.db", "sqlite:////var/lib/b%25.db"),
        ("postgresql+psycopg://u:p@h:5432/d", "postgresql+psycopg://u:p@h:5432/d"),
        ("postgresql+psycopg:///d?host=/run/postgresql", "postgresql+psycopg:///d?host=/run/postgresql"),
    ],
)
def test_database_address_has_an_absolute_path_when_resolved(tmp_path: Path, url: str, expected: str) -> None:
    reference = make({"env": "DB"}, tmp_path, SecretForm.DATABASE_URL)
    assert resolve(reference, {"DB": url}, None).reveal() == expected.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql+psycopg://u:canary@h/d", "postgresql+psycopg://u:***@h/d"),
        ("postgresql+psycopg://u:can@ary@h/d", "postgresql+psycopg://u:***@h/d"),
        ("postgresql+psycopg://h/d?user=u&password=canary", "postgresql+psycopg://h/d?user=u&password=***"),
        ("postgresql+psycopg://h/d?user=u&password=can@ary", "postgresql+psycopg://h/d***"),
        ("postgresql+psycopg://h:5432/d?user=u&password=can@ary", "postgresql+psycopg://h***"),
        ("postgresql+psycopg://h/d?pass%77ord=canary", "postgresql+psycopg://h/d?pass%77ord=***"),
        ("postgresql+psycopg://u@h/d", "postgresql+psycopg://u@h/d"),
        ("sqlite:////b.db", "sqlite:////b.db"),
    ],
)
def test_database_address_is_described_without_its_password_when_shown(tmp_path: Path, url: str, expected: str) -> None:
    assert describe(make(url, tmp_path, SecretForm.DATABASE_URL)) == expected
