"""When a run has next something to do: never missed, whatever the record says, and no sooner than need be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import ALL_ORGANIZATIONS_END, Failure, Hold, ManagedPat, ManagedPatState
from rotator.domain.next_step import LONG_AGO, Due, Limits, Matter, NextAction, find_due, find_next_step, is_due
from rotator.domain.pending_revocation import PendingRevocation, RevocationKind
from rotator.domain.policy import Guardrails, Policy, RuleAction
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.threshold import Threshold
from rotator.domain.timetable import ALWAYS, ChangeFreeze, Timetable, Window
from rotator.errors import FailureKind
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY, NOW, make_managed_pat, make_rotation

SETTLE, HOUR = timedelta(minutes=10), timedelta(hours=1)
PLACE = ("build-bot", "contoso")
NO_LIMITS: Limits = {}

spans = st.timedeltas(min_value=timedelta(minutes=-90), max_value=timedelta(days=40))
moments = spans.map(lambda span: ALL_ORGANIZATIONS_END - 20 * DAY + span)
maybe_moments = st.none() | moments
failures = st.none() | st.sampled_from((FailureKind.FORBIDDEN, None, FailureKind.NOT_LISTED)).map(
    lambda kind: Failure("a code", "", kind=kind)
)


def make_pending(requested_at: datetime) -> PendingRevocation:
    """A revocation of `npm-feed` that is not proven."""
    place = ("https://contoso-kv.vault.azure.net", "contoso-npm-feed")
    end = NOW + DAY
    return PendingRevocation("old", "npm-feed", *PLACE, *place, RevocationKind.ROTATED, end, requested_at, requested_at)


@st.composite
def pats(draw: st.DrawFn) -> ManagedPat:
    """A record in any state, some of which never come about."""
    valid_to = draw(moments)
    return replace(
        make_managed_pat(),
        authorization_id=draw(st.sampled_from(("id-npm-feed", "id-npm-feed", ""))),
        valid_from=valid_to - draw(st.timedeltas(min_value=timedelta(hours=1), max_value=timedelta(days=60))),
        valid_to=valid_to,
        state=draw(st.sampled_from((ManagedPatState.ACTIVE, ManagedPatState.ACTIVE, ManagedPatState.PAUSED))),
        failures=draw(st.integers(0, 3)),
        retry_at=draw(maybe_moments),
        last_failure=draw(failures),
        blocked=draw(st.booleans()),
        hold=draw(st.none() | st.sampled_from(Hold)),
        all_organizations=draw(st.booleans()),
        short_lived=draw(st.booleans()),
        wanted_scope=draw(st.sampled_from((None, None, "vso.code", "app_token"))),
        wanted_lifetime=draw(st.sampled_from((None, None, timedelta(days=3)))),
    )


@st.composite
def rotations(draw: st.DrawFn) -> Rotation:
    """An open rotation in any state."""
    is_open = [state for state in RotationState if state not in ("completed", "abandoned", "failed")]
    return replace(
        make_rotation(created_at=draw(moments)),
        state=draw(st.sampled_from(is_open)),
        sent_at=draw(maybe_moments),
        overlap_until=draw(maybe_moments),
        predecessor_valid_to=draw(moments),
    )


@st.composite
def timetables(draw: st.DrawFn) -> Timetable:
    """No timetable, or windows and change freezes."""
    hours = st.builds(time, st.integers(0, 23), st.sampled_from((0, 30)))
    days = st.sets(st.integers(0, 6), min_size=1).map(tuple)
    zones = st.sampled_from(("Europe/Berlin", "America/New_York", "UTC")).map(ZoneInfo)
    begins = draw(moments)
    freezes = st.builds(
        ChangeFreeze, st.just(begins), st.timedeltas(HOUR, timedelta(days=30)).map(begins.__add__), st.just("")
    )
    return Timetable(
        tuple(draw(st.lists(st.builds(Window, days, hours, hours, zones), max_size=2))),
        tuple(draw(st.lists(freezes, max_size=1))),
    )


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """A policy of one rule, or of none."""
    days = st.integers(1, 20).map(lambda count: Threshold(duration=timedelta(days=count)))
    rule = replace(
        RULE,
        action=draw(st.sampled_from((RuleAction.ROTATE, RuleAction.ROTATE, RuleAction.ALERT, RuleAction.IGNORE))),
        rotate_before=draw(days | st.just(Threshold(share=0.33))),
        lifetime=draw(st.none() | st.just(timedelta(days=14))),
        timetable=draw(st.just(ALWAYS) | timetables()),
    )
    return make_policy(
        *draw(st.sampled_from(((rule,), (rule,), ()))), guardrails=Guardrails(deny_scopes=("app_token",))
    )


limits = st.dictionaries(
    st.just(PLACE),
    st.builds(LifetimeLimit, st.timedeltas(timedelta(hours=2), timedelta(days=20)), moments),
)
matters = st.builds(Matter, pats(), st.none() | rotations(), st.sampled_from(((), (), (), (make_pending(NOW - DAY),))))


@given(matters, policies(), limits, moments, st.lists(st.timedeltas(timedelta(0), timedelta(days=60)), max_size=20))
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_moment_is_never_later_than_the_first_at_which_there_is_something_to_do(
    matter: Matter, policy: Policy, known: Limits, now: datetime, later: list[timedelta]
) -> None:
    due = find_due(matter, policy, known, now, SETTLE)
    if due.at is not None:
        # Without the limits, too, where it is these that are left aside until the moment comes.
        at = max(now, due.at)
        assert is_due(matter, policy, known, at, SETTLE) or is_due(matter, policy, NO_LIMITS, at, SETTLE)
    for moment in (now + span for span in later):
        if is_due(matter, policy, known, moment, SETTLE):
            assert due.at is not None
            assert due.at <= moment


@given(matters, policies(), limits, moments, st.timedeltas(timedelta(0), timedelta(days=60)))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_moment_is_the_same_whenever_before_it_is_computed(
    matter: Matter, policy: Policy, known: Limits, now: datetime, later: timedelta
) -> None:
    due = find_due(matter, policy, known, now, SETTLE)
    if due.at is None or due.at > now + later:
        assert find_due(matter, policy, known, now + later, SETTLE).at == due.at


@given(pats(), st.none() | rotations(), policies(), moments)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_moment_that_is_shown_is_the_one_at_which_a_run_goes_on(
    pat: ManagedPat, rotation: Rotation | None, policy: Policy, now: datetime
) -> None:
    """Where nothing has failed, no person is needed, and no wrong clock has dated an overlap."""
    well = replace(pat, retry_at=None, last_failure=None, failures=0, blocked=False, hold=None, all_organizations=False)
    well = replace(well, authorization_id="id-npm-feed")
    is_ending = rotation is not None and rotation.state is RotationState.OVERLAPPING and rotation.overlap_until
    if rotation is not None and (not is_ending or rotation.is_misdated(now)):
        return
    decision = policy.decide(well.as_ending(), now=now, longest=None)
    step = find_next_step(Matter(well.as_ending(), rotation), policy, decision, now, SETTLE)
    if step.action in (NextAction.ROTATE, NextAction.RETIRE):
        assert step.at is not None
        due = find_due(Matter(well, rotation), policy, NO_LIMITS, now, SETTLE)
        assert due.at == (LONG_AGO if step.at <= now else step.at)


def find(pat: ManagedPat, rotation: Rotation | None = None, known: Limits = NO_LIMITS) -> Due:
    """When there is next something to do by `RULE`, which rotates at a quarter of a life."""
    return find_due(Matter(pat, rotation), make_policy(RULE), known, NOW, SETTLE)


def test_moment_is_that_of_the_rule_when_nothing_is_wrong() -> None:
    pat = make_managed_pat()
    assert find(pat) == Due(pat.valid_to - pat.lifetime / 4)
    assert find(replace(pat, valid_to=NOW + DAY)) == Due(LONG_AGO)
    assert find(replace(pat, state=ManagedPatState.PAUSED)) == Due(None)


def test_moment_is_that_of_the_next_try_after_a_failure() -> None:
    failed = replace(make_managed_pat(), valid_to=NOW + DAY, last_failure=Failure("transient", ""), failures=1)
    retry_at = NOW + timedelta(minutes=5)
    assert find(replace(failed, retry_at=retry_at)) == Due(retry_at)
    assert find(replace(failed, blocked=True)) == Due(None)
    assert find(replace(failed, retry_at=NOW + 3650 * DAY)) == Due(LONG_AGO)  # a wrong clock dated that


def test_moment_is_the_end_of_an_overlap_or_of_settling() -> None:
    until = NOW + timedelta(hours=1)
    rotation = replace(make_rotation(created_at=NOW - DAY), state=RotationState.OVERLAPPING, overlap_until=until)
    assert find(make_managed_pat(), rotation) == Due(until)
    assert find(make_managed_pat(), replace(rotation, predecessor_valid_to=NOW)) == Due(LONG_AGO)
    sent = replace(make_rotation(), state=RotationState.STORING, sent_at=NOW)
    assert find(make_managed_pat(), sent) == Due(NOW + SETTLE)
    assert find(make_managed_pat(), replace(sent, sent_at=NOW + DAY)) == Due(LONG_AGO)
    assert find(make_managed_pat(), make_rotation()) == Due(LONG_AGO)


def test_settling_ends_by_the_day_on_which_a_pat_for_all_organizations_stops_working() -> None:
    """Its own expiry is later, and does not count."""
    sent_at = ALL_ORGANIZATIONS_END + DAY
    pat = replace(make_managed_pat(), valid_to=sent_at, all_organizations=True)
    rotation = replace(make_rotation(created_at=sent_at), state=RotationState.MINTING, sent_at=sent_at)
    due = find_due(Matter(pat, rotation, ()), make_policy(RULE), NO_LIMITS, sent_at, SETTLE)
    assert due.at == sent_at + SETTLE


@pytest.mark.parametrize("learned", [timedelta(0), timedelta(hours=-8)])
def test_moment_that_a_limit_puts_off_is_the_end_of_that_belief_or_near_the_expiry(learned: timedelta) -> None:
    """It is put off only when the moment of the rule has come."""
    rule = replace(RULE, rotate_before=Threshold(duration=5 * DAY))
    pat, limit = replace(make_managed_pat(), valid_to=NOW + 4 * DAY), LifetimeLimit(4 * DAY, NOW + learned)
    due = find_due(Matter(pat), make_policy(rule), {PLACE: limit}, NOW, SETTLE)
    assert due.by_limit
    assert due.at is not None
    assert due.at == min(limit.learned_at + 4 * DAY, pat.valid_to - timedelta(days=2, hours=9, minutes=36))
    fresh = replace(pat, valid_to=NOW + 20 * DAY)
    assert find_due(Matter(fresh), make_policy(rule), {PLACE: limit}, NOW, SETTLE) == Due(NOW + 15 * DAY)


def test_what_a_person_replaces_is_said_although_everything_is_paused() -> None:
    policy = replace(make_policy(replace(RULE, action=RuleAction.ALERT)), is_paused=True)
    pat = replace(make_managed_pat(), valid_to=NOW + DAY)
    step = find_next_step(Matter(pat), policy, policy.decide(pat, now=NOW, longest=None), NOW, SETTLE)
    assert step.action is NextAction.REPLACE_BY_HAND
