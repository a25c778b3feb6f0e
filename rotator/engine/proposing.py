"""What would be written for each PAT that is to be adopted: its record, its secret, and what that secret holds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from rotator.domain.managed_pat import Failure, ManagedPat, Pat, make_managed, make_name
from rotator.domain.marker import strip_mark
from rotator.domain.obstacle import check_target
from rotator.domain.policy import Rule, RuleAction
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.sight import Sight
from rotator.engine.choices import Choice, Choices
from rotator.engine.confirming import refuse_sight
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_obstacle
from rotator.engine.listing import Listing
from rotator.engine.reading import fetch_history
from rotator.engine.replacing import look_at_secret
from rotator.engine.tags import AUTHORIZATION_TAG
from rotator.errors import DatabaseError, RotatorError, StoppedError
from rotator.ports.secret_store import SecretLocation

Listed = tuple[Listing, Pat]
"""A PAT, and the listing that shows it."""


@dataclass(frozen=True)
class Proposal:
    """One PAT that would be adopted, as it was listed: the record to be written, and the rule that covers it.

    `sight` is what its secret holds, None where the rule never writes it. `denied` is what the policy has against
    rotating it: no fact of the record, because the policy may change.
    """

    record: ManagedPat
    rule: Rule
    listed: Listed
    sight: Sight | None = None
    denied: Failure | None = None

    @property
    def effective(self) -> ManagedPat:
        """The record as it is in effect now: blocked also where the policy says so."""
        if self.denied is None or self.record.blocked:
            return self.record
        return replace(self.record, blocked=True, last_failure=self.denied)

    @property
    def holding(self) -> str | None:
        """What its secret holds, in one word."""
        return self.sight.holding.value if self.sight is not None else None


@dataclass(frozen=True)
class Taken:
    """The names that others have, and the secrets, each with the name of its owner."""

    names: set[str]
    places: dict[str, str]


def make_proposals(
    covered: list[tuple[Listed, Rule]],
    taken: Taken,
    choices: Choices,
    refusals: list[Refusal],
    *,
    everything: bool,
) -> list[Proposal]:
    """Make a record for each PAT, and refuse those whose name or secret is not free, or not where it was said to be."""
    proposals = []
    contested = _find_contested(covered) if everything else {}
    for listed, rule in covered:
        listing, pat = listed
        choice = choices.find(pat.authorization_id)
        if pat.authorization_id in contested:
            refusals.append(_refuse_contested(pat, contested[pat.authorization_id]))
            continue
        if not choice.is_about(listing.account, listing.organization):
            place = f"{listing.account}/{listing.organization}"
            refusals.append(Refusal(RefusalKind.MISPLACED, pat.authorization_id, organizations=(place,)))
            continue
        if choice.name in taken.names:
            refusals.append(Refusal(RefusalKind.NAME_TAKEN, pat.authorization_id, name=choice.name or ""))
            continue
        record = make_record(listed, rule, frozenset(taken.names), choice)
        if record.place in taken.places:
            refusals.append(_refuse_place(record, rule, taken.places[record.place]))
            continue
        taken.names.add(record.name)
        taken.places[record.place] = record.name
        proposals.append(Proposal(record, rule, listed))
    return proposals


def look_at_secrets(
    run: RunContext, proposals: list[Proposal], choices: Choices, refusals: list[Refusal]
) -> list[Proposal]:
    """Look at each secret that will be written, and refuse where it holds what may not be written over."""
    seen = []
    for proposal in proposals:
        pat, (listing, _) = proposal.record, proposal.listed
        if proposal.rule.action is not RuleAction.ROTATE:
            seen.append(proposal)
            continue
        try:
            sight = look_at_secret(run, pat, listing.identity)
        except RotatorError as error:
            refusals.append(Refusal(RefusalKind.UNREADABLE, pat.authorization_id, failure=Failure.of(error)))
            continue
        refusal = refuse_sight(pat, sight, choices.find(pat.authorization_id))
        if refusal is not None:
            refusals.append(refusal)
            continue
        confirmed = sight.version if sight.needs_confirmation else None
        seen.append(replace(proposal, record=replace(pat, confirmed_version=confirmed), sight=sight))
    return seen


def refuse_unclear(
    proposals: list[Proposal],
    incomplete: Collection[tuple[str, str]],
    named: Collection[str],
    refusals: list[Refusal],
) -> list[Proposal]:
    """Refuse what has a secret in use where a list hides an entry: that may be a namesake, which consumers mean.

    Not what a person `named` by its id.
    """
    clear = []
    for proposal in proposals:
        pat, sight = proposal.record, proposal.sight
        is_unclear = (pat.account, pat.organization) in incomplete and pat.authorization_id not in named
        if sight is not None and sight.needs_confirmation and is_unclear:
            unclear = RefusalKind.LIST_INCOMPLETE
            refusals.append(Refusal(unclear, pat.authorization_id, vault=pat.vault, secret_name=pat.secret_name))
        else:
            clear.append(proposal)
    return clear


def refuse_served(
    run: RunContext, proposals: list[Proposal], records: Collection[ManagedPat], refusals: list[Refusal]
) -> list[Proposal]:
    """Refuse a PAT whose value the secret of a record holds, by its tags: then this database is behind the vault.

    Whoever reads that secret uses it. The secret of a namesake that cannot be read is in the way too.
    """
    sights = _Sights(run)
    free = []
    for proposal in proposals:
        refusal = next((found for item in records if (found := _find_served(proposal, item, sights))), None)
        if refusal is None:
            free.append(proposal)
        else:
            refusals.append(refusal)
    return free


def _find_served(proposal: Proposal, record: ManagedPat, sights: _Sights) -> Refusal | None:
    """Say that a record's secret holds the PAT, as far as that may be: its clone is no older than its PAT."""
    pat, (_, listed) = proposal.record, proposal.listed
    if record.organization != pat.organization or (record.has_pat and listed.valid_from < record.valid_from):
        return None
    is_namesake = strip_mark(listed.display_name) == strip_mark(record.display_name)
    found, identifier = sights.find_held(record, closely=is_namesake), pat.authorization_id
    if isinstance(found, Failure):
        return Refusal(RefusalKind.UNREADABLE, identifier, failure=found) if is_namesake else None
    if found != identifier:
        return None
    return Refusal(RefusalKind.SERVED, identifier, record.name, vault=record.vault, secret_name=record.secret_name)


_Found = TypeVar("_Found")


class _Sights:
    """Which PAT each secret holds, by the tags of its newest version: each vault is listed once."""

    def __init__(self, run: RunContext) -> None:
        self._run = run
        self._close: dict[str, str | Failure | None] = {}
        self._listed: dict[tuple[str, str], Mapping[str, str] | Failure] = {}

    def find_held(self, record: ManagedPat, *, closely: bool) -> str | Failure | None:
        """Return the id that the tags of a record's secret name. `closely`: what a list shows may be old."""
        if closely:
            if record.name not in self._close:
                self._close[record.name] = self._look(lambda: self._find_newest(record))
            return self._close[record.name]
        place = record.vault, record.account
        if place not in self._listed:
            secrets = self._run.services.secrets
            self._listed[place] = self._look(lambda: secrets.fetch_tagged(*place, AUTHORIZATION_TAG))
        listed = self._listed[place]
        return listed if isinstance(listed, Failure) else listed.get(record.secret_name)

    def _find_newest(self, record: ManagedPat) -> str | None:
        versions = fetch_history(self._run.services.secrets, SecretLocation.of(record))
        return versions[0].tags.get(AUTHORIZATION_TAG) if versions else None

    def _look(self, look: Callable[[], _Found]) -> _Found | Failure:
        try:
            return look()
        except (DatabaseError, StoppedError):
            raise
        except RotatorError as error:
            return Failure.of(error)


def _find_contested(covered: list[tuple[Listed, Rule]]) -> dict[str, set[str]]:
    """For each PAT that would share its name with another, in one organization or one secret: the ids of both."""
    alike: dict[tuple[str, str], set[str]] = {}
    for listed, rule in covered:
        plain = make_record(listed, rule, frozenset(), Choice())
        for key in ((plain.name, plain.organization), (plain.name, plain.place)):
            alike.setdefault(key, set()).add(plain.authorization_id)
    contested: dict[str, set[str]] = {}
    for ids in alike.values():
        for found in ids if len(ids) > 1 else ():
            contested.setdefault(found, set()).update(ids)
    return contested


def _refuse_contested(pat: Pat, ids: set[str]) -> Refusal:
    identifier = pat.authorization_id
    others = tuple(sorted(ids - {identifier}))
    return Refusal(RefusalKind.SAME_NAME, identifier, display_name=pat.display_name, ids=others)


def _refuse_place(record: ManagedPat, rule: Rule, owner: str) -> Refusal:
    return Refusal(
        RefusalKind.PLACE_TAKEN,
        record.authorization_id,
        name=owner,
        rule=rule.name,
        vault=record.vault,
        secret_name=record.secret_name,
    )


def make_record(listed: Listed, rule: Rule, taken: frozenset[str], choice: Choice) -> ManagedPat:
    """Make the record of a PAT, blocked where it cannot be cloned; `taken` are the names that others have."""
    listing, pat = listed
    name = choice.name or make_name(pat.display_name, listing.organization, taken)
    secret = rule.make_secret_name(organization=listing.organization, name=name, account=listing.account)
    record = make_managed(
        pat,
        name=name,
        account=listing.account,
        organization=listing.organization,
        vault=choice.vault or rule.vault,
        secret_name=choice.secret_name or secret,
    )
    # A denied scope is judged by the policy at every plan: lifting the guardrail is enough.
    obstacle = check_target(pat, listing.identity.organization_id)
    return (
        record if obstacle is None else replace(record, blocked=True, last_failure=explain_obstacle(obstacle, record))
    )
