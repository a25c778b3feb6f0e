"""Take over the new PATs that a rule with `adopt: true` matches; where anything speaks against it, a person decides."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from rotator.domain.condition import ConditionKind
from rotator.domain.events.inventory import AdoptionBlocked, AdoptionCleared
from rotator.domain.managed_pat import Failure, ManagedPat, make_name
from rotator.domain.policy import Rule
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.sight import Holding, Sight
from rotator.engine.adopting import AdoptionPlan, adopt
from rotator.engine.auditing import find_lasting, record
from rotator.engine.choices import Choice, Choices
from rotator.engine.comparing import ScanKind
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_decision
from rotator.engine.explaining_refusals import explain_refusal
from rotator.engine.listing import Listing, ServerView
from rotator.engine.newcomers import find_adopting_rule, refuse_past
from rotator.engine.proposing import (
    Listed,
    Proposal,
    Taken,
    look_at_secrets,
    make_proposals,
    make_record,
    refuse_served,
)
from rotator.engine.reconciling import Pair, Reconciliation
from rotator.engine.waiting import keep_books
from rotator.errors import RotatorError
from rotator.ports.database import Reading

Candidate = tuple[Listed, Rule]
"""A new PAT, as it was listed, and the rule that asks to take it over."""

_PASSING = frozenset(
    {
        RefusalKind.MANAGED,
        RefusalKind.ROTATING,
        RefusalKind.LEFT_BEHIND,
        RefusalKind.KEPT,
        RefusalKind.SENT_MINT,
        RefusalKind.POSSIBLE_MINT,
        RefusalKind.REVOCATION_PENDING,
        RefusalKind.BEING_REVOKED,
        RefusalKind.UNREADABLE,
        RefusalKind.CHANGED,
    }
)
"""What the next run finds otherwise, or what is shown as something else: no person is asked for it."""


@dataclass
class Takeover:
    """What came of it: `adopted` are managed now, `unreadable` and `down` could not be looked at, and are next time."""

    adopted: tuple[Proposal, ...] = ()
    unreadable: list[tuple[Listed, Failure]] = field(default_factory=list)
    down: dict[Pair, RotatorError] = field(default_factory=dict)


def take_over(run: RunContext, view: ServerView, found: Reconciliation) -> Takeover:
    """Write a record for each new PAT whose rule asks for it, and note which ones wait for a person, and why.

    Nothing is changed outside. A PAT is listed twice before: one list may hide its namesake. It waits unless its secret
    is absent, or holds what we wrote for a PAT that no longer exists.
    """
    done, new = Takeover(), _find_new(run, found)
    listings = _look_again(view, found, new, done)
    candidates = [item for item in new if _get_pair(item) not in done.down]
    refusals: list[Refusal] = []
    if candidates:
        clear = _drop_unclear(run, candidates, listings, refusals)
        seen = _look_at_secrets(run, view, _propose(run, clear, refusals), refusals)
        ready = tuple(replace(item, record=replace(item.record, taken_over=True)) for item in seen)
        plan = AdoptionPlan(ready, tuple(refusals))
        written = keep_books(run.services, partial(adopt, run, plan, by_rule=True)) if ready else plan
        done.adopted, refusals = written.proposals, list(written.refusals)
    by_id = {pat.authorization_id: (listing, pat) for (listing, pat), _ in candidates}
    for refusal in refusals:
        if refusal.kind is RefusalKind.UNREADABLE and refusal.failure is not None:
            done.unreadable.append((by_id[refusal.reference], refusal.failure))
    waits = {item.reference: explain_refusal(item) for item in refusals if item.kind not in _PASSING}
    _note_waits(run, set(found.listings) - set(done.down), candidates, waits)
    return done


def _get_pair(candidate: Candidate) -> Pair:
    (listing, _), _ = candidate
    return listing.account, listing.organization


def _find_new(run: RunContext, found: Reconciliation) -> list[Candidate]:
    """Return what nothing accounts for and a rule asks for, each PAT once."""
    new: dict[str, Candidate] = {}
    for pair, comparison in found.comparisons.items():
        for entry in comparison.entries:
            if entry.kind is ScanKind.UNTRACKED and entry.pat is not None:
                rule = find_adopting_rule(run.policy, *pair, entry.pat)
                if rule is not None:
                    new.setdefault(entry.authorization_id, ((found.listings[pair], entry.pat), rule))
    return list(new.values())


def _look_again(view: ServerView, found: Reconciliation, new: Iterable[Candidate], done: Takeover) -> list[Listing]:
    """Return all listings of this run, and a second one of each place where something is new."""
    listings = list(found.listings.values())
    for pair in sorted({_get_pair(item) for item in new}):
        try:
            listings.append(view.fetch_again(*pair))
        except RotatorError as error:
            view.note_error(*pair, error)
            done.down[pair] = error
    return listings


def _drop_unclear(
    run: RunContext, candidates: list[Candidate], listings: Iterable[Listing], refusals: list[Refusal]
) -> list[Candidate]:
    """Refuse what was managed before, and what would have the name of another PAT or ManagedPat there."""
    with run.services.database.read() as reading:
        past = refuse_past(reading, [pat.authorization_id for (_, pat), _ in candidates])
        named = _name_all(reading, listings)
    clear = []
    for candidate in candidates:
        (listing, pat), _ = candidate
        found = pat.authorization_id
        others = named[listing.organization, make_name(pat.display_name, listing.organization, frozenset())] - {found}
        if found in past:
            refusals.append(past[found])
        elif others:
            same = Refusal(RefusalKind.SAME_NAME, found, display_name=pat.display_name, ids=tuple(sorted(others)))
            refusals.append(same)
        else:
            clear.append(candidate)
    return clear


def _name_all(reading: Reading, listings: Iterable[Listing]) -> dict[tuple[str, str], set[str]]:
    """Return who has, or would have, which name in which organization: ids, or the names of what has no PAT yet."""
    named: dict[tuple[str, str], set[str]] = {}
    for listing in listings:
        for pat in listing.pats:
            plain = make_name(pat.display_name, listing.organization, frozenset())
            named.setdefault((listing.organization, plain), set()).add(pat.authorization_id)
    for record_ in reading.inventory.load_all():
        for name in (record_.name, make_name(record_.display_name, record_.organization, frozenset())):
            named.setdefault((record_.organization, name), set()).add(record_.authorization_id or record_.name)
    return named


def _propose(run: RunContext, clear: list[Candidate], refusals: list[Refusal]) -> list[Proposal]:
    """Make a record for each, and refuse what could not be rotated: by what it is, or by the policy."""
    with run.services.database.read() as reading:
        records, unfinished = reading.inventory.load_all(), reading.journal.load_open()
    taken = Taken(
        {pat.name for pat in records} | {rotation.name for rotation in unfinished},
        {pat.place: pat.name for pat in records},
    )
    alone = _drop_sharing(clear, refusals)
    proposals = make_proposals(alone, taken, Choices(Choice(), {}), refusals, everything=True)
    fit = []
    for proposal in proposals:
        pat = proposal.record
        decision = run.policy.decide(pat, now=run.services.clock.now(), longest=None)
        failure = pat.last_failure or explain_decision(decision, pat)
        if failure is None:
            fit.append(proposal)
        else:
            refusals.append(Refusal(RefusalKind.UNFIT, pat.authorization_id, failure=failure))
    return refuse_served(run, fit, records, refusals)


def _drop_sharing(candidates: list[Candidate], refusals: list[Refusal]) -> list[Candidate]:
    """Refuse all that would share one secret."""
    records = [make_record(listed, rule, frozenset(), Choice()) for listed, rule in candidates]
    alone = []
    for candidate, mine in zip(candidates, records, strict=True):
        others = [other.authorization_id for other in records if other.place == mine.place and other is not mine]
        if not others:
            alone.append(candidate)
            continue
        shared = Refusal(
            RefusalKind.PLACE_TAKEN,
            mine.authorization_id,
            rule=candidate[1].name,
            ids=tuple(sorted(others)),
            vault=mine.vault,
            secret_name=mine.secret_name,
        )
        refusals.append(shared)
    return alone


def _look_at_secrets(
    run: RunContext, view: ServerView, proposals: list[Proposal], refusals: list[Refusal]
) -> list[Proposal]:
    free = []
    for proposal in look_at_secrets(run, proposals, Choices(Choice(), {}), refusals):
        try:
            is_free = proposal.sight is None or _is_free(view, proposal.record, proposal.sight)
        except RotatorError as error:
            found = proposal.record.authorization_id
            refusals.append(Refusal(RefusalKind.UNREADABLE, found, failure=Failure.of(error)))
            continue
        if is_free:
            free.append(proposal)
        else:
            refusals.append(_refuse_secret(proposal))
    return free


def _is_free(view: ServerView, pat: ManagedPat, sight: Sight) -> bool:
    """Whether nobody reads anything in a secret that another PAT would take away: it is absent, or what we wrote for
    that PAT, or for one that the server calls gone.
    """
    if sight.holding is Holding.ABSENT:
        return True
    if sight.holding is not Holding.OURS or not sight.authorization_id:
        return False
    is_same = sight.authorization_id == pat.authorization_id
    return is_same or view.look_for(pat.account, pat.organization, sight.authorization_id).is_proven


def _refuse_secret(proposal: Proposal) -> Refusal:
    pat = proposal.record
    return Refusal(
        RefusalKind.OCCUPIED,
        pat.authorization_id,
        vault=pat.vault,
        secret_name=pat.secret_name,
        sight=proposal.sight,
    )


def _note_waits(
    run: RunContext, looked: Collection[Pair], candidates: Iterable[Candidate], waits: Mapping[str, Failure]
) -> None:
    """Remember and tell which PATs wait for a person, and tell when that is over. Nothing is written for no news."""
    told = {
        pat.authorization_id: AdoptionBlocked(
            display_name=pat.display_name,
            rule=rule.name,
            code=waits[pat.authorization_id].code,
            message=waits[pat.authorization_id].message,
        )
        for (_, pat), rule in candidates
        if pat.authorization_id in waits
    }
    places = {item[0][1].authorization_id: _get_pair(item) for item in candidates}

    def write() -> None:
        with run.services.database.begin() as work:
            lasting, kept = find_lasting(work, ConditionKind.ADOPTION_BLOCKED), _load_waits(work, looked)
            for pair in looked:
                mine = {found: failure for found, failure in waits.items() if places[found] == pair}
                work.inventory.save_waits(*pair, mine)
            for found in sorted(told.keys() - lasting):
                record(work, run, found, told[found], run.services.clock.now())
            for found in sorted(lasting - told.keys() - kept):
                record(work, run, found, AdoptionCleared(), run.services.clock.now())

    with run.services.database.read() as reading:
        remembered = {
            item.pat.authorization_id: item.waits
            for item in reading.inventory.load_untracked()
            if item.waits is not None
        }
        if not (waits or remembered or find_lasting(reading, ConditionKind.ADOPTION_BLOCKED)):
            return
    keep_books(run.services, write)


def _load_waits(reading: Reading, looked: Collection[Pair]) -> set[str]:
    """The PATs that waited where nobody could look now."""
    return {
        item.pat.authorization_id
        for item in reading.inventory.load_untracked()
        if item.waits is not None and (item.account, item.organization) not in looked
    }
