"""Settings reach what they are for, in the whole command: a proxy, old keys of the token cache, an identity, marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.fernet import Fernet, InvalidToken

from rotator.domain.marker import carries_mark, make_mark_key
from rotator.domain.secret_value import SecretValue
from rotator.sandbox.proxy import run_proxy
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, USER_ID
from tests.support.identity_service import run_identity_service
from tests.support.installed_command import Rotator, make_rotator, sign_in

NAME = "npm-feed"
IDENTITY = "0b7f41c9-58d3-4c0e-b6a1-2e9d8c7f6a50"


def change(sandbox: Sandbox, section: str, **settings: object) -> None:
    """Set keys of one section of `rotator.yaml`."""
    path = sandbox.addresses.config_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document[section] = {**document.get(section, {}), **settings}
    path.write_text(yaml.safe_dump(document), encoding="utf-8")


def write_secret(sandbox: Sandbox, name: str, value: str) -> Path:
    """Write a secret's file beside the settings."""
    path = sandbox.addresses.config_path.with_name(name)
    path.touch(mode=0o600)
    path.write_text(value, encoding="utf-8")
    return path


def run(rotator: Rotator, *words: str, **environment: str) -> Any:
    """Run a command to its good end; its document."""
    ended = rotator(*words, "--json", env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout)


def test_all_three_services_are_reached_through_the_proxy_that_a_file_names(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    run(signed_in, "inventory", "adopt", NAME)
    sandbox.world.access_tokens.clear()
    addresses = sandbox.addresses
    services = (addresses.entra_url, addresses.azure_devops_url, addresses.key_vault_url)
    with run_proxy() as proxy:
        write_secret(sandbox, "proxy-url", proxy.url)
        change(sandbox, "http", proxy={"file": "proxy-url"})
        run(signed_in, "scan")
        assert set(proxy.targets) == {url.removeprefix("https://") for url in services[:2]}
        run(signed_in, "once")
    assert set(proxy.targets) == {url.removeprefix("https://") for url in services}
    assert proxy.refused == 0


def test_token_cache_is_read_with_a_previous_key_and_then_opens_with_the_new_one_alone(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    run(signed_in, "inventory", "adopt", NAME)
    sandbox.world.access_tokens.clear()
    folder = sandbox.addresses.config_path.parent
    cache, key_path = folder / "token-cache.bin", folder / "token-cache.key"
    old, new = key_path.read_text(encoding="utf-8").strip(), Fernet.generate_key().decode()
    write_secret(sandbox, "token-cache.old-key", old)
    write_secret(sandbox, "token-cache.key", new)
    with pytest.raises(InvalidToken):
        Fernet(new).decrypt(cache.read_bytes())
    change(sandbox, "token_cache", previous_keys=[{"file": "token-cache.old-key"}])
    run(signed_in, "once")
    change(sandbox, "token_cache", previous_keys=[])
    assert ACCOUNT in Fernet(new).decrypt(cache.read_bytes()).decode()
    run(signed_in, "scan")


def test_vault_is_asked_as_the_identity_that_the_settings_name(sandbox: Sandbox, signed_in: Rotator) -> None:
    run(signed_in, "inventory", "adopt", NAME)
    change(sandbox, "key_vault", credential="managed_identity", client_id=IDENTITY)
    world = sandbox.world
    token = world.issue_access_token(world.users[USER_ID], "key_vault", CLIENT_ID)
    with run_identity_service(token.value) as service:
        report = run(signed_in, "once", **service.environment)
    assert [entry["name"] for entry in report["rotated"]] == [NAME]
    assert set(service.asked) == {IDENTITY}


def test_mark_of_a_new_pat_is_made_with_a_key_of_its_own(sandbox: Sandbox, signed_in: Rotator) -> None:
    """Whoever sees marks learns nothing about the key of the token cache."""
    change(sandbox, "rotation", name_marker=True)
    run(signed_in, "inventory", "adopt", NAME)
    run(signed_in, "once")
    [rotation] = run(signed_in, "inventory", "show", NAME)["rotations"]
    key = SecretValue(sandbox.addresses.config_path.with_name("token-cache.key").read_text(encoding="utf-8").strip())
    [name] = [pat.display_name for pat in sandbox.world.pats.values() if pat.display_name.startswith(f"{NAME} #rot-")]
    assert carries_mark(name, rotation["rotation_id"], make_mark_key(key))
    assert not carries_mark(name, rotation["rotation_id"], key)


def test_nothing_but_the_sign_ins_is_lost_with_the_key_of_the_token_cache(
    sandbox: Sandbox, signed_in: Rotator, tmp_path: Path
) -> None:
    """What docs/keys.md promises: a rotation that is under way goes on, to its end."""
    run(signed_in, "inventory", "adopt", NAME)
    run(signed_in, "once")
    write_secret(sandbox, "token-cache.key", Fernet.generate_key().decode())
    refused = signed_in("once")
    assert refused.returncode == 1
    folder = sandbox.addresses.config_path.parent
    for lost in (folder / "token-cache.bin", folder / "token-cache.bin.previous"):
        assert str(lost) in refused.stderr
        lost.unlink(missing_ok=True)
    sign_in(sandbox, tmp_path)
    assert find_state(signed_in) == "overlapping"
    assert run(signed_in, "once")["failed"] == []
    assert signed_in("revoke", NAME, "--previous", "--yes").returncode == 0
    assert find_state(signed_in) == "ok"
    assert sum(pat.display_name == NAME and not pat.revoked for pat in sandbox.world.pats.values()) == 1


def find_state(rotator: Rotator) -> str:
    """What `status` says of the PAT."""
    return next(str(pat["state"]) for pat in run(rotator, "status")["pats"] if pat["name"] == NAME)


def test_sandbox_has_a_proxy_before_all_services_when_asked_for_one(tmp_path: Path) -> None:
    """A newcomer tries a proxy with `rotator sandbox up --proxy`: its settings name it, its password in a file."""
    with Sandbox(tmp_path / "sandbox", has_proxy=True) as sandbox:
        command = make_rotator(sandbox, tmp_path)
        assert command("db", "upgrade").returncode == 0
        sign_in(sandbox, tmp_path)
        run(command, "inventory", "adopt", NAME)
        run(command, "once")
        assert sandbox.proxy is not None
        addresses = sandbox.addresses
        urls = (addresses.entra_url, addresses.azure_devops_url, addresses.key_vault_url)
        assert set(sandbox.proxy.targets) == {url.removeprefix("https://") for url in urls}
        assert sandbox.proxy.url not in addresses.config_path.read_text(encoding="utf-8")
