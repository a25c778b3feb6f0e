"""Answers that are not true, planted in the sandbox as anybody can, with a control call; and the installed command."""

from __future__ import annotations

import json
import subprocess
from datetime import timedelta
from typing import Any

import requests

from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import VAULT
from rotator.sandbox.world import Pat
from tests.support.installed_command import PATIENCE, Rotator

Document = dict[str, Any]
DAY = timedelta(days=1)
NAME, PERSONS = "npm-feed", "deploy-manual"


def read(result: subprocess.CompletedProcess[str]) -> Document:
    """The one JSON document of a command, however it ended."""
    document: Document = json.loads(result.stdout)
    return document


def plant(sandbox: Sandbox, service: str, kind: str, **fields: object) -> None:
    """Let coming requests to a service go wrong; without `times`, one."""
    addresses = {
        "azure_devops": sandbox.addresses.azure_devops_url,
        "key_vault": sandbox.addresses.key_vault_url,
    }
    fault = {"service": service, "kind": kind, **fields}
    trusted = str(sandbox.addresses.ca_path)
    answer = requests.post(f"{addresses[service]}/_sandbox/faults", json=fault, verify=trusted, timeout=PATIENCE)
    assert answer.status_code == 200, answer.text


def clear(sandbox: Sandbox) -> None:
    """Take all faults away."""
    address = f"{sandbox.addresses.azure_devops_url}/_sandbox/faults"
    requests.delete(address, verify=str(sandbox.addresses.ca_path), timeout=PATIENCE)


def find_alive(sandbox: Sandbox, display_name: str) -> list[Pat]:
    """The live PATs of that display name, the oldest first."""
    with sandbox.world.lock:
        return [pat for pat in sandbox.world.pats.values() if pat.display_name == display_name and not pat.revoked]


def show_row(rotator: Rotator) -> Document:
    """The line of the ManagedPat in `rotator status`."""
    return next(row for row in read(rotator("status", "--json"))["pats"] if row["name"] == NAME)


def test_persons_pat_is_kept_when_a_mint_is_answered_with_it(sandbox: Sandbox, signed_in: Rotator) -> None:
    """The value of the answer goes nowhere, and what was really minted is looked for."""
    assert signed_in("inventory", "adopt", NAME).returncode == 0
    [theirs] = find_alive(sandbox, PERSONS)
    [old] = find_alive(sandbox, NAME)
    answer = {
        "patToken": {
            "displayName": theirs.display_name,
            "validTo": theirs.valid_to.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "scope": theirs.scope,
            "targetAccounts": list(theirs.target_accounts or ()),
            "validFrom": theirs.valid_from.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "authorizationId": theirs.authorization_id,
            "token": theirs.value,
        },
        "patTokenError": "none",
    }
    json_type = {"Content-Type": "application/json"}
    plant(sandbox, "azure_devops", "status", method="POST", status=200, body=answer, headers=json_type, effect=True)
    assert read(signed_in("once", "--json"))["rotated"] == []
    read(signed_in("once", "--json"))
    assert find_alive(sandbox, PERSONS) == [theirs]
    assert old in find_alive(sandbox, NAME)
    with sandbox.world.lock:
        stored = [
            version.value for secret in sandbox.world.vaults[VAULT].secrets.values() for version in secret.versions
        ]
    assert theirs.value not in stored
    assert theirs.authorization_id not in json.dumps(
        [r.path for r in sandbox.world.record.all("azure_devops", "DELETE")]
    )


def test_pat_is_not_called_revoked_when_lists_lack_it_for_a_run(sandbox: Sandbox, signed_in: Rotator) -> None:
    """Each list of that run lacks the oldest entry of a page, and seems to be complete."""
    assert signed_in("inventory", "adopt", NAME).returncode == 0
    with sandbox.world.lock:
        oldest = min(pat.valid_from for pat in sandbox.world.pats.values())
        next(pat for pat in sandbox.world.pats.values() if pat.display_name == NAME).valid_from = oldest - DAY
    plant(sandbox, "azure_devops", "incomplete", method="GET", times=None)
    read(signed_in("once", "--json"))
    error = show_row(signed_in)["last_error"]
    assert error is None or error["code"] != "revoked_elsewhere"
    clear(sandbox)
    read(signed_in("once", "--json"))
    assert (show_row(signed_in)["state"], show_row(signed_in)["last_error"]) == ("overlapping", None)


def test_rotation_goes_on_when_the_vault_shows_each_secret_as_it_was_before(
    sandbox: Sandbox, signed_in: Rotator
) -> None:
    assert signed_in("inventory", "adopt", NAME).returncode == 0
    plant(sandbox, "key_vault", "stale", method="GET", times=6)
    read(signed_in("once", "--json"))
    clear(sandbox)
    read(signed_in("once", "--json"))
    row = show_row(signed_in)
    assert (row["state"], row["last_error"]) in (("overlapping", None), ("ok", None))
    current = next(pat for pat in find_alive(sandbox, NAME) if pat.authorization_id == row["authorization_id"])
    with sandbox.world.lock:
        assert sandbox.world.vaults[VAULT].secrets[f"contoso-{NAME}"].versions[-1].value == current.value
