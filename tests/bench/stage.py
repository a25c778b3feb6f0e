"""A sandbox in a process of its own, the installed command on it, and what stands ready before a measurement."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests.bench.kinds import Kind, classify

COMMAND = Path(sys.executable).with_name("rotator")
"""The command as installed beside this interpreter."""
PATIENCE = 60
"""Seconds that one command may take on a busy machine."""


@dataclass(frozen=True)
class Spent:
    """What a command took: seconds on the wall clock and of CPU, and what it printed."""

    wall: float
    cpu: float
    output: str


def run_command(*arguments: str, cwd: Path) -> Spent:
    """Run the installed command to its end; RuntimeError with what it said when it fails."""
    cpu, start = _cpu_of_children(), time.perf_counter()
    done = subprocess.run(
        [COMMAND, *arguments],
        cwd=cwd,
        env=make_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    wall = time.perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(
            f"rotator {' '.join(arguments[:3])} ended with {done.returncode}: {(done.stderr or done.stdout)[-800:]}"
        )
    return Spent(wall, _cpu_of_children() - cpu, done.stdout)


class Stage:
    """A running sandbox in `directory`. `addresses` is what `rotator sandbox up` printed."""

    def __init__(self, directory: Path, addresses: Mapping[str, str], person: requests.Session) -> None:
        self.directory = directory
        self.addresses = addresses
        self._person = person

    def run(self, *arguments: str) -> Spent:
        """Run the command with the sandbox's settings."""
        return run_command(*arguments, cwd=self.directory)

    def use_database(self, url: str) -> None:
        """Make the settings name another database than the SQLite file."""
        self._edit("rotator.yaml", "sqlite:///rotator.db", url)

    @contextmanager
    def run_daemon(self, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
        """Run the daemon inside, with these settings of `daemon:`. Its log tells each import, too."""
        path = self.directory / "rotator.yaml"
        before = path.read_text(encoding="utf-8")
        lines = "".join(f"  {name}: {value}\n" for name, value in settings.items())
        path.write_text(before + lines, encoding="utf-8")
        with (self.directory / "daemon.log").open("w", encoding="utf-8") as log:
            environment = {**make_environment(), "PYTHONPROFILEIMPORTTIME": "1"}
            daemon = subprocess.Popen(
                [COMMAND, "daemon"],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
                text=True,
            )
            try:
                yield daemon
            finally:
                daemon.terminate()
                daemon.wait(PATIENCE)
                path.write_text(before, encoding="utf-8")

    def read_daemon_log(self) -> str:
        """What the last daemon has said."""
        return (self.directory / "daemon.log").read_text(encoding="utf-8")

    def sign_in(self, overlap: int = 1) -> None:
        """Make the database and sign the account in by device code; an overlap lasts so many seconds.

        The daily look at Azure DevOps' own log is left out: it is no part of a rotation.
        """
        with (self.directory / "rotator.yaml").open("a", encoding="utf-8") as settings:
            settings.write("daemon:\n  audit_reconcile: null\n")
        self._edit("policy.yaml", "overlap: 5s", f"overlap: {overlap}s")
        self.run("db", "upgrade")
        login = subprocess.Popen(
            [COMMAND, "login", self.addresses["account"], "--device-code", "--json"],
            cwd=self.directory,
            env=make_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        with login:
            assert login.stdout is not None
            prompt = json.loads(login.stdout.readline())
            form = {"user_code": prompt["user_code"], "username": self.addresses["username"], "action": "approve"}
            self._person.post(prompt["verification_uri"], data=form, timeout=PATIENCE).raise_for_status()
            login.stdout.read()
        if login.returncode != 0:
            raise RuntimeError(f"rotator login ended with {login.returncode}")

    def create_pats(self, names: list[str], username: str) -> None:
        """Make PATs with three of their thirty days left, each with a secret in the vault, as if kept there by hand."""
        headers = {"Authorization": f"Bearer {self.issue_token('key_vault', username)}"}
        organization = self.addresses["organization"]
        who = {"username": username, "scope": "vso.build", "age_days": 27, "organizations": [organization]}
        for name in names:
            made = self.control("POST", "pats", {**who, "display_name": name})
            url = f"{self.addresses['key_vault_url']}/secrets/{organization}-{name}?api-version=7.4"
            body = {"value": made["value"]}
            self._person.put(url, json=body, headers=headers, timeout=PATIENCE).raise_for_status()

    def slow_down(self, seconds: float) -> None:
        """Make every request to Azure DevOps and Key Vault wait so long before it is answered."""
        for service in ("azure_devops", "key_vault"):
            self.control("POST", "faults", {"service": service, "kind": "latency", "times": None, "seconds": seconds})

    def count_requests(self) -> dict[Kind, int]:
        """The requests since the last call, by kind."""
        counts: dict[Kind, int] = {}
        entries = self.control("GET", "requests")["requests"]
        assert isinstance(entries, list)
        for entry in entries:
            kind = classify(entry["service"], entry["method"], entry["path"], entry["query"], entry["auth"])
            counts[kind] = counts.get(kind, 0) + 1
        self.control("DELETE", "requests")
        return counts

    def find_pats(self, username: str) -> dict[str, str]:
        """The authorization id of the user's newest active PAT of each display name."""
        pats = self.control("GET", "world")["pats"]
        assert isinstance(pats, list)
        own = [pat for pat in pats if pat["user"] == username and pat["status"] == "active"]
        return {pat["display_name"]: pat["authorization_id"] for pat in sorted(own, key=lambda pat: pat["valid_from"])}

    def issue_token(self, resource: str, username: str) -> str:
        """An access token of the user."""
        return str(self.control("POST", "access-tokens", {"username": username, "resource": resource})["access_token"])

    def control(self, method: str, name: str, fields: Mapping[str, object] | None = None) -> dict[str, object]:
        """One control call to the sandbox, and its answer."""
        url = f"{self.addresses['azure_devops_url']}/_sandbox/{name}"
        answer = self._person.request(method, url, json=fields, timeout=PATIENCE)
        answer.raise_for_status()
        document: dict[str, object] = answer.json()
        return document

    def _edit(self, name: str, old: str, new: str) -> None:
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{name} of the sandbox has no {old!r}"
        path.write_text(text.replace(old, new), encoding="utf-8")


@contextmanager
def open_stage(directory: Path) -> Iterator[Stage]:
    """Start a sandbox there, and stop it at the end."""
    sandbox = subprocess.Popen(
        [COMMAND, "sandbox", "up", "--dir", ".", "--quiet"],
        cwd=directory,
        env=make_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert sandbox.stdout is not None
        addresses = json.loads(sandbox.stdout.readline())
        with requests.Session() as person:
            person.trust_env = False
            person.verify = addresses["ca_path"]
            yield Stage(directory, addresses, person)
    finally:
        sandbox.terminate()
        sandbox.communicate(timeout=PATIENCE)


def read_cpu(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[-1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_environment() -> dict[str, str]:
    """Ours, without the caller's own settings: no measurement may reach a real organization.

    Modules are compiled once and kept, as where rotator is installed.
    """
    left_out = "PYTHONDONTWRITEBYTECODE"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROTATOR_") and name != left_out}
    return {**kept, "ROTATOR_CONFIG": "rotator.yaml"}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
