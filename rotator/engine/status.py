"""How every ManagedPat stands, by our own records only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from rotator.domain.condition import ConditionKind
from rotator.domain.limit import LifetimeLimit, find_longest
from rotator.domain.managed_pat import Failure, Hold, ManagedPat, ManagedPatState, Pat
from rotator.domain.next_step import Matter, NextAction, NextStep, find_next_step
from rotator.domain.pending_revocation import PendingRevocation, group_pending
from rotator.domain.policy import Decision, Policy, RuleAction, Verdict
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.sign_in import NOT_SIGNED_IN, SignInMemory
from rotator.engine.accounting import get_ids, load_keepers
from rotator.engine.awaiting import make_awaiting_error
from rotator.engine.explaining import explain_decision, explain_left_behind
from rotator.engine.in_force import put_in_force
from rotator.engine.left_behind import LeftBehind, load_left_behind
from rotator.errors import SignInRequiredError
from rotator.ports.database import Database, Reading
from rotator.ports.inventory import UntrackedPat


class PatState(StrEnum):
    """The one word that `status` shows; the first that fits, in the order of `find_state`."""

    OK = "ok"
    DUE = "due"
    OVERLAPPING = "overlapping"
    EXPIRED = "expired"
    FAILED = "failed"
    BLOCKED = "blocked"
    PAUSED = "paused"
    UNTRACKED = "untracked"


ATTENTION = frozenset({PatState.EXPIRED, PatState.BLOCKED, PatState.FAILED})


SIGN_IN_REQUIRED = SignInRequiredError.code
"""The code of what is wrong with a PAT whose account a person must sign in."""


@dataclass(frozen=True)
class NeededSignIn:
    """An account that a person must sign in: since when, if that is known, and what is remembered of its sign-in."""

    since: datetime | None
    memory: SignInMemory

    @property
    def is_first(self) -> bool:
        """Whether nobody ever signed it in, as far as is known."""
        refusal = self.memory.refusal
        return self.memory.interactive_at is None and (refusal is None or refusal.code == NOT_SIGNED_IN)

    @cached_property
    def failure(self) -> Failure:
        """What is wrong with each of its PATs."""
        refusal = self.memory.refusal
        if refusal is None:
            fix = f"Run `rotator login {self.memory.account}`."
            return Failure(SIGN_IN_REQUIRED, f"a person must sign in{'' if self.is_first else ' again'}", fix)
        return replace(refusal, code=SIGN_IN_REQUIRED)


NONE_MISSING: Mapping[str, NeededSignIn] = {}


@dataclass(frozen=True)
class PatStatus:
    """One line of `status`. `rotate_after` and `revoke_after` are None when nothing is planned or overlapping.

    `by_hand`: it is due, and the policy only wants a person told. `next_at` is when the next thing is to be done, in
    the past when it is due now; None when there is nothing to do.
    """

    name: str
    account: str
    organization: str
    authorization_id: str
    display_name: str
    scopes: tuple[str, ...]
    state: PatState
    valid_from: datetime
    expires_at: datetime
    rotate_after: datetime | None
    by_hand: bool
    revoke_after: datetime | None
    next_at: datetime | None
    next_action: NextAction
    vault: str | None
    secret_name: str | None
    last_error: Failure | None
    ends_with_all: bool = False
    """It stops working with all PATs for all organizations, before its own expiry."""
    signed_out: bool = False
    """`last_error` is that a person must sign its account in, which is said once for all its PATs."""
    waits_for_all: bool = False
    """It waits until a person ends the pause of everything, and for nothing else."""
    record_id: str | None = field(default=None, compare=False)
    """Which record it is; it says nothing about the PAT."""
    waits_for_resume: bool = False
    """It waits until a person resumes it by name."""
    at_work: RotationState | None = None
    """A run holds its claim now, and its rotation is there: what comes next is up to that run."""

    @property
    def is_rotated(self) -> bool:
        """Whether a run rotates it when it is due."""
        return not self.by_hand and self.state not in (PatState.PAUSED, PatState.UNTRACKED)

    @property
    def needs_sign_in(self) -> bool:
        """Whether it waits for its account's sign-in, and for nothing else."""
        return self.next_action is NextAction.SIGN_IN


def status_from(
    database: Database, policy: Policy, now: datetime, *, settle: timedelta, lease: timedelta
) -> tuple[PatStatus, ...]:
    """List the rows of `status_in`, by a look of their own."""
    with database.read() as reading:
        return status_in(reading, policy, now, settle=settle, lease=lease)


def status_in(
    reading: Reading,
    policy: Policy,
    now: datetime,
    *,
    settle: timedelta,
    lease: timedelta,
    missing: Mapping[str, NeededSignIn] = NONE_MISSING,
) -> tuple[PatStatus, ...]:
    """List every ManagedPat by expiry, then what the last run saw untracked, and why it was left behind or waits.

    `settle`: how long an unanswered mint or store may still take effect. `lease`: how long claims last. `missing`: what
    else is known of accounts that a person must sign in, although no run met that yet.
    """
    policy, pats = put_in_force(reading, policy), reading.inventory.load_all()
    rotations, pending = reading.journal.load_open(), reading.revocations.load()
    managed = list_managed(reading, policy, pats, rotations, pending, now, settle=settle, lease=lease, missing=missing)
    at_work = find_at_work(reading, rotations, now)
    return arrange(managed, list_untracked(reading, now), (found for ids in at_work.values() for found in ids))


def list_managed(
    reading: Reading,
    policy: Policy,
    pats: Iterable[ManagedPat],
    rotations: Iterable[Rotation],
    pending: Iterable[PendingRevocation],
    now: datetime,
    *,
    settle: timedelta,
    lease: timedelta,
    missing: Mapping[str, NeededSignIn] = NONE_MISSING,
) -> list[PatStatus]:
    """List the rows of these ManagedPats, by the policy in force, their open rotations and pending revocations."""
    pats, rotations, limits = tuple(pats), tuple(rotations), reading.limits.load()
    needed = {**missing, **load_needed(reading)}
    creating = find_creating(reading, pats, lease)
    worked_on = _find_worked_on(reading, rotations, lease)
    opened, asked = {rotation.name: rotation for rotation in rotations}, group_pending(pending)
    rows = []
    for pat in (record.as_ending() for record in pats):
        decision = policy.decide(pat, now=now, longest=find_longest(limits, pat, now))
        matter, missed = make_matter(pat, opened.get(pat.name), asked), needed.get(pat.next_account)
        outlook = find_outlook(matter, policy, decision, now, settle, is_creating=pat.name in creating)
        row = _make_row(matter, put_sign_in_first(outlook, missed), decision)
        rows.append(replace(row, at_work=opened[pat.name].state) if pat.name in worked_on else row)
    return rows


def list_untracked(reading: Reading, now: datetime) -> list[PatStatus]:
    """List the rows of what the last look saw untracked."""
    left_behind = {item.pat.authorization_id: item for item in load_left_behind(reading, now)}
    found = reading.inventory.load_untracked()
    return [_make_untracked(item, item.pat.as_ending(), left_behind.get(item.pat.authorization_id)) for item in found]


def find_at_work(reading: Reading, rotations: Iterable[Rotation], now: datetime) -> dict[str, tuple[str, ...]]:
    """Return the PATs that open rotations account for, by name: also what an unanswered mint made, or may have."""
    rotations = tuple(rotations)
    found = {rotation.name: get_ids(rotation) for rotation in rotations}
    if all(item.new_authorization_id or item.state is RotationState.PLANNED for item in rotations):
        return found
    seen = reading.inventory.load_untracked()
    keepers = load_keepers(reading, [item.pat.authorization_id for item in seen], now)
    for item in seen:
        keeper = keepers.find(item.pat, item.account, item.organization)
        if keeper is not None and keeper.is_open and keeper.name in found:
            found[keeper.name] += (item.pat.authorization_id,)
    return found


def arrange(
    managed: Iterable[PatStatus], untracked: Iterable[PatStatus], at_work: Iterable[str]
) -> tuple[PatStatus, ...]:
    """Return the managed ones by expiry, then the untracked ones, each PAT once. What is `at_work` is not untracked."""
    rows = list(managed)
    seen = {row.authorization_id for row in rows}.union(at_work)
    for row in untracked:
        if row.authorization_id not in seen:
            seen.add(row.authorization_id)
            rows.append(row)
    rows.sort(key=lambda row: (row.state is PatState.UNTRACKED, row.expires_at, row.name))
    return tuple(rows)


def load_needed(reading: Reading) -> dict[str, NeededSignIn]:
    """Load which accounts a person must sign in, each with what was refused."""
    lasting = [found for found in reading.conditions.load() if found.kind is ConditionKind.SIGN_IN_NEEDED]
    return {found.subject: NeededSignIn(found.since, reading.sign_ins.load(found.subject)) for found in lasting}


def load_effective(database: Database, policy: Policy, now: datetime) -> tuple[ManagedPat, ...]:
    """Load every record as it is in effect at `now`."""
    with database.read() as reading:
        pats, limits = reading.inventory.load_all(), reading.limits.load()
    return tuple(make_effective(pat, policy, limits, now) for pat in pats)


def find_creating(reading: Reading, pats: Iterable[ManagedPat], lease: timedelta) -> frozenset[str]:
    """Name the records whose first PAT a run is making now: they are not due, somebody is at it."""
    names = [pat.name for pat in pats if not pat.has_pat]
    return reading.claims.find_held(names, now=reading.now(), span=lease) if names else frozenset()


def _find_worked_on(reading: Reading, rotations: Iterable[Rotation], lease: timedelta) -> frozenset[str]:
    """Name the records that a run rotates now, by its claim; in their overlap nobody needs to be at it."""
    names = [rotation.name for rotation in rotations if rotation.state is not RotationState.OVERLAPPING]
    return reading.claims.find_held(names, now=reading.now(), span=lease) if names else frozenset()


def make_effective(
    pat: ManagedPat, policy: Policy, limits: Mapping[tuple[str, str], LifetimeLimit], now: datetime
) -> ManagedPat:
    """Return a record as it is in effect at `now`: with the expiry that holds, and blocked if the policy says so."""
    pat = pat.as_ending()
    refusal = explain_decision(policy.decide(pat, now=now, longest=find_longest(limits, pat, now)), pat)
    if refusal is None or pat.blocked or pat.state is ManagedPatState.PAUSED:
        return pat
    return replace(pat, blocked=True, last_failure=pat.last_failure or refusal)


def find_signed_out_state(state: PatState, action: NextAction) -> PatState:
    """Return the one word for a PAT whose account a person must sign in: blocked, but where another word tells more."""
    tells_more = state in (PatState.PAUSED, PatState.EXPIRED) or action is NextAction.REPLACE_BY_HAND
    return state if tells_more else PatState.BLOCKED


def find_state(
    pat: ManagedPat, rotation: Rotation | None, policy: Policy, decision: Decision, now: datetime
) -> PatState:
    """Return the one word for a record as it is in effect now, with its open rotation, if there is one."""
    rule = decision.rule
    is_rotated = decision.verdict is not Verdict.IGNORED and rule is not None and rule.action is RuleAction.ROTATE
    waits_for_all = (
        policy.is_paused and decision.verdict is not Verdict.BLOCKED and (is_rotated or rotation is not None)
    )
    is_paused = pat.state is ManagedPatState.PAUSED or waits_for_all
    if pat.valid_to <= now and pat.has_pat:
        return PatState.EXPIRED
    if is_paused and not pat.blocked:
        return PatState.PAUSED
    if pat.blocked or decision.verdict is Verdict.BLOCKED:
        return PatState.BLOCKED
    if pat.last_failure is not None:
        return PatState.FAILED
    if rotation is not None and rotation.state in (RotationState.OVERLAPPING, RotationState.RETIRING):
        return PatState.OVERLAPPING
    if rotation is not None or decision.verdict in (Verdict.DUE, Verdict.ALERT):
        return PatState.DUE
    return PatState.OK


class Outlook(NamedTuple):
    """How a ManagedPat stands. `is_awaiting`: its rotation waits for a hook; `signed_out` is as in its row."""

    state: PatState
    step: NextStep
    error: Failure | None
    is_awaiting: bool = False
    signed_out: bool = False


def make_matter(pat: ManagedPat, rotation: Rotation | None, asked: Mapping[str, Iterable[PendingRevocation]]) -> Matter:
    """Return a ManagedPat with its open rotation and those of the pending revocations that are its own."""
    return Matter(pat, rotation, tuple([item for item in asked.get(pat.name, ()) if item.belongs_to(pat)]))


def find_outlook(
    matter: Matter, policy: Policy, decision: Decision, now: datetime, settle: timedelta, *, is_creating: bool
) -> Outlook:
    """Return what there is to say of a record as it is in effect. `is_creating`: a run is making its first PAT."""
    pat, rotation = matter.pat, matter.rotation
    awaited = policy.find_awaited(rotation) if rotation is not None else ()
    state = find_state(pat, rotation, policy, decision, now)
    error = pat.last_failure
    if error is None and state is PatState.BLOCKED:
        error = explain_decision(decision, pat)
    if error is None and awaited:
        error = Failure.of(make_awaiting_error(pat.name, awaited))
    if is_creating:
        return Outlook(PatState.OK, NextStep(NextAction.NONE, None), error, bool(awaited))
    return Outlook(state, find_next_step(matter, policy, decision, now, settle), error, bool(awaited))


def put_sign_in_first(outlook: Outlook, needed: NeededSignIn | None) -> Outlook:
    """The outlook where a person must sign the next account in, unless the PAT has its own reason to be left alone.

    One that a person replaces by hand needs that first; its row says both. The policy may leave it alone, too.
    """
    state, step, error, is_awaiting, _ = outlook
    is_left = step.action is NextAction.NONE and error is None
    if needed is None or is_left or state in (PatState.PAUSED, PatState.BLOCKED):
        return outlook
    if step.action is not NextAction.REPLACE_BY_HAND:
        state, step = find_signed_out_state(state, step.action), NextStep(NextAction.SIGN_IN, needed.since)
    elif error is not None:
        return outlook
    return Outlook(state, step, needed.failure, is_awaiting, signed_out=True)


def _make_row(matter: Matter, outlook: Outlook, decision: Decision) -> PatStatus:
    (state, step, error, is_awaiting, signed_out), pat, rotation = outlook, matter.pat, matter.rotation
    return PatStatus(
        name=pat.name,
        account=pat.account,
        organization=pat.organization,
        authorization_id=pat.authorization_id,
        display_name=pat.display_name,
        scopes=pat.scopes,
        state=state,
        valid_from=pat.valid_from,
        expires_at=pat.valid_to,
        rotate_after=None if pat.all_organizations else decision.rotate_after,
        by_hand=decision.verdict is Verdict.ALERT,
        revoke_after=rotation.overlap_until if rotation and not (is_awaiting or rotation.keeps_predecessor) else None,
        next_at=step.at,
        next_action=step.action,
        vault=pat.vault,
        secret_name=pat.secret_name,
        last_error=error,
        ends_with_all=pat.ends_with_all,
        signed_out=signed_out,
        waits_for_all=state is PatState.PAUSED and pat.state is not ManagedPatState.PAUSED,
        record_id=pat.record_id,
        waits_for_resume=state is PatState.PAUSED
        and pat.state is ManagedPatState.PAUSED
        and pat.hold is not Hold.REVOKED_BY_HAND
        and not pat.is_canary,
    )


def _make_untracked(item: UntrackedPat, pat: Pat, left: LeftBehind | None) -> PatStatus:
    is_pending = left is not None and not left.needs_person
    return PatStatus(
        name=pat.display_name,
        account=item.account,
        organization=item.organization,
        authorization_id=pat.authorization_id,
        display_name=pat.display_name,
        scopes=pat.scopes,
        state=PatState.UNTRACKED,
        valid_from=pat.valid_from,
        expires_at=pat.valid_to,
        rotate_after=None,
        by_hand=False,
        revoke_after=None,
        next_at=None,
        next_action=NextAction.CONFIRM_REVOCATION if is_pending else NextAction.NONE,
        vault=None,
        secret_name=None,
        last_error=explain_left_behind(left) if left is not None else item.waits,
        ends_with_all=pat.ends_with_all,
    )
