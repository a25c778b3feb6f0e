"""Making the inventory again from what the vaults' tags and the server's list say. Revokes and mints nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

from rotator.domain.audit_event import Outcome
from rotator.domain.managed_pat import Failure, ManagedPat, Pat
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.adopting import Refusal
from rotator.engine.auditing import make_entry, record_policy
from rotator.engine.context import Engine
from rotator.engine.listing import Listing, ServerView
from rotator.engine.ports import Claim, SecretLocation, SecretVersion, UnitOfWork
from rotator.engine.tags import (
    ACCOUNT_TAG,
    AUTHORIZATION_TAG,
    NAME_TAG,
    ORGANIZATION_TAG,
    PREDECESSOR_TAG,
    ROTATION_TAG,
    RULE_TAG,
)
from rotator.errors import RotatorError


@dataclass(frozen=True)
class Found:
    """One secret that a rotation of ours wrote last, and the PATs of the server that its tags name.

    `record` is what the inventory should say; `predecessor` is the old PAT if it still lives, with the rotation
    that has yet to retire it; `before` is what the inventory says now.
    """

    record: ManagedPat
    version: SecretVersion
    predecessor: Pat | None
    before: ManagedPat | None

    @property
    def is_news(self) -> bool:
        """Whether the inventory lacks it or says otherwise."""
        if self.before is None:
            return True
        return (self.before.authorization_id, self.before.secret_version) != (
            self.record.authorization_id,
            self.record.secret_version,
        )


@dataclass(frozen=True)
class Rebuild:
    """What a rebuild would write, and what it cannot: secrets whose PAT the server does not list."""

    found: tuple[Found, ...]
    refusals: tuple[Refusal, ...]
    errors: tuple[RotatorError, ...]

    @property
    def news(self) -> tuple[Found, ...]:
        """What would be written."""
        return tuple(item for item in self.found if item.is_news)


def look(engine: Engine) -> Rebuild:
    """Read every vault that the policy or the inventory names, and every organization. Changes nothing."""
    view, errors = ServerView(engine), list[RotatorError]()
    with engine.database.begin() as work:
        records = {pat.name: pat for pat in work.inventory.load_all()}
    vaults = {rule.vault for rule in engine.policy.rules if rule.vault} | {pat.vault for pat in records.values()}
    found: dict[str, Found] = {}
    refusals: list[Refusal] = []
    for vault in sorted(vaults):
        for account in engine.accounts:
            try:
                names = engine.secrets.fetch_names(vault, account.name, ROTATION_TAG)
                for name in names:
                    location = SecretLocation(vault, name, account.name)
                    item = _inspect(engine, view, location, records, refusals)
                    if item is not None:
                        found[item.record.name] = item
            except RotatorError as error:
                errors.append(error)
    return Rebuild(tuple(found.values()), tuple(refusals), tuple(errors))


def rebuild(engine: Engine, plan: Rebuild) -> None:
    """Write what `look` found: records, and for each old PAT that still lives an overlap that starts anew."""
    now = engine.clock.now()
    for item in plan.news:
        with engine.database.begin() as work:
            record_policy(engine, work)
            if item.before is None:
                work.inventory.add(item.record)
            claim = work.leases.claim(
                item.record.name, engine.claimant or engine.run_id, now=work.now(), span=engine.timing.lease
            )
            _rewrite_journal(engine, work, item, claim)
            work.inventory.save(item.record, claim)
            entry = make_entry(
                engine,
                "inventory_rebuilt",
                item.record.name,
                Outcome.SUCCEEDED,
                authorization_id=item.record.authorization_id,
                before=item.before.authorization_id if item.before else None,
            )
            work.audit.append(entry, now)
            work.leases.release(claim)


def _rewrite_journal(engine: Engine, work: UnitOfWork, item: Found, claim: Claim) -> None:
    """Close what this database thought was going on, and enter the rotation that really wrote the secret last."""
    now, writer = engine.clock.now(), _make_writer(engine, item)
    known = work.journal.load_for(item.record.name)
    for rotation in known:
        if rotation.is_open and rotation.id != writer.id:
            failure = Failure("rebuilt", "the inventory was rebuilt from the vault, which is ahead of this rotation")
            work.journal.save(replace(rotation, state=RotationState.FAILED, failure=failure, updated_at=now), claim)
    if any(rotation.id == writer.id for rotation in known):
        work.journal.save(writer, claim)
    else:
        work.journal.insert(writer, claim)


def _inspect(
    engine: Engine,
    view: ServerView,
    location: SecretLocation,
    records: dict[str, ManagedPat],
    refusals: list[Refusal],
) -> Found | None:
    """What a secret's newest version says, if a rotation for this account wrote it; None if not."""
    versions = engine.secrets.fetch_versions(location)
    if not versions or versions[0].tags.get(ACCOUNT_TAG) != location.account:
        return None
    newest, tags = versions[0], versions[0].tags
    name, organization = tags.get(NAME_TAG, ""), tags.get(ORGANIZATION_TAG, "")
    listing = view.fetch_listing(location.account, organization)
    pat = listing.find(tags.get(AUTHORIZATION_TAG, ""))
    if pat is None:
        refusals.append(
            Refusal(
                name,
                f"secret {location.name} in {location.vault} holds {tags.get(AUTHORIZATION_TAG)}, "
                "which the server does not list as active",
                "Create a PAT and adopt it, or look who revoked this one.",
            )
        )
        return None
    record = _make_record(name, location, listing, pat, newest, records.get(name))
    return Found(record, newest, listing.find(tags.get(PREDECESSOR_TAG, "")), records.get(name))


def _make_record(
    name: str, location: SecretLocation, listing: Listing, pat: Pat, version: SecretVersion, before: ManagedPat | None
) -> ManagedPat:
    blank = ManagedPat(
        name=name,
        account=listing.account,
        organization=listing.organization,
        authorization_id=pat.authorization_id,
        display_name=pat.display_name,
        scope=pat.scope,
        valid_from=pat.valid_from,
        valid_to=pat.valid_to,
        vault=location.vault,
        secret_name=location.name,
        secret_version=version.version,
    )
    return blank if before is None else replace(blank, state=before.state, epoch=before.epoch)


def _make_writer(engine: Engine, item: Found) -> Rotation:
    """The rotation that wrote the secret, as far as it can be known again; its overlap, if any, starts now."""
    old = item.predecessor
    now, record, tags = engine.clock.now(), item.record, item.version.tags
    rule = engine.policy.rule_for(record)
    overlap = rule.overlap if rule is not None else engine.timing.longest_retry
    return Rotation(
        id=tags[ROTATION_TAG],
        name=record.name,
        account=record.account,
        organization=record.organization,
        display_name=record.display_name,
        scope=record.scope,
        predecessor_id=tags.get(PREDECESSOR_TAG, ""),
        predecessor_valid_to=old.valid_to if old is not None else now,
        rule=tags.get(RULE_TAG, ""),
        vault=record.vault,
        secret_name=record.secret_name,
        overlap=overlap,
        disable_previous=rule.disable_previous if rule is not None else False,
        created_at=now,
        updated_at=now,
        state=RotationState.COMPLETED if old is None else RotationState.OVERLAPPING,
        new_authorization_id=record.authorization_id,
        new_valid_from=record.valid_from,
        new_valid_to=record.valid_to,
        secret_version=item.version.version,
        overlap_until=None if old is None else now + overlap,
        tried_store=True,
    )
