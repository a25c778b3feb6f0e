"""No secret in an error that crosses a port, in whatever way it is shown: a sample of faults of each real adapter."""

from __future__ import annotations

import copyreg
import io
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rotator.adapters.database.unit_of_work import SqlDatabase
from rotator.domain.secret_value import SecretValue
from rotator.errors import RotatorError
from rotator.ports.permit import unclaimed
from rotator.sandbox.faults import Fault
from rotator.sandbox.running import Sandbox
from rotator.sandbox.seeds import ACCOUNT, CLIENT_ID, ORGANIZATION, OTHER_USERNAME, USERNAME
from tests.support.azure_devops import SandboxAzureDevOps
from tests.support.canaries import (
    CACHE_KEY,
    CLIENT_SECRET,
    PASSWORD,
    PAT,
    PRIVATE_KEY,
    Canary,
    CanarySearch,
    collect_canaries,
)
from tests.support.signing_in import Stage
from tests.support.vault import SandboxVault

SECRET = "Xq38Q~" + "kZt4VbW9mPc2LrYs7NdHf6JgTa1EuQo"
PASSWORD_VALUE = "pw-7Hq2LxW9mZt4VbKcRnYs8PdGf3JaEu5"
LONG = timedelta(minutes=5)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox for all: each test plants its own faults."""
    with Sandbox(tmp_path_factory.mktemp("sandbox"), seed_demo=False) as running:
        yield running


def _check(sandbox: Sandbox, raise_it: Callable[[], object], *more: Canary) -> None:
    """The call raises an error of ours in which no canary is found, whichever way it is shown or kept."""
    with pytest.raises(RotatorError) as caught:
        raise_it()
    error = caught.value
    canaries = collect_canaries(sandbox) | set(more)
    assert canaries
    search = CanarySearch(canaries)
    shown = [shown for one in _walk(error) for shown in _show(one).items()]
    shown += [("traceback", "".join(traceback.format_exception(error)).encode()), ("pickle", _pickle(error))]
    finds = [found for place, data in shown for found in search.find(data, place)]
    assert finds == []


def _walk(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that hangs on it, suppressed contexts too."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        one = pending.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            pending += [one.__cause__, one.__context__]
            pending += [item for item in (*one.args, *vars(one).values()) if isinstance(item, BaseException)]


def _show(error: BaseException) -> Mapping[str, bytes]:
    name = type(error).__name__
    inside = {key: repr(_look_into(value)) for key, value in vars(error).items()}
    texts = {"repr": repr(error), "str": str(error), "args": repr(error.args), "vars": repr(inside)}
    texts |= {"notes": repr(getattr(error, "__notes__", ()))}
    return {f"{kind} of {name}": text.encode() for kind, text in texts.items()}


def _look_into(value: object, depth: int = 4) -> object:
    """What an attribute holds, requests and replies of a library opened."""
    inside = getattr(value, "__dict__", None)
    if not depth or not inside:
        return value
    return value, {key: _look_into(item, depth - 1) for key, item in inside.items()}


def _pickle(error: BaseException) -> bytes:
    """The error as another process would get it."""
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream)
    pickler.dispatch_table = copyreg.dispatch_table
    pickler.dump(error)
    return stream.getvalue()


# ---- Azure DevOps

MINT_FAULTS = {
    "lost": Fault("azure_devops", "lost_after", "POST"),
    "truncated": Fault("azure_devops", "truncated", "POST"),
    "malformed": Fault("azure_devops", "malformed", "POST"),
    "page": Fault("azure_devops", "html", "POST", times=None),
    "401": Fault("azure_devops", "status", "POST", status=401, times=None),
    "403": Fault("azure_devops", "status", "POST", status=403, times=None),
    "429": Fault("azure_devops", "rate_limited", "POST", times=None),
    "500": Fault("azure_devops", "status", "POST", status=500, times=None),
    "hang": Fault("azure_devops", "hang", "POST", effect=True),
}


@pytest.fixture
def azure_devops(sandbox: Sandbox) -> Iterator[SandboxAzureDevOps]:
    """Azure DevOps at its beginning, with one PAT."""
    stage = SandboxAzureDevOps(sandbox)
    stage.add_pat("ci")
    stage.service.close()
    http = replace(SandboxVault(sandbox).http, read_timeout=timedelta(seconds=1))
    stage.service = stage.make_service(http=http, max_wait=timedelta(0))
    yield stage
    stage.world.faults.clear()
    stage.service.close()


@pytest.mark.parametrize("name", MINT_FAULTS)
def test_mint_error_holds_no_canary_when_it_fails(
    sandbox: Sandbox, azure_devops: SandboxAzureDevOps, name: str
) -> None:
    sandbox.world.faults.add(MINT_FAULTS[name])
    valid_to = azure_devops.clock.now() + timedelta(days=30)
    service = azure_devops.service
    _check(
        sandbox,
        lambda: service.mint(
            ACCOUNT, ORGANIZATION, display_name="ci", scope="vso.code", valid_to=valid_to, permit=unclaimed
        ),
    )


@pytest.mark.parametrize(
    ("kind", "status"), [("status", 401), ("status", 500), ("html", 302), ("anonymous", None), ("lost_before", None)]
)
def test_verify_error_holds_no_canary_when_it_fails(
    sandbox: Sandbox, azure_devops: SandboxAzureDevOps, kind: str, status: int | None
) -> None:
    azure_devops.plant(kind, "GET", "connectionData", times=None, status=status)
    [pat] = sandbox.world.pats.values()
    _check(sandbox, lambda: azure_devops.service.verify(ORGANIZATION, SecretValue(pat.value)))


@pytest.mark.parametrize("cut", [None, 150])
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500])
def test_service_error_holds_no_canary_when_the_service_repeats_one(
    sandbox: Sandbox, azure_devops: SandboxAzureDevOps, status: int, cut: int | None
) -> None:
    bearer = azure_devops.bearers.fetch_bearer(ACCOUNT, "499b84ac-1321-427f-aa17-267ca6975798/.default").value.reveal()
    parrot = " ".join([bearer[:cut], *(pat.value for pat in sandbox.world.pats.values())])
    body: dict[str, object] = {"typeKey": "VssServiceException", "message": parrot}
    if status == 200:
        body = {"patToken": None, "patTokenError": parrot, "patTokenErrorMessage": parrot}
    azure_devops.plant("status", "POST", times=None, status=status, body=body)
    valid_to = azure_devops.clock.now() + timedelta(days=30)
    service = azure_devops.service
    _check(
        sandbox,
        lambda: service.mint(
            ACCOUNT, ORGANIZATION, display_name="ci", scope="vso.code", valid_to=valid_to, permit=unclaimed
        ),
    )


# ---- Key Vault


@pytest.fixture
def vault(sandbox: Sandbox) -> Iterator[SandboxVault]:
    """An empty vault."""
    stage = SandboxVault(sandbox)
    stage.start_over("contoso-ci")
    stage.store.close()
    stage.store = stage.make_store(http=replace(stage.http, read_timeout=timedelta(seconds=1)))
    yield stage
    sandbox.world.faults.clear()
    stage.store.close()


STORE_FAULTS = ("lost_after", "truncated", "malformed", "html", "rate_limited", "hang", "400", "401", "403", "500")


@pytest.mark.parametrize("name", STORE_FAULTS)
def test_store_error_holds_no_canary_when_it_fails(sandbox: Sandbox, vault: SandboxVault, name: str) -> None:
    value = sandbox.world.new_pat_value()
    kind, status = ("status", int(name)) if name.isdecimal() else (name, None)
    message = f"The value {value} of {value[:50]} is not allowed, said Bearer {value}"
    body = {"error": {"code": "BadParameter", "message": message}}
    vault.put("the first one brings the challenge")
    fault = Fault("key_vault", kind, "PUT", times=None, status=status, body=body, effect=True)
    sandbox.world.faults.add(fault)
    _check(sandbox, lambda: vault.put(value), Canary(PAT, value))


@pytest.mark.parametrize("name", ["malformed", "truncated", "html", "403", "500"])
def test_read_error_holds_no_canary_when_it_fails(sandbox: Sandbox, vault: SandboxVault, name: str) -> None:
    value = sandbox.world.new_pat_value()
    vault.put(value)
    kind, status = ("status", int(name)) if name.isdecimal() else (name, None)
    body = {"error": {"code": "Forbidden", "message": f"not {value}"}}
    sandbox.world.faults.add(Fault("key_vault", kind, "GET", times=None, status=status, body=body))
    _check(sandbox, lambda: vault.store.fetch_latest(vault.location), Canary(PAT, value))


# ---- Entra


@pytest.fixture
def entra(sandbox: Sandbox, tmp_path: Path) -> Iterator[Stage]:
    """Entra, with nobody signed in."""
    stage = Stage(sandbox, tmp_path)
    yield stage
    sandbox.world.faults.clear()
    stage.configure_app(public=True, secret=None)
    stage.close()


@pytest.mark.parametrize("kind", ["html", "truncated", "malformed", "lost_after", "rate_limited", "parrot"])
def test_refresh_error_holds_no_canary_when_it_fails(sandbox: Sandbox, entra: Stage, kind: str) -> None:
    entra.login()
    sandbox.world.clock.advance(timedelta(hours=2))
    body: dict[str, object] = {}
    if kind == "parrot":
        echo = " ".join([*sandbox.world.refresh_tokens, *sandbox.world.access_tokens])
        body = {"error": "invalid_grant", "error_description": f"AADSTS50173: {echo}", "claims": echo}
    fault_kind, status = ("status", 400) if kind == "parrot" else (kind, None)
    sandbox.world.faults.add(Fault("entra", fault_kind, "POST", "/token", times=None, status=status, body=body))
    _check(sandbox, lambda: entra.sign_in.refresh(ACCOUNT), Canary(CACHE_KEY, entra.key))


@pytest.mark.parametrize("way", ["device code", "browser"])
@pytest.mark.parametrize("ending", ["wrong user", "denied", "truncated"])
def test_login_error_holds_no_canary_when_it_fails(sandbox: Sandbox, entra: Stage, way: str, ending: str) -> None:
    sign_in = entra.sign_in
    user = OTHER_USERNAME if ending == "wrong user" else USERNAME
    action = "deny" if ending == "denied" else "approve"
    if ending == "truncated":
        sandbox.world.faults.add(Fault("entra", "truncated", "POST", "/token", times=None))
    if way == "browser":
        _check(sandbox, lambda: sign_in.login_with_browser(ACCOUNT, entra.browse(user, action), LONG))
    else:
        _check(sandbox, lambda: sign_in.login_with_device_code(ACCOUNT, entra.approve(user, action)))


def test_login_error_holds_no_canary_when_the_client_secret_is_wrong(sandbox: Sandbox, entra: Stage) -> None:
    entra.configure_app(public=False, secret="another" + SECRET[::-1])
    known = replace(entra.make_account(), client_secret=lambda: SecretValue(SECRET))
    sign_in = entra.make_sign_in(known)
    _check(sandbox, lambda: entra.login(sign_in=sign_in), Canary(CLIENT_SECRET, SECRET))


def test_login_error_holds_no_canary_when_the_private_key_is_broken(sandbox: Sandbox, entra: Stage) -> None:
    body = "\n".join("MIIe" + str(line) * 60 for line in range(9))
    pem = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    pem += f"-----BEGIN CERTIFICATE-----\n{'A' * 64}\n-----END CERTIFICATE-----\n"
    known = replace(entra.make_account(client_id=CLIENT_ID), client_certificate=lambda: SecretValue(pem))
    sign_in = entra.make_sign_in(known)
    _check(sandbox, lambda: entra.login(sign_in=sign_in), Canary(PRIVATE_KEY, body))


def test_cache_error_holds_no_canary_when_the_key_is_another(sandbox: Sandbox, entra: Stage) -> None:
    entra.login()
    entra.key = "A" * 43 + "="
    _check(sandbox, lambda: entra.make_sign_in().refresh(ACCOUNT), Canary(CACHE_KEY, entra.key))
    broken = "no-fernet-key-" + "x7" * 15
    entra.key = broken
    _check(sandbox, entra.make_sign_in, Canary(CACHE_KEY, broken))


# ---- databases


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://rotator:{}@127.0.0.1:1/rotator",
        "postgresql+psycopg://rotator@/rotator?host=/nowhere&password={}",
        "postgresql+psycopg://rotator:{}@127.0.0.1:1/rotator?sslmode=strange",
        "postgresql+psycopg://rotator:{}@127.0.0.1:port/rotator",
        "mysql://rotator:{}@127.0.0.1/rotator",
    ],
)
def test_database_error_holds_no_canary_when_it_cannot_connect(sandbox: Sandbox, address: str) -> None:
    def connect() -> datetime:
        database = SqlDatabase(address.format(PASSWORD_VALUE))
        try:
            with database.begin():
                return datetime.now(UTC)
        finally:
            database.close()

    _check(sandbox, connect, Canary(PASSWORD, PASSWORD_VALUE))
