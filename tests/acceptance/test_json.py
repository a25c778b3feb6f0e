"""Every command with `--json`, in this process on a sandbox: what it prints is as its published schema says."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rotator.adapters.logs import reset_logging
from rotator.cli.main import main
from rotator.documents.sandbox import make_demo_document
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import CLIENT_ID, ORGANIZATION, TENANT_ID, USER_ID, USERNAME
from tests.support.canaries import CanarySearch, collect_canaries
from tests.support.installed_command import PATIENCE, approve, config_of, start_device_login
from tests.support.published import check_printed
from tests.support.receiver_server import HOOK_PATH, SIGNING_KEY, WebhookServer
from tests.unit.json_schemas import COMMANDS

INIT = [
    *("init", "--no-input", "--tenant", TENANT_ID, "--client-id", CLIENT_ID, "--username", USERNAME),
    *("--organization", "contoso", "--vault", "contoso-kv"),
]


class Caller:
    """Runs commands in this process with `--json`, and checks what they print against their schemas."""

    def __init__(self, config: str, capture: pytest.CaptureFixture[str]) -> None:
        self.config, self.printed, self.used = config, "", set[str]()
        self._capture = capture

    def run(self, *words: str, code: int = 0) -> list[dict[str, object]]:
        """Run one to its expected end; its documents, one per line where it prints lines."""
        ended = main(["--config", self.config, *words, "--json"])
        said = self._capture.readouterr()
        assert ended == code, said.out + said.err
        self.printed += said.out + said.err
        lines = words[:2] == ("audit", "export")
        documents = [json.loads(line) for line in said.out.splitlines()] if lines else [json.loads(said.out)]
        self.used |= {check_printed(words, document) for document in documents}
        return documents


@pytest.fixture
def caller(sandbox: Sandbox, capsys: pytest.CaptureFixture[str]) -> Iterator[Caller]:
    """A caller on the sandbox; what the command line changes of this process is undone."""
    hook, handler = sys.excepthook, signal.getsignal(signal.SIGTERM)
    yield Caller(config_of(sandbox), capsys)
    sys.excepthook = hook
    signal.signal(signal.SIGTERM, handler)
    reset_logging()


def _set_up(caller: Caller, sandbox: Sandbox, folder: Path) -> None:
    """Settings, a database, a person who signs in."""
    caller.run(*INIT, "--directory", str(folder))
    caller.run(*INIT, "--directory", str(folder), code=2)
    caller.run("config", "check")
    caller.run("config", "show")
    caller.run("db", "current", code=1)
    caller.run("db", "upgrade")
    caller.run("db", "current")
    caller.run("accounts")
    [status] = caller.run("status")
    assert status["pats"] == []
    process, prompt = start_device_login(sandbox)
    caller.used.add(check_printed(("login",), prompt))
    approve(sandbox, prompt)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, errors
    check_printed(("login",), json.loads(output))
    caller.printed += output + errors


def _work(caller: Caller) -> None:
    """Adopt, rotate, revoke; each change of the inventory."""
    caller.run("scan")
    caller.run("inventory", "adopt", "--all", "--dry-run")
    caller.run("inventory", "adopt", "npm-feed", "ghost", code=3)
    caller.run("inventory", "adopt", "--all")
    caller.run("plan")
    caller.run("once", "--dry-run")
    [report] = caller.run("once")
    assert report["rotated"]
    new = ("create", "deploy", "--account", "build-bot", "--organization", "contoso", "--scope", "vso.code")
    caller.run(*new, "--lifetime", "30d", "--dry-run")
    [created] = caller.run(*new, "--lifetime", "30d")
    assert created["created"]
    caller.run(*new, "--lifetime", "30d", code=2)
    [shown] = caller.run("update", "deploy", "--scope", "vso.release", "--dry-run")
    assert shown["dry_run"]
    assert shown["rotated"]
    [updated] = caller.run("update", "deploy", "--scope", "vso.release", "--display-name", "release")
    assert updated["rotated"]
    [same] = caller.run("update", "deploy", "--scope", "vso.release")
    [same_dry] = caller.run("update", "deploy", "--scope", "vso.release", "--dry-run")
    assert not same_dry["rotated"]
    assert same["rotated"] == []
    caller.run("update", "deploy", code=2)
    caller.run("update", "deploy", "--scope", "app_token", code=1)
    caller.run("update", "deploy", "--scope", "app_token", "--dry-run", code=1)
    [unmoved] = caller.run("inventory", "move", "npm-feed", "--account", "build-bot", "--dry-run")
    assert (unmoved["dry_run"], unmoved["rotated"]) == (True, [])
    caller.run("inventory", "list")
    caller.run("inventory", "show", "npm-feed")
    caller.run("inventory", "pause", "docs-site")
    caller.run("rotate", "docs-site")
    caller.run("revoke", "docs-site", "--previous", "--yes")
    caller.run("inventory", "resume", "docs-site")
    caller.run("recover", "--dry-run")
    caller.run("recover")
    caller.run("recover", "--revoke", "nothing", "--yes", code=2)
    caller.run("inventory", "forget-limits", "--organization", "contoso")
    caller.run("inventory", "rebuild", "--dry-run")
    caller.run("inventory", "rename", "docs-site", "docs")
    caller.run("inventory", "forget", "docs", "--yes")
    [status] = caller.run("status")
    accounts = status["accounts"]
    assert isinstance(accounts, list)
    assert [(account["name"], account["signed_in"]) for account in accounts] == [("build-bot", True)]
    assert [(place["organization"], place["last_error"]) for place in accounts[0]["places"]] == [("contoso", None)]


def _administer(caller: Caller, sandbox: Sandbox) -> None:
    """As an administrator: look at the PATs of all users, and revoke one of somebody else."""
    sandbox.world.organizations[ORGANIZATION].token_admins = {USER_ID}
    [seen] = caller.run("scan", "--organization-wide")
    pats = seen["pats"]
    assert isinstance(pats, list)
    [foreign] = [pat["authorization_id"] for pat in pats if pat["user"] != USERNAME]
    where = ("--account", "build-bot", "--organization", ORGANIZATION)
    caller.run("admin", "revoke", foreign, *where, "--reason", "left", "--yes")


def _try_receivers(caller: Caller, sandbox: Sandbox) -> None:
    """Send a test to a receiver and to a hook that take it, and to none."""
    path = sandbox.addresses.config_path
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    server = WebhookServer(path.parent / "server.pem")
    receiver = {"name": "ops", "kind": "webhook", "url": server.url, "secret": SIGNING_KEY}
    hook = {"name": "restart", "on": ["secret_stored"], "url": server.url, "secret": SIGNING_KEY}
    path.write_text(yaml.safe_dump({**document, "notify": [receiver], "hooks": [hook]}), encoding="utf-8")
    with server.running():
        caller.run("notify", "test", "ops")
        [tried] = caller.run("hooks", "test")
    assert tried["hooks"] == [{"name": "restart", "succeeded": True, "output": "HTTP 200", "error": None}]
    caller.run("hooks", "test", code=1)
    caller.run("hooks", "test", "nobody", code=2)
    caller.run("notify", "test", "nobody", code=2)


def test_every_command_prints_what_its_schema_says_and_no_secret(
    sandbox: Sandbox, caller: Caller, tmp_path: Path
) -> None:
    _set_up(caller, sandbox, tmp_path / "fresh")
    _work(caller)
    caller.run("audit", "list")
    caller.run("audit", "show", "1")
    caller.run("audit", "verify")
    caller.run("audit", "export")
    caller.run("audit", "report", "--output", str(tmp_path / "page.html"), "--archive", str(tmp_path / "evidence.zip"))
    [compared] = caller.run("audit", "reconcile")
    organizations = compared["organizations"]
    assert isinstance(organizations, list)
    [theirs] = organizations
    assert (theirs["findings"], theirs["unsettled"], theirs["explained"]) == ([], 0, theirs["pat_entries"])
    assert theirs["explained"] > 5
    _administer(caller, sandbox)
    caller.run("audit", "accept-gap", "--reason", "to see it")
    caller.run("audit", "archive", "--before", "365d", "--dry-run")
    caller.run("accounts")
    [examined] = caller.run("doctor", code=1)
    checks = examined["checks"]
    assert isinstance(checks, list)
    assert {check["outcome"] for check in checks} <= {"ok", "warn", "fail"}
    caller.run("logout", "build-bot", "--yes")
    _try_receivers(caller, sandbox)
    caller.run("plan", "--no-such-option", code=2)
    caller.used.add(check_printed(("sandbox", "up"), sandbox.addresses.document()))
    caller.used.add(check_printed(("sandbox", "demo"), make_demo_document(["npm-feed"])))
    assert caller.used == COMMANDS.keys()
    search = CanarySearch(collect_canaries(sandbox))
    assert list(search.find(caller.printed.encode(), "what the commands print")) == []
    assert HOOK_PATH not in caller.printed
    assert SIGNING_KEY not in caller.printed


def test_status_says_that_a_sign_in_is_not_known_when_the_token_cache_cannot_be_opened(
    sandbox: Sandbox, caller: Caller
) -> None:
    caller.run("db", "upgrade")
    sandbox.addresses.config_path.with_name("token-cache.key").unlink()
    [status] = caller.run("status")
    assert status["accounts"] == [
        {
            "name": "build-bot",
            "signed_in": None,
            "last_refresh_at": None,
            "last_interactive_at": None,
            "lapses_at": None,
            "refusal": None,
            "places": [],
            "forecast": None,
        }
    ]
    assert "The sign-ins could not be read: " in caller.printed
