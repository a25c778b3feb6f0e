"""Tokens from the Azure CLI, which runs with an environment of its own.

The library's credential for it would hand our whole environment on, secrets included.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from datetime import datetime
from pathlib import Path

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions
from azure.identity import CredentialUnavailableError

from rotator.adapters.bearer import is_sendable
from rotator.adapters.child_environment import AZURE_CLI, make_child_environment
from rotator.adapters.children import start_child
from rotator.ports.stop import Stop

_COMMAND = ("account", "get-access-token", "--output", "json", "--resource")
_LONGEST_SECONDS = 30
_LOOK_SECONDS = 0.5
_RESOURCE = re.compile(r"[A-Za-z0-9:/._-]+")
_TENANT = re.compile(r"[A-Za-z0-9.-]+")
_NO_PLACE = Path("/")
"""Where the CLI runs: nothing in the current folder may change what it does."""


class AzureCliCredential:
    """Gives the token of whoever ran `az login`. Every failure is a CredentialUnavailableError.

    The CLI asks Entra itself: it is not started after a stop, and a stop ends it.
    """

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        enable_cae: bool = False,
        **_: object,
    ) -> AccessToken:
        """Return a token for one scope, and its expiry in seconds since the epoch."""
        if claims:
            raise CredentialUnavailableError("the Azure CLI cannot satisfy a claims challenge: run az login again")
        self._stop.check()
        document = _run(_make_arguments(scopes, tenant_id), self._stop)
        token, expires_on = document.get("accessToken"), _read_expiry(document)
        if not isinstance(token, str) or not is_sendable(token) or expires_on is None:
            raise CredentialUnavailableError("the Azure CLI sent something else than a token")
        return AccessToken(token, expires_on)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """As `get_token`, in the newer form."""
        asked = options or {}
        found = self.get_token(*scopes, claims=asked.get("claims"), tenant_id=asked.get("tenant_id"))
        return AccessTokenInfo(found.token, found.expires_on)

    def close(self) -> None:
        """Do nothing: there is nothing open."""


def _make_arguments(scopes: tuple[str, ...], tenant_id: str | None) -> list[str]:
    resources = [scope.removesuffix("/.default") for scope in scopes]
    if len(resources) != 1 or not _RESOURCE.fullmatch(resources[0]) or not _TENANT.fullmatch(tenant_id or "any"):
        raise CredentialUnavailableError("the Azure CLI gives a token for one resource only")
    return [*_COMMAND, *resources, *(["--tenant", tenant_id] if tenant_id else [])]


def _run(arguments: list[str], stop: Stop) -> dict[str, object]:
    program = shutil.which("az")
    if program is None:
        raise CredentialUnavailableError("the Azure CLI (az) is not installed, or not on the PATH")
    environment = {**make_child_environment(os.environ, AZURE_CLI), "AZURE_CORE_NO_COLOR": "true"}
    try:
        with start_child([program, *arguments], environment, folder=_NO_PLACE) as process:
            output, errors = _wait(process, stop)
    except OSError as error:
        raise CredentialUnavailableError(f"the Azure CLI cannot be started: {error.strerror}") from error
    if process.returncode == 0:
        return _parse(output)
    reason = errors.strip() or f"exit code {process.returncode}"
    raise CredentialUnavailableError(f"the Azure CLI failed: {reason}")


def _wait(process: subprocess.Popen[str], stop: Stop) -> tuple[str, str]:
    """Return what the program prints; one that takes too long is killed, and so is one at a stop.

    A program that it leaves behind may hold the pipes open: once it has ended itself, what it printed is all.
    """
    deadline, has_ended = time.monotonic() + _LONGEST_SECONDS, False
    while has_ended or time.monotonic() < deadline:
        try:
            return process.communicate(timeout=_LOOK_SECONDS)
        except subprocess.TimeoutExpired as so_far:
            if has_ended:  # looked at before, so that all it wrote has been read
                return _decode(so_far.output), _decode(so_far.stderr)
        has_ended = process.poll() is not None
        _check(stop, process)
    process.kill()
    return "", f"no answer within {_LONGEST_SECONDS} seconds"


def _check(stop: Stop, process: subprocess.Popen[str]) -> None:
    try:
        stop.check()
    except BaseException:
        process.kill()
        raise


def _decode(printed: bytes | str | None) -> str:
    return printed.decode(errors="replace") if isinstance(printed, bytes) else printed or ""


def _parse(text: str) -> dict[str, object]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _read_expiry(document: dict[str, object]) -> int | None:
    """Return the seconds since the epoch; older versions of the CLI write the local time only."""
    try:
        if "expires_on" in document:
            return int(str(document["expires_on"]))
        return int(datetime.fromisoformat(str(document["expiresOn"])).timestamp())
    except (KeyError, ValueError, OverflowError):
        return None
