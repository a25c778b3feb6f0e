"""What the vaults say of the audit log: the heads beside each secret, and the checkpoints in a secret of our own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial

from rotator.domain.anchor import PREFIX, SIZE_TAG, make_anchor_name, read_anchor, read_anchor_value
from rotator.domain.audit_event import AuditEvent
from rotator.domain.checkpoint import Checkpoint, make_key_id
from rotator.domain.clocks import MOST_SKEW
from rotator.domain.events.anchors import LogAnchored
from rotator.domain.events.places import AnchorRead
from rotator.engine.auditing import list_named
from rotator.engine.context import RunContext, Trust
from rotator.engine.isolating import naming_bugs
from rotator.engine.signing_keys import follow_keys
from rotator.engine.subjects import is_of_vault
from rotator.engine.tags import AUDIT_HEAD_TAG
from rotator.errors import AuditChainError, RotatorError
from rotator.ports.anchor_place import AnchorPlace, Stamp
from rotator.ports.secret_store import SecretLocation, SecretVersion


@dataclass(frozen=True)
class Anchor:
    """A head of the chain that a secret's version carries: the event's number and its hash.

    `name` is the ManagedPat whose secret it is, or the place of an anchor of our own. `fault` says why it is none of
    ours although it is kept where ours are. `stamped_at`: an authority says that it existed then; `is_ahead`: that
    time has not come yet, so one of the two clocks is wrong.
    """

    name: str
    sequence: int
    hash: str
    is_own: bool = False
    fault: str | None = None
    stamped_at: datetime | None = None
    is_ahead: bool = False
    place: str = ""
    """The vault, or the name of the file or other place, of an anchor of our own."""

    @property
    def key(self) -> str:
        """How an accepted gap names it."""
        return f"{self.sequence}:{self.hash[:16]}"


@dataclass(frozen=True)
class GoneAnchor:
    """A version of an anchor that the log says was made, and that its vault does not have; in a file, a size.

    `is_blank`: the version is there, but names no checkpoint of ours as large as the one that it was given.
    """

    vault: str
    secret_name: str
    version: str
    is_blank: bool = False

    @property
    def name(self) -> str:
        """Where it was, in one line."""
        return " ".join(filter(None, (self.vault, self.secret_name, self.version)))

    @property
    def key(self) -> str:
        """How an accepted gap names it."""
        return self.version if self.secret_name else f"{hashlib.sha256(self.vault.encode()).hexdigest()}:{self.version}"


@dataclass(frozen=True)
class AnchorSight:
    """The anchors that could be read, and for the name of each other ManagedPat or vault why its anchors could not.

    `others` are the installations whose anchors the vaults hold beside ours.
    """

    anchors: tuple[Anchor, ...]
    unread: Mapping[str, RotatorError]
    gone: tuple[GoneAnchor, ...] = ()
    others: tuple[str, ...] = ()


@dataclass
class _Search:
    """What was found so far."""

    anchors: list[Anchor] = field(default_factory=list)
    unread: dict[str, RotatorError] = field(default_factory=dict)
    gone: list[GoneAnchor] = field(default_factory=list)
    others: set[str] = field(default_factory=set)


def list_places(run: RunContext, installation: str) -> list[SecretLocation]:
    """Return where the anchors of an installation are: one secret in each vault that the policy names."""
    name, accounts = make_anchor_name(installation), [account.name for account in run.services.accounts]
    places: dict[str, SecretLocation] = {}
    for rule in (rule for rule in run.policy.rules if rule.vault):  # a rule that stores nothing may name none
        pattern = rule.match.account
        fitting = [account for account in accounts if pattern is None or fnmatchcase(account, pattern)]
        places.setdefault(rule.vault, SecretLocation(rule.vault, name, (fitting or accounts)[0]))
    return [places[vault] for vault in sorted(places)]


def fetch_anchors(run: RunContext) -> AnchorSight:
    """Return the anchors in all versions of all managed secrets, and those of our own in the vaults.

    A vault that cannot be read hides no other one's. One that is down is named once, and not asked again. Where our own
    are is found out by the keys, by the log and by what the vaults themselves list.
    """
    if (trust := run.services.trust) is not None:
        run = replace(run, services=replace(run.services, trust=follow_keys(run.services.database, trust)))
    with run.services.database.read() as reading:
        pats = [pat for pat in reading.inventory.load_all() if not pat.is_canary]
    search, made = _Search(), _load_made(run)
    for pat in (pat for pat in pats if pat.vault not in search.unread):
        run.progress(AnchorRead(), pat.name)
        _read(search, pat.name, partial(_fetch_beside, run, SecretLocation.of(pat), pat.name, search), pat.vault)
    for vault, places in _group_places(run, made).items():
        if vault not in search.unread:
            _read(search, vault, partial(_fetch_own, run, places, made, search))
    for place in run.services.anchor_places:
        _read(search, place.name, partial(_fetch_elsewhere, run, place, made, search))
    return AnchorSight(tuple(search.anchors), search.unread, tuple(search.gone), tuple(sorted(search.others)))


def _read(search: _Search, name: str, act: Callable[[], None], vault: str = "") -> None:
    """Read something; note why it could not be read: of its whole `vault`, if that is down."""
    try:
        with naming_bugs("the other secrets were read"):
            act()
    except RotatorError as error:
        search.unread[vault if vault and is_of_vault(error) else name] = error


def _fetch_beside(run: RunContext, location: SecretLocation, name: str, search: _Search) -> None:
    for version in run.services.secrets.fetch_versions(location):
        number, _, digest = version.tags.get(AUDIT_HEAD_TAG, "").partition(":")
        if number.isdecimal() and digest:
            search.anchors.append(Anchor(name, int(number), digest))


_Made = Mapping[tuple[str, str], Mapping[str, int]]
"""Which versions of anchors were made, with their sizes: by vault and secret. For other places the sizes."""


def _load_made(run: RunContext) -> _Made:
    """Return what was made, by the log."""
    made: dict[tuple[str, str], dict[str, int]] = {}
    with run.services.database.read() as reading:
        for event in list_named(reading, LogAnchored.type.name):
            details = event.entry.details
            place = event.entry.subject, str(details.get("secret_name", ""))
            size = details.get("size")
            version = str(details.get("secret_version", size))
            made.setdefault(place, {})[version] = size if isinstance(size, int) else 0
    return made


def _group_places(run: RunContext, made: Iterable[tuple[str, str]]) -> dict[str, list[SecretLocation]]:
    """Return where anchors of ours may be, by vault: by the keys, by the newest checkpoint, and by the log."""
    with run.services.database.read() as reading:
        newest = reading.checkpoints.load_newest()
    trust = run.services.trust
    ids = {make_key_id(key) for key in trust.public_keys} if trust else set[str]()
    ids |= {newest.installation} if newest else set()
    places = {(place.vault, place.name): place for each in sorted(ids) for place in list_places(run, each)}
    for vault, name in (place for place in made if place[1]):
        places.setdefault((vault, name), SecretLocation(vault, name, run.services.accounts[0].name))
    grouped: dict[str, list[SecretLocation]] = {}
    for place in places.values():
        grouped.setdefault(place.vault, []).append(place)
    return grouped


def _fetch_own(run: RunContext, places: list[SecretLocation], made: _Made, search: _Search) -> None:
    """Note the anchors in one vault's secrets of ours, and which versions are gone, or have lost what they named."""
    secrets, first = run.services.secrets, places[0]
    names = {place.name for place in places}
    listed = secrets.fetch_tagged(first.vault, first.account, SIZE_TAG)
    search.others |= {name.removeprefix(PREFIX) for name in listed if name not in names and name.startswith(PREFIX)}
    for place in places:
        versions = secrets.fetch_versions(place)
        search.anchors += filter(None, (_make_anchor(run, place, version) for version in versions))
        tags = {version.version: version.tags for version in versions}
        for version, size in sorted(made.get((place.vault, place.name), {}).items()):
            found = read_anchor(tags.get(version, {}))
            if found is None or found.size < size:  # later checkpoints of a day only replace smaller ones
                search.gone.append(GoneAnchor(place.vault, place.name, version, is_blank=version in tags))


def _fetch_elsewhere(run: RunContext, place: AnchorPlace, made: _Made, search: _Search) -> None:
    """Note the anchors in a file, and which are gone. A line that a crash cut off names none."""
    if (texts := place.read()) is None:
        return
    sizes: set[str] = set()
    for text, found in ((text, read_anchor_value(text)) for text in texts):
        if found is None:
            continue
        sizes.add(str(found.size))
        stamp = place.read_stamp(text) or Stamp()
        fault, where = find_fault(run.services.trust, found) or stamp.fault, f"{place.name} {found.size}"
        is_ahead = stamp.at is not None and stamp.at - run.services.clock.now() > MOST_SKEW
        search.anchors.append(Anchor(where, found.size, found.head, True, fault, stamp.at, is_ahead, place.name))
    gone = made.get((place.name, ""), {}).keys() - sizes
    search.gone += [GoneAnchor(place.name, "", size) for size in sorted(gone)]


def list_stamps(places: Iterable[AnchorPlace], sizes: Collection[int]) -> Iterator[tuple[int, Stamp]]:
    """Yield the time stamps that hold of the checkpoints of these sizes. A place that cannot be read has none."""
    for place in places:
        with suppress(RotatorError):
            for text in place.read() or ():
                found = read_anchor_value(text)
                stamp = None if found is None or found.size not in sizes else place.read_stamp(text)
                if found is not None and stamp is not None and stamp.fault is None:
                    yield found.size, stamp


def _make_anchor(run: RunContext, place: SecretLocation, version: SecretVersion) -> Anchor | None:
    found = read_anchor(version.tags)
    if found is None:
        return None
    where = f"{place.vault} {place.name} {version.version}"
    fault = find_fault(run.services.trust, found)
    return Anchor(where, found.size, found.head, is_own=True, fault=fault, place=place.vault)


def find_fault(trust: Trust | None, found: Checkpoint) -> str | None:
    """Say why an anchor is not ours. One without a signature may be older than the key: then the log must have it."""
    if trust is None or found.key_id is None or found.signature is None:
        return None
    key = trust.find_key(found.key_id, found.size)
    if key is None:
        return f"is signed with the key {found.key_id}, which the settings do not name"
    if not trust.is_signed(found.make_statement(), found.signature, key):
        return "has a signature that does not fit"
    return None


def compare_anchors(
    events: Iterable[AuditEvent], anchors: Iterable[Anchor], accepted: Collection[str] = ()
) -> Iterator[AuditEvent]:
    """Yield the events, and look for every anchor in them, but for those of an accepted gap.

    AuditChainError when one is missing, does not match, or is none of ours.
    """
    wanted: dict[int, list[Anchor]] = {}
    for anchor in anchors:
        if anchor.fault is not None:
            raise make_anchor_error(anchor, anchor.hash, anchor.fault)
        wanted.setdefault(anchor.sequence, []).append(anchor)
    for event in events:
        for anchor in wanted.pop(event.sequence, ()):
            if anchor.hash != event.hash and anchor.key not in accepted:
                raise make_anchor_error(anchor, event.hash, REWRITTEN)
        yield event
    for anchor in (found for sequence in sorted(wanted) for found in wanted[sequence]):
        if anchor.key not in accepted:
            raise make_anchor_error(anchor, "nothing", CUT_OFF)


def find_missing(events: Iterable[AuditEvent], sight: AnchorSight) -> list[str]:
    """Return what the log lacks of the anchors, or has other events for, and the anchors that are gone; as keys."""
    left = {anchor.key: anchor for anchor in sight.anchors if anchor.fault is None}
    for event in events:
        left.pop(f"{event.sequence}:{event.hash[:16]}", None)
    return [*sorted(left, key=lambda key: left[key].sequence), *(gone.key for gone in sight.gone)]


def check_gone(sight: AnchorSight, accepted: Collection[str]) -> None:
    """AuditChainError for the first anchor that its vault no longer has, but for those of an accepted gap."""
    for gone in sight.gone:
        if gone.key not in accepted:
            what = (
                "does not name the checkpoint that it was given: its tags were changed"
                if gone.is_blank
                else "is gone: there are fewer than were made"
            )
            raise AuditChainError(
                f"the anchor {gone.name} {what}",
                sequence=0,
                expected=gone.name,
                found="nothing",
                fix="Find out who can write there, and recover the secret if it was deleted. " + _FIX,
                anchor=gone.name,
            )


REWRITTEN, CUT_OFF = "has other content now: the log was rewritten", "is gone: the log was cut off"
_FIX = (
    "A database restored from a backup shows this too: if that is so, "
    "`rotator audit accept-gap --reason TEXT` records it."
)


def make_anchor_error(anchor: Anchor, found: str, what: str) -> AuditChainError:
    """Return the error that names an anchor that the log lacks or contradicts."""
    where = f"the anchor {anchor.name} names" if anchor.is_own else "the vault's tags name"
    beside = "" if anchor.is_own else f" beside the secret of {anchor.name}"
    return AuditChainError(
        f"audit event {anchor.sequence}, which {where}{beside}, {what}: expected {anchor.hash}, found {found}",
        sequence=anchor.sequence,
        expected=anchor.hash,
        found=found,
        fix="Find out who can write the database. " + _FIX,
        anchor=anchor.name,
    )
