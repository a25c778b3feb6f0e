"""No secret in what the command says, writes and shows of itself, and none on the way to who has no business with it.

Every flow runs with the debug logging of every library. See `tests/support/canaries.py` for what counts as found.
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, OTHER_USERNAME, TENANT_ID, USERNAME, VAULT
from rotator.sandbox.world import AccessToken, Secret, SecretVersion
from tests.support.canaries import (
    AUTHORIZATION_CODE,
    CHECK_KEY,
    CLIENT_SECRET,
    DEVICE_CODE,
    DEVOPS_BEARER,
    PASSWORD,
    PAT,
    PRIVATE_KEY,
    RECEIVER,
    REFRESH_TOKEN,
    VAULT_BEARER,
)
from tests.support.check_server import KEY, CheckServer
from tests.support.installed_command import COMMAND, PATIENCE
from tests.support.killing import CHANGES
from tests.support.pages import Pages
from tests.support.postgres import PostgresServer
from tests.support.receiver_server import HOOK_PATH, MAIL_PASSWORD, SIGNING_KEY, MailServer, WebhookServer
from tests.support.watched_command import Watch, edit

pytestmark = pytest.mark.timeout(600)

SECRET = "Xq38Q~" + "kZt4VbW9mPc2LrYs7NdHf6JgTa1EuQo"
ROTATED = (
    (DEVOPS_BEARER, "azure_devops"),
    (VAULT_BEARER, "key_vault"),
    (PAT, "azure_devops"),
    (PAT, "key_vault"),
)
"""What a rotation sends, and to whom."""
LOOKED = ((DEVOPS_BEARER, "azure_devops"), (VAULT_BEARER, "key_vault"), (REFRESH_TOKEN, "entra"))
"""What an adoption sends, and to whom: it is the first to ask for a bearer for the vault."""
NAME = "ci-build"


@pytest.fixture
def watch(sandbox: Sandbox, tmp_path: Path) -> Iterator[Watch]:
    """The command under watch, with a database."""
    watching = Watch(sandbox, tmp_path)
    watching.run("db", "upgrade")
    yield watching
    watching.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """The same, signed in, with the demo's PATs adopted and without overlap."""
    folder = tmp_path_factory.mktemp("watched")
    with Sandbox(folder / "sandbox") as sandbox:
        watching = Watch(sandbox, folder)
        edit(sandbox.addresses.policy_path, {"overlap: 5s": "overlap: 0s"})
        edit(sandbox.addresses.config_path, {"settle: 10s": "settle: 1s"})
        watching.run("db", "upgrade")
        watching.login_by_device_code()
        watching.run("inventory", "adopt", "--all", "--yes")
        watching.check((DEVICE_CODE, "entra"), *LOOKED)
        watching.remember()
        yield watching
        watching.close()


@pytest.fixture
def signed_in(prepared: Watch) -> Watch:
    """That command at its beginning."""
    prepared.start_over()
    return prepared


def _show_everything(watch: Watch) -> None:
    """Each command that only shows."""
    any_code = (0, 1, 2, 3, 4, 10, 20)
    watch.run("audit", "list", "--limit", "500")
    watch.run("audit", "verify", "--anchors", code=any_code)
    watch.run("audit", "export", "--output", str(watch.folder / "audit.jsonl"), "--force")
    watch.run("audit", "export", "--format", "csv")
    shows = ("status", "status --json", "scan --json", "config show", "config show --json", "accounts", "plan")
    for line in (*shows, "inventory list --json", f"inventory show {NAME} --json"):
        watch.run(*line.split(), code=any_code)


def _refresh_always(watch: Watch) -> None:
    """Let each command refresh: what Entra gives out is too old from the first."""
    watch.entra.configure(access_token_lifetime_seconds=200)


def _make_client_certificate() -> tuple[str, str, str]:
    """Key and certificate in one PEM, the certificate alone, and the part of the key that nothing public has."""
    key = rsa.generate_private_key(65537, 2048)
    name, now = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rotator")]), datetime.now(UTC)
    day = timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    kind = serialization.PrivateFormat.PKCS8
    private = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()
    # The first lines hold the modulus, which the certificate has too.
    return private + certificate, certificate, "\n".join(private.splitlines()[8:-1])


# ---- signing in


def test_secrets_are_nowhere_when_signing_in_by_device_code_and_refreshing(watch: Watch) -> None:
    _refresh_always(watch)
    watch.login_by_device_code()
    for words in (("scan",), ("accounts",), ("inventory", "adopt", "--all", "--dry-run"), ("logout", ACCOUNT, "--yes")):
        watch.run(*words)
    assert watch.entra.token_calls("refresh_token")
    assert (watch.folder / "token-cache.bin.previous").exists()
    watch.check((DEVICE_CODE, "entra"), (REFRESH_TOKEN, "entra"), (DEVOPS_BEARER, "azure_devops"))


def test_secrets_are_nowhere_when_signing_in_by_browser(watch: Watch) -> None:
    watch.login_by_browser()
    watch.run("scan")
    watch.login_by_browser(OTHER_USERNAME, code=10)
    watch.login_by_browser(action="deny", code=10)
    watch.world.faults.add(Fault("entra", "truncated", "POST", "/token"))
    watch.login_by_browser(code=1)
    watch.check((AUTHORIZATION_CODE, "entra"), ("code verifier", "entra"), (DEVOPS_BEARER, "azure_devops"))


def test_secrets_are_nowhere_when_a_sign_in_is_refused(watch: Watch) -> None:
    watch.login_by_device_code(OTHER_USERNAME, code=10)
    watch.login_by_device_code(action="deny", code=10)
    watch.login_by_device_code()
    _refresh_always(watch)
    watch.login_by_device_code()
    watch.entra.configure_user(mfa_required=True)
    watch.run("scan", code=10)
    watch.entra.configure_user(mfa_required=False, refresh_error=700082)
    watch.run("once", code=10)
    watch.entra.configure_user(refresh_error=None)
    for kind in ("html", "truncated", "malformed", "lost_after", "rate_limited"):
        watch.world.faults.add(Fault("entra", kind, "POST", "/token", times=None))
        watch.run("scan", code=(0, 1, 10))  # with the token at hand, while Entra cannot be asked
        watch.world.faults.clear()
    with watch.world.lock:
        echo = " ".join([*watch.world.refresh_tokens, *watch.world.access_tokens])
    refusal = {"error": "invalid_grant", "error_description": f"AADSTS50173: {echo}", "error_codes": [50173]}
    watch.world.faults.add(Fault("entra", "status", "POST", "/token", status=400, body=refusal, times=None))
    watch.run("scan", code=10)
    watch.run("audit", "list")
    watch.check((REFRESH_TOKEN, "entra"))


@pytest.mark.parametrize("source", ["env", "file", "literal"])
def test_client_secret_is_nowhere_when_it_signs_the_app_in(watch: Watch, source: str) -> None:
    reference = {"env": "{env: APP_SECRET}", "file": "{file: app-secret}", "literal": f'"{SECRET}"'}[source]
    line = f"username: {USERNAME}"
    edit(watch.sandbox.addresses.config_path, {line: f"{line}\n    client_secret: {reference}"})
    if source == "env":
        watch.env["APP_SECRET"] = SECRET
        watch.env_kinds.add(CLIENT_SECRET)
    elif source == "file":
        (watch.folder / "app-secret").write_text(SECRET + "\n", encoding="utf-8")
    watch.homes[{"env": "", "file": "app-secret", "literal": "rotator.yaml"}[source]] = {CLIENT_SECRET}
    watch.entra.configure_app(public=False, secret=SECRET)
    _refresh_always(watch)
    watch.login_by_device_code()
    watch.login_by_browser()
    for words in (("scan",), ("config", "show"), ("config", "show", "--json"), ("config", "check")):
        watch.run(*words)
    watch.entra.configure_app(secret_expired=True)
    watch.run("scan", code=10)
    watch.entra.configure_app(secret_expired=False, secret="not-" + SECRET)
    watch.run("scan", code=10)
    watch.check((CLIENT_SECRET, "entra"), (REFRESH_TOKEN, "entra"))


def test_client_secret_is_nowhere_when_the_vault_keeps_it_and_the_app_itself_opens_the_vault(watch: Watch) -> None:
    """Who signs users in also writes to the vault, by what the environment says of it."""
    url = watch.sandbox.addresses.key_vault_url
    line = f"username: {USERNAME}"
    reference = f'{{key_vault: {{vault: "{url}", name: app-secret}}}}'
    changes = {line: f"{line}\n    client_secret: {reference}", "credential: account": "credential: environment"}
    edit(watch.sandbox.addresses.config_path, changes)
    now = watch.world.clock.now()
    version = SecretVersion("0" * 32, SECRET, {}, None, enabled=True, created=now, updated=now)
    with watch.world.lock:
        watch.world.vaults[VAULT].secrets["app-secret"] = Secret("app-secret", [version])
    watch.env |= {"AZURE_TENANT_ID": TENANT_ID, "AZURE_CLIENT_ID": CLIENT_ID, "AZURE_CLIENT_SECRET": SECRET}
    watch.env_kinds |= {CLIENT_SECRET, PAT}  # what is in a vault counts as a PAT
    watch.entra.configure_app(public=False, secret=SECRET)
    watch.run("config", "check")
    watch.login_by_device_code()
    watch.run("inventory", "adopt", NAME)
    watch.run("once")
    with watch.world.lock:
        [rotated] = [vault.secrets for vault in watch.world.vaults.values() if f"contoso-{NAME}" in vault.secrets]
    assert len(rotated[f"contoso-{NAME}"].versions) == 1
    _show_everything(watch)
    watch.check((CLIENT_SECRET, "entra"), *ROTATED)


def test_private_key_is_nowhere_when_a_certificate_signs_the_app_in(watch: Watch) -> None:
    bundle, certificate, private = _make_client_certificate()
    watch.plant(PRIVATE_KEY, private)
    (watch.folder / "client.pem").touch(mode=0o600)
    (watch.folder / "client.pem").write_text(bundle, encoding="utf-8")
    watch.homes["client.pem"] = {PRIVATE_KEY}
    line = f"username: {USERNAME}"
    edit(watch.sandbox.addresses.config_path, {line: f"{line}\n    client_certificate: {{file: client.pem}}"})
    watch.entra.configure_app(public=False, certificate=certificate)
    _refresh_always(watch)
    watch.login_by_browser()
    for words in (("scan",), ("config", "show")):
        watch.run(*words)
    (watch.folder / "client.pem").write_text(
        bundle.replace("PRIVATE KEY-----\n", "PRIVATE KEY-----\nAAAA", 1), encoding="utf-8"
    )
    watch.run("scan", code=(1, 2, 10))
    watch.check(("client assertion", "entra"), (REFRESH_TOKEN, "entra"))


# ---- rotating


def test_secrets_are_nowhere_when_rotating_retiring_and_revoking(signed_in: Watch) -> None:
    watch = signed_in
    assert json.loads(watch.run("once", "--json"))["rotated"]
    watch.run("once")
    assert watch.world.record.all("azure_devops", "DELETE")
    place = ("--account", "build-bot", "--organization", "contoso", "--scope", "vso.code")
    watch.run("create", "deploy", *place, "--lifetime", "30d")
    assert watch.run("doctor", "--canary", "--yes", *place[:4], "--json").count(chr(34) + "ok" + chr(34)) == 3
    watch.run("update", "deploy", "--display-name", "release")
    watch.run("rotate", "docs-site")
    watch.run("revoke", "docs-site", "--previous", "--yes", code=(0, 2))
    watch.run("revoke", NAME, "--yes")
    _show_everything(watch)
    watch.check(*ROTATED)


def test_secrets_are_nowhere_when_the_log_goes_to_a_terminal(signed_in: Watch) -> None:
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(ours, 65536):
                shown.append(data)
        except OSError:
            return  # how a terminal says that nobody writes to it any more

    reader = threading.Thread(target=read)
    run = signed_in.start("once", stderr=theirs)
    os.close(theirs)
    reader.start()
    run.wait()
    reader.join(PATIENCE)
    os.close(ours)
    screen = b"".join(shown)
    assert b"urllib3" in screen
    # A terminal's colours and line ends stand between characters that belong together.
    signed_in.keep(re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]|[\r\n]", b"", screen), "terminal")
    signed_in.check(*ROTATED)


REFUSED_PAT = {"patToken": None, "patTokenError": "patLifespanPolicyViolation"}
FAILURES = {
    "policy": Fault("azure_devops", "status", "POST", status=200, body=REFUSED_PAT, times=None),
    "mint-401": Fault("azure_devops", "status", "POST", status=401, times=None),
    "mint-html": Fault("azure_devops", "html", "POST", times=None),
    "mint-lost": Fault("azure_devops", "lost_after", "POST"),
    "mint-truncated": Fault("azure_devops", "truncated", "POST"),
    "mint-malformed": Fault("azure_devops", "malformed", "POST"),
    "probe-401": Fault("azure_devops", "status", "GET", "connectionData", status=401, times=None),
    "probe-html": Fault("azure_devops", "html", "GET", "connectionData", times=None, status=302),
    "store-lost": Fault("key_vault", "lost_after", "PUT"),
    "store-500": Fault("key_vault", "status", "PUT", status=500),
    "read-back-malformed": Fault("key_vault", "malformed", "GET", "/secrets/", skip=3, times=None),
    "revoke-500": Fault("azure_devops", "status", "DELETE", status=500, times=None),
}


@pytest.mark.parametrize("name", FAILURES)
def test_secrets_are_nowhere_when_a_rotation_fails(signed_in: Watch, name: str) -> None:
    signed_in.world.faults.add(FAILURES[name])
    for words in (("once",), ("recover", "--json")):
        signed_in.run(*words, code=(0, 1, 3, 10))
    assert any(entry.fault for entry in signed_in.world.record.all())
    signed_in.check((DEVOPS_BEARER, "azure_devops"))


@pytest.mark.parametrize("denied", ["set", "get"])
def test_secrets_are_nowhere_when_the_vault_denies(signed_in: Watch, denied: str) -> None:
    signed_in.world.vaults[VAULT].denied_operations = {denied}
    for words in (("once",), ("recover",)):
        signed_in.run(*words, code=(0, 1, 3))
    signed_in.check((VAULT_BEARER, "key_vault"))


def _make_parrot(watch: Watch, service: str) -> str:
    """A service's message that repeats secrets: a cut bearer, PATs, a whole bearer."""
    with watch.world.lock:
        bearers = [token for token in watch.world.access_tokens.values() if token.resource == service]
        pats = [pat.value for pat in watch.world.pats.values()]
    latest: AccessToken = bearers[-1]
    return " ".join([latest.value[:150], *pats, f"Bearer {latest.value}"])


@pytest.mark.parametrize(
    ("service", "method", "path", "status"),
    [
        ("azure_devops", "POST", "/tokens/pats", 200),
        ("azure_devops", "POST", "/tokens/pats", 400),
        ("azure_devops", "GET", "/tokens/pats", 403),
        ("azure_devops", "GET", "connectionData", 401),
        ("azure_devops", "DELETE", "/tokens/pats", 500),
        ("key_vault", "PUT", "/secrets/", 400),
        ("key_vault", "GET", "/secrets/", 403),
    ],
)
def test_secrets_are_nowhere_when_a_service_repeats_them(
    signed_in: Watch, service: str, method: str, path: str, status: int
) -> None:
    signed_in.run("rotate", NAME)
    parrot = _make_parrot(signed_in, service)
    body: object = {"error": {"code": "BadParameter", "message": parrot}}
    if service == "azure_devops":
        body = {"$id": "1", "typeKey": "VssServiceException", "message": parrot}
    if status == 200:
        body = {"patToken": None, "patTokenError": "invalidScope", "patTokenErrorMessage": parrot}
    fault = Fault(service, "status", method, path, times=None, skip=service == "key_vault", status=status, body=body)
    signed_in.world.faults.add(fault)
    for words in (("once",), ("once", "--json"), ("status", "--json")):
        signed_in.run(*words, code=(0, 1, 3, 10))
    assert any(entry.fault for entry in signed_in.world.record.all())
    signed_in.check()


# ---- recovering


def test_secrets_are_nowhere_when_a_killed_run_is_recovered(signed_in: Watch) -> None:
    watch = signed_in
    for service, method, path in CHANGES[:2]:
        watch.hold(service, method, path, effect=True)
        run = watch.start("once")
        watch.await_hold(run)
        run.process.kill()
        run.wait(-signal.SIGKILL)
        watch.faults.close()
        for words in (("recover", "--dry-run"), ("recover", "--json"), ("recover", "--revoke", "no-such-id", "--yes")):
            watch.run(*words, code=(0, 1, 2, 3, 11))
    watch.run("once", code=(0, 1, 3))
    _show_everything(watch)
    watch.check((PAT, "key_vault"), (DEVOPS_BEARER, "azure_devops"))


def test_secrets_are_nowhere_when_the_inventory_is_rebuilt(signed_in: Watch) -> None:
    signed_in.run("once")
    for path in signed_in.folder.glob("rotator.db*"):
        path.unlink()
    signed_in.run("db", "upgrade")
    signed_in.run("inventory", "rebuild", "--dry-run", "--json")
    assert NAME in signed_in.run("inventory", "rebuild", "--yes", "--json")
    signed_in.run("once", code=(0, 1, 3))
    _show_everything(signed_in)
    signed_in.check(*ROTATED)


def test_core_file_is_not_written_when_a_run_is_aborted(signed_in: Watch) -> None:
    signed_in.hold(*CHANGES[1])
    unlimited = ("/bin/sh", "-c", 'ulimit -c unlimited; exec "$0" "$@"', COMMAND)
    run = signed_in.start("rotate", NAME, command=unlimited)
    signed_in.await_hold(run)
    assert resource.prlimit(run.process.pid, resource.RLIMIT_CORE)[0] == 0
    run.process.send_signal(signal.SIGABRT)
    run.wait(-signal.SIGABRT)
    signed_in.check((PAT, "azure_devops"))


# ---- what monitoring gets


@contextlib.contextmanager
def added(path: Path, text: str) -> Iterator[None]:
    """Inside, the file has this text at its end."""
    before = path.read_text(encoding="utf-8")
    path.write_text(before + text, encoding="utf-8")
    yield
    path.write_text(before, encoding="utf-8")


HOOK = f"""#!{sys.executable}
import os, sys
print(os.environ, sys.stdin.read(), "the value is", {{value!r}}, file=sys.stderr)
print("x" * 70000, {{value!r}} * 200)
sys.exit(1)
"""
"""A hook that prints all that it is told, and the value that it has read from the vault, again and again."""


def test_secrets_are_nowhere_in_what_hooks_are_told_and_print(signed_in: Watch) -> None:
    """Neither in its environment, which is watched, nor in the audit log; its url and key are secrets of their own."""
    server = WebhookServer(signed_in.folder / "server.pem")
    program = signed_in.folder.parent / "bin" / "hook"
    value = next(iter(signed_in.world.pats.values())).value
    program.write_text(HOOK.format(value=value), encoding="utf-8")
    program.chmod(0o755)
    with server.running():
        for name, secret in (("call.url", server.url), ("call.key", SIGNING_KEY)):
            (signed_in.folder / name).write_text(secret, encoding="utf-8")
            (signed_in.folder / name).chmod(0o600)
        for name, secret in (("call.url", HOOK_PATH), ("call.key", SIGNING_KEY)):
            signed_in.plant(RECEIVER, secret)
            signed_in.homes[name] = {RECEIVER}
        more = (
            "hooks:\n"
            "- {name: loud, on: [secret_stored, pat_revoked], command: [hook]}\n"
            "- {name: post, on: [secret_stored], url: {file: call.url}, secret: {file: call.key}}\n"
        )
        with added(signed_in.sandbox.addresses.config_path, more):
            signed_in.run("config", "show")
            signed_in.run("hooks", "test", code=3)
            signed_in.run("rotate", NAME)
            server.answers = [500]
            signed_in.run("once", code=3)
            _show_everything(signed_in)
            stored = json.loads(signed_in.run("audit", "list", "--event", "secret_stored", "--json"))["events"]
        for request in server.received:
            signed_in.keep(request.body, "webhook")
    assert len(server.received) == 1 + len(stored), "the test, and each new value; the refused call is made again later"
    signed_in.check(*ROTATED)


def test_secrets_are_nowhere_in_notifications(signed_in: Watch) -> None:
    """By webhook and by mail; their addresses and the signing key are secrets of their own."""
    server = WebhookServer(signed_in.folder / "server.pem")
    with MailServer() as mail, mail.running(), server.running():
        for name, value in (("hook.url", server.url), ("hook.key", SIGNING_KEY), ("mail.url", mail.url)):
            (signed_in.folder / name).write_text(value, encoding="utf-8")
            (signed_in.folder / name).chmod(0o600)
        for name, value in (("hook.url", HOOK_PATH), ("hook.key", SIGNING_KEY), ("mail.url", MAIL_PASSWORD)):
            signed_in.plant(RECEIVER, value)
            signed_in.homes[name] = {RECEIVER}
        more = (
            "notify:\n"
            "- {name: hook, kind: webhook, url: {file: hook.url}, secret: {file: hook.key}, events: [pat_revoked]}\n"
            "- {name: mail, kind: apprise, url: {file: mail.url}, events: [pat_revoked]}\n"
        )
        with added(signed_in.sandbox.addresses.config_path, more):
            signed_in.run("notify", "test")
            signed_in.run("config", "check")
            signed_in.run("config", "show")
            signed_in.run("once")
            server.answers, mail.answer = [500, 500], "550 no"
            signed_in.run("rotate", NAME)
            signed_in.run("once")
            _show_everything(signed_in)
        for request in server.received:
            signed_in.keep(request.body, "webhook")
        for sent in mail.mails:
            signed_in.keep(sent.encode(), "mail")
    assert server.received
    assert mail.mails
    signed_in.check(*ROTATED)


def test_secrets_are_nowhere_in_what_monitoring_gets(signed_in: Watch) -> None:
    """Metrics, in the file and on the page; pings, whose address is a secret of its own."""
    check, pages = CheckServer(signed_in.folder / "server.pem"), Pages()
    signed_in.plant(CHECK_KEY, KEY)
    signed_in.homes["ping.url"] = {CHECK_KEY}
    (signed_in.folder / "ping.url").write_text(check.url, encoding="utf-8")
    (signed_in.folder / "ping.url").chmod(0o600)
    more = f"metrics_textfile: rotator.prom\nlisten: {pages.address}\npings: [{{url: {{file: ping.url}}}}]\n"
    with check.running(), added(signed_in.sandbox.addresses.config_path, more):
        signed_in.run("once")
        _show_everything(signed_in)
        daemon = signed_in.start("daemon")
        while pages.get("/readyz")[0] != 200:
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.process.wait(0.2)
            assert daemon.process.poll() is None, daemon.read(".err")
        for path in ("/", "/metrics", "/healthz", "/readyz", "/nothing"):
            signed_in.keep(pages.get(path)[1].encode(), f"page {path}")
        check.answers = [404]
        check.wait_for(4)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.wait()
    assert f'name="{NAME}"' in (signed_in.folder / "rotator.prom").read_text(encoding="utf-8")
    signed_in.check(*ROTATED)


# ---- PostgreSQL


def test_secrets_are_nowhere_when_on_postgresql(watch: Watch, postgres_server: PostgresServer) -> None:
    password = watch.plant(PASSWORD, "pw-7Hq2LxW9mZt4VbKcRnYs8PdGf3JaEu5")
    name = postgres_server.create_database()
    url = postgres_server.url(name)
    watch.env["ROTATOR_DATABASE"] = url.replace("postgres@", f"postgres:{password}@")
    watch.env_kinds.add(PASSWORD)
    edit(watch.sandbox.addresses.config_path, {"sqlite:///rotator.db": "{env: ROTATOR_DATABASE}"})
    edit(watch.sandbox.addresses.policy_path, {"overlap: 5s": "overlap: 0s"})
    watch.run("db", "upgrade")
    watch.login_by_device_code()
    watch.run("inventory", "adopt", "--all", "--yes")
    for words in (("once",), ("once",), ("status",), ("audit", "export"), ("config", "show"), ("db", "current")):
        watch.run(*words)
    tables = _dump(url.replace("postgresql+psycopg", "postgresql"))
    assert {"managed_pat", "rotation", "audit_event"} <= tables.keys()
    assert len(tables["audit_event"]) > 1000
    for table, rows in tables.items():
        watch.keep(rows, f"table {table}")
    postgres_server.drop_database(name)
    for words in (("status",), ("once",), ("db", "upgrade")):
        watch.run(*words, code=(1, 11))
    watch.check(*ROTATED)


def _dump(url: str) -> dict[str, bytes]:
    """Every table as COPY writes it."""
    found: dict[str, bytes] = {}
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in rows:
            statement = psycopg.sql.SQL("COPY {} TO STDOUT").format(psycopg.sql.Identifier(table))
            with connection.cursor().copy(statement) as copy:
                found[table] = b"".join(bytes(part) for part in copy)
    return found
