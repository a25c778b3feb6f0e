"""A stage for runs that are killed or frozen: a sandbox, one PAT that is due, and what must be true afterwards.

Adopting and signing in takes seconds and is done once; `Stage.reset` restores everything for each test.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import shutil
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy

from rotator.adapters.database.schema import audit_event, heartbeat, job_run, managed_pat, metadata, rotation
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.sandbox.faults import Fault, Faults
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ORGANIZATION, USER_ID, VAULT
from rotator.sandbox.world import Pat, Secret, SecretVersion
from tests.support.installed_command import COMMAND, PATIENCE, add_account, config_of, sign_in
from tests.support.nursery import ForkedCommand
from tests.support.postgres import PostgresServer
from tests.support.stage_database import ADOPTED, PostgresCopy, SqliteFile, StageDatabase

NAME = "ci-build"
SCOPE = "vso.build_execute"
SECRET = f"{ORGANIZATION}-{NAME}"
CLOSED = ("completed", "abandoned", "failed")
MUTATING = ("POST", "PUT", "PATCH", "DELETE")
RECORD_COMMITS = [
    "UPDATE managed_pat",
    "UPDATE managed_pat",
    "rotation_planned",
    "mint_started",
    "pat_minted",
    "pat_verified",
    "store_started",
    "secret_stored",
    "overlap_started",
    "UPDATE managed_pat",
    "revoke_started",
    "rotation_completed",
    "UPDATE managed_pat",
    "pat_revoked",
]
"""Every commit of a rotation that writes to the record: it is queued, is claimed, and is renewed with each step."""
COMMITS = [
    "INSERT checkpoint",
    "INSERT job_run",
    "DELETE untracked_pat",
    "INSERT organization",
    *RECORD_COMMITS,
    "INSERT job_run",
    "INSERT job_run",
    "values_read",
    "INSERT checkpoint",
    "INSERT job_run",
]
"""Every commit of a run that rotates, named as by `dying_command`: its beginning and its end are noted.

So is that hooks and deliveries succeed, the first time.

The audit log is sealed before it, because people's sign-in and adoption are in it, and after it.

Before that it notes which values it read.

It enters the record in the queue, takes the claim fourth, confirms it before the DELETE, and gives it back at the end.
Then the revocation is proven.
"""
MINTED = COMMITS.index("pat_minted")
CHANGES = (
    ("azure_devops", "POST", "/tokens/pats"),
    ("key_vault", "PUT", "/secrets/"),
    ("azure_devops", "DELETE", "/tokens/pats"),
)
"""The requests that mint, store and revoke, as faults name them: service, method, path."""
_MOST_RUNS = 12


class WatchedFaults(Faults):
    """Faults that report when a request is held; `close` releases it."""

    def __init__(self) -> None:
        super().__init__()
        self.struck = threading.Event()
        self.answered = threading.Event()

    def hang(self) -> None:
        """See Faults."""
        self.struck.set()
        super().hang()

    def wait(self, seconds: float) -> None:
        """See Faults."""
        self.struck.set()
        super().wait(seconds)

    def request_done(self, service: str) -> None:
        """See Faults."""
        super().request_done(service)
        self.answered.set()


@dataclass
class Run:
    """A run of the command, with its output in files."""

    process: subprocess.Popen[bytes] | ForkedCommand
    output: Path
    errors: Path

    def read(self) -> str:
        """Return its output so far."""
        return self.output.read_text(encoding="utf-8") + self.errors.read_text(encoding="utf-8")

    def wait(self, patience: float = PATIENCE) -> int:
        """Return its exit code, which is negative if a signal ended it; `patience` is in seconds."""
        return self.process.wait(patience)

    def kill(self) -> None:
        """Kill it with SIGKILL, and wait until it is gone."""
        self.process.kill()
        assert self.wait() == -signal.SIGKILL

    def freeze(self) -> None:
        """Stop it with SIGSTOP, and wait until it has stopped."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    @property
    def is_frozen(self) -> bool:
        """Whether it has stopped, by SIGSTOP."""
        return b"State:\tT" in Path("/proc", str(self.process.pid), "status").read_bytes()

    def thaw(self) -> None:
        """Continue it with SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def read_proc(self) -> bytes:
        """Return what other users of the host could see of it, and root, where this is root."""
        names = ("cmdline", *(("environ",) if os.geteuid() == 0 else ()))
        return b"".join(Path("/proc", str(self.process.pid), name).read_bytes() for name in names)


@dataclass(frozen=True)
class Memory:
    """A state of the services and the policy that a stage can go back to; the database remembers its own."""

    policy: str
    pats: dict[str, Pat]
    secrets: dict[str, Secret]
    by_people: frozenset[str]


class Stage:
    """One managed PAT, `ci-build`, four days before its expiry, its value in the vault, and a person's look-alike.

    `named` are the PATs that a person wants revoked: nobody looks after the consumers of these. `given` are those that
    people had, and have adopted.
    """

    def __init__(self, sandbox: Sandbox, database: StageDatabase) -> None:
        self.sandbox = sandbox
        self.world = sandbox.world
        self.folder = sandbox.addresses.config_path.parent
        self.database = database
        self.faults = WatchedFaults()
        self.by_people: set[str] = set()
        self.named: set[str] = set()
        self.given: set[str] = set()
        self._memories: dict[str, Memory] = {}
        self._runs: list[Run] = []
        self._config = sandbox.addresses.config_path.read_text(encoding="utf-8")

    def prepare(self) -> None:
        """Sign in, adopt, and remember the result."""
        policy = self.sandbox.addresses.policy_path
        policy.write_text(_replace(policy.read_text(encoding="utf-8"), "overlap: 5s", "overlap: 0s"), encoding="utf-8")
        self._config = _replace(self._config, "settle: 10s", "settle: 1s")
        self._write_config()
        self._command("db", "upgrade")
        sign_in(self.sandbox, self.folder)
        [self._original] = [pat for pat in self.world.pats.values() if pat.display_name == NAME]
        self._put_value(self._original)
        self._command("inventory", "adopt", self._original.authorization_id)
        shutil.copy(self.folder / "token-cache.bin", self.folder / "token-cache.kept")
        self.remember(ADOPTED)

    def add_account(self, name: str, username: str) -> None:
        """Add an account and sign it in; from now on that is how the stage was prepared."""
        self.reset()
        self._config = add_account(self._config, name, username)
        self._write_config()
        sign_in(self.sandbox, self.folder, name, username)
        shutil.copy(self.folder / "token-cache.bin", self.folder / "token-cache.kept")
        self.by_people.clear()
        with self.world.lock:
            self.world.pats = copy.deepcopy(self._memories[ADOPTED].pats)
        self.remember(ADOPTED)

    def remember(self, name: str) -> None:
        """Remember the present state by a name; nobody may be at work.

        Its secrets become a minute old: two versions of one second could be either way round, and would be read
        once more.
        """
        self.database.keep(name)
        policy = self.sandbox.addresses.policy_path.read_text(encoding="utf-8")
        with self.world.lock:
            pats, secrets = copy.deepcopy(self.world.pats), copy.deepcopy(self.world.vaults[VAULT].secrets)
        for version in (version for secret in secrets.values() for version in secret.versions):
            version.created -= timedelta(minutes=1)
            version.updated -= timedelta(minutes=1)
        self._memories[name] = Memory(policy, pats, secrets, frozenset(self.by_people))

    def remembers(self, name: str) -> bool:
        """Whether a state of that name was remembered."""
        return name in self._memories

    def reset(self, lease: str = "1m", to: str = ADOPTED) -> None:
        """Go back to a remembered state, settings and policy included. `lease` is how long claims last."""
        self.end()
        memory = self._memories[to]
        self.faults = self.world.faults = WatchedFaults()
        with self.world.lock:
            self.world.pats = copy.deepcopy(memory.pats)
            self.world.vaults[VAULT].secrets = copy.deepcopy(memory.secrets)
            self.world.organizations[ORGANIZATION].audit_log.clear()  # it has what earlier tests did
        self.world.record.clear()
        self.database.restore(to)
        shutil.copy(self.folder / "token-cache.kept", self.folder / "token-cache.bin")
        self._write_config(lease)
        self.sandbox.addresses.policy_path.write_text(memory.policy, encoding="utf-8")
        self.by_people, self.named, self.given = set(memory.by_people), set(), {self.original_id}
        self.add_look_alike(days_left=20)

    def end(self) -> None:
        """Release every held request, and end the runs that are left."""
        self.faults.close()
        for run in self._runs:
            if run.process.poll() is None:
                run.thaw()
                run.kill()
        self._runs.clear()

    def add_look_alike(self, days_left: int) -> None:
        """Create a person's PAT with the same name, scope and organization, for another use."""
        now = self.world.clock.now().replace(microsecond=0)
        user, organization = self.world.users[USER_ID], self.world.organizations[ORGANIZATION]
        pat = self.world.add_pat(user, NAME, SCOPE, (organization,), now, now + timedelta(days=days_left))
        self.by_people.add(pat.authorization_id)

    def add_versions(self, count: int) -> None:
        """Let the secret have so many older versions, each of another day."""
        with self.world.lock:
            versions = self.world.vaults[VAULT].secrets[SECRET].versions
            oldest = versions[0]
            versions[:0] = [
                replace(oldest, version=uuid.uuid4().hex, created=oldest.created - timedelta(days=days))
                for days in range(count, 0, -1)
            ]

    def hold(self, service: str, method: str, path: str, skip: int = 0, *, effect: bool = False) -> None:
        """Hold the next such request for ever: before its effect or, with `effect`, after it and without a reply."""
        self.faults.add(Fault(service, "hang", method=method, path=path, skip=skip, effect=effect))

    def postpone(self, service: str, method: str, path: str, skip: int = 0) -> None:
        """Hold the next such request; when it is released, it takes effect and is answered."""
        self.faults.add(Fault(service, "latency", method=method, path=path, skip=skip, seconds=3600))

    def start(
        self,
        *arguments: str,
        dying: tuple[str, int] | None = None,
        table: str | None = None,
        blow: signal.Signals = signal.SIGKILL,
        environment: Mapping[str, str] | None = None,
    ) -> Run:
        """Start the command in a process that is forked for it; `dying` is a commit at which it gives itself a `blow`.

        With a `table`, only the commits count that write to it. `environment` is added to ours.
        """
        output, errors = self._name_output()
        process = ForkedCommand(
            arguments,
            environment=self._make_environment(environment),
            folder=self.folder,
            stdout=output,
            stderr=errors,
            death=dying,
            table=table,
            blow=blow,
        )
        return self._note(Run(process, output, errors))

    def start_installed(
        self, *arguments: str, environment: Mapping[str, str] | None = None, through: Sequence[str] = ()
    ) -> Run:
        """Start the installed command: what is frozen, signalled or killed from outside. `through` is a program that
        becomes the command.
        """
        output, errors = self._name_output()
        with output.open("wb") as out, errors.open("wb") as err:
            process = subprocess.Popen(
                [*through, COMMAND, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._make_environment(environment),
                cwd=self.folder,
            )
        return self._note(Run(process, output, errors))

    def _name_output(self) -> tuple[Path, Path]:
        """Two empty files: a forked command opens its own when it gets so far."""
        paths = (self.folder / f"run-{len(self._runs)}.out", self.folder / f"run-{len(self._runs)}.err")
        for path in paths:
            path.write_bytes(b"")
        return paths

    def _make_environment(self, more: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, "ROTATOR_CONFIG": config_of(self.sandbox), **(more or {})}

    def _note(self, run: Run) -> Run:
        self._runs.append(run)
        return run

    def start_and_hold(self, *arguments: str) -> Run:
        """Start `once`, or another command, and return when its request is held; add another look-alike meanwhile."""
        run = self.start_installed("-vv", *(arguments or ("once",)))
        while not self.faults.struck.wait(0.2):
            assert run.process.poll() is None, "the run ended before the request:\n" + run.read()
        self.add_look_alike(days_left=29)
        self.check_consumers()
        shown = run.read_proc()
        assert not [secret for secret in self._find_secrets() if secret in shown]
        return run

    def die(self, when: str, number: int, *arguments: str) -> None:
        """Run `once`, or another command, and let it kill itself just before or after that commit."""
        run = self.start("-vv", *(arguments or ("once",)), dying=(when, number))
        assert run.wait() == -signal.SIGKILL, run.read()
        self.check_consumers()
        self.check_secrecy()

    def land(self) -> None:
        """Let the held request take effect; no other request may be in progress."""
        self.faults.answered.clear()
        self.faults.close()
        assert self.faults.answered.wait(PATIENCE)

    def run_until_at_rest(self) -> int:
        """Run `once` until nothing is open, check after each run what consumers read, and return the number of runs."""
        for count in range(1, _MOST_RUNS + 1):
            run = self.start("-vv", "once", "--json")
            assert run.wait() in (0, 1, 3, 11), run.read()
            self.check_consumers()
            if not self.find_open_states() and len(self.find_ours()) == 1:
                return count
        raise AssertionError(f"not at rest after {_MOST_RUNS} runs: {self.find_open_states()}, {self.find_ours()}")

    def find_ours(self) -> list[Pat]:
        """Return the live PATs of that name, without people's PATs."""
        with self.world.lock:
            alive = [pat for pat in self.world.pats.values() if pat.display_name == NAME and not pat.revoked]
        return [pat for pat in alive if pat.authorization_id not in self.by_people]

    @property
    def original_id(self) -> str:
        """The id of the PAT that was adopted first."""
        return self._original.authorization_id

    def find_id(self, display_name: str) -> str:
        """Return the id of the one live PAT of a display name."""
        with self.world.lock:
            [found] = [pat for pat in self.world.pats.values() if pat.display_name == display_name and not pat.revoked]
        return found.authorization_id

    def find_latest(self) -> SecretVersion:
        """Return what consumers read from the vault."""
        with self.world.lock:
            return self.world.vaults[VAULT].secrets[SECRET].versions[-1]

    def count_changes(self) -> int:
        """Return how many requests that may change something Azure DevOps and the vault were sent."""
        return sum(entry.method in MUTATING and entry.service != "entra" for entry in self.world.record.all())

    def find_open_states(self) -> list[str]:
        """Return the states of the rotations that are not closed."""
        states: list[str] = [str(row["state"]) for row in self._read_table(rotation)]
        return [state for state in states if state not in CLOSED]

    def find_claims(self) -> list[str]:
        """Return who claims what, of the claims that were not given back."""
        return [str(row["claimed_by"]) for row in self._read_table(managed_pat) if row["claimed_by"] is not None]

    def find_work_begun(self) -> list[datetime]:
        """Return when each daemon began to work last."""
        found = [row["work_began_at"] for row in self._read_table(heartbeat)]
        return [moment for moment in found if isinstance(moment, datetime)]

    def find_job_runs(self, job: str) -> list[str]:
        """Return how each run of a job ended that is remembered; "None" for one that is at work."""
        return [str(row["outcome"]) for row in self._read_table(job_run) if row["job"] == job]

    def find_events(self) -> list[str]:
        """Return the names of the audit events."""
        return [str(row["event"]) for row in self._read_table(audit_event)]

    def check_consumers(self) -> None:
        """Check that consumers read a live PAT, or one that a person has named."""
        value = self.find_latest().value
        with self.world.lock:
            [served] = [pat for pat in self.world.pats.values() if pat.value == value]
        assert not served.revoked or served.authorization_id in self.named

    def check_end(self) -> None:
        """Check that nothing is lost, orphaned or wrongly revoked, that status and audit agree, and no secret shows."""
        [current] = self.find_ours()
        latest = self.find_latest()
        assert current.authorization_id != self.original_id
        assert (latest.value, latest.tags[AUTHORIZATION_TAG]) == (current.value, current.authorization_id)
        [pat] = [pat for pat in self.check_owners() if pat["secret_name"] == SECRET]
        assert (pat["state"], pat["authorization_id"]) == ("ok", current.authorization_id), pat

    def check_owners(self) -> list[dict[str, Any]]:
        """Check that no PAT of others is revoked, that each live one of ours is in use or reported, that the audit log
        is whole, and that no secret shows; return what `status` shows.
        """
        status, audit = self.start("status", "--json"), self.start("audit", "verify")
        assert (status.wait(), audit.wait()) == (0, 0), status.read() + audit.read()
        shown: list[dict[str, Any]] = json.loads(status.output.read_text(encoding="utf-8"))["pats"]
        theirs = (set(self._memories[ADOPTED].pats) | self.by_people) - self.given - self.named
        with self.world.lock:
            revoked = {pat.authorization_id for pat in self.world.pats.values() if pat.revoked}
            ours = set(self.world.pats) - theirs - revoked
            served = {secret.versions[-1].value for secret in self.world.vaults[VAULT].secrets.values()}
            in_use = {found for found in ours if self.world.pats[found].value in served}
        assert revoked & theirs == set()
        assert ours - in_use <= {pat["authorization_id"] for pat in shown}
        self.check_secrecy()
        return shown

    def check_secrecy(self) -> None:
        """Check that no PAT and no Entra token is in the database, its journal files, or any run's output."""
        kept = b"".join(path.read_bytes() for path in self.folder.iterdir() if path.is_file())
        for table in metadata.sorted_tables:
            kept += repr(self._read_table(table)).encode()
        secrets = self._find_secrets()
        assert len(secrets) > 10
        assert not [secret for secret in secrets if secret in kept]

    def _find_secrets(self) -> list[bytes]:
        with self.world.lock:
            values = [pat.value for pat in self.world.pats.values()]
            tokens = [*self.world.access_tokens, *self.world.refresh_tokens]
        coded = [base64.b64encode(f"{user}{value}".encode()) for user in ("", ":") for value in values]
        return [text.encode() for text in (*values, *tokens)] + [text.rstrip(b"=") for text in coded]

    def _read_table(self, table: sqlalchemy.Table) -> list[dict[str, object]]:
        engine = sqlalchemy.create_engine(self.database.url(), poolclass=sqlalchemy.NullPool)
        with engine.connect() as connection:
            return [dict(row) for row in connection.execute(sqlalchemy.select(table)).mappings()]

    def _put_value(self, pat: Pat) -> None:
        now = self.world.clock.now()
        version = SecretVersion(uuid.uuid4().hex, pat.value, {}, None, enabled=True, created=now, updated=now)
        with self.world.lock:
            self.world.vaults[VAULT].secrets[SECRET] = Secret(SECRET, [version])

    def _write_config(self, lease: str = "1m") -> None:
        text = _replace(self._config, "sqlite:///rotator.db", json.dumps(self.database.url()))
        self.sandbox.addresses.config_path.write_text(_replace(text, "lease: 1m", f"lease: {lease}"), encoding="utf-8")

    def _command(self, *arguments: str) -> None:
        run = self.start(*arguments)
        assert run.wait() == 0, run.read()


def read_commits(run: Run) -> list[str]:
    """Return the commits that a run of `dying_command` listed at its end."""
    lines = run.errors.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("commit ") for line in lines if line.startswith("commit ")]


@contextmanager
def open_stage(folder: Path, server: PostgresServer | None = None) -> Iterator[Stage]:
    """Open a prepared stage on SQLite or, with a server, on PostgreSQL."""
    with Sandbox(folder) as sandbox:
        database = SqliteFile(folder / "rotator.db") if server is None else PostgresCopy(server)
        stage = Stage(sandbox, database)
        stage.prepare()
        try:
            yield stage
        finally:
            stage.end()


def _replace(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)
