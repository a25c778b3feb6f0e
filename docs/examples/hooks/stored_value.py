"""What a hook is given, and the value that it is about, which it reads from the vault with the Azure CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys


def read_told(name: str) -> str:
    """Return what the variable `ROTATOR_HOOK_<name>` says; end the hook if the event does not say it."""
    told = os.environ.get(f"ROTATOR_HOOK_{name}", "")
    if not told:
        sys.exit(f"ROTATOR_HOOK_{name} is empty: this hook is for the event secret_stored")
    return told


def is_test() -> bool:
    """Return whether this is `rotator hooks test`: then nothing may be changed."""
    return os.environ.get("ROTATOR_HOOK_EVENT") == "test"


def fetch_value() -> str:
    """Return the newest value of the secret that the hook is told of.

    Not simply the version that it is told of: a call that failed is made again later, when there may be a newer one.
    """
    secret, told = f"{read_told('VAULT')}/secrets/{read_told('SECRET_NAME')}", read_told("SECRET_VERSION")
    query = "[].{id: id, created: attributes.created, enabled: attributes.enabled}"
    listed = json.loads(ask_az("keyvault", "secret", "list-versions", "--id", secret, "--query", query))
    created = {each["id"].rpartition("/")[2]: each["created"] for each in listed if each["enabled"]}
    if not any(each["id"].endswith(f"/{told}") for each in listed):
        created = {told: ""}  # the vault does not list it yet
    if not created:
        sys.exit(f"no version of {secret} is enabled")
    newest = max(created, key=lambda version: (created[version], version == told))
    return ask_az("keyvault", "secret", "show", "--id", f"{secret}/{newest}", "--query", "value", "--output", "tsv")


def ask_az(*arguments: str) -> str:
    """Return what az prints; end the hook if az fails. Arguments can be seen by every user: never put a value there."""
    command = ["az", *arguments, "--only-show-errors"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("the Azure CLI is not installed: there is no az on the PATH")
    if done.returncode != 0:
        said = done.stderr.strip() or f"it exited with {done.returncode}"
        sys.exit(f"az {' '.join(arguments[:3])} failed, signed in as in {_find_sign_in()}: {said}")
    return done.stdout.strip()


def _find_sign_in() -> str:
    return os.environ.get("AZURE_CONFIG_DIR") or f"{os.environ.get('HOME', '~')}/.azure"
