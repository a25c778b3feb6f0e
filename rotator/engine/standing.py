"""How a ManagedPat stands when it is looked at: what is wrong, by its record, its rotation and the policy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rotator.domain.events.event import Event
from rotator.domain.events.rotations import ExpiryForeseen, FailureCleared, PatVanished, RotationBlocked, RotationFailed
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import ALL_ORGANIZATIONS, Failure, Hold, ManagedPat, ManagedPatState
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.policy import FORBIDDEN, Decision, RuleAction, Verdict
from rotator.domain.urgency import is_near_expiry
from rotator.engine.awaiting import AWAITED
from rotator.engine.context import RunContext
from rotator.engine.explaining import explain_decision, explain_obstacle
from rotator.engine.in_force import put_in_force
from rotator.ports.database import Reading


@dataclass(frozen=True)
class Standing:
    """One ManagedPat: its record, whether a rotation of it is open, and what the policy says."""

    pat: ManagedPat
    is_rotating: bool
    decision: Decision
    is_all_paused: bool = False
    is_awaiting: bool = False
    """Its rotation waits for a hook that must succeed."""

    @property
    def is_retried(self) -> bool:
        """Whether something failed that a later run tries again."""
        rule = self.decision.rule
        is_left = self.pat.state is ManagedPatState.PAUSED or (
            rule is not None and rule.action is not RuleAction.ROTATE and not self.decision.is_wanted
        )
        return self.pat.last_failure is not None and not self.pat.blocked and (self.is_rotating or not is_left)

    @property
    def is_shortened(self) -> bool:
        """Whether its lifetime is shorter than its rule asks for, and is to be rotated all the same."""
        rule = self.decision.rule
        is_rotated = self.pat.state is ManagedPatState.ACTIVE and rule is not None and rule.action is RuleAction.ROTATE
        return self.pat.short_lived and is_rotated

    def find_trouble(self) -> Event | None:
        """Return what is wrong with it, as the event that begins that condition.

        None also when nobody wants it rotated: what happens to it then is reported when it happens, not at each look.
        """
        refusal, failure = self._find_refusal(), self.pat.last_failure
        is_ignored = self.decision.verdict is Verdict.IGNORED and not self.is_rotating
        is_left = self.pat.state is ManagedPatState.PAUSED and not self.pat.blocked
        if is_left or is_ignored:
            return None
        if refusal is not None:
            return RotationBlocked(code=refusal.code, message=refusal.message)
        if failure is None or self._is_only_unlisted:
            return None
        if self.pat.hold is Hold.REVOKED_ELSEWHERE:
            return PatVanished(code=failure.code, message=failure.message)
        event = RotationBlocked if self.pat.blocked else RotationFailed
        return event(code=failure.code, message=failure.message)

    def may_expire(self, now: datetime) -> bool:
        """Whether it is near its expiry, or due where a person has to replace it, and nothing replaces it now.

        An open rotation replaces nothing while everything is paused or it waits for a hook, not even its own clone.
        """
        pat, verdict = self.pat.as_ending(), self.decision.verdict
        is_gone = not pat.has_pat or pat.hold in (Hold.REVOKED_BY_HAND, Hold.REVOKED_ELSEWHERE)
        is_replaced = self.is_rotating and not self.is_all_paused and not self.is_awaiting
        if is_gone or is_replaced or verdict is Verdict.IGNORED:
            return False
        return verdict is Verdict.ALERT or is_near_expiry(pat.valid_from, pat.valid_to, now)

    def find_expiring(self, now: datetime) -> ExpiryForeseen | None:
        """Return that it may expire, and why it is not rotated before."""
        pat, decision = self.pat.as_ending(), self.decision
        if not self.may_expire(now):
            return None
        why = {
            "paused": pat.state is ManagedPatState.PAUSED or self.is_all_paused,
            "replace_by_hand": decision.verdict is Verdict.ALERT,
            ALL_ORGANIZATIONS: pat.all_organizations,
            FORBIDDEN: decision.verdict is Verdict.BLOCKED,
            AWAITED: self.is_awaiting,
        }
        failure = None if pat.last_failure is None else pat.last_failure.code
        code = next((code for code, is_so in why.items() if is_so), failure)
        return None if code is None else ExpiryForeseen(code=code, expires_at=pat.valid_to)

    def find_end(self) -> Event | None:
        """Return the event that ends a condition which `find_trouble` does not name.

        None when it names another, whose event ends this one; and when nobody wants it rotated, but what happened to it
        still asks for a person or for another try: it is gone, its vault was written by others, a rotation is open.
        """
        pat = self.pat
        if self.find_trouble() is not None:
            return None
        is_past = pat.last_failure is None or pat.hold is Hold.REVOKED_BY_HAND
        lasts = self.is_rotating or pat.hold is not None or pat.is_called_missing
        return FailureCleared() if is_past or not lasts else None

    @property
    def _is_only_unlisted(self) -> bool:
        """Whether a list lacks it and nothing is to be done for it: that proves nothing, and ends nothing either."""
        pat = self.pat
        is_well = not pat.blocked and pat.hold is None and not self.is_rotating
        return pat.is_called_missing and is_well and self.decision.verdict is not Verdict.DUE

    def _find_refusal(self) -> Failure | None:
        """Why the policy forbids a rotation, if the record says nothing more serious."""
        is_weightier = self.is_rotating or self.pat.blocked or self.pat.is_called_missing
        if is_weightier:
            return None
        rule = self.decision.rule
        if self.pat.all_organizations and rule is not None and rule.action is RuleAction.ROTATE:
            return explain_obstacle(Obstacle(ObstacleKind.ALL_ORGANIZATIONS), self.pat)
        return explain_decision(self.decision, self.pat)


def load_standings(run: RunContext, reading: Reading) -> dict[str, Standing]:
    """Load how every ManagedPat stands now, by name."""
    now, limits = run.services.clock.now(), reading.limits.load()
    rotating = {rotation.name: rotation for rotation in reading.journal.load_open()}
    policy = put_in_force(reading, run.policy)
    standings = {}
    for pat in reading.inventory.load_all():
        longest = find_longest(limits, pat, now)
        decision = run.policy.decide(pat.as_ending(), now=now, longest=longest)
        rotation = rotating.get(pat.name)
        is_awaiting = rotation is not None and bool(policy.find_awaited(rotation))
        standings[pat.name] = Standing(pat, rotation is not None, decision, policy.is_paused, is_awaiting)
    return standings
