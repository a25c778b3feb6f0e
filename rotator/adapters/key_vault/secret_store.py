"""The ports SecretStore and SecretAccess on Azure Key Vault, by the azure-keyvault-secrets client.

Reads and tag changes are tried up to three times. A write of a value is carried out once at most: unless the vault
refused its token it is never sent again, and the caller finds out by the tags what became of it. The permit of what
changes something goes through the library, as an option that its transport takes. Importing this module
loads the Azure libraries, which takes about 140 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from azure.core.credentials import TokenCredential
from azure.core.paging import ItemPaged
from azure.core.pipeline import PipelineResponse
from azure.core.rest import HttpResponse
from azure.keyvault.secrets import KeyVaultSecret, SecretClient, SecretProperties

from rotator.adapters.answer_ids import read_answer_ids
from rotator.adapters.http_options import HttpOptions
from rotator.adapters.key_vault.answers import check_answer
from rotator.adapters.key_vault.clients import ClientPool
from rotator.adapters.key_vault.failures import (
    ANSWER_IDS,
    SDK_FAILURES,
    Call,
    make_deleted_and_disabled_failure,
    make_failure,
    make_soft_deleted_failure,
)
from rotator.domain.answer_ids import NO_IDS, AnswerIds
from rotator.domain.outside import make_canonical, make_harmless
from rotator.domain.secret_value import SecretValue
from rotator.errors import RejectedError, RemoteError, TransientError, UnknownOutcomeError
from rotator.ports.permit import Permit, unclaimed
from rotator.ports.secret_store import MOST_TAGS, SecretLocation, SecretVersion, StoredSecret, WrittenVersion
from rotator.ports.stop import Stop

CONTENT_TYPE = "application/vnd.azure-devops.pat"
_OWN_CONTENT_TYPE = "application/json"
"""Of what is no PAT: an anchor of the audit log."""
MOST_PAGES = 1000
"""Of a list; the vault puts 25 entries on a page."""
_TRIES = 3
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 5.0
"""Seconds. If the service asks for more, the error goes to the caller, who knows what else there is to do."""
_UNAUTHORIZED = 401
_NO_SUCH_VERSION = "0" * 32

T = TypeVar("T")


class KeyVaultSecretStore:
    """Ports SecretStore and SecretAccess. Thread-safe; close it.

    `credential_for` gives the credential for a place: the same object for the same identity, so that its
    tokens are kept. `stop` ends every wait, and lets no further request leave.
    """

    def __init__(
        self,
        credential_for: Callable[[SecretLocation], TokenCredential],
        *,
        verify_challenge_resource: bool,
        http: HttpOptions,
        stop: Stop,
    ) -> None:
        self._credential_for = credential_for
        self._clients = ClientPool(http, stop, verify_challenge_resource=verify_challenge_resource)
        self._stop = stop

    def close(self) -> None:
        """Close every connection."""
        self._clients.close()

    def prove_writable(
        self, location: SecretLocation, intent: dict[str, str], *, permit: Permit
    ) -> SecretVersion | None:
        """Prove list, get and set on this secret: a page of versions, the newest one, a change of its tags.

        Where there is no secret, a change of a version that cannot exist tells whether it would be allowed.
        Recovery needs list and get, so their absence is found here too, before anything is minted.
        """
        newest = self._read_newest(location)
        writing = self._make_call(location, "check_secret", "set")
        if newest is None:
            self._check_creatable(location, writing, permit)
            return None
        found, version = newest
        tags = {**found, **intent}
        if len(tags) > MOST_TAGS:
            raise RejectedError(
                f"{writing.place} has {len(tags) - len(intent)} tags that are not rotator's, and Key Vault allows "
                f"{MOST_TAGS}: there is no room for rotator's {len(intent)}",
                code="secret_tags_full",
                fix=f"Remove tags of the secret's newest version until {MOST_TAGS - len(intent)} are left.",
                service="key_vault",
                operation=writing.operation,
            )
        self._repeat(
            writing,
            location,
            lambda client: client.update_secret_properties(location.name, version.version, tags=tags, permit=permit),
        )
        return version

    def prove_access(self, location: SecretLocation) -> SecretVersion | None:
        """Prove list, get and set on this secret, and change nothing. Returns its newest version, None if none.

        The vault looks at the permission first, and only then for the version that is to be changed.
        """
        newest = self._read_newest(location)
        writing = self._make_call(location, "check_secret", "set")
        if newest is None:
            self._check_creatable(location, writing, unclaimed)
            return None
        self._check_change(location, writing, unclaimed)
        return newest[1]

    def fetch_tagged(self, vault: str, account: str, tag: str) -> Mapping[str, str]:
        """Return the value of a tag on the newest version of each secret of the vault that has it, by name, sorted."""
        location = SecretLocation(vault, "", account)
        call = self._make_call(location, "fetch_secret_names", "list")
        found = self._repeat(
            call,
            location,
            lambda client: [
                (item.name, str(item.tags[tag]))
                for item in _read_all(client.list_properties_of_secrets())
                if item.name and item.tags and tag in item.tags
            ],
        )
        return dict(sorted(found))

    def fetch_latest(self, location: SecretLocation) -> StoredSecret | None:
        """Return the newest version, as a consumer would read it; None if there is none.

        RejectedError `secret_disabled` when the newest is disabled: a consumer gets an error then too.
        """
        call = self._make_call(location, "fetch_secret", "get")
        return self._find(call, location, lambda client: _make_stored(client.get_secret(location.name), call))

    def fetch_version(self, location: SecretLocation, version: str) -> StoredSecret | None:
        """Return one version with its value; None if there is no such version. RejectedError when it is disabled."""
        call = self._make_call(location, "fetch_secret_version", "get")
        return self._find(
            call, location, lambda client: _make_stored(client.get_secret(location.name, version), call, version)
        )

    def fetch_versions(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """Return all versions, the newest first; empty when there is no such secret.

        The vault does not list them by age, and dates them in whole seconds. Where the first ones share a second,
        the vault is asked which one is the newest.
        """
        call = self._make_call(location, "fetch_secret_versions", "list")
        found = self._find(
            call,
            location,
            lambda client: [
                _make_version(item, call)
                for item in _read_all(client.list_properties_of_secret_versions(location.name))
            ],
        )
        versions = sorted(found or (), key=_age, reverse=True)
        if len(versions) > 1 and versions[0].created_at == versions[1].created_at:
            newest = self._find_newest(location)
            versions.sort(key=lambda entry: newest is not None and entry.version != newest)
        return tuple(versions)

    def store(
        self,
        location: SecretLocation,
        value: SecretValue,
        *,
        expires_at: datetime | None,
        tags: dict[str, str],
        permit: Permit,
    ) -> WrittenVersion:
        """Write a new version, carried out at most once. Returns its version id."""
        call, answer = self._make_call(location, "store_secret", "set", value), _Answer()

        def write(client: SecretClient) -> SecretVersion:
            secret = client.set_secret(
                location.name,
                value.reveal(),
                expires_on=expires_at,
                content_type=CONTENT_TYPE if expires_at is not None else _OWN_CONTENT_TYPE,
                tags=tags,
                permit=permit,
                raw_response_hook=answer.read,
            )
            return _make_version(secret.properties, call)

        return WrittenVersion(self._ask(call, location, write).version, answer.ids)

    def disable(self, location: SecretLocation, version: str, *, permit: Permit) -> AnswerIds:
        """Disable one version, so that nobody can read it; does nothing if it is disabled already."""
        call, answer = self._make_call(location, "disable_secret_version", "set"), _Answer()
        self._repeat(
            call,
            location,
            lambda client: client.update_secret_properties(
                location.name, version, enabled=False, permit=permit, raw_response_hook=answer.read
            ),
        )
        return answer.ids

    def fetch_plain_secret(self, vault: str, name: str) -> SecretValue:
        """Return a secret of ours that is not a PAT, such as a client secret. RejectedError if it is missing."""
        location = SecretLocation(vault, name, account="")
        call = self._make_call(location, "fetch_secret", "get")
        return self._repeat(call, location, lambda client: _make_stored(client.get_secret(name), call)).value

    def _check_creatable(self, location: SecretLocation, writing: Call, permit: Permit) -> None:
        self._check_change(location, writing, permit)
        reading = self._make_call(location, "check_secret", "get")
        try:
            deleted = self._find(reading, location, lambda client: client.get_deleted_secret(location.name).name)
        except RejectedError as error:
            if error.code != "secret_disabled":
                raise
            raise make_deleted_and_disabled_failure(writing) from error
        if deleted is not None:
            raise make_soft_deleted_failure(writing, status=200)

    def _check_change(self, location: SecretLocation, writing: Call, permit: Permit) -> None:
        """Ask for a change of a version that cannot exist: it is refused, or there is nothing to change."""
        self._find(
            writing,
            location,
            lambda client: client.update_secret_properties(location.name, _NO_SUCH_VERSION, tags={}, permit=permit),
        )

    def _read_newest(self, location: SecretLocation) -> tuple[dict[str, str], SecretVersion] | None:
        """Return the newest version with its tags, after a look at the list."""
        listing = self._make_call(location, "check_secret", "list")
        self._find(listing, location, lambda client: _fetch_first_page(client, location.name))
        reading = self._make_call(location, "check_secret", "get")
        return self._find(reading, location, lambda client: _read_properties(client, location.name, reading))

    def _find_newest(self, location: SecretLocation) -> str | None:
        try:
            latest = self.fetch_latest(location)
        except RejectedError as error:
            if error.code != "secret_disabled":
                raise
            return None  # then it is the disabled one, which `_age` has put first
        return None if latest is None else latest.version.version

    def _make_call(
        self, location: SecretLocation, operation: str, permission: str, value: SecretValue | None = None
    ) -> Call:
        call = Call(operation, permission, location.vault, location.name, value)
        if not location.vault.lower().startswith("https://") or not call.host:
            raise RejectedError(
                f"{location.vault!r} is not the address of a vault",
                code="vault_address",
                fix="Correct the vault's address: it looks like https://NAME.vault.azure.net.",
                service="key_vault",
                operation=operation,
            )
        return call

    def _find(self, call: Call, location: SecretLocation, action: Callable[[SecretClient], T]) -> T | None:
        """Return what a repeatable action gives; None when there is no such thing."""
        try:
            return self._repeat(call, location, action)
        except RejectedError as error:
            if error.status == 404:
                return None
            raise

    def _repeat(self, call: Call, location: SecretLocation, action: Callable[[SecretClient], T]) -> T:
        """Do something that may be done twice, up to three times."""
        for tries in range(1, _TRIES):
            try:
                return self._ask(call, location, action)
            except TransientError as error:
                pause = error.retry_after if error.retry_after is not None else _FIRST_PAUSE * 2 ** (tries - 1)
                if pause > _LONGEST_PAUSE:
                    raise
            self._stop.wait(pause)
        return self._ask(call, location, action)

    def _ask(self, call: Call, location: SecretLocation, action: Callable[[SecretClient], T]) -> T:
        """Do something once, and read what it gives: the library hands on parts of an answer that make no sense.

        What the vault refused because of its token, it did not do: that is repeated once with another token, if the
        credential has one. The library's exception holds the request, so it is gone when ours is raised.
        """
        failure: RemoteError
        with self._clients.borrow(location.vault, self._credential_for(location)) as lent:
            for is_last in (False, True):
                try:
                    return action(lent.client)
                except SDK_FAILURES as error:
                    failure = make_failure(error, call)
                if is_last or failure.status != _UNAUTHORIZED or not lent.credential.renew():
                    break
        raise failure


class _Answer:
    """The last answer to one call, as the library shows it to a hook."""

    def __init__(self) -> None:
        self.ids: AnswerIds = NO_IDS

    def read(self, response: PipelineResponse[object, HttpResponse]) -> None:
        """Keep its ids, and check it: this hook stands in for the client's own."""
        self.ids = read_answer_ids(response.http_response.headers, ANSWER_IDS)
        check_answer(response)


def _fetch_first_page(client: SecretClient, name: str) -> None:
    """Ask for one version, to see that listing is allowed. An unknown secret is an empty page or a 404."""
    next(_read_all(client.list_properties_of_secret_versions(name, max_page_size=1)), None)


def _read_all(found: ItemPaged[SecretProperties]) -> Iterator[SecretProperties]:
    """Yield what is on all pages. ValueError when they do not end: when one names a page that was read, or too many."""
    pages, seen = found.by_page(), set[object]()
    for page in pages:
        yield from page
        token = getattr(pages, "continuation_token", None)
        if token in seen or len(seen) >= MOST_PAGES:
            raise ValueError("a list that does not end")
        seen.add(token)


def _age(version: SecretVersion) -> tuple[float, bool]:
    """Grows with the time of creation; of versions from the same second, the disabled ones count as later."""
    return (version.created_at.timestamp() if version.created_at else 0.0, not version.enabled)


def _read_properties(client: SecretClient, name: str, call: Call) -> tuple[dict[str, str], SecretVersion]:
    """Return the newest version with its tags exactly as they are in the vault."""
    properties = client.get_secret(name).properties
    return dict(properties.tags or {}), _make_version(properties, call)


def _make_stored(secret: KeyVaultSecret, call: Call, asked: str | None = None) -> StoredSecret:
    version = _make_version(secret.properties, call)
    if not isinstance(secret.value, str) or asked not in (None, version.version):
        raise _make_unexpected(call)
    return StoredSecret(version, SecretValue(secret.value))


def _make_version(properties: SecretProperties, call: Call) -> SecretVersion:
    moments = (properties.created_on, properties.expires_on)
    # The library hands on what it cannot read as it came, and an answer that belongs to another request.
    is_asked = (properties.name or "").casefold() == call.name.casefold()
    is_dated = all(moment is None or isinstance(moment, datetime) for moment in moments)
    if not is_asked or not is_dated or not properties.version:
        raise _make_unexpected(call)
    return SecretVersion(
        version=properties.version,
        tags={make_harmless(name): make_canonical(text) for name, text in (properties.tags or {}).items()},
        enabled=properties.enabled is not False,
        created_at=properties.created_on,
        expires_at=properties.expires_on,
    )


def _make_unexpected(call: Call) -> RemoteError:
    kind = TransientError if call.value is None else UnknownOutcomeError
    return kind(
        f"{call.host} sent an unexpected response",
        code="vault_answer",
        fix="Check the vault's address, and that no proxy answers instead of the vault.",
        service="key_vault",
        operation=call.operation,
    )
