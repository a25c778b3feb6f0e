"""Inventory records, and what an adoption would write, as people read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.output.details import say_details
from rotator.cli.output.words import NO_PAT, render_causes, say_all_paused, say_both, say_counts, say_expiry, say_pats
from rotator.cli.selection import Facts
from rotator.cli.widths import Column
from rotator.domain.managed_pat import ManagedPat
from rotator.domain.pending_revocation import PendingRevocation
from rotator.domain.policy import RuleAction
from rotator.domain.refusal import Refusal, RefusalKind
from rotator.domain.rotation import Rotation, RotationKind, RotationState
from rotator.domain.sight import Holding, Sight
from rotator.domain.words import say_did_you_mean, say_duration, say_moment, say_names
from rotator.engine.adopting import AdoptionPlan
from rotator.engine.confirming import Managed
from rotator.engine.creating import Draft
from rotator.engine.explaining import explain_sight, say_ends_with_all
from rotator.engine.explaining_refusals import BY_NOTHING, Asked, explain_refusal
from rotator.engine.overview import RecordView
from rotator.engine.proposing import Proposal
from rotator.errors import FailureKind

COLUMNS = (
    Column("name", is_key=True),
    Column("organization", may_go=True, lower=True),
    Column("display name", may_go=True, lower=True),
    Column("secret", lower=True),
    Column("expires", fixed=True),
    Column("state", fixed=True, may_go=True),
)
WIDE_COLUMNS = (
    *COLUMNS,
    Column("account", may_go=True, lower=True),
    Column("scopes", lower=True),
    Column("vault", may_go=True, lower=True),
    Column("authorization id", lower=True),
)
BLOCKED = "blocked"
_MOST_ALONE = 20
"""So many PATs that are alike have a line each when they are adopted."""
_ABSENT = "    the secret does not exist yet"
"""In place of what only a PAT has, while the first one is still to be made."""


def describe_record(pat: ManagedPat) -> Facts:
    """What a record is chosen and sorted by."""
    return Facts(pat.name, pat.account, pat.organization, _say_state(pat), pat.valid_to if pat.has_pat else None)


def list_record_rows(records: Iterable[ManagedPat], now: datetime) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per record."""
    for pat in records:
        yield (
            pat.name,
            clean(pat.organization),
            clean(pat.display_name),
            pat.secret_name,
            say_expiry(pat.valid_to, now) if pat.has_pat else NO_PAT,
            _say_state(pat),
        )


def list_wide_rows(records: Sequence[ManagedPat], now: datetime) -> Iterator[tuple[str, ...]]:
    """One row of `WIDE_COLUMNS` per record."""
    for pat, row in zip(records, list_record_rows(records, now), strict=True):
        yield (*row, pat.account, " ".join(pat.scopes), pat.vault, pat.authorization_id or NO_PAT)


def _say_state(pat: ManagedPat) -> str:
    return BLOCKED if pat.blocked else pat.state.value


def render_record_notes(records: Iterable[ManagedPat]) -> Iterator[str]:
    """Say why each blocked PAT is blocked, and why others stop working before their own expiry."""
    early, failures = [], []
    for pat in records:
        failure = pat.last_failure if pat.blocked else None
        if failure is not None:
            failures.append((pat.name, failure))
        if pat.ends_with_all and (failure is None or failure.kind is not FailureKind.ENDS_WITH_ALL):
            early.append(clean(pat.name))
    yield from render_causes(failures)
    if early:
        yield f"{say_names(early)}: {say_ends_with_all(len(early))}"


def render_record_summary(records: Sequence[ManagedPat]) -> str:
    """`5 PATs: 3 active, 2 blocked`."""
    counts = Counter(map(_say_state, records))
    return f"{say_pats(len(records))}: {say_counts(counts)}"


def _say_end(pat: ManagedPat, now: datetime) -> str:
    said = say_both(pat.as_ending().valid_to, now)
    return f"{said}, when every PAT for all organizations stops working" if pat.ends_with_all else said


def render_record(seen: RecordView, now: datetime) -> Iterator[str]:
    """Everything that is known of a ManagedPat: facts, pending revocations, rotations and events.

    The newest rotation comes first, with why and how it ended; the newest event comes last.
    """
    for label, text in _list_facts(seen.pat, now).items():
        yield f"{label + ':':18}{clean(text)}"
    if seen.pause is not None:
        yield f"{'pause:':18}{say_all_paused(seen.pause.since, seen.pause_reason)}"
    for item in seen.pending:
        yield render_pending(item)
    for rotation in seen.rotations:
        yield from _render_rotation(rotation, now)
    if seen.has_old:
        yield clean(f"Older rotations are in the audit log: `rotator audit list --name {seen.pat.name}`.")
    if seen.unread is not None:
        yield clean(f"Its events cannot be read: {seen.unread.message}. See `rotator audit verify`.")
    if seen.has_older:
        yield clean(f"The newest {len(seen.events)} events; `rotator audit list --name {seen.pat.name}` shows all:")
    for event in seen.events:
        yield clean(f"{say_moment(event.occurred_at)}  {event.entry.event}  {say_details(event)}").rstrip()


def _render_rotation(rotation: Rotation, now: datetime) -> Iterator[str]:
    new = rotation.new_authorization_id or "none"
    yield clean(
        f"rotation {rotation.id[:8]}  {say_moment(rotation.created_at)}  {rotation.state.value}  "
        f"{rotation.predecessor_id or 'none'} -> {new}"
    )
    yield clean(f"    {_say_ending(rotation, now)}")
    if rotation.failure is not None and rotation.failure.fix and rotation.is_open:
        yield clean(f"    fix: {rotation.failure.fix}")


def _say_ending(rotation: Rotation, now: datetime) -> str:
    """How far it is, or how it ended and why."""
    if rotation.failure is not None:
        return rotation.failure.message
    until = rotation.overlap_until
    match rotation.state:
        case RotationState.OVERLAPPING if rotation.awaited_hooks:
            return f"the old PAT stays valid until a hook succeeds ({', '.join(rotation.awaited_hooks)})"
        case RotationState.OVERLAPPING if until is not None and until <= now:
            return f"the overlap ended {say_moment(until)}; the old PAT is not revoked yet"
        case RotationState.OVERLAPPING if until is not None:
            return f"the old PAT stays valid until {say_moment(until)}"
        case RotationState.COMPLETED if rotation.kind is RotationKind.REVOCATION:
            return f"a PAT that was left behind was revoked {say_moment(rotation.updated_at)}"
        case RotationState.COMPLETED if not rotation.has_predecessor:
            return f"the first PAT, stored {say_moment(rotation.updated_at)}"
        case RotationState.COMPLETED if rotation.keeps_predecessor:
            return f"replaced {say_moment(rotation.updated_at)}; the old PAT was kept"
        case RotationState.COMPLETED:
            return f"replaced; the old PAT was revoked {say_moment(rotation.updated_at)}"
        case _ if rotation.is_open:
            return f"not finished; last step {say_moment(rotation.updated_at)}"
        case _:
            return f"ended {say_moment(rotation.updated_at)}"


def _list_facts(pat: ManagedPat, now: datetime) -> dict[str, str]:
    facts = {
        "name": pat.name,
        "record id": pat.record_id or "-",
        "account": pat.account,
        "organization": pat.organization,
        "display name": pat.display_name,
        "authorization id": pat.authorization_id or NO_PAT,
        "scopes": " ".join(pat.scopes),
        "valid from": say_moment(pat.valid_from) if pat.has_pat else NO_PAT,
        "expires": _say_end(pat, now) if pat.has_pat else NO_PAT,
        "vault": pat.vault,
        "secret": pat.secret_name,
        "secret version": pat.secret_version or "-",
        "state": _say_state(pat),
    }
    if pat.confirmed_version is not None:
        facts["may replace"] = pat.confirmed_version
    if pat.is_update_wanted:
        lifetime = "" if pat.wanted_lifetime is None else say_duration(pat.wanted_lifetime)
        account = "" if pat.wanted_account is None else f"account {pat.wanted_account}"
        wanted = (account, pat.wanted_display_name or "", pat.wanted_scope or "", lifetime)
        facts["asked for"] = ", ".join(text for text in wanted if text)
    if pat.last_failure is not None:
        facts |= {"last error": pat.last_failure.message, "fix": pat.last_failure.fix or "-"}
    if pat.retry_at is not None:
        facts["tried again"] = say_both(pat.retry_at, now)
    return facts


def render_pending(item: PendingRevocation) -> str:
    """The revocation that is not confirmed, since when, and how often it was requested."""
    asked = "once" if item.requests == 1 else f"{item.requests} times"
    return clean(
        f"{item.name}: the revocation of {item.authorization_id} has not been confirmed since {say_moment(item.since)} "
        f"(requested {asked}); each run checks again"
    )


def render_adoption(plan: AdoptionPlan, now: datetime, *, everything: bool = False) -> Iterator[str]:
    """What would be written, under what PATs have in common: a line for each, and below it what is not as usual.

    Very many that differ in names and expiry only share a line. With `everything` each has a paragraph.
    """
    proposals = sorted(plan.proposals, key=lambda item: item.record.name)
    if everything:
        for proposal in proposals:
            yield from _render_proposal(proposal, now)
    else:
        yield from _render_shortly(proposals, now)
    yield from _render_all_managed(plan.managed, everything=everything)


def _render_shortly(proposals: Sequence[Proposal], now: datetime) -> Iterator[str]:
    places: dict[str, list[Proposal]] = {}
    for proposal in proposals:
        places.setdefault(_say_place(proposal), []).append(proposal)
    for place, found in sorted(places.items()):
        yield clean(place)
        alike: dict[tuple[str, ...], list[Proposal]] = {}
        for proposal in found:
            alike.setdefault(tuple(_render_unusual(proposal)), []).append(proposal)
        for unusual, group in alike.items():
            if len(group) > _MOST_ALONE:
                yield clean(f"+ {say_pats(len(group))}: {say_names([item.record.name for item in group])}")
                yield clean(f"    each has a secret of its own, like {group[0].record.secret_name}")
                yield from unusual
        for proposal in found:
            unusual = tuple(_render_unusual(proposal))
            if len(alike[unusual]) <= _MOST_ALONE:
                yield from (_say_shortly(proposal, now), *unusual)
    absent = sum(_makes_secret(item) for item in proposals)
    if absent:
        missing = "1 secret does not exist yet" if absent == 1 else f"{absent} secrets do not exist yet"
        yield f"{missing}; the first rotation of a PAT makes its secret. With `-v`, more is shown of each PAT."


def _makes_secret(proposal: Proposal) -> bool:
    """Whether the first rotation of the PAT makes its secret: what is blocked has no first rotation."""
    is_absent = proposal.sight is not None and proposal.sight.holding is Holding.ABSENT
    return is_absent and not proposal.effective.blocked


def _say_place(proposal: Proposal) -> str:
    """`build-bot/contoso, rule ci, secrets in https://...`: what PATs have in common."""
    pat, rule = proposal.effective, proposal.rule
    by_hand = " (a person replaces these, so no run writes their secrets)"
    told = f"rule {rule.name}{by_hand if rule.action is RuleAction.ALERT else ''}"
    return f"{pat.account}/{pat.organization}, {told}, secrets in {pat.vault}"


def _say_shortly(proposal: Proposal, now: datetime) -> str:
    pat = proposal.effective
    named = "" if pat.display_name == pat.name else f'  "{pat.display_name}"'
    return clean(f"+ {pat.name}{named}  expires {say_expiry(pat.as_ending().valid_to, now)}  secret {pat.secret_name}")


def render_refusals(
    plan: AdoptionPlan, asked: Asked = BY_NOTHING, shown: int = 0, *, is_named: bool = False
) -> Iterator[str]:
    """Say what cannot be adopted, and why; without the first ones that were shown before.

    `is_named`: each was asked for by name, so it is an error.
    """
    sign, indent = ("error:", "") if is_named else ("x", "    ")
    for refusal in plan.refusals[shown:]:
        told, number = explain_refusal(refusal, asked), asked.lines.get(refusal.reference)
        line = "" if number is None else f"line {number}: "
        near = (pat.display_name for _, pat in plan.listed.values())
        code = f" [{told.code}]" if is_named else ""
        hint = say_did_you_mean(refusal.reference, near) if refusal.kind is RefusalKind.UNKNOWN else ""
        yield clean(f"{sign} {line}{_name_refused(refusal, plan)}: {told.message}{hint}{code}")
        if told.fix:
            yield clean(f"{indent}fix: {told.fix}")


def _name_refused(refusal: Refusal, plan: AdoptionPlan) -> str:
    """The reference; for an id that the server listed also what people know the PAT by."""
    if refusal.reference not in plan.listed:
        return refusal.reference
    listing, pat = plan.listed[refusal.reference]
    return f'{refusal.reference} ("{pat.display_name}", {listing.account}/{listing.organization})'


def _render_proposal(proposal: Proposal, now: datetime) -> Iterator[str]:
    pat = proposal.effective
    yield clean(f'+ {pat.name}  "{pat.display_name}"  {pat.account}/{pat.organization}  (rule {proposal.rule.name})')
    yield clean(f"    id {pat.authorization_id}, expires {_say_end(pat, now)}")
    yield clean(f"    secret {pat.secret_name} in {pat.vault}")
    if proposal.sight is None and proposal.rule.action is RuleAction.ALERT:
        yield "    not looked at: its rule only alerts, so no run writes it"
    if proposal.sight is not None and proposal.sight.holding is Holding.ABSENT:
        yield _ABSENT
    yield from _render_unusual(proposal)


def _render_unusual(proposal: Proposal) -> Iterator[str]:
    """What its secret holds, what has no room in it, and what blocks its PAT."""
    pat, sight = proposal.effective, proposal.sight
    if sight is not None:
        yield from _render_held(sight)
    if pat.last_failure is not None:
        yield clean(f"    blocked: {pat.last_failure.message}")
        yield clean(f"    fix: {pat.last_failure.fix}")


def render_draft(draft: Draft, now: datetime) -> Iterator[str]:
    """What a creation would make."""
    pat = draft.record
    yield clean(f"+ {pat.name}  {pat.account}/{pat.organization}  {' '.join(pat.scopes)}  (rule {draft.rule.name})")
    yield clean(f"    expires {say_both(pat.valid_to, now)}")
    yield clean(f"    secret {pat.secret_name} in {pat.vault}")


def _render_all_managed(managed: Sequence[Managed], *, everything: bool) -> Iterator[str]:
    """Each with its secret; very many whose secrets hold the same, and where nothing is confirmed, share a line."""
    alike: dict[tuple[str, ...], list[Managed]] = {}
    for item in managed:
        confirms = () if item.confirms is None else (item.confirms,)
        alike.setdefault((*_render_sight(item.sight), *confirms), []).append(item)
    for group in alike.values():
        if everything or len(group) <= _MOST_ALONE or group[0].confirms is not None:
            for item in group:
                yield from _render_managed(item)
        else:
            yield clean(f"= {say_pats(len(group))} are managed already: {say_names([it.record.name for it in group])}")
            yield from _render_sight(group[0].sight)


def _render_managed(item: Managed) -> Iterator[str]:
    pat = item.record
    yield clean(f"= {pat.name}  is managed already")
    yield clean(f"    secret {pat.secret_name} in {pat.vault}")
    yield from _render_sight(item.sight)
    if item.confirms is not None:
        yield clean(f"    the next rotation may overwrite version {item.confirms}")


def _render_sight(sight: Sight) -> Iterator[str]:
    if sight.holding is Holding.ABSENT:
        yield _ABSENT
    yield from _render_held(sight)


def _render_held(sight: Sight) -> Iterator[str]:
    if sight.holding is not Holding.ABSENT:
        yield clean(f"    it holds {explain_sight(sight)}")
    if sight.dropped_tags:
        yield clean(f"    no room for its tags: {', '.join(sight.dropped_tags)}")
