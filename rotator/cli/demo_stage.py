"""The stage of the demo: a sandbox in a process of its own, the real commands, and the people who use them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import requests

from rotator.cli.console import find_width
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError
from rotator.sandbox.certificates import write_private
from rotator.sandbox.receiver import receive
from rotator.wiring.children import start_own_command

PATIENCE = 60.0
"""The seconds that a command may take before the demo ends it."""
HOOK = "restart-agent"
"""The hook of the demo, and its program."""
_HOOK_PROGRAM = """\
#!/bin/sh
echo "restarted what reads $ROTATOR_HOOK_SECRET_NAME"
"""
_HOOK_SETTINGS = f"""\
hooks:
  - name: {HOOK}
    on: [secret_stored]
    command: [./{HOOK}]
    required: true
"""
_RECEIVER_SETTINGS = """\
notify:
  - name: ops
    kind: webhook
    url: {file: ops-url}
"""
_DAEMONS_PATIENCE = 4 * PATIENCE
"""The same for the daemon: a command and a rotation happen beside it."""


def find_demo_width() -> int:
    """Return the columns that the demo and its commands have: those of the terminal, else 80."""
    return find_width(sys.stdout) or 80


def make_failure(what: str) -> RotatorError:
    """Make the error for a demo that went wrong."""
    return RotatorError(
        f"the demo failed: {what}",
        code="demo_failed",
        fix="Report this with the output above: the demo should work on every computer.",
    )


class DaemonProcess:
    """The daemon while it runs."""

    def __init__(self, process: subprocess.Popen[str], output: IO[str]) -> None:
        self._process, self._output = process, output

    def follow(self) -> Iterator[dict[str, str]]:
        """Yield each line of its log as it comes, until it ends."""
        for line in self._output:
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise make_failure(f"the daemon said: {line[:300].strip()}") from error

    def work_now(self) -> None:
        """Tell it to work now."""
        self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> int:
        """Stop it as a service manager would, and return its exit code."""
        self._process.send_signal(signal.SIGTERM)
        for _ in self._output:
            pass  # a pipe that nobody reads would hold it up
        return self._process.wait()


class Receiver:
    """Who is notified: keeps what comes by webhook."""

    def __init__(self, url: str, received: list[dict[str, str]]) -> None:
        self.url, self._received = url, received

    def find(self, name: str) -> dict[str, str]:
        """Return the notification of that name that came."""
        for document in self._received:
            if document["name"] == name:
                return document
        raise make_failure(f"the receiver was not told of {name}")


class Stage:
    """A sandbox that runs in `directory`. A context manager that stops every process that it started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._person = requests.Session()
        self._person.trust_env = False
        self._sandbox: subprocess.Popen[str] | None = None
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._person.close()
        if self._sandbox is not None:
            self._sandbox.terminate()
            with _limited(self._sandbox):
                self._sandbox.communicate()

    def run(self, *arguments: str, hear: Callable[[str], None]) -> int:
        """Run a command to its end; pass every line of its output, on either stream, to `hear` as it comes."""
        process = self._open(arguments, stderr=subprocess.STDOUT)
        with _limited(process), _output(process) as output:
            try:
                for line in output:
                    hear(line.rstrip("\n"))
                return process.wait()
            finally:
                process.kill()
                process.wait()

    @contextmanager
    def run_daemon(self) -> Iterator[DaemonProcess]:
        """Run the daemon inside; whatever happens, it ends with the block."""
        process = self._open(("daemon",), stderr=subprocess.STDOUT)
        with _limited(process, _DAEMONS_PATIENCE), _output(process) as output:
            try:
                yield DaemonProcess(process, output)
            finally:
                process.kill()
                process.wait()

    def ask(self, *arguments: str) -> dict[str, object]:
        """Run a command without showing it, and return its JSON document."""
        lines: list[str] = []
        code = self.run(*arguments, "--json", "--quiet", hear=lines.append)
        document = json.loads("\n".join(lines)) if code == 0 else None
        if not isinstance(document, dict):
            raise make_failure(f"rotator {' '.join(arguments)} --json ended with {code}: {' '.join(lines)[:300]}")
        return document

    def approve(self, page: str, user_code: str) -> None:
        """Do what the person who signs in does: enter the code on the page, choose the user, approve."""
        form = {"user_code": user_code, "username": self._addresses["username"], "action": "approve"}
        answer = self._person.post(page, data=form, timeout=PATIENCE)
        if not answer.ok:
            raise make_failure(f"the sandbox's sign-in page answered {answer.status_code}")

    def create_pat(self, name: str, scope: str) -> SecretValue:
        """Create a PAT as if on the web page, with three of its thirty days left, and return its value."""
        fields = {"username": self._addresses["username"], "display_name": name, "scope": scope}
        made = self._control("pats", {**fields, "organizations": [self.organization], "age_days": 27})
        return SecretValue(str(made["value"]))

    def read_vault(self, secret_name: str) -> SecretValue:
        """Return what a consumer reads from the vault now."""
        who = {"username": self._addresses["username"], "resource": "key_vault"}
        token = self._control("access-tokens", who)["access_token"]
        answer = self._person.get(
            f"{self._addresses['key_vault_url']}/secrets/{secret_name}?api-version=7.4",
            headers={"Authorization": f"Bearer {token}"},
            timeout=PATIENCE,
        )
        if not answer.ok:
            raise make_failure(f"the vault answered {answer.status_code} to a consumer")
        return SecretValue(str(answer.json()["value"]))

    def is_accepted(self, value: SecretValue) -> bool:
        """Return whether Azure DevOps accepts this PAT from a consumer."""
        answer = self._person.get(
            f"{self._addresses['azure_devops_url']}/{self.organization}/_apis/connectionData",
            auth=("", value.reveal()),
            allow_redirects=False,
            timeout=PATIENCE,
        )
        return answer.status_code == 200

    def list_active(self) -> dict[str, list[str]]:
        """Return the authorization ids of the active PATs of the demo's user, by display name."""
        found: dict[str, list[str]] = {}
        for pat in _as_list(self._fetch("world")["pats"]):
            if pat["user"] == self._addresses["username"] and pat["status"] == "active":
                found.setdefault(str(pat["display_name"]), []).append(str(pat["authorization_id"]))
        return found

    def add_hook(self) -> str:
        """Write a program and a hook that calls it, and return what was added to the settings."""
        program = self._directory / HOOK
        program.write_text(_HOOK_PROGRAM, encoding="utf-8")
        program.chmod(0o700)
        return self._add_settings(_HOOK_SETTINGS)

    def add_receiver(self, url: str) -> str:
        """Let a receiver be notified, and return what was added to the settings. Its address is a secret."""
        write_private(self._directory / "ops-url", url.encode())
        return self._add_settings(_RECEIVER_SETTINGS)

    @contextmanager
    def receiving(self) -> Iterator[Receiver]:
        """Receive notifications inside."""
        received: list[dict[str, str]] = []
        with receive(self._directory / "server.pem", received.append) as url:
            yield Receiver(url, received)

    def end_sign_in(self) -> None:
        """End every sign-in of the demo's user, and what it was good for, as when the password is changed."""
        self._control("world", {"users": {self._addresses["username"]: {"revoked": True}}})
        self._control("faults", {"service": "azure_devops", "kind": "html", "times": None})

    def now(self) -> datetime:
        """Return the sandbox's time."""
        return datetime.fromisoformat(str(self._fetch("world")["now"]))

    @property
    def organization(self) -> str:
        """The organization whose PATs are managed."""
        return self._addresses["organization"]

    def _add_settings(self, text: str) -> str:
        with (self._directory / "rotator.yaml").open("a", encoding="utf-8") as settings:
            settings.write(text)
        return text

    def _start(self) -> None:
        log = self._directory / "sandbox.log"
        with log.open("w", encoding="utf-8") as errors:
            self._sandbox = self._open(("sandbox", "up", "--dir", "."), stderr=errors)
        with _limited(self._sandbox):
            line = _output(self._sandbox).readline()
        if not line:
            raise make_failure(f"the sandbox did not start: {log.read_text(encoding='utf-8')[:300].strip()}")
        self._addresses = json.loads(line)
        self._person.verify = self._addresses["ca_path"]

    def _open(self, arguments: tuple[str, ...], stderr: int | IO[str]) -> subprocess.Popen[str]:
        # The same program under the same interpreter, as `rotator` would run it.
        command = [sys.executable, "-m", "rotator", *arguments]
        return start_own_command(command, _make_environment(), self._directory, stderr)

    def _fetch(self, name: str) -> dict[str, object]:
        answer = self._person.get(f"{self._addresses['azure_devops_url']}/_sandbox/{name}", timeout=PATIENCE)
        return _read(answer)

    def _control(self, name: str, fields: Mapping[str, object]) -> dict[str, object]:
        url = f"{self._addresses['azure_devops_url']}/_sandbox/{name}"
        return _read(self._person.post(url, json=fields, timeout=PATIENCE))


def _read(answer: requests.Response) -> dict[str, object]:
    document = answer.json() if answer.ok else None
    if not isinstance(document, dict):
        raise make_failure(f"the sandbox answered {answer.status_code} to a control call")
    return document


def _as_list(value: object) -> list[dict[str, object]]:
    return value if isinstance(value, list) else []


def _make_environment() -> dict[str, str]:
    """Return our environment without the caller's settings: the demo must never reach a real organization."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ROTATOR_")}
    return {**kept, "ROTATOR_CONFIG": "rotator.yaml", "COLUMNS": str(find_demo_width()), "PYTHONSAFEPATH": "1"}


def _output(process: subprocess.Popen[str]) -> IO[str]:
    if process.stdout is None:
        raise make_failure("a command was started without a pipe for its output")
    return process.stdout


@contextmanager
def _limited(process: subprocess.Popen[str], seconds: float = PATIENCE) -> Iterator[None]:
    """Kill the process if it takes too long: its output then ends, and so does the demo."""
    alarm = threading.Timer(seconds, process.kill)
    alarm.daemon = True
    alarm.start()
    try:
        yield
    finally:
        alarm.cancel()
