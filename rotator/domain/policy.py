"""The policy as values: which rule applies to a PAT, and what it says about it now."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cached_property, lru_cache
from typing import NamedTuple

from rotator.domain.hook import HookTerms
from rotator.domain.managed_pat import Hold, ManagedPat, Pat, make_secret_name
from rotator.domain.marker import strip_mark
from rotator.domain.obstacle import Obstacle, ObstacleKind, check_target
from rotator.domain.rotation import Rotation, find_shortfall, make_kept_lifetime
from rotator.domain.threshold import Threshold
from rotator.domain.timetable import ALWAYS, ChangeFreeze, HeldBack, HeldBackBy, Timetable
from rotator.domain.urgency import LONGEST_RETRY, find_last_span, is_near_expiry

PAUSED = HeldBack(HeldBackBy.ALL_PAUSED, None)
"""What holds back while a person has paused everything."""
FORBIDDEN = "blocked"
"""The code of the failure of a ManagedPat whose rotation the policy forbids."""


class RuleAction(StrEnum):
    """What a rule wants done with the PATs that it matches."""

    ROTATE = "rotate"
    ALERT = "alert"
    IGNORE = "ignore"


class LeakAction(StrEnum):
    """What a rule wants done when a PAT vanished before its time, which may be a leak."""

    ALERT = "alert"
    ROTATE = "rotate"


@dataclass(frozen=True)
class Match:
    """Patterns (`*`, `?`, `[...]`, case-sensitive); None matches everything. `scope` must match one of the scopes."""

    organization: str | None = None
    account: str | None = None
    display_name: str | None = None
    scope: str | None = None

    def is_met(self, *, account: str, organization: str, display_name: str, scopes: tuple[str, ...]) -> bool:
        """Return whether a PAT with these properties matches."""
        return (
            self.may_be_met(account, organization)
            and (self.display_name is None or fnmatchcase(strip_mark(display_name), self.display_name))
            and (self.scope is None or any(fnmatchcase(scope, self.scope) for scope in scopes))
        )

    def may_be_met(self, account: str, organization: str) -> bool:
        """Return whether a PAT of this account and organization may match, whatever else it is."""
        return (self.account is None or _fits(account, self.account)) and (
            self.organization is None or _fits(organization, self.organization)
        )


@lru_cache(maxsize=1000)  # asked often, of few different accounts and organizations
def _fits(value: str, pattern: str) -> bool:
    return fnmatchcase(value, pattern)


@dataclass(frozen=True)
class Rule:
    """One rule with every default filled in. `lifetime` None keeps the old PAT's own."""

    name: str
    match: Match
    action: RuleAction
    rotate_before: Threshold
    lifetime: timedelta | None
    overlap: timedelta
    vault: str
    secret_name: str
    disable_previous: bool = False
    adopt: bool = False
    """New PATs that it matches are taken over by a run, where nothing speaks against it."""
    hooks: tuple[str, ...] = ()
    """The hooks that are called for the PATs that it matches, beside those that no rule names."""
    consumer_cache: timedelta | None = None
    """How long consumers keep what they have read; the overlap is longer. None: not known."""
    on_leak: LeakAction = LeakAction.ALERT
    """What is done when a PAT vanished before its time; a person is told of it either way."""
    timetable: Timetable = ALWAYS
    """When runs may mint and revoke for the PATs that it matches."""

    def find_lead(self, lifetime: timedelta) -> timedelta:
        """Return how long before its expiry a PAT of this lifetime is due."""
        return self.rotate_before.leave_time(lifetime, self.overlap + LONGEST_RETRY)

    def replaces(self, pat: ManagedPat) -> bool:
        """Return whether a PAT is to be replaced at once because it vanished before its time."""
        is_asked = self.action is RuleAction.ROTATE and self.on_leak is LeakAction.ROTATE
        return is_asked and pat.hold is Hold.REVOKED_ELSEWHERE

    def make_secret_name(self, *, organization: str, name: str, account: str) -> str:
        """Return the name of a PAT's secret: the template with `{organization}`, `{name}`, `{account}` filled."""
        filled = self.secret_name.replace("{organization}", organization).replace("{account}", account)
        return make_secret_name(filled.replace("{name}", name))


@dataclass(frozen=True)
class Guardrails:
    """What no rule may exceed. `max_lifetime` caps, `deny_scopes` blocks, `max_rotations_per_hour` postpones."""

    max_lifetime: timedelta | None = None
    deny_scopes: tuple[str, ...] = ()
    max_rotations_per_hour: int = 50

    @cached_property
    def forbidden(self) -> frozenset[str]:
        """The scopes that it denies."""
        return frozenset(self.deny_scopes)


class Verdict(StrEnum):
    """What a rule says about one ManagedPat now."""

    DUE = "due"
    NOT_DUE = "not_due"
    ALERT = "alert"
    IGNORED = "ignored"
    BLOCKED = "blocked"


class Decision(NamedTuple):
    """A verdict, as fields. `rotate_after` is when it becomes due; `lifetime` what a clone would get.

    `obstacle` is what blocks it, None for the other verdicts. `takes_short`: a clone that lives shorter than the rule
    asks for is taken rather than none. `is_wanted`: it is due because a person asked for its next PAT. `is_leak`: it is
    due because it vanished before its time, and its rule replaces such a PAT at once.
    """

    verdict: Verdict
    rule: Rule | None = None
    rotate_after: datetime | None = None
    lifetime: timedelta | None = None
    obstacle: Obstacle | None = None
    takes_short: bool = False
    is_wanted: bool = False
    is_leak: bool = False
    held_back: HeldBack | None = None
    """What a rotation that is due waits for."""


@dataclass(frozen=True)
class Policy:
    """Rules, first match wins; the settings' hooks. `digest`: the file's SHA-256; `text`: the file, if short."""

    rules: tuple[Rule, ...]
    guardrails: Guardrails
    digest: str
    hooks: tuple[HookTerms, ...] = ()
    is_paused: bool = False
    """Whether a person paused everything: then no run mints or revokes, however near an expiry is."""
    text: str | None = field(default=None, repr=False, compare=False)
    read_at: datetime | None = field(default=None, compare=False)
    """When the settings were read, or a little before."""

    @cached_property
    def has_timetables(self) -> bool:
        """Whether a rule makes anything wait for a time."""
        return not all(rule.timetable.is_always for rule in self.rules)

    def calls_hook(self, name: str, rule: Rule | None) -> bool:
        """Return whether a hook is called about what happens to PATs of this rule; None: to anything else.

        One that no rule names is called about everything.
        """
        is_named = any(name in each.hooks for each in self.rules)
        return not is_named or (rule is not None and name in rule.hooks)

    def list_required_hooks(self) -> tuple[str, ...]:
        """Return the hooks that must succeed before an overlap begins."""
        return tuple(hook.name for hook in self.hooks if hook.required)

    def find_hooks_to_await(self, pat: ManagedPat) -> tuple[str, ...]:
        """Return the hooks that must succeed before the overlap of a ManagedPat begins."""
        rule = self.rule_for(pat)
        return tuple(name for name in self.list_required_hooks() if self.calls_hook(name, rule))

    def find_awaited(self, rotation: Rotation) -> tuple[str, ...]:
        """Return the hooks that a rotation waits for: one that the settings no longer require is not among them.

        That is said by settings that were read after it was begun: older ones do not know what is required now.
        """
        if self.read_at is not None and rotation.created_at > self.read_at:
            return rotation.awaited_hooks
        return tuple(name for name in rotation.awaited_hooks if name in self.list_required_hooks())

    def find_rule(self, *, account: str, organization: str, display_name: str, scopes: tuple[str, ...]) -> Rule | None:
        """Return the first rule that matches, or None: then the policy does not cover the PAT."""
        for rule in self.rules:
            if rule.match.is_met(account=account, organization=organization, display_name=display_name, scopes=scopes):
                return rule
        return None

    def adopts_in(self, account: str, organization: str) -> bool:
        """Return whether a rule may take over PATs of that account and organization."""
        return any(rule.adopt and rule.match.may_be_met(account, organization) for rule in self.rules)

    def rule_for(self, pat: ManagedPat) -> Rule | None:
        """Return the rule that applies to an inventory record."""
        return self.find_rule(
            account=pat.account, organization=pat.organization, display_name=pat.display_name, scopes=pat.scopes
        )

    def decide(self, pat: ManagedPat, *, now: datetime, longest: timedelta | None) -> Decision:
        """Return what to do with a ManagedPat at `now`; `longest` is the server's maximum lifetime, if known.

        A clone that would be due again immediately is no obstacle near the expiry, nor where the PAT itself is such a
        one: that is due at two thirds of its own life.

        What a person wants of its next PAT is left aside while the policy forbids it: the PAT must not expire for it.
        """
        if not pat.has_pat:
            return self.decide_wanted(pat, now=now, longest=longest)
        if pat.is_update_wanted:
            decision = self.decide_wanted(pat, now=now, longest=longest)
            if decision.verdict is Verdict.DUE:
                return decision
            pat = pat.as_before()
        rule = self.rule_for(pat)
        if rule is None:
            return Decision(Verdict.BLOCKED, obstacle=Obstacle(ObstacleKind.NO_RULE))
        if rule.action is RuleAction.IGNORE:
            return Decision(Verdict.IGNORED, rule)
        lifetime = self.clone_lifetime(pat, rule, longest)
        is_leak = rule.replaces(pat)
        rotate_after = min(find_due(pat, rule), now) if is_leak else find_due(pat, rule)
        takes_short = pat.short_lived or is_near_expiry(pat.valid_from, pat.valid_to, now)
        storm = None if takes_short else check_storm(rule, lifetime, find_shortfall(lifetime))
        obstacle = check_scopes(pat.scopes, self.guardrails) or storm
        if obstacle is not None and rule.action is RuleAction.ROTATE:
            return Decision(Verdict.BLOCKED, rule, rotate_after, lifetime, obstacle)
        if now < rotate_after:
            return Decision(Verdict.NOT_DUE, rule, rotate_after, lifetime, takes_short=takes_short)
        if rule.action is RuleAction.ALERT:
            return Decision(Verdict.ALERT, rule, rotate_after, lifetime, takes_short=takes_short)
        back = None if is_leak else rule.timetable.find_held_back(now)
        held = PAUSED if self.is_paused else None if back is None or now >= find_last_call(pat, rule) else back
        due = Decision(Verdict.DUE, rule, rotate_after, lifetime, takes_short=takes_short, is_leak=is_leak)
        return due if held is None else due._replace(held_back=held)

    def find_held_back(self, pat: ManagedPat, now: datetime) -> HeldBack | None:
        """Return what keeps runs from minting and revoking for a ManagedPat, however little time it has left."""
        if self.is_paused:
            return PAUSED
        rule = self.rule_for(pat)
        return None if rule is None else rule.timetable.find_held_back(now)

    def find_freeze(self, pat: ManagedPat, now: datetime) -> ChangeFreeze | None:
        """Return the change freeze that a ManagedPat is in."""
        rule = self.rule_for(pat)
        return None if rule is None else rule.timetable.find_freeze(now)

    def find_revocation_held_back(self, pat: ManagedPat, rotation: Rotation, now: datetime) -> HeldBack | None:
        """Return what the revocation of an old PAT waits for at the end of its overlap.

        Nothing where none is to be revoked, where there is no overlap, and once the current PAT is rotated anyway.
        """
        if rotation.keeps_predecessor or now >= rotation.predecessor_valid_to:
            return None
        rule = self.rule_for(pat)
        is_free = not rotation.overlap or rule is None or now >= find_last_call(pat, rule)
        return None if is_free and not self.is_paused else self.find_held_back(pat, now)

    def find_turn(self, pat: ManagedPat, moment: datetime, now: datetime) -> datetime | None:
        """Return when a run may do what is to be done at a moment: then, in a window, or at the last call.

        It is in the past when a run could have done it, and may now. None while everything is paused.
        """
        if self.is_paused:
            return None
        rule = self.rule_for(pat) if self.has_timetables else None
        if rule is None or rule.timetable.is_always:
            return moment
        first, again = (_find_turn(pat, rule, each) for each in (moment, now))
        return first if first > now or again == now else again

    def find_retirement(self, pat: ManagedPat, rotation: Rotation, moment: datetime, now: datetime) -> datetime | None:
        """Return when a run may revoke the old PAT that is to be revoked at a moment, or that it has expired.

        None while everything is paused.
        """
        is_free = rotation.keeps_predecessor or (not rotation.overlap and not self.is_paused)
        turn, end = self.find_turn(pat, moment, now), max(moment, rotation.predecessor_valid_to)
        return moment if is_free else None if turn is None else min(turn, end)

    def find_lack(self, pat: ManagedPat, decision: Decision, now: datetime) -> HeldBack | None:
        """Return what a run will have to rotate a ManagedPat in spite of, as no window opens in time; None: nothing."""
        rule, rotate_after = decision.rule, decision.rotate_after
        if self.is_paused or not self.has_timetables:
            return None
        is_free = decision.is_wanted or decision.is_leak or decision.verdict not in (Verdict.DUE, Verdict.NOT_DUE)
        if is_free or rule is None or rotate_after is None or rule.action is not RuleAction.ROTATE:
            return None
        return rule.timetable.find_held_back(_find_turn(pat, rule, max(rotate_after, now)))

    def find_meant_lifetime(self, before: ManagedPat, clone: ManagedPat) -> timedelta | None:
        """Return the lifetime that a clone was to keep, where it got less; None where its rule names a lifetime."""
        rule = self.rule_for(clone)
        if rule is None or rule.lifetime is not None:
            return None
        wanted = self.clone_lifetime(before, rule, None)
        return wanted if make_kept_lifetime(clone.lifetime) < make_kept_lifetime(wanted) else None

    def is_short(self, pat: ManagedPat) -> bool:
        """Whether a PAT has a shorter lifetime than the rule that applies to it asks for."""
        rule = self.rule_for(pat)
        return rule is not None and check_storm(rule, pat.lifetime) is not None

    def decide_wanted(self, pat: ManagedPat, *, now: datetime, longest: timedelta | None) -> Decision:
        """Whether the PAT that a person asked for may be made: DUE (immediately) if so, else IGNORED or BLOCKED."""
        wanted = pat.as_wanted()
        rule = self.rule_for(wanted)
        if rule is None:
            return Decision(Verdict.BLOCKED, obstacle=Obstacle(ObstacleKind.NO_RULE))
        if rule.action is RuleAction.IGNORE:
            return Decision(Verdict.IGNORED, rule)
        lifetime = self.clone_lifetime(wanted, rule, longest)
        rotate_after = now if pat.has_pat else pat.valid_from
        obstacle = self._find_obstacle(wanted, rule, lifetime)
        decision = Decision(Verdict.DUE, rule, rotate_after, lifetime, is_wanted=True, is_leak=rule.replaces(wanted))
        if obstacle is not None:
            return decision._replace(verdict=Verdict.BLOCKED, obstacle=obstacle)
        return decision._replace(held_back=PAUSED if self.is_paused else None)

    def _find_obstacle(self, pat: ManagedPat, rule: Rule, lifetime: timedelta) -> Obstacle | None:
        return check_scopes(pat.scopes, self.guardrails) or check_storm(rule, lifetime, find_shortfall(lifetime))

    def clone_lifetime(self, pat: ManagedPat, rule: Rule, longest: timedelta | None) -> timedelta:
        """Return the lifetime a clone is planned with: the rule's or the old PAT's, but at most every known maximum.

        First comes what a person asked for, then the rule's; the old PAT's is what was meant, where it got less.
        """
        asked = pat.wanted_lifetime if pat.has_pat else pat.lifetime
        wanted = asked or rule.lifetime or pat.meant_lifetime or make_kept_lifetime(pat.lifetime)
        return min([x for x in (wanted, self.guardrails.max_lifetime, longest) if x is not None])


def _find_turn(pat: ManagedPat, rule: Rule, moment: datetime) -> datetime:
    last = moment if rule.timetable.is_always else find_last_call(pat, rule)
    return moment if moment >= last else min(rule.timetable.find_opening(moment), last)


def find_last_call(pat: ManagedPat, rule: Rule) -> datetime:
    """Return from when on a PAT waits for no window: near its expiry, or while the overlap still fits before that.

    Whoever has read the old PAT may keep it for as long as the overlap, and a try that fails may wait for the longest
    retry. Not before it is due.
    """
    near = pat.valid_to - find_last_span(pat.lifetime)
    return min(near, max(find_due(pat, rule), pat.valid_to - rule.overlap - LONGEST_RETRY))


def find_due(pat: ManagedPat, rule: Rule) -> datetime:
    """Return when a PAT is due: as its rule says, a short-lived one at two thirds of its own life, none at once."""
    if not pat.has_pat:
        return pat.valid_from
    if pat.short_lived:
        return pat.valid_from + pat.lifetime * 2 / 3
    return pat.valid_to - rule.find_lead(pat.lifetime)


def check_scopes(scopes: tuple[str, ...], guardrails: Guardrails) -> Obstacle | None:
    """Return the obstacle when a guardrail forbids one of the scopes."""
    if guardrails.forbidden.isdisjoint(scopes):
        return None
    return Obstacle(ObstacleKind.SCOPE_DENIED, scopes=tuple(sorted(guardrails.forbidden.intersection(scopes))))


def check_storm(rule: Rule, lifetime: timedelta, shortfall: timedelta = timedelta(0)) -> Obstacle | None:
    """Return the obstacle when a clone of this lifetime would be due again immediately, or outlived by the overlap."""
    if rule.rotate_before.before(lifetime) >= lifetime - shortfall:
        kind = ObstacleKind.DUE_IMMEDIATELY
    elif rule.overlap >= lifetime - shortfall:
        kind = ObstacleKind.OVERLAP_TOO_LONG
    else:
        return None
    before = str(rule.rotate_before)
    return Obstacle(kind, rule=rule.name, lifetime=lifetime, rotate_before=before, overlap=rule.overlap)


def check_clonable(pat: Pat, guardrails: Guardrails, organization_id: str | None) -> Obstacle | None:
    """Return the obstacle when the clone of a PAT would reach more or less than the PAT itself."""
    return check_target(pat, organization_id) or check_scopes(pat.scopes, guardrails)
