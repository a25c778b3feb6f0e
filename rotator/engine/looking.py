"""Look for what a rebuild of the inventory would write: in the vaults' tags and the server's list. Changes nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from rotator.domain.events.places import SecretRead
from rotator.domain.managed_pat import NAME_PATTERN, ManagedPat, Pat, make_place
from rotator.domain.marker import strip_mark
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.engine.accounting import find_other_keeper
from rotator.engine.context import RunContext
from rotator.engine.copies import is_copy
from rotator.engine.listing import Listing, ServerView
from rotator.engine.provenance import Provenance, Writer, find_writer_name, list_named, split_at_listed
from rotator.engine.reading import fetch_history
from rotator.engine.rebuilt import (
    Found,
    find_old,
    list_owners,
    make_record,
    make_unrecorded,
)
from rotator.engine.replacing import identify
from rotator.engine.requested import find_requested
from rotator.engine.tags import (
    ACCOUNT_TAG,
    AUTHORIZATION_TAG,
    KEPT_TAG,
    NAME_TAG,
    ORGANIZATION_TAG,
    PREDECESSOR_TAG,
    ROTATION_TAG,
)
from rotator.engine.waiting import Patience
from rotator.errors import RotatorError, VerificationError
from rotator.ports.database import Reading
from rotator.ports.secret_store import SecretLocation, SecretVersion

UNCOVERED_OVERLAP = timedelta(hours=24)
"""The overlap where no rule of the policy sets one: as long as consumers are known to cache a value."""


@dataclass(frozen=True)
class Rebuild:
    """What a rebuild would write, and the secrets it cannot use: their PAT is not listed, or is another record's.

    `refused` are the records whose secrets those are, and `unrecorded` what the records of the others would be.
    """

    found: tuple[Found, ...]
    refusals: tuple[Refusal, ...]
    refused: tuple[ManagedPat, ...]
    unrecorded: tuple[ManagedPat, ...]
    errors: tuple[RotatorError, ...]

    @property
    def news(self) -> tuple[Found, ...]:
        """Return what would be written."""
        return tuple(item for item in self.found if item.is_news)


def look(run: RunContext) -> Rebuild:
    """Read every vault that the policy or the inventory names, and every organization. Changes nothing."""
    seen = _Look(run)
    vaults = {rule.vault for rule in run.policy.rules if rule.vault} | {pat.vault for pat in seen.records.values()}
    for vault in sorted({vault.rstrip("/") for vault in vaults}):
        for account in run.services.accounts:
            seen.read(vault, account.name)
    seen.drop_unclear()
    refused, unrecorded = seen.sort_refused()
    return Rebuild(tuple(seen.found.values()), tuple(seen.refusals), refused, unrecorded, tuple(seen.errors))


def belongs_to_another(reading: Reading, authorization_id: str, name: str) -> bool:
    """Whether another ManagedPat, or a rotation for one, accounts for that PAT."""
    keeper = find_other_keeper(reading, authorization_id, name)
    return keeper is not None and keeper.name != name


class _Look:
    """What was seen so far. One secret or organization that cannot be read does not stop the others."""

    def __init__(self, run: RunContext) -> None:
        self._run, self._view = run, ServerView(run)
        with run.services.database.read() as reading:
            self.records = {pat.name: pat for pat in reading.inventory.load_all()}
        self.found: dict[str, Found] = {}
        self._seen: dict[str, ManagedPat] = {}
        """The first record that each name was found for, also one that was dropped since: by name."""
        self.refusals: list[Refusal] = []
        self._refused: list[ManagedPat] = []
        self.errors: list[RotatorError] = []
        self._unread: dict[SecretLocation, str] = {}
        """What could not be read, each with the name that its tags give, "" where these are not known either."""

    def read(self, vault: str, account: str) -> None:
        """Read every secret of a vault whose newest version a rotation for this account wrote."""
        names: Collection[str] = ()
        try:
            names = self._run.services.secrets.fetch_tagged(vault, account, ROTATION_TAG)
        except RotatorError as error:
            self._unread[SecretLocation(vault, "", account)] = ""
            self._note(error)
        for name in names:
            self._run.progress(SecretRead(), name)
            location = SecretLocation(vault, name, account)
            self._unread[location] = ""
            try:
                self._inspect(location)
                del self._unread[location]
            except RotatorError as error:
                self._note(error)

    def drop_unclear(self) -> None:
        """Refuse a secret that no record names, while one that was not read may be the PAT's own, and this one a copy.

        Where the policy has the secret of that PAT, it is its own, unless what was not read names that PAT too.
        """
        unread = set(self._unread.values())
        for name, item in list(self.found.items()):
            if item.before is None and (name in unread or (unread and not self._is_by_policy(item.record))):
                self.refusals.append(_refuse(RefusalKind.TWIN_UNREAD, name, SecretLocation.of(item.record)))
                del self.found[name]

    def _is_by_policy(self, pat: ManagedPat) -> bool:
        """Whether a record has the secret that the policy gives to a PAT of this name."""
        rule = self._run.policy.rule_for(pat)
        if rule is None:
            return False
        secret = rule.make_secret_name(organization=pat.organization, name=pat.name, account=pat.account)
        return make_place(rule.vault, secret) == pat.place

    def sort_refused(self) -> tuple[tuple[ManagedPat, ...], tuple[ManagedPat, ...]]:
        """Return the records of refused secrets, and what the others' would be where no record has that name."""
        records = [*self.records.values(), *(item.record for item in self.found.values())]
        names, places = {pat.name for pat in records}, {pat.place for pat in records}
        unrecorded = [pat for pat in self._refused if pat.name not in names and pat.place not in places]
        refused = {pat.place for pat in self._refused}
        return tuple(pat for pat in self.records.values() if pat.place in refused), tuple(unrecorded)

    def _note(self, error: RotatorError) -> None:
        if error.message not in {known.message for known in self.errors}:
            self.errors.append(error)

    def _inspect(self, location: SecretLocation) -> None:
        versions = self._fetch_written(location)
        if not versions:
            return
        tags = versions[0].tags
        if tags.get(ACCOUNT_TAG) != location.account:
            self._note_renamed_account(location, tags)
            return
        name = find_writer_name(self._run, self.records.values(), location, versions) or tags.get(NAME_TAG, "")
        organization = tags.get(ORGANIZATION_TAG)
        if not NAME_PATTERN.fullmatch(name) or not organization or not tags.get(ROTATION_TAG):
            self.refusals.append(_refuse(RefusalKind.FOREIGN_TAGS, location.name, location))
            return
        self._unread[location] = name
        listing = self._view.fetch_listing(location.account, organization)
        found = self._weigh(location, name, versions, listing)
        if isinstance(found, Refusal):
            self.refusals.append(found)
            self._refused.append(make_unrecorded(name, location, organization, self._run.services.clock.now()))
            self._drop_twin(name, location)
        else:
            self.found[name] = found
            self._seen[name] = found.record

    def _note_renamed_account(self, location: SecretLocation, tags: dict[str, str]) -> None:
        """Refuse a secret of an account that the settings do not name, if it holds a PAT of the one that looks."""
        theirs, organization = tags.get(ACCOUNT_TAG, ""), tags.get(ORGANIZATION_TAG, "")
        ours = {account.name: account.organizations for account in self._run.services.accounts}
        if theirs in ours or organization not in ours[location.account]:
            return
        pat = self._view.fetch_listing(location.account, organization).find(tags.get(AUTHORIZATION_TAG))
        if pat is not None:
            refusal = _refuse(RefusalKind.ACCOUNT_RENAMED, tags.get(NAME_TAG) or location.name, location)
            self.refusals.append(replace(refusal, name=theirs))

    def _drop_twin(self, name: str, location: SecretLocation) -> None:
        """Refuse the other of two secrets that say they are the same PAT's, where no record tells which one is.

        One of them is a copy, and what reads the other would be left with a PAT that is revoked.
        """
        other = self.found.get(name)
        if (
            other is not None
            and other.before is None
            and other.record.place != make_place(location.vault, location.name)
        ):
            place = SecretLocation.of(other.record)
            twin = _refuse(RefusalKind.TWO_SECRETS, name, place)
            self.refusals.append(replace(twin, other_secret=_say_secret(location, place.vault)))
            del self.found[name]

    def _fetch_written(self, location: SecretLocation) -> tuple[SecretVersion, ...]:
        """Return all versions of a secret that a rotation wrote last. A list without that version is older: again."""
        services = self._run.services
        patience = Patience(services.boot, services.stop, services.timing.store_patience)
        while True:
            versions = fetch_history(services.secrets, location)
            if (versions and ROTATION_TAG in versions[0].tags) or not patience.wait():
                return versions

    def _weigh(
        self, location: SecretLocation, name: str, versions: tuple[SecretVersion, ...], listing: Listing
    ) -> Found | Refusal:
        """Find what the versions of one secret say about its record, or why only a person can tell."""
        before, (newer, version) = (
            self.records.get(name),
            split_at_listed(versions, {pat.authorization_id for pat in listing.pats}),
        )
        gone = self._drop_known(location, newer)
        recorded = before.authorization_id if before is not None else None
        pat = listing.find(version.tags[AUTHORIZATION_TAG] if version is not None else recorded)
        kind = RefusalKind.PAT_GONE if pat is None else None
        if newer and newer[0] not in gone:
            kind = RefusalKind.ROTATION_KNOWN
        elif gone and self._is_live(location, listing.organization):
            kind = RefusalKind.STILL_VALID
        elif version is not None and self._is_copy(location, versions, len(newer), name):
            kind = RefusalKind.VALUE_COPIED
        if pat is None or kind is not None:
            return _refuse(kind or RefusalKind.PAT_GONE, name, location, versions[0].tags.get(AUTHORIZATION_TAG))
        record = make_record(name, location, listing, pat, version, before)
        policy, tags = self._run.policy, {} if version is None else version.tags
        if version is not None and (before is None or before.authorization_id != record.authorization_id):
            meant = None if before is None else policy.find_meant_lifetime(before, record)
            record = replace(record, short_lived=policy.is_short(record), meant_lifetime=meant)
        rule = policy.rule_for(record)
        overlap = rule.overlap if rule is not None else UNCOVERED_OVERLAP
        owners = list_owners(versions, before)
        old = self._find_predecessor(name, listing, tags, pat, before, _list_ours(versions, before), owners)
        requested = None if pat.authorization_id == recorded else self._find_requested(pat.authorization_id)
        being_revoked = _refuse(RefusalKind.BEING_REVOKED, name, location)
        refusal = None if requested is None else replace(being_revoked, name=requested)
        return self._find_conflict(record) or refusal or Found(record, version, gone, old, overlap, before, owners)

    def _is_live(self, location: SecretLocation, organization: str) -> bool:
        """Whether what consumers read authenticates."""
        latest = self._run.services.secrets.fetch_latest(location)
        try:
            return latest is not None and bool(identify(self._run, organization, latest.value))
        except VerificationError:
            return False

    def _is_copy(self, location: SecretLocation, versions: tuple[SecretVersion, ...], found: int, name: str) -> bool:
        with self._run.services.database.read() as reading:
            writers = reading.journal.load_writers(make_place(location.vault, location.name), list_named(versions))
        return is_copy(self._run.services.secrets, location, versions[found:], writers, self.records.get(name))

    def _drop_known(self, location: SecretLocation, versions: tuple[SecretVersion, ...]) -> tuple[SecretVersion, ...]:
        """Return the newest version of each rotation that is not in the journal."""
        with self._run.services.database.read() as reading:
            writers = reading.journal.load_writers(make_place(location.vault, location.name), list_named(versions))
        provenance = Provenance("", writers)
        found: dict[str, SecretVersion] = {}
        for version in versions:
            if provenance.find_writer(version) is Writer.UNKNOWN:
                found.setdefault(version.tags[ROTATION_TAG], version)
        return tuple(found.values())

    def _find_conflict(self, record: ManagedPat) -> Refusal | None:
        """Say why this record conflicts with another: each has a name, a PAT and a secret of its own."""
        others = {**self._seen, **self.records}
        same = others.get(record.name)
        if same is not None and same.place != record.place:
            return Refusal(
                RefusalKind.TWO_SECRETS,
                record.name,
                vault=record.vault,
                secret_name=record.secret_name,
                other_secret=_say_secret(SecretLocation.of(same), record.vault),
            )
        for other in others.values():
            same_pat = (other.organization, other.authorization_id) == (record.organization, record.authorization_id)
            if other.name != record.name and (same_pat or other.place == record.place):
                return Refusal(RefusalKind.MANAGED_AS, record.name, name=other.name)
        if self._is_foreign(record.authorization_id, record.name):
            return Refusal(RefusalKind.OTHER_ROTATION, record.name)
        return None

    def _is_foreign(self, authorization_id: str, name: str) -> bool:
        with self._run.services.database.read() as reading:
            return belongs_to_another(reading, authorization_id, name)

    def _find_requested(self, authorization_id: str) -> str | None:
        with self._run.services.database.read() as reading:
            return find_requested(self._run, reading, [authorization_id]).get(authorization_id)

    def _find_predecessor(
        self,
        name: str,
        listing: Listing,
        tags: dict[str, str],
        pat: Pat,
        before: ManagedPat | None,
        ours: frozenset[str | None],
        owners: dict[str, str],
    ) -> Pat | None:
        """Return the old PAT that the tags name, if it lives and is certainly ours; any other is left alone.

        It matches its clone, or, where an update made the clone another, it is one of `ours`. NotListedError while
        nothing proves that it is gone: without it, nobody would ever retire it.
        """
        old_id = "" if KEPT_TAG in tags else tags.get(PREDECESSOR_TAG, "")
        old = find_old(self._view, listing, owners.get(old_id), before, old_id) if old_id else None
        if old is None or old_id == pat.authorization_id or self._is_foreign(old_id, name):
            return None
        is_alike = strip_mark(old.display_name) == strip_mark(pat.display_name) and old.scopes == pat.scopes
        return old if is_alike or old_id in ours else None


def _say_secret(location: SecretLocation, vault: str) -> str:
    """Return a secret's name, with its vault where that is another one."""
    return location.name if location.vault == vault else f"{location.name} in {location.vault}"


def _refuse(kind: RefusalKind, reference: str, location: SecretLocation, dead: str | None = None) -> Refusal:
    ids = () if dead is None else (dead,)
    return Refusal(kind, reference, ids=ids, vault=location.vault, secret_name=location.name)


def _list_ours(versions: tuple[SecretVersion, ...], before: ManagedPat | None) -> frozenset[str | None]:
    """Return the PATs of one ManagedPat that its secret's versions and its record name."""
    recorded = before.authorization_id if before is not None else None
    return frozenset({recorded, *(version.tags.get(AUTHORIZATION_TAG) for version in versions)})
