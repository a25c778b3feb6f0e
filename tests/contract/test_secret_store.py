"""One suite for both secret stores: the fake of the engine's tests, and the real adapter on the sandbox's vault."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from rotator.domain.secret_value import SecretValue
from rotator.errors import DeniedError, FailureKind, RejectedError
from rotator.ports.permit import unclaimed
from rotator.ports.secret_store import SecretLocation, SecretStore, StoredSecret
from tests.support.clock import FakeClock
from tests.support.fake_secret_store import FakeSecretStore
from tests.support.vault import SandboxVault, run_vault

EXPIRES_AT = datetime(2026, 12, 27, 9, 0, 5, tzinfo=UTC)
_numbers = itertools.count(1)


class Subject(Protocol):
    """A store, and the power over its vault that a test needs."""

    @property
    def store(self) -> SecretStore: ...
    @property
    def location(self) -> SecretLocation: ...
    def write_foreign(self, value: str, tags: dict[str, str], *, enabled: bool = True) -> str: ...
    def soft_delete(self) -> None: ...
    def deny(self, permission: str) -> None: ...
    def close_firewall(self) -> None: ...
    def newest_tags(self) -> dict[str, str]: ...


class FakeSubject:
    """The fake store."""

    def __init__(self) -> None:
        self.store = FakeSecretStore(FakeClock())
        self.location = SecretLocation("https://contoso-kv.vault.azure.net", "contoso-ci", "build-bot")

    def write_foreign(self, value: str, tags: dict[str, str], *, enabled: bool = True) -> str:
        return self.store.write_foreign(self.location, value, tags, enabled=enabled)

    def soft_delete(self) -> None:
        self.store.soft_delete(self.location)

    def deny(self, permission: str) -> None:
        self.store.denied.add(permission)

    def close_firewall(self) -> None:
        self.store.firewall = True

    def newest_tags(self) -> dict[str, str]:
        return self.store.versions_of(self.location)[0].version.tags


@pytest.fixture(scope="module")
def sandbox_vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxVault]:
    with run_vault(tmp_path_factory.mktemp("sandbox")) as vault:
        yield vault


@pytest.fixture(params=["fake", "key_vault"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    if request.param == "fake":
        yield FakeSubject()
        return
    vault: SandboxVault = request.getfixturevalue("sandbox_vault")
    vault.start_over(f"contoso-ci-{next(_numbers)}")
    yield vault


def put(subject: Subject, value: str, **tags: str) -> str:
    return subject.store.store(subject.location, SecretValue(value), expires_at=EXPIRES_AT, tags=tags, permit=unclaimed)


def value_of(stored: StoredSecret | None) -> str:
    assert stored is not None
    return stored.value.reveal()


def test_store_keeps_value_tags_and_expiry_when_read_back(subject: Subject) -> None:
    version = put(subject, "first", rotation="r1", rule="ci")
    stored = subject.store.fetch_latest(subject.location)
    assert value_of(stored) == "first"
    assert stored is not None
    assert stored.version.version == version
    assert stored.version.tags == {"rotation": "r1", "rule": "ci"}
    assert stored.version.enabled
    assert stored.version.expires_at == EXPIRES_AT
    assert stored.version.created_at is not None
    assert stored.version.created_at.utcoffset() == timedelta(0)


def test_store_makes_the_newest_version_when_there_is_one(subject: Subject) -> None:
    old, new = put(subject, "old"), put(subject, "new")
    assert value_of(subject.store.fetch_latest(subject.location)) == "new"
    assert value_of(subject.store.fetch_version(subject.location, old)) == "old"
    assert value_of(subject.store.fetch_version(subject.location, new)) == "new"


def test_store_is_rejected_when_the_name_is_soft_deleted(subject: Subject) -> None:
    put(subject, "old")
    subject.soft_delete()
    with pytest.raises(RejectedError) as caught:
        put(subject, "new")
    assert caught.value.code == "secret_soft_deleted"


def test_store_is_rejected_when_there_are_too_many_tags(subject: Subject) -> None:
    with pytest.raises(RejectedError):
        put(subject, "new", **{f"tag{number}": "x" for number in range(16)})
    assert subject.store.fetch_latest(subject.location) is None


def test_fetches_find_nothing_when_there_is_no_secret(subject: Subject) -> None:
    assert subject.store.fetch_latest(subject.location) is None
    assert subject.store.fetch_version(subject.location, "0" * 32) is None
    assert subject.store.fetch_versions(subject.location) == ()


def test_fetches_find_nothing_when_the_secret_is_soft_deleted(subject: Subject) -> None:
    version = put(subject, "old")
    subject.soft_delete()
    assert subject.store.fetch_latest(subject.location) is None
    assert subject.store.fetch_version(subject.location, version) is None
    assert subject.store.fetch_versions(subject.location) == ()


def test_fetch_latest_is_rejected_when_the_newest_is_disabled(subject: Subject) -> None:
    put(subject, "old")
    subject.store.disable(subject.location, put(subject, "new"), permit=unclaimed)
    with pytest.raises(RejectedError) as caught:
        subject.store.fetch_latest(subject.location)
    assert caught.value.code == "secret_disabled"
    assert subject.location.name in caught.value.fix


def test_fetch_version_finds_nothing_when_the_version_is_unknown(subject: Subject) -> None:
    put(subject, "old")
    assert subject.store.fetch_version(subject.location, "f" * 32) is None


def test_fetch_versions_lists_the_newest_first_when_all_are_of_one_second(subject: Subject) -> None:
    versions = [put(subject, f"value {number}") for number in range(3)]
    listed = subject.store.fetch_versions(subject.location)
    assert listed[0].version == versions[-1]
    assert sorted(entry.version for entry in listed) == sorted(versions)


def test_fetch_versions_lists_a_disabled_newest_first_when_all_are_of_one_second(subject: Subject) -> None:
    versions = [put(subject, f"value {number}") for number in range(3)]
    subject.store.disable(subject.location, versions[-1], permit=unclaimed)
    listed = subject.store.fetch_versions(subject.location)
    assert listed[0].version == versions[-1]
    assert [entry.enabled for entry in listed] == [False, True, True]


def test_disable_takes_effect_once_when_called_twice(subject: Subject) -> None:
    old = put(subject, "old", rule="ci")
    put(subject, "new")
    subject.store.disable(subject.location, old, permit=unclaimed)
    subject.store.disable(subject.location, old, permit=unclaimed)
    listed = {entry.version: entry for entry in subject.store.fetch_versions(subject.location)}
    assert not listed[old].enabled
    assert listed[old].tags == {"rule": "ci"}
    assert value_of(subject.store.fetch_latest(subject.location)) == "new"
    with pytest.raises(RejectedError) as caught:
        subject.store.fetch_version(subject.location, old)
    assert caught.value.code == "secret_disabled"


def test_disable_is_rejected_when_the_version_is_unknown(subject: Subject) -> None:
    with pytest.raises(RejectedError) as caught:
        subject.store.disable(subject.location, "f" * 32, permit=unclaimed)
    assert caught.value.code == "secret_not_found"


def test_prove_writable_creates_nothing_when_there_is_no_secret(subject: Subject) -> None:
    subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert subject.store.fetch_versions(subject.location) == ()


def test_prove_writable_merges_its_tags_when_there_are_others(subject: Subject) -> None:
    put(subject, "old", owner="team", intent="r0")
    subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert subject.newest_tags() == {"owner": "team", "intent": "r1"}
    stored = subject.store.fetch_latest(subject.location)
    assert value_of(stored) == "old"
    assert stored is not None
    assert stored.version.expires_at == EXPIRES_AT


def test_prove_writable_is_rejected_when_others_fill_the_tags(subject: Subject) -> None:
    tags = {f"tag{number}": "x" for number in range(15)}
    subject.write_foreign("old", tags)
    with pytest.raises(RejectedError) as caught:
        subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert caught.value.code == "secret_tags_full"
    assert subject.newest_tags() == tags


def test_prove_writable_succeeds_when_its_own_tag_is_the_fifteenth(subject: Subject) -> None:
    subject.write_foreign("old", {**{f"tag{number}": "x" for number in range(14)}, "intent": "r0"})
    subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert subject.newest_tags()["intent"] == "r1"


def test_prove_writable_is_rejected_when_the_name_is_soft_deleted(subject: Subject) -> None:
    put(subject, "old")
    subject.soft_delete()
    with pytest.raises(RejectedError) as caught:
        subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert caught.value.code == "secret_soft_deleted"
    assert subject.location.name in caught.value.fix


def test_prove_writable_is_rejected_when_the_newest_is_disabled(subject: Subject) -> None:
    put(subject, "old")
    subject.write_foreign("new", {}, enabled=False)
    with pytest.raises(RejectedError) as caught:
        subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert caught.value.code == "secret_disabled"


@pytest.mark.parametrize("permission", ["list", "get", "set"])
@pytest.mark.parametrize("exists", [True, False])
def test_prove_writable_is_denied_when_a_permission_is_missing(subject: Subject, permission: str, exists: bool) -> None:
    if exists:
        put(subject, "old")
    subject.deny(permission)
    with pytest.raises(DeniedError) as caught:
        subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert (caught.value.code, caught.value.kind) == ("vault_denied", FailureKind.DENIED)
    assert f"`{permission}`" in caught.value.fix


def test_prove_writable_is_denied_when_the_firewall_keeps_us_out(subject: Subject) -> None:
    subject.close_firewall()
    with pytest.raises(DeniedError) as caught:
        subject.store.prove_writable(subject.location, {"intent": "r1"}, permit=unclaimed)
    assert (caught.value.code, caught.value.kind) == ("vault_firewall", FailureKind.DENIED)


def test_prove_access_changes_nothing_and_returns_the_newest_version(subject: Subject) -> None:
    assert subject.store.prove_access(subject.location) is None
    assert subject.store.fetch_versions(subject.location) == ()
    put(subject, "old", owner="team")
    before = subject.store.fetch_versions(subject.location)
    found = subject.store.prove_access(subject.location)
    assert found is not None
    assert found.version == before[0].version
    assert subject.store.fetch_versions(subject.location) == before


@pytest.mark.parametrize("permission", ["list", "get", "set"])
@pytest.mark.parametrize("exists", [True, False])
def test_prove_access_is_denied_when_a_permission_is_missing(subject: Subject, permission: str, exists: bool) -> None:
    if exists:
        put(subject, "old")
    subject.deny(permission)
    with pytest.raises(DeniedError) as caught:
        subject.store.prove_access(subject.location)
    assert (caught.value.code, caught.value.kind) == ("vault_denied", FailureKind.DENIED)


def test_prove_access_is_rejected_when_the_newest_is_disabled_or_the_name_soft_deleted(subject: Subject) -> None:
    put(subject, "old")
    subject.write_foreign("new", {}, enabled=False)
    for code in ("secret_disabled", "secret_soft_deleted"):
        with pytest.raises(RejectedError) as caught:
            subject.store.prove_access(subject.location)
        assert caught.value.code == code
        subject.soft_delete()


@pytest.mark.parametrize("permission", ["list", "get", "set"])
def test_each_method_is_denied_when_its_permission_is_missing(subject: Subject, permission: str) -> None:
    version = put(subject, "old")
    subject.deny(permission)
    store, location = subject.store, subject.location
    calls: dict[str, list[Callable[[], object]]] = {
        "list": [
            lambda: store.fetch_versions(location),
            lambda: store.fetch_tagged(location.vault, location.account, "rule"),
        ],
        "get": [lambda: store.fetch_latest(location), lambda: store.fetch_version(location, version)],
        "set": [lambda: put(subject, "new"), lambda: store.disable(location, version, permit=unclaimed)],
    }
    for call in calls[permission]:
        with pytest.raises(DeniedError) as caught:
            call()
        assert caught.value.code == "vault_denied"
        assert caught.value.status == 403


def put_as(subject: Subject, name: str, **tags: str) -> None:
    location = replace(subject.location, name=name)
    subject.store.store(location, SecretValue("x"), expires_at=EXPIRES_AT, tags=tags, permit=unclaimed)


def fetch_tagged(subject: Subject, tag: str) -> tuple[str, ...]:
    return tuple(subject.store.fetch_tagged(subject.location.vault, subject.location.account, tag))


def test_fetch_names_gives_the_tagged_ones_sorted_when_there_are_many(subject: Subject) -> None:
    """More than a page of them; a tag with an empty value is a tag."""
    expected = [f"z-{number:02}" for number in range(30)]
    for name in reversed(expected):
        put_as(subject, name, rotation="r1", rule="ci")
    put_as(subject, "a-last", rotation="")
    put_as(subject, "no-tag")
    put_as(subject, "another-tag", rule="ci", rotations="r1")
    assert fetch_tagged(subject, "rotation") == ("a-last", *expected)


def test_fetch_names_goes_by_the_newest_version_when_tags_differ(subject: Subject) -> None:
    """Written over by somebody else, it is no longer ours; a disabled newest version still counts."""
    put_as(subject, "gained")
    put_as(subject, "gained", rotation="r1")
    put_as(subject, "lost", rotation="r1")
    put_as(subject, "lost")
    put(subject, "old", rule="ci")
    subject.store.disable(subject.location, put(subject, "new", rotation="r1"), permit=unclaimed)
    assert fetch_tagged(subject, "rotation") == tuple(sorted(["gained", subject.location.name]))


def test_fetch_names_leaves_out_what_is_deleted(subject: Subject) -> None:
    put(subject, "old", rotation="r1")
    subject.soft_delete()
    assert fetch_tagged(subject, "rotation") == ()


def test_fetch_names_is_empty_when_the_vault_is(subject: Subject) -> None:
    assert fetch_tagged(subject, "rotation") == ()


def test_fetch_names_is_denied_with_what_to_grant_when_listing_is_not_allowed(subject: Subject) -> None:
    subject.deny("list")
    with pytest.raises(DeniedError) as caught:
        fetch_tagged(subject, "rotation")
    assert caught.value.code == "vault_denied"
    assert "`list`" in caught.value.fix
    if isinstance(subject, SandboxVault):
        assert caught.value.message.startswith("rotator may not list the secrets in 127.0.0.1")


def test_fetch_names_is_denied_when_the_firewall_keeps_us_out(subject: Subject) -> None:
    subject.close_firewall()
    with pytest.raises(DeniedError) as caught:
        fetch_tagged(subject, "rotation")
    assert (caught.value.code, caught.value.kind) == ("vault_firewall", FailureKind.DENIED)
