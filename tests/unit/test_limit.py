"""What was learned of a server's maximum lifetime has an age, and yields near an expiry."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from rotator.domain.limit import LifetimeLimit, find_longest
from rotator.domain.policy import Guardrails, Verdict
from rotator.domain.threshold import Threshold
from rotator.domain.urgency import find_last_span, is_near_expiry
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY, NOW, make_managed_pat

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
PAT = replace(make_managed_pat(), valid_from=NOW - 20 * DAY, valid_to=NOW + 10 * DAY)
PLACE = (PAT.account, PAT.organization)


@pytest.mark.parametrize(
    ("lifetime", "span"),
    [
        (HOUR, HOUR / 3),
        (18 * HOUR, 6 * HOUR),
        (DAY, 6 * HOUR),
        (60 * HOUR, 6 * HOUR),
        (10 * DAY, DAY),
        (30 * DAY, 3 * DAY),
        (365 * DAY, 3 * DAY),
    ],
)
def test_expiry_is_near_in_the_last_tenth_but_between_six_hours_and_three_days(
    lifetime: timedelta, span: timedelta
) -> None:
    assert find_last_span(lifetime) == span
    end = NOW + lifetime
    assert not is_near_expiry(NOW, end, end - span - SECOND)
    assert is_near_expiry(NOW, end, end - span)
    assert is_near_expiry(NOW, end, end + DAY)


@pytest.mark.parametrize(
    ("longest", "age", "believed"),
    [
        (5 * DAY, timedelta(0), True),
        (5 * DAY, 5 * DAY - SECOND, True),
        (5 * DAY, 5 * DAY, False),
        (HOUR, DAY - SECOND, True),
        (HOUR, DAY, False),
        (300 * DAY, 30 * DAY - SECOND, True),
        (300 * DAY, 30 * DAY, False),
        (5 * DAY, -HOUR, True),
        (5 * DAY, -DAY, False),
    ],
)
def test_limit_is_believed_for_one_lifetime_but_a_day_at_least_and_a_month_at_most(
    longest: timedelta, age: timedelta, believed: bool
) -> None:
    limits = {PLACE: LifetimeLimit(longest, NOW - age)}
    assert find_longest(limits, PAT, NOW) == (longest if believed else None)


def test_limit_yields_near_the_expiry_and_is_another_places_affair() -> None:
    limits = {PLACE: LifetimeLimit(5 * DAY, NOW)}
    near = replace(PAT, valid_to=NOW + 2 * DAY)
    assert find_longest(limits, near, NOW + DAY / 3) is None
    assert find_longest(limits, near, NOW + DAY / 4) == 5 * DAY, "what the last attempt has seen counts"
    assert find_longest(limits, replace(PAT, organization="fabrikam"), NOW) is None


RULE_OF_A_WEEK = replace(RULE, rotate_before=Threshold(duration=7 * DAY))
STRICT = make_policy(RULE_OF_A_WEEK, guardrails=Guardrails(max_lifetime=5 * DAY))


def test_short_clone_is_taken_near_the_expiry_and_refused_before() -> None:
    early = STRICT.decide(PAT, now=PAT.valid_to - 3 * DAY - SECOND, longest=None)
    late = STRICT.decide(PAT, now=PAT.valid_to - 3 * DAY, longest=None)
    assert (early.verdict, late.verdict, late.takes_short) == (Verdict.BLOCKED, Verdict.DUE, True)


@pytest.mark.parametrize("before", [Threshold(duration=7 * DAY), Threshold(duration=DAY), Threshold(share=0.01)])
def test_short_lived_pat_is_due_at_two_thirds_of_its_life_whatever_the_rule_says(before: Threshold) -> None:
    pat = replace(PAT, valid_from=NOW, valid_to=NOW + 6 * DAY, short_lived=True)
    policy = make_policy(replace(RULE, rotate_before=before), guardrails=Guardrails(max_lifetime=5 * DAY))
    early = policy.decide(pat, now=NOW + 4 * DAY - SECOND, longest=None)
    late = policy.decide(pat, now=NOW + 4 * DAY, longest=None)
    assert (early.verdict, late.verdict) == (Verdict.NOT_DUE, Verdict.DUE)
    assert early.rotate_after == late.rotate_after == NOW + 4 * DAY


def test_denied_scope_blocks_near_the_expiry_too() -> None:
    policy = make_policy(RULE_OF_A_WEEK, guardrails=Guardrails(deny_scopes=("vso.code",)))
    assert policy.decide(PAT, now=PAT.valid_to, longest=None).verdict is Verdict.BLOCKED
