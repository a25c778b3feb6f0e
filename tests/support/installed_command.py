"""The installed command as tests run it, and what a person does to sign it in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import requests

from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, USERNAME
from tests.support.nursery import ForkedCommand

COMMAND = Path(sys.executable).with_name("rotator")
"""The command that is installed beside this interpreter."""
PATIENCE = 60
"""Seconds that a command may take on a busy machine."""


class Rotator(Protocol):
    """Runs the command."""

    def __call__(
        self, *arguments: str | Path, input: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end, with `env` added to the test's environment."""


def run_command(
    *arguments: str | Path,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    patience: int = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run the installed command to its end; one that takes longer than `patience` hangs."""
    return subprocess.run(
        [COMMAND, *arguments],
        input=input,
        stdin=subprocess.DEVNULL if input is None else None,
        capture_output=True,
        text=True,
        timeout=patience,
        env={**os.environ, **(env or {})},
        cwd=cwd,
    )


def run_forked(
    *arguments: str | Path,
    folder: Path,
    input: str | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end in a process that is forked for it; its output is kept in files of `folder`."""
    with TemporaryDirectory(dir=folder) as name:
        stdin, stdout, stderr = (Path(name, stream) for stream in ("stdin", "stdout", "stderr"))
        stdin.write_text(input or "", encoding="utf-8")
        command = ForkedCommand(
            arguments,
            environment={**os.environ, **(env or {})},
            folder=Path.cwd(),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            code = command.wait(PATIENCE)
        finally:
            command.kill()
        texts = stdout.read_text(encoding="utf-8"), stderr.read_text(encoding="utf-8")
    return subprocess.CompletedProcess(command.args, code, *texts)


def config_of(sandbox: Sandbox) -> str:
    """Return the sandbox's settings file."""
    return str(sandbox.addresses.config_path)


def start_device_login(sandbox: Sandbox, *who: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start `rotator login WHO --device-code --json`, and return it with the prompt that it prints first."""
    process = subprocess.Popen(
        [COMMAND, "--config", config_of(sandbox), "login", *(who or (ACCOUNT,)), "--device-code", "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    prompt: dict[str, str] = json.loads(process.stdout.readline())
    return process, prompt


def make_rotator(sandbox: Sandbox, folder: Path) -> Rotator:
    """Make the command with a sandbox's settings, forked for each run."""

    def run(
        *arguments: str | Path, input: str | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        settings = {"ROTATOR_CONFIG": config_of(sandbox), **(env or {})}
        return run_forked(*arguments, folder=folder, input=input, env=settings)

    return run


def add_account(settings: str, name: str, username: str) -> str:
    """Return a sandbox's settings with another account in the same tenant and organization."""
    first = settings[settings.index("  - name: ") : settings.index("entra:")]
    other = first.replace(USERNAME, username).replace(f"- name: {ACCOUNT}", f"- name: {name}")
    return settings.replace(first, first + other)


def sign_in(sandbox: Sandbox, folder: Path, account: str = ACCOUNT, username: str = USERNAME) -> None:
    """Sign the sandbox's account in by device code, or another, with a command that is forked for it."""
    with TemporaryDirectory(dir=folder) as name:
        stdout, stderr = Path(name, "stdout"), Path(name, "stderr")
        os.mkfifo(stdout)
        command = ForkedCommand(
            ("--config", config_of(sandbox), "login", account, "--device-code", "--json"),
            environment=os.environ,
            folder=folder,
            stdout=stdout,
            stderr=stderr,
        )
        with stdout.open(encoding="utf-8") as said:
            approve(sandbox, json.loads(said.readline()), username)
            said.read()
        assert command.wait(PATIENCE) == 0, stderr.read_text(encoding="utf-8")


def approve(sandbox: Sandbox, prompt: dict[str, str], username: str = USERNAME, action: str = "approve") -> None:
    """Do what the person does: open the page, enter the code, choose the user, approve or deny."""
    form = {"user_code": prompt["user_code"], "username": username, "action": action}
    with requests.Session() as person:
        person.trust_env = False
        answer = person.post(prompt["verification_uri"], data=form, verify=str(sandbox.addresses.ca_path), timeout=10)
    assert answer.status_code == 200, answer.text
