"""Hooks that are real programs: what they are given, how they end, and that nothing of them is left."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.child_group import ChildGroups
from rotator.adapters.clock import SystemBootClock
from rotator.adapters.hooks import LONGEST_OUTPUT, CommandHook, WebhookHook, clean_output
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.notify.webhook import SignedPost, make_signature
from rotator.adapters.redaction import LONGEST_TEXT
from rotator.adapters.stop import ProcessStop
from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Severity
from rotator.domain.hook import HookEvent, HookTerms
from rotator.domain.monitoring_errors import HookError
from rotator.domain.runbook import CONDITIONS
from rotator.domain.secret_value import SecretValue
from rotator.errors import StoppedError
from rotator.ports.hook import HOOK_UNUSABLE
from rotator.sandbox.certificates import write_certificates
from rotator.wiring.hooks import render
from tests.support.clock import FakeClock
from tests.support.other_user import do_as_other
from tests.support.programs import need
from tests.support.receiver_server import HOOK_PATH, SIGNING_KEY, WebhookServer

ID = "0123456789abcdef0123456789abcdef"
EVENT = HookEvent(
    event="secret_stored",
    severity=Severity.INFO,
    subject="npm-feed",
    occurred_at=datetime(2026, 11, 27, 9, 0, tzinfo=UTC),
    sequence=7,
    name="npm-feed",
    account="build-bot",
    organization="contoso",
    authorization_id="11111111-2222-3333-4444-555555555555",
    vault="https://contoso-kv.vault.azure.net",
    secret_name="contoso-npm-feed",
    secret_version="0a1b",
    expires_at=datetime(2026, 12, 27, 9, 0, tzinfo=UTC),
    rotation_id="r1",
    details={"secret_version": "0a1b"},
)
VARIABLES = {
    "ROTATOR_HOOK_EVENT": "secret_stored",
    "ROTATOR_HOOK_ID": ID,
    "ROTATOR_HOOK_NAME": "npm-feed",
    "ROTATOR_HOOK_ACCOUNT": "build-bot",
    "ROTATOR_HOOK_ORGANIZATION": "contoso",
    "ROTATOR_HOOK_AUTHORIZATION_ID": "11111111-2222-3333-4444-555555555555",
    "ROTATOR_HOOK_VAULT": "https://contoso-kv.vault.azure.net",
    "ROTATOR_HOOK_SECRET_NAME": "contoso-npm-feed",
    "ROTATOR_HOOK_SECRET_VERSION": "0a1b",
    "ROTATOR_HOOK_EXPIRES_AT": "2026-12-27T09:00:00Z",
}
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "KUBECONFIG": "/etc/kube",
    "ROTATOR_TOKEN_CACHE_KEY": "canary",
    "AZURE_CLIENT_SECRET": "canary",
    "NOTIFY_SOCKET": "/canary",
    "PGPASSWORD": "canary",
}
PATIENCE = timedelta(seconds=60)


class Bench:
    """A folder for programs, and what runs them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stop = folder, ProcessStop()
        self.groups = ChildGroups(SystemBootClock(), self.stop)

    def write(self, body: str) -> str:
        """A program in Python."""
        path = self.folder / "program"
        path.write_text(f"#!{sys.executable}\nimport json, os, pathlib, signal, subprocess, sys, time\n{body}\n")
        path.chmod(0o755)
        return str(path)

    def make(self, *command: str, timeout: timedelta = PATIENCE) -> CommandHook:
        """A hook that runs a command."""
        terms = HookTerms("restart", ("secret_stored",))
        return CommandHook(terms, command, timeout, ENVIRONMENT, self.folder, self.groups, render)

    def run(self, body: str, timeout: timedelta = PATIENCE) -> str:
        """What a program in Python prints."""
        return self.make(self.write(body), timeout=timeout).call(EVENT, ID)

    def fail(self, body: str, timeout: timedelta = PATIENCE) -> HookError:
        """How it fails."""
        with pytest.raises(HookError) as caught:
            self.run(body, timeout)
        return caught.value

    def read_json(self, name: str) -> Mapping[str, object]:
        """What a program wrote."""
        found: Mapping[str, object] = json.loads((self.folder / name).read_text())
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Give one."""
    return Bench(tmp_path)


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has asked for yet counts."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when that is so."""
    for _ in range(600):
        if is_so():
            return
        threading.Event().wait(0.1)
    raise AssertionError("it took too long")


def test_command_is_given_the_event_and_no_secret_of_ours(bench: Bench) -> None:
    """In variables, and as JSON on its stdin; its environment holds what is listed, and nothing else."""
    hook = bench.make(
        bench.write("print(json.dumps([sys.argv[1:], dict(os.environ), json.load(sys.stdin)]))"), "a b", "$X"
    )
    hook.check()
    arguments, environment, document = json.loads(hook.call(EVENT, ID))
    assert arguments == ["a b", "$X"]
    assert {name: value for name, value in environment.items() if name.startswith("ROTATOR_")} == VARIABLES
    assert environment["KUBECONFIG"] == "/etc/kube"
    assert [value for value in environment.values() if "canary" in value] == []
    assert (document["id"], document["event"], document["sequence"]) == (ID, "secret_stored", 7)
    assert document["expires_at"] == "2026-12-27T09:00:00Z"
    assert document["details"] == {"secret_version": "0a1b"}


def test_command_runs_in_the_folder_of_the_settings(bench: Bench) -> None:
    assert bench.run("print(os.getcwd())") == str(bench.folder)


def test_command_that_reads_no_stdin_succeeds(bench: Bench) -> None:
    assert bench.make("true").call(EVENT, ID) == ""


def test_command_is_called_when_no_temporary_file_can_be_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose file system is read-only, or where the disk is full."""
    monkeypatch.setattr(tempfile, "tempdir", str(bench.folder / "nowhere"))
    assert bench.run("print(json.load(sys.stdin)['event'])") == "secret_stored"


def test_output_is_kept_cut_and_without_secrets(bench: Bench) -> None:
    """What it prints of a PAT does not get on, wherever it is cut; errors are part of it."""
    pat = "A" * 76 + "AZDO" + "wxyz"
    said = bench.run(f"print('one\\n\\x1b[31mtwo', flush=True); print({pat!r}, file=sys.stderr)")
    assert said == "one | \N{REPLACEMENT CHARACTER}[31mtwo | ***"
    said = bench.run(f"sys.stdout.write(('{pat} ' + 'yyy ' * 30 + '\\n') * 3000); print('the end')")
    assert len(said) == LONGEST_OUTPUT
    assert said.endswith("yyy | the end")
    assert "AAAAAAAA" not in said
    assert "AZDO" not in said


def test_key_that_the_cut_goes_through_is_masked() -> None:
    """However much of it is left."""
    key = "\n".join(["-----BEGIN PRIVATE KEY-----", *["MIIEvQIBADANBgkq" * 4] * 30, "-----END PRIVATE KEY-----"])
    for left in range(0, LONGEST_TEXT, 37):
        said = clean_output(f"begin {key} {' '.join(['word'] * 3000)}"[: len(key) + left + 7])
        assert "MIIE" not in said, left
        said = clean_output(f"{key}\n{'w ' * ((LONGEST_TEXT - left) // 2)}")
        assert "MIIE" not in said, left


def test_command_that_fails_says_how(bench: Bench) -> None:
    error = bench.fail("print('no such deployment', file=sys.stderr); sys.exit(3)")
    assert (error.code, error.message) == (
        "hook_failed",
        "the hook restart exited with 3; it printed: no such deployment",
    )
    for fix in (error.fix, CONDITIONS[ConditionKind.HOOK_FAILING].fix):
        assert "rotator repeats the calls that wait." in fix
        assert fix.endswith("works now; it repeats none of them.")
    assert error.output == "no such deployment"
    error = bench.fail("os.kill(os.getpid(), signal.SIGSEGV)")
    assert error.message.startswith("the hook restart was ended by SIGSEGV")
    error = bench.fail("os.kill(os.getpid(), 40)")
    assert error.message == "the hook restart was ended by signal 40"


@pytest.fixture
def other_bench(others_folder: Path) -> Bench:
    """One in a folder of another user than root, with a program `sudo` that runs another one as root."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a program that runs as root")
    shutil.copy(need("setpriv", "util-linux"), others_folder / "sudo")
    (others_folder / "sudo").chmod(0o4755)
    bench = Bench(others_folder)
    bench.make("true").call(EVENT, ID)  # loads all that the other user may be unable to read
    return bench


def call_with_sudo(bench: Bench, command: str, timeout: timedelta) -> str:
    """What a hook that begins with sudo prints, or how it fails, where rotator does not run as root."""
    hook = bench.make(str(bench.folder / "sudo"), "--reuid=0", "--clear-groups", "sh", "-c", command, timeout=timeout)

    def call() -> str:
        try:
            return hook.call(EVENT, ID)
        except HookError as error:
            return error.message

    return do_as_other(call)


def test_command_succeeds_when_it_becomes_another_users(other_bench: Bench) -> None:
    """What is left of it may be sent no signal."""
    assert call_with_sudo(other_bench, "id -u", PATIENCE) == "0"


def test_command_that_takes_too_long_is_not_waited_for_when_it_is_another_users(other_bench: Bench) -> None:
    said = call_with_sudo(other_bench, "echo $$ > pid; exec sleep 600", timedelta(seconds=3))
    assert said == "the hook restart took longer than 3s, and runs on: it is another user's, as with sudo"
    os.kill(int((other_bench.folder / "pid").read_text()), 9)


def test_command_that_takes_too_long_is_ended_with_all_that_it_started(bench: Bench) -> None:
    """One that will not hear of SIGTERM too. Its child would run for ever."""
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)'], "
        "stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "pathlib.Path('pids').write_text(json.dumps({'own': os.getpid(), 'child': child.pid}))\n"
        "print('waiting', flush=True)\n"
        "time.sleep(600)"
    )
    error = bench.fail(body, timedelta(seconds=3))
    assert error.message == "the hook restart took longer than 3s, and was ended; it printed: waiting"
    pids = bench.read_json("pids")
    wait_until(lambda: all(is_gone(int(str(pid))) for pid in pids.values()))


def test_program_that_a_hook_leaves_behind_is_ended_and_holds_nothing_up(bench: Bench) -> None:
    body = (
        "child = subprocess.Popen(['sleep', '600'])\n"
        "pathlib.Path('pids').write_text(json.dumps({'child': child.pid}))\n"
        "print('started')"
    )
    assert bench.run(body) == "started"
    pid = int(str(bench.read_json("pids")["child"]))
    wait_until(lambda: is_gone(pid))


def test_program_that_leaves_the_group_holds_nothing_up(bench: Bench) -> None:
    """It keeps the pipe open, and is nobody's any more."""
    body = (
        "child = subprocess.Popen(['sleep', '600'], start_new_session=True)\n"
        "pathlib.Path('pids').write_text(json.dumps({'child': child.pid}))\n"
        "print('started')"
    )
    assert bench.run(body) == "started"
    os.kill(int(str(bench.read_json("pids")["child"])), 9)


def test_command_is_ended_by_a_stop(bench: Bench) -> None:
    """SIGTERM first; what it was about is called again by the next process."""
    hook = bench.make(
        bench.write(
            "signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path('ended').write_text('1'), sys.exit(0)))\n"
            "pathlib.Path('began').write_text('1')\n"
            "time.sleep(600)"
        )
    )

    def stop() -> None:
        wait_until((bench.folder / "began").exists)
        bench.stop.set()

    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    with pytest.raises(StoppedError):
        hook.call(EVENT, ID)
    stopper.join()
    assert (bench.folder / "ended").exists()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda folder: "no-such-program", "no-such-program is not on the PATH"),
        (lambda folder: str(folder / "nothing"), "nothing does not exist"),
        (lambda folder: str(folder / "text"), "text is no program that this user may run"),
        (lambda folder: str(folder), "is no program that this user may run"),
    ],
)
def test_command_that_cannot_be_run_is_found_without_calling_it(
    bench: Bench, make: Callable[[Path], str], why: str
) -> None:
    (bench.folder / "text").write_text("a text")
    hook = bench.make(make(bench.folder))
    for act in (hook.check, lambda: hook.call(EVENT, ID)):
        with pytest.raises(HookError) as caught:
            act()
        assert caught.value.code == HOOK_UNUSABLE
        assert caught.value.message.endswith(why)
        assert caught.value.fix


def test_program_that_the_system_refuses_is_unusable(bench: Bench) -> None:
    """It may be run and is none."""
    (bench.folder / "text").write_text("#!/no/such/interpreter\n")
    (bench.folder / "text").chmod(0o755)
    with pytest.raises(HookError, match="cannot be started: No such file") as caught:
        bench.make(str(bench.folder / "text")).call(EVENT, ID)
    assert caught.value.code == HOOK_UNUSABLE


@pytest.fixture
def webhooks(tmp_path: Path) -> Iterator[tuple[WebhookServer, WebhookHook]]:
    """A receiver of webhooks, and a hook that sends to it."""
    ca, certificate = write_certificates(tmp_path)
    server = WebhookServer(certificate)
    http = HttpOptions(ca_bundle=ca)
    post = SignedPost(SecretValue(server.url), SecretValue(SIGNING_KEY), http, FakeClock(), "hooks")
    with server.running():
        yield server, WebhookHook(HookTerms("tickets", ("secret_stored",)), post, render)


def test_webhook_is_signed_and_has_the_event(webhooks: tuple[WebhookServer, WebhookHook]) -> None:
    server, hook = webhooks
    assert hook.call(EVENT, ID) == "HTTP 200"
    (request,) = server.received
    headers = request.headers
    signature = make_signature(SecretValue(SIGNING_KEY), ID, headers["webhook-timestamp"], request.body)
    assert (headers["webhook-id"], headers["webhook-signature"]) == (ID, signature)
    assert server.documents[0]["secret_version"] == "0a1b"
    server.answers = [422, 302, 500]
    for is_refusal in (True, False, False):
        with pytest.raises(HookError) as caught:
            hook.call(EVENT, ID)
        assert (caught.value.code, caught.value.is_refusal) == ("hook_failed", is_refusal)
        assert HOOK_PATH not in f"{caught.value.message} {caught.value.fix}"
    assert len(server.received) == 4
