"""What a rebuild makes of one secret: the record, and the rotations that wrote it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from rotator.domain.managed_pat import Failure, ManagedPat, Pat, make_managed
from rotator.domain.rotation import Rotation, RotationEnding, RotationState
from rotator.engine.context import RunContext
from rotator.engine.listing import Listing, ServerView
from rotator.engine.tags import ACCOUNT_TAG, AUTHORIZATION_TAG, KEPT_TAG, PREDECESSOR_TAG, ROTATION_TAG, RULE_TAG
from rotator.errors import CloneLostError
from rotator.ports.secret_store import SecretLocation, SecretVersion


@dataclass(frozen=True)
class Found:
    """One secret that a rotation of ours wrote last, and the PATs of the server that its tags name.

    `record` is what the inventory should say, and `version` shows why; None when only the inventory says so.
    `gone` are newer ones whose PAT is not listed and whose rotation the database does not know: what consumers read is
    dead, and the next run puts the committed value back. `predecessor` is the old PAT if it still lives, to be retired
    when a new `overlap` is over; `before` is what the inventory says now. `owners` are the accounts of PATs, by their
    ids, as the tags and `before` name them.
    """

    record: ManagedPat
    version: SecretVersion | None
    gone: tuple[SecretVersion, ...]
    predecessor: Pat | None
    overlap: timedelta
    before: ManagedPat | None
    owners: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_news(self) -> bool:
        """Whether the inventory lacks it or says otherwise, or the journal lacks what wrote it."""
        if self.before is None or self.gone:
            return True
        return (self.before.authorization_id, self.before.secret_version) != (
            self.record.authorization_id,
            self.record.secret_version,
        )


def make_record(
    name: str,
    location: SecretLocation,
    listing: Listing,
    pat: Pat,
    version: SecretVersion | None,
    before: ManagedPat | None,
) -> ManagedPat:
    """Make the record of a listed PAT that the secret at a location holds; `before` is what the inventory says now."""
    account, organization = listing.account, listing.organization
    record = make_managed(
        pat, name=name, account=account, organization=organization, vault=location.vault, secret_name=location.name
    )
    if before is not None:
        same = before if before.authorization_id == record.authorization_id else record
        record = replace(
            record,
            state=before.state,
            epoch=before.epoch,
            secret_version=before.secret_version,
            confirmed_version=before.confirmed_version,
            short_lived=same.short_lived,
            meant_lifetime=same.meant_lifetime,
            taken_over=same.taken_over,
        )
    return record if version is None else replace(record, secret_version=version.version)


def list_owners(versions: Iterable[SecretVersion], before: ManagedPat | None) -> dict[str, str]:
    """Return the account of each PAT whose value the versions hold, by its id; a move gives its clone another one."""
    tagged = (version.tags for version in versions if {AUTHORIZATION_TAG, ACCOUNT_TAG} <= version.tags.keys())
    owners = {tags[AUTHORIZATION_TAG]: tags[ACCOUNT_TAG] for tags in tagged}
    return owners if before is None else {**owners, before.authorization_id: before.account}


def find_old(
    view: ServerView, listing: Listing, owner: str | None, before: ManagedPat | None, old_id: str
) -> Pat | None:
    """Return an old PAT that lives, of that account or the listing's.

    As the inventory describes it, if it does, where the account that it moved from cannot work.
    """
    if owner is None or owner == listing.account:
        return view.find_active(listing.account, listing.organization, old_id)
    if view.can_work(owner, listing.organization):
        return view.find_active(owner, listing.organization, old_id)
    if before is None or before.authorization_id != old_id:
        return None
    return Pat(old_id, before.display_name, before.scope, (), before.valid_from, before.valid_to)


def make_unrecorded(name: str, location: SecretLocation, organization: str, now: datetime) -> ManagedPat:
    """Make what the record of a secret would be if the PAT whose value it holds still lived."""
    return ManagedPat(
        name=name,
        account=location.account,
        organization=organization,
        authorization_id="",
        display_name=name,
        scope="",
        valid_from=now,
        valid_to=now,
        vault=location.vault,
        secret_name=location.name,
    )


def make_last_writer(run: RunContext, item: Found, version: SecretVersion, latest: datetime) -> Rotation:
    """Make the rotation that minted the current PAT; its overlap, if any, starts now."""
    old, record, now = item.predecessor, item.record, run.services.clock.now()
    return replace(
        _make_writer(run, item, version),
        predecessor_valid_to=old.valid_to if old is not None else now,
        state=RotationState.COMPLETED if old is None else RotationState.OVERLAPPING,
        new_valid_from=record.valid_from,
        new_valid_to=record.valid_to,
        overlap_until=None if old is None else latest + item.overlap,
        overlap_began=None if old is None else run.services.boot.read_boot(),
    )


def make_lost_writer(run: RunContext, item: Found, version: SecretVersion) -> Rotation:
    """Make a rotation whose PAT is gone although its value is in the vault."""
    failure = Failure(CloneLostError.code, "found by a rebuild: the server no longer lists its PAT")
    return replace(
        _make_writer(run, item, version), state=RotationState.FAILED, failure=failure, ending=RotationEnding.CLONE_LOST
    )


def _make_writer(run: RunContext, item: Found, version: SecretVersion) -> Rotation:
    """Make the rotation that wrote a version, as far as the tags tell."""
    now, record, tags = run.services.clock.now(), item.record, version.tags
    owner = item.owners.get(tags.get(PREDECESSOR_TAG, ""))
    rule = run.policy.rule_for(record)
    return Rotation(
        id=tags[ROTATION_TAG],
        name=record.name,
        account=record.account,
        organization=record.organization,
        display_name=record.display_name,
        scope=record.scope,
        predecessor_id=tags.get(PREDECESSOR_TAG, ""),
        predecessor_account=None if owner == record.account else owner,
        predecessor_valid_to=now,
        rule=tags.get(RULE_TAG, ""),
        vault=record.vault,
        secret_name=record.secret_name,
        overlap=item.overlap,
        disable_previous=rule.disable_previous if rule is not None else False,
        created_at=now,
        updated_at=now,
        new_authorization_id=tags.get(AUTHORIZATION_TAG),
        secret_version=version.version,
        tried_store=True,
        keeps_predecessor=KEPT_TAG in tags,
    )
