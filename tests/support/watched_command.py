"""The installed command, watched: its output, its files and its process are recorded and searched for secrets.

At each request that reaches the sandbox, in the middle of the command's work, the files of its folder and what /proc
tells of it and its children are taken as well.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from cryptography.fernet import Fernet

from rotator.sandbox.faults import Fault
from rotator.sandbox.messages import Request
from rotator.sandbox.record import RecordedRequest, RequestRecord
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, USERNAME, VAULT
from tests.support.canaries import (
    CACHE_KEY,
    ID_TOKEN,
    Canary,
    CanarySearch,
    Find,
    collect_canaries,
    find_strays,
)
from tests.support.installed_command import COMMAND, PATIENCE, approve
from tests.support.killing import WatchedFaults
from tests.support.signing_in import Stage as EntraStage

_BROWSER = "#!/bin/sh\ncat /proc/$$/cmdline /proc/$$/environ >'{pipe}'\n"
"""Our `xdg-open`: it reports its command line (with the address) and its environment, and ends."""
_STATE = ("rotator.db", "token-cache.bin", "token-cache.bin.previous")


class WatchedRecord(RequestRecord):
    """A record that looks at the command before it adds each request."""

    def __init__(self, look: Callable[[], None]) -> None:
        super().__init__()
        self._look = look

    def add(self, service: str, request: Request, time: datetime) -> RecordedRequest:
        """See RequestRecord."""
        self._look()
        return super().add(service, request, time)


class WatchedRun:
    """One run, with its output in files."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said

    def wait(self, *codes: int) -> str:
        """Wait until it ends with one of these exit codes (default 0), and return its stdout."""
        code = self.process.wait(PATIENCE)
        assert code in (codes or (0,)), f"exit code {code}\n{self.read('.out')}\n{self.read('.err')}"
        return self.read(".out")

    def read(self, ending: str) -> str:
        """Return its output so far: `.out` or `.err`."""
        return self._said.with_suffix(ending).read_text(encoding="utf-8")


class Watch:
    """Runs the command at its highest verbosity; `check` then finds no secret where it must not be.

    `env` is on top of the test's environment. `homes` says which kinds of secret the user put into which of the
    command's files; `env_kinds` which into its environment.
    """

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox = sandbox
        self.world = sandbox.world
        self.folder = sandbox.addresses.config_path.parent
        self.entra = EntraStage(sandbox, folder)
        self.temp = folder / "temp"
        self.env: dict[str, str] = {"ROTATOR_CONFIG": str(sandbox.addresses.config_path), "TMPDIR": str(self.temp)}
        self.env_kinds: set[str] = set()
        self.homes: dict[str, set[str]] = {"token-cache.key": {CACHE_KEY}}
        self.planted: set[Canary] = set()
        self.seen: dict[bytes, tuple[str, set[str]]] = {}
        """What was seen, with a name for its place and the kinds of secret that may be in it."""
        self._said = folder / "said"
        self._numbers = itertools.count()
        self.faults = WatchedFaults()
        self._runs: list[WatchedRun] = []
        self._lock = threading.Lock()
        self._key = (self.folder / "token-cache.key").read_text(encoding="utf-8").strip()
        self.planted.add(Canary(CACHE_KEY, self._key))
        for path in (self.temp, self._said, folder / "bin"):
            path.mkdir()
        self._pipe = folder / "browser"
        os.mkfifo(self._pipe)
        browser = folder / "bin" / "xdg-open"
        browser.write_text(_BROWSER.format(pipe=self._pipe), encoding="utf-8")
        browser.chmod(0o755)
        # By its name too: a machine that has a browser may have one of its own choice.
        self.env |= {"PATH": f"{browser.parent}:{os.environ['PATH']}", "DISPLAY": ":0", "BROWSER": str(browser)}
        self.world.record = WatchedRecord(self._look)

    def close(self) -> None:
        """End the runs that are left."""
        self.world.faults.close()
        for run in self._runs:
            if run.process.poll() is None:
                run.process.kill()
                run.process.wait()
        self._runs.clear()

    def start(
        self, *arguments: str, command: tuple[str | Path, ...] = (COMMAND,), stderr: int | None = None
    ) -> WatchedRun:
        """Start the command with -vv; its stderr goes to a file unless a descriptor is given."""
        said = self._said / str(next(self._numbers))
        with said.with_suffix(".out").open("wb") as out, said.with_suffix(".err").open("wb") as err:
            process = subprocess.Popen(
                [*command, "-vv", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err if stderr is None else stderr,
                env={**os.environ, **self.env},
                cwd=self.folder,
            )
        run = WatchedRun(process, said)
        self._runs.append(run)
        return run

    def run(self, *arguments: str, code: int | tuple[int, ...] = 0) -> str:
        """Run the command to its end, and return its stdout."""
        output = self.start(*arguments).wait(*((code,) if isinstance(code, int) else code))
        self.look_inside_the_cache()
        return output

    def login_by_device_code(self, username: str = USERNAME, action: str = "approve", code: int = 0) -> None:
        """Sign in and do the person's part; the prompt is read from its file."""
        run = self.start("login", ACCOUNT, "--device-code", "--json")
        while not (text := run.read(".out")).endswith("\n"):
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is still running: look again
                run.process.wait(0.1)
            assert run.process.poll() is None, run.wait()
        approve(self.sandbox, json.loads(text), username, action)
        run.wait(code)
        self.look_inside_the_cache()

    def login_by_browser(self, username: str = USERNAME, action: str = "approve", code: int = 0) -> str:
        """Sign in, and act as browser and person; keep what the browser's process saw."""
        run = self.start("login", ACCOUNT, "--browser")
        seen = self._pipe.read_bytes()
        self.keep(seen, "command line and environment of the browser", self.env_kinds)
        address = seen.split(b"\0")[2].decode()
        self.entra.browse(username, action)(address)
        output = run.wait(code)
        self.look_inside_the_cache()
        return output

    def remember(self) -> None:
        """Remember the state of command and world; nothing may be running."""
        self._kept = {name: (self.folder / name).read_bytes() for name in _STATE if (self.folder / name).exists()}
        with self.world.lock:
            self._world = copy.deepcopy((self.world.pats, self.world.vaults[VAULT]))

    def start_over(self) -> None:
        """Go back to the remembered state, and forget what was seen since."""
        self.close()
        self.world.faults = WatchedFaults()
        for name, content in self._kept.items():
            (self.folder / name).write_bytes(content)
        with self.world.lock:
            self.world.pats, self.world.vaults[VAULT] = copy.deepcopy(self._world)
        self.world.record.clear()
        self.seen.clear()

    def hold(self, service: str, method: str, path: str, *, effect: bool = False) -> None:
        """Hold the next such request for ever, before its effect or after it."""
        self.faults = self.world.faults = WatchedFaults()
        self.faults.add(Fault(service, "hang", method, path, effect=effect))

    def await_hold(self, run: WatchedRun) -> None:
        """Return when the request is held."""
        while not self.faults.struck.wait(0.2):
            assert run.process.poll() is None, "the run ended before the request"

    def plant(self, kind: str, value: str) -> str:
        """Add a secret to those to look for, and return it."""
        self.planted.add(Canary(kind, value))
        return value

    def keep(self, data: bytes, place: str, kinds: set[str] | None = None) -> None:
        """Keep what was seen; it may contain secrets of these `kinds`."""
        with self._lock:
            self.seen.setdefault(data, (place, set(kinds or ())))

    def look_inside_the_cache(self) -> None:
        """Add the id tokens, which only the token cache has; its two files must be encrypted."""
        for name in _STATE[1:]:
            path = self.folder / name
            if path.exists():
                content = json.loads(Fernet(self._key).decrypt(path.read_bytes()))
                self.planted |= {Canary(ID_TOKEN, token["secret"]) for token in content.get("IdToken", {}).values()}

    def canaries(self) -> set[Canary]:
        """Return every secret."""
        return collect_canaries(self.sandbox) | self.planted

    def check(self, *expected: tuple[str, str]) -> None:
        """Check that no secret was seen elsewhere, and that each `expected` (kind, service) was sent."""
        self._look()
        for path in self._said.iterdir():
            self.keep(path.read_bytes(), f"output {path.name}")
            path.unlink()
        canaries = self.canaries()
        assert all(len(canary.value) > 30 for canary in canaries)
        search = CanarySearch(canaries)
        finds = [
            found
            for data, (place, kinds) in self.seen.items()
            for found in search.find(data, place)
            if not found.kinds & kinds
        ]
        rightful: set[tuple[str, str]] = set()
        for entry in self.world.record.all():
            strays, known = find_strays(search, entry)
            finds += strays
            rightful |= known
        assert not finds, _tell(finds)
        assert set(expected) <= rightful, rightful

    def _look(self) -> None:
        """Read the files, and what /proc shows of the runs and their children."""
        for folder in (self.folder, self.temp):
            for path in sorted(folder.rglob("*")):
                # Files are replaced and removed meanwhile: a missing one is found by the next look under its new name.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    if path.is_file():
                        self.keep(path.read_bytes(), f"file {path.relative_to(folder)}", self.homes.get(path.name))
        for run in self._runs:
            if run.process.poll() is None:
                for pid in _find_family(run.process.pid):
                    self._look_at_process(pid)

    def _look_at_process(self, pid: int) -> None:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the child has ended meanwhile
            self.keep(Path(f"/proc/{pid}/cmdline").read_bytes(), "command line")
            self.keep(Path(f"/proc/{pid}/environ").read_bytes(), "environment", self.env_kinds)


def _find_family(pid: int) -> Iterator[int]:
    """Find a process and its descendants."""
    yield pid
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="ascii").split():
                yield from _find_family(int(child))


def _tell(finds: list[Find]) -> str:
    places = {(found.place, tuple(sorted(found.kinds))): found.excerpt for found in finds}
    return "\n".join(f"{', '.join(kinds)} in {place}: {text!r}" for (place, kinds), text in places.items())


def edit(path: Path, changes: Mapping[str, str]) -> None:
    """Replace texts in a file; each must be in it."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text, encoding="utf-8")
