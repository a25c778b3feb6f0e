"""The adapter of Azure DevOps' own audit log, on the sandbox and on answers that are odd."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from rotator.adapters.azure_devops.service_log import PAGE_SIZE, AzureDevOpsServiceLog
from rotator.adapters.http_options import HttpOptions
from rotator.domain.service_log import EntryKind, ServiceLogRead
from rotator.errors import DeniedError, RotatorError, SignInRequiredError, TransientError
from rotator.ports.permit import unclaimed
from rotator.sandbox import seeds
from rotator.sandbox.azure_devops_audit import add_to_log
from tests.support.azure_devops import ACCOUNT, SandboxAzureDevOps, run_azure_devops
from tests.support.stop import make_stop

HOME = seeds.ORGANIZATION
CASE = Path(__file__).with_name("service_log_page.json")
JSON = {"Content-Type": "application/json"}
PATH = "/audit/auditlog"


class Reader:
    """The adapter on the sandbox."""

    def __init__(self, azure_devops: SandboxAzureDevOps) -> None:
        self.sandbox, self.told = azure_devops, list[int]()
        clock, options = azure_devops.clock, HttpOptions(azure_devops.sandbox.addresses.ca_path)
        url = azure_devops.sandbox.addresses.azure_devops_url
        self.log = AzureDevOpsServiceLog(url, azure_devops.bearers, options, clock, clock, make_stop(clock))

    def read(self, period: timedelta = timedelta(days=30)) -> ServiceLogRead:
        """What it reads of the last days."""
        now = self.sandbox.clock.now() + timedelta(seconds=1)
        return self.log.fetch(ACCOUNT, HOME, now - period, now, self.told.append)

    def fail(self) -> RotatorError:
        """The error that it ends with."""
        with pytest.raises(RotatorError) as caught:
            self.read()
        return caught.value

    def answer(self, *pages: object) -> ServiceLogRead:
        """What it makes of these pages."""
        for page in pages:
            self.sandbox.plant("status", "GET", PATH, status=200, headers=JSON, body=json.dumps(page).encode())
        return self.read()


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxAzureDevOps]:
    with run_azure_devops(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def reader(sandbox: SandboxAzureDevOps) -> Iterator[Reader]:
    sandbox.start_over()
    made = Reader(sandbox)
    yield made
    made.log.close()
    sandbox.service.close()


def load_case() -> dict[str, Any]:
    case: dict[str, Any] = json.loads(CASE.read_text(encoding="utf-8"))
    return case


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_both_shapes_are_read_to_their_end(reader: Reader, is_wrapped: bool) -> None:
    """The right value of the case: a mint with all that identifies it, and a revocation to be judged."""
    last: dict[str, object] = {"decoratedAuditLogEntries": [], "continuationToken": None, "hasMore": False}
    pages = [{"value": page} if is_wrapped else page for page in (load_case(), last)]
    minted, revoked = reader.answer(*pages).entries
    assert (minted.kind, minted.display_name, minted.actor) == (EntryKind.MINTED, "npm-feed", seeds.USERNAME)
    assert minted.valid_to == datetime(2026, 12, 20, 9, tzinfo=UTC)
    assert minted.at == datetime(2026, 11, 25, 9, 0, 1, 123456, tzinfo=UTC)
    assert minted.answer_ids == {"11111111-2222-4333-8444-555555555555", "99999999-8888-4777-8666-555555555555"}
    assert (revoked.kind, revoked.display_name) == (EntryKind.REVOKED_BY_SYSTEM, "docs-site")
    assert revoked.kind.may_be_leak
    first, second = reader.sandbox.requests("GET")
    assert "continuationToken" not in first.query
    assert second.query["continuationToken"] == "abc"
    assert {**second.query, "continuationToken": ""} == {**first.query, "continuationToken": ""}


def test_odd_entries_are_set_aside_one_by_one(reader: Reader) -> None:
    sound = load_case()["decoratedAuditLogEntries"][0]
    odd: list[object] = [
        None,
        "text",
        [],
        {"id": "no action"},
        {**sound, "id": "a", "timestamp": "yesterday"},
        {**sound, "id": "b", "timestamp": None},
        {**sound, "id": "c", "actionId": "Token.PatTeleportEvent"},
    ]
    bent: list[object] = [
        {**sound, "id": "d", "data": None, "actorUPN": None, "correlationId": 5},
        {**sound, "id": "e", "data": json.dumps({"displayname": "half \ud83d\nline", "ValidTo": "9999"})},
        {key: value for key, value in sound.items() if key != "id"},
        {"actionId": "AuditLog.AccessLog", "id": 7},
    ]
    page = {"decoratedAuditLogEntries": [*odd, sound, *bent, *odd], "continuationToken": ""}
    read = reader.answer(page)
    assert (len(read.entries), read.unreadable, read.read) == (4, len(odd), 2 * len(odd) + 5)
    texts = {entry.id: entry for entry in read.entries}
    assert texts["d"].display_name == texts["d"].actor == ""
    assert texts["e"].display_name == "half \ufffd\ufffdline"
    assert texts["e"].valid_to is None


def test_entry_counts_once_when_pages_overlap(reader: Reader) -> None:
    home = reader.sandbox.organization
    for number in range(PAGE_SIZE + 20):
        document = {"id": f"e-{number}", "actionId": "Token.PatCreateEvent", "data": {"DisplayName": str(number)}}
        add_to_log(reader.sandbox.world, home, reader.sandbox.clock.now() - timedelta(minutes=number), document)
    home.audit_overlap = 15
    read = reader.read()
    assert len(read.entries) == PAGE_SIZE + 20
    assert read.read == PAGE_SIZE + 35
    assert reader.told == [PAGE_SIZE, PAGE_SIZE + 35]
    assert 10 <= len(reader.read(timedelta(minutes=10)).entries) <= 11


def test_entries_that_differ_and_have_one_id_are_both_read(reader: Reader) -> None:
    """The same two at each read, under the same ids, whatever their order."""
    home, world = reader.sandbox.organization, reader.sandbox.world
    at = reader.sandbox.clock.now() - timedelta(hours=2)
    for name, later in (("ours", 0), ("theirs", 1)):
        document = {"id": "e-1", "actionId": "Token.PatCreateEvent", "data": {"DisplayName": name}}
        add_to_log(world, home, at + timedelta(minutes=later), document)
    entries = reader.read().entries
    assert [entry.display_name for entry in entries] == ["ours", "theirs"]
    assert len({entry.id for entry in entries}) == 2
    assert all(entry.id.startswith("e-1:") for entry in entries)
    assert reader.read().entries == entries


@pytest.mark.parametrize(
    "pages",
    [
        [{"decoratedAuditLogEntries": [], "hasMore": True}],
        [{"decoratedAuditLogEntries": [], "hasMore": True, "continuationToken": "a"}] * 2,
    ],
)
def test_log_is_incomplete_when_it_names_no_next_page_or_one_twice(reader: Reader, pages: list[object]) -> None:
    with pytest.raises(TransientError) as caught:
        reader.answer(*pages)
    assert caught.value.code == "service_log_incomplete"


@pytest.mark.parametrize(
    "page",
    [[], {"value": []}, {"decoratedAuditLogEntries": {}}, {"decoratedAuditLogEntries": [], "continuationToken": 1}],
)
def test_answer_is_malformed_when_it_is_no_page(reader: Reader, page: object) -> None:
    with pytest.raises(TransientError) as caught:
        reader.answer(page)
    assert caught.value.code == "malformed_answer"


def test_log_is_denied_when_a_permission_is_missing(reader: Reader) -> None:
    reader.sandbox.organization.audit_readers = set()
    denied = reader.fail()
    assert isinstance(denied, DeniedError)
    assert denied.code == "service_log_denied"
    assert "TF50309" in denied.message
    assert "View audit log" in denied.fix
    reader.sandbox.organization.audit_readers = None
    app = reader.sandbox.world.apps[seeds.CLIENT_ID]
    permissions, app.permissions = app.permissions, ("vso.pats", "vso.pats_manage")
    try:
        assert reader.fail().code == "service_log_denied"
        app.permissions = ("vso.pats", "vso.auditlog")
        assert reader.read().entries == ()
    finally:
        app.permissions = permissions


def test_failures_are_those_of_the_other_calls(reader: Reader) -> None:
    reader.sandbox.plant("status", "GET", PATH, status=503)
    reader.sandbox.plant("rate_limited", "GET", PATH)
    assert reader.read().entries == ()
    reader.sandbox.bearers.signed_out.add(ACCOUNT)
    assert isinstance(reader.fail(), SignInRequiredError)


def test_log_tells_of_mints_and_revocations_with_the_ids_of_their_answers(reader: Reader) -> None:
    service, end = reader.sandbox.service, reader.sandbox.clock.now() + timedelta(days=9)
    minted = service.mint(ACCOUNT, HOME, display_name="npm-feed", scope="vso.packaging", valid_to=end, permit=unclaimed)
    revoked = service.revoke(ACCOUNT, HOME, minted.pat.authorization_id, permit=unclaimed)
    first, second = sorted(reader.read().entries, key=lambda entry: entry.kind)
    assert (first.kind, second.kind) == (EntryKind.MINTED, EntryKind.REVOKED)
    assert set(minted.answer_ids.values()) & first.answer_ids
    assert set(revoked.values()) & second.answer_ids
    assert first.valid_to == minted.pat.valid_to
    reader.sandbox.organization.audit_lag = timedelta(hours=1)
    assert reader.read().entries == ()
