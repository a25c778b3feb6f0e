"""Which rule speaks for a PAT, and what it says about it now."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rotator.domain.managed_pat import ManagedPat
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.policy import (
    Decision,
    Guardrails,
    Match,
    Rule,
    RuleAction,
    Verdict,
    check_clonable,
    check_scopes,
    check_storm,
)
from rotator.domain.rotation import make_offset_range
from rotator.domain.threshold import Threshold
from rotator.domain.timetable import Timetable, Window
from rotator.engine.explaining import explain_decision, explain_obstacle
from tests.support.policies import RULE, make_policy
from tests.support.records import DAY, NOW, make_managed_pat, make_pat

exactly = settings(deadline=None, derandomize=True)

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
CREATED = NOW.replace(microsecond=0)


def make_aged_pat(lifetime: timedelta = 40 * DAY, *, scope: str = "vso.code") -> ManagedPat:
    """A record created at `CREATED` that lives this long."""
    return replace(make_managed_pat(), valid_from=CREATED, valid_to=CREATED + lifetime, scope=scope)


def decide(
    rule: Rule,
    pat: ManagedPat,
    now: datetime,
    *,
    guardrails: Guardrails | None = None,
    longest: timedelta | None = None,
) -> Decision:
    """What a policy of this one rule says."""
    return make_policy(rule, guardrails=guardrails).decide(pat, now=now, longest=longest)


@pytest.mark.parametrize(
    ("match", "met"),
    [
        (Match(), True),
        (Match(organization="contoso", account="build-bot", display_name="ci-42", scope="vso.code"), True),
        (Match(organization="cont*"), True),
        (Match(organization="Contoso"), False),
        (Match(organization="fabrikam"), False),
        (Match(account="build-?ot"), True),
        (Match(account="build"), False),
        (Match(display_name="ci-*"), True),
        (Match(display_name="CI-*"), False),
        (Match(display_name="ci-?"), False),
        (Match(display_name="ci-[0-9]2"), True),
        (Match(display_name="ci-[!4]*"), False),
        (Match(display_name="*"), True),
        (Match(display_name=""), False),
        (Match(scope="vso.build"), True),
        (Match(scope="vso.b*"), True),
        (Match(scope="vso.buil"), False),
        (Match(scope="vso.code vso.build"), False),
        (Match(organization="contoso", display_name="other"), False),
        (Match(organization="other", scope="vso.code"), False),
    ],
)
def test_match_is_met_when_every_pattern_fits(match: Match, met: bool) -> None:
    scopes = ("vso.build", "vso.code")
    assert match.is_met(account="build-bot", organization="contoso", display_name="ci-42", scopes=scopes) is met


def test_match_on_scope_is_not_met_when_there_are_no_scopes() -> None:
    assert not Match(scope="*").is_met(account="a", organization="o", display_name="d", scopes=())
    assert Match().is_met(account="a", organization="o", display_name="d", scopes=())


def test_first_rule_decides_when_several_match() -> None:
    pat = make_managed_pat()
    other = replace(RULE, name="other", match=Match(organization="fabrikam"))
    first = replace(RULE, name="first", match=Match(display_name="npm-*"))
    for rules, name in [((other, first, RULE), "first"), ((RULE, first), "ci"), ((other, RULE), "ci")]:
        found = make_policy(*rules).rule_for(pat)
        assert found is not None
        assert found.name == name
    assert make_policy(other).rule_for(pat) is None


def test_pat_is_blocked_when_no_rule_covers_it() -> None:
    decision = make_policy().decide(make_managed_pat(), now=NOW, longest=None)
    assert decision.verdict is Verdict.BLOCKED
    assert (decision.rule, decision.rotate_after, decision.lifetime) == (None, None, None)
    assert decision.obstacle == Obstacle(ObstacleKind.NO_RULE)
    failure = explain_decision(decision)
    assert failure is not None
    assert failure.code == "blocked"
    assert "no rule" in failure.message
    assert failure.fix


@pytest.mark.parametrize(
    ("threshold", "before", "words"),
    [
        (Threshold(share=0.25), 10 * DAY, "25%"),
        (Threshold(share=0.33), 13.2 * DAY, "33%"),
        (Threshold(share=0.07), 2.8 * DAY, "7%"),
        (Threshold(share=0.125), 5 * DAY, "12.5%"),
        (Threshold(share=1.0), 40 * DAY, "100%"),
        (Threshold(), timedelta(0), "0%"),
        (Threshold(duration=7 * DAY), 7 * DAY, "7d"),
        (Threshold(duration=90 * DAY), 90 * DAY, "90d"),
        (Threshold(duration=timedelta(0)), timedelta(0), "0s"),
        (Threshold(share=0.5, duration=HOUR), HOUR, "1h"),
    ],
)
def test_threshold_is_a_share_or_a_duration_when_asked(threshold: Threshold, before: timedelta, words: str) -> None:
    assert abs(threshold.before(40 * DAY) - before) <= timedelta(microseconds=1)
    assert str(threshold) == words


@pytest.mark.parametrize(
    ("threshold", "left"), [(Threshold(share=0.25), 10 * DAY), (Threshold(duration=7 * DAY), 7 * DAY)]
)
@pytest.mark.parametrize(
    ("late", "verdict"),
    [
        (-SECOND, Verdict.NOT_DUE),
        (timedelta(microseconds=-1), Verdict.NOT_DUE),
        (timedelta(0), Verdict.DUE),
        (SECOND, Verdict.DUE),
        (400 * DAY, Verdict.DUE),
    ],
)
def test_pat_is_due_from_the_second_on_when_its_threshold_is_reached(
    threshold: Threshold, left: timedelta, late: timedelta, verdict: Verdict
) -> None:
    pat = make_aged_pat()
    decision = decide(replace(RULE, rotate_before=threshold), pat, pat.valid_to - left + late)
    assert (decision.verdict, decision.rotate_after) == (verdict, pat.valid_to - left)
    assert (decision.lifetime, decision.obstacle, explain_decision(decision)) == (40 * DAY, None, None)


@pytest.mark.parametrize(
    ("lifetime", "left"),
    [
        (timedelta(days=2), timedelta(days=1)),
        (timedelta(days=2.4), timedelta(days=1.2)),
        (timedelta(days=2.6), timedelta(hours=30)),
        (timedelta(days=5), timedelta(hours=30)),
        (timedelta(days=5.2), timedelta(days=1.3)),
        (timedelta(days=40), timedelta(days=10)),
    ],
)
def test_pat_is_due_before_its_share_when_its_overlap_would_not_fit(lifetime: timedelta, left: timedelta) -> None:
    """An organization that grants little makes a share little: who keeps a value for the overlap must not suffer."""
    pat = make_aged_pat(lifetime)
    rule = replace(RULE, rotate_before=Threshold(share=0.25), overlap=DAY)
    assert decide(rule, pat, CREATED).rotate_after == pat.valid_to - left
    asked = replace(rule, rotate_before=Threshold(duration=12 * HOUR))
    assert decide(asked, pat, CREATED).rotate_after == pat.valid_to - 12 * HOUR
    short = replace(pat, short_lived=True)
    assert decide(rule, short, CREATED).rotate_after == CREATED + lifetime * 2 / 3


def test_alert_only_reports_when_due_and_is_not_blocked() -> None:
    rule = replace(RULE, action=RuleAction.ALERT)
    strict = Guardrails(deny_scopes=("vso.code",))
    pat = make_aged_pat()
    for guardrails in (Guardrails(), strict):
        early = decide(rule, pat, pat.valid_to - 11 * DAY, guardrails=guardrails)
        late = decide(rule, pat, pat.valid_to - 10 * DAY, guardrails=guardrails)
        assert (early.verdict, late.verdict) == (Verdict.NOT_DUE, Verdict.ALERT)


def test_ignore_wins_over_everything_when_due_expired_or_denied() -> None:
    rule = replace(RULE, action=RuleAction.IGNORE)
    pat = make_aged_pat()
    decision = decide(rule, pat, pat.valid_to + DAY, guardrails=Guardrails(deny_scopes=("vso.code",)))
    assert (decision.verdict, decision.rule, decision.rotate_after) == (Verdict.IGNORED, rule, None)


def test_wish_is_ignored_where_the_rule_of_what_is_wanted_says_so() -> None:
    rule = replace(RULE, action=RuleAction.IGNORE, match=Match(scope="vso.build"))
    pat = replace(make_aged_pat(), wanted_scope="vso.build")
    assert make_policy(rule, RULE).decide_wanted(pat, now=CREATED, longest=None) == Decision(Verdict.IGNORED, rule)
    assert decide(RULE, pat, CREATED).verdict is Verdict.DUE


@pytest.mark.parametrize(
    ("wanted", "cap", "longest", "expected"),
    [
        (None, None, None, 40 * DAY),
        (30 * DAY, None, None, 30 * DAY),
        (120 * DAY, 90 * DAY, None, 90 * DAY),
        (None, 30 * DAY, None, 30 * DAY),
        (30 * DAY, 90 * DAY, None, 30 * DAY),
        (30 * DAY, 90 * DAY, 20 * DAY, 20 * DAY),
        (None, None, 20 * DAY, 20 * DAY),
        (30 * DAY, None, 300 * DAY, 30 * DAY),
    ],
)
def test_clone_lives_as_wanted_but_below_every_maximum_when_planned(
    wanted: timedelta | None, cap: timedelta | None, longest: timedelta | None, expected: timedelta
) -> None:
    rule = replace(RULE, lifetime=wanted)
    pat = make_aged_pat(40 * DAY - 450 * SECOND)
    decision = decide(rule, pat, pat.valid_to, guardrails=Guardrails(max_lifetime=cap), longest=longest)
    assert (decision.verdict, decision.lifetime) == (Verdict.DUE, expected)


@pytest.mark.parametrize(
    ("scope", "denied", "text"),
    [
        ("app_token", ("app_token",), "its scope app_token (full access) is denied by guardrails.deny_scopes"),
        ("vso.work vso.code", ("vso.code",), "its scope vso.code is denied"),
        ("vso.work vso.code", ("vso.work", "vso.code"), "its scope vso.code, vso.work is denied"),
        ("vso.code", ("vso.code_write",), None),
        ("vso.code_write", ("vso.code",), None),
        ("", ("vso.code",), None),
        ("app_token", (), None),
    ],
)
def test_scope_blocks_rotation_when_a_guardrail_denies_it(
    scope: str, denied: tuple[str, ...], text: str | None
) -> None:
    pat = make_aged_pat(scope=scope)
    guardrails = Guardrails(deny_scopes=denied)
    early, late = (decide(RULE, pat, now, guardrails=guardrails) for now in (CREATED, pat.valid_to))
    obstacle = check_scopes(pat.scopes, guardrails)
    if text is None:
        assert obstacle is None
        assert (early.verdict, late.verdict) == (Verdict.NOT_DUE, Verdict.DUE)
    else:
        assert obstacle is not None
        assert text in explain_obstacle(obstacle).message
        assert early.verdict is late.verdict is Verdict.BLOCKED
        assert late.obstacle == obstacle
        assert late.rotate_after == pat.valid_to - 10 * DAY


@pytest.mark.parametrize(
    ("before", "overlap", "lifetime", "word"),
    [
        (Threshold(duration=7 * DAY), DAY, 7 * DAY, "rotate_before 7d"),
        (Threshold(duration=7 * DAY), DAY, 7 * DAY - SECOND, "due again immediately"),
        (Threshold(duration=7 * DAY), DAY, 7 * DAY + SECOND, None),
        (Threshold(share=1.0), HOUR, DAY, "rotate_before 100%"),
        (Threshold(share=0.99), HOUR, DAY, None),
        (Threshold(share=0.25), DAY, DAY, "overlap of 1d"),
        (Threshold(share=0.25), DAY, DAY - SECOND, "overlap of 1d"),
        (Threshold(share=0.25), DAY, DAY + SECOND, None),
        (Threshold(share=0.25), timedelta(0), timedelta(minutes=2), None),
    ],
)
def test_storm_is_refused_when_a_clone_would_be_due_or_over_at_once(
    before: Threshold, overlap: timedelta, lifetime: timedelta, word: str | None
) -> None:
    obstacle = check_storm(replace(RULE, rotate_before=before, overlap=overlap), lifetime)
    if word is None:
        assert obstacle is None
    else:
        assert obstacle is not None
        assert (obstacle.rule, obstacle.lifetime) == ("ci", lifetime)
        assert word in explain_obstacle(obstacle).message
        assert "of rule ci" in explain_obstacle(obstacle).fix


def test_storm_blocks_when_the_learned_limit_or_the_guardrail_makes_it() -> None:
    rule = replace(RULE, rotate_before=Threshold(duration=7 * DAY), lifetime=30 * DAY)
    pat = make_aged_pat(30 * DAY)
    assert decide(rule, pat, pat.valid_to).verdict is Verdict.DUE
    learned = decide(rule, pat, pat.valid_to - 7 * DAY, longest=7 * DAY)
    capped = decide(rule, pat, CREATED, guardrails=Guardrails(max_lifetime=5 * DAY))
    assert (learned.verdict, capped.verdict) == (Verdict.BLOCKED, Verdict.BLOCKED)
    assert learned.obstacle is not None
    assert "may live 7d at most" in explain_obstacle(learned.obstacle).message
    assert capped.obstacle is not None
    assert "below 5d" in explain_obstacle(capped.obstacle).fix


@pytest.mark.parametrize(
    "rule",
    [
        replace(RULE, rotate_before=Threshold(duration=7 * DAY), lifetime=7 * DAY + 5 * 60 * SECOND),
        replace(RULE, overlap=DAY, lifetime=DAY + 5 * 60 * SECOND),
    ],
    ids=["threshold", "overlap"],
)
def test_decision_is_not_due_when_the_clone_it_plans_would_be_refused(rule: Rule) -> None:
    """Minting subtracts a random offset: a clone that only the full lifetime saves is minted and revoked in vain."""
    pat = make_aged_pat()
    decision = decide(rule, pat, pat.valid_to - 7 * DAY)
    assert decision.lifetime is not None
    shortest = decision.lifetime - make_offset_range(decision.lifetime)[1] * SECOND
    assert check_storm(rule, shortest) is not None
    assert decision.verdict is Verdict.BLOCKED


ALL = "all_organizations"
MANY = "several_organizations"


@pytest.mark.parametrize(
    ("targets", "organization_id", "denied", "code"),
    [
        (("org-1",), "org-1", (), None),
        (("ORG-1",), "org-1", (), None),
        (("org-1",), None, (), None),
        (None, "org-1", (), ALL),
        (None, None, ("vso.code",), ALL),
        (("org-1", "org-2"), "org-1", (), MANY),
        ((), "org-1", (), MANY),
        (("org-2",), "org-1", (), "other_organization"),
        (("org-1",), "org-1", ("vso.code",), "scope_denied"),
        (("org-1",), "org-1", ("vso.work",), None),
    ],
)
def test_pat_cannot_be_cloned_when_it_reaches_elsewhere_or_is_denied(
    targets: tuple[str, ...] | None, organization_id: str | None, denied: tuple[str, ...], code: str | None
) -> None:
    obstacle = check_clonable(make_pat("a", target_accounts=targets), Guardrails(deny_scopes=denied), organization_id)
    if code is None:
        assert obstacle is None
    else:
        assert obstacle is not None
        told = explain_obstacle(obstacle)
        assert (obstacle.kind.value, told.code) == (code, code)
        assert told.message
        assert told.fix


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{organization}-{name}", "contoso-npm-feed"),
        ("{account}-{name}-pat", "build-bot-npm-feed-pat"),
        ("{name}", "npm-feed"),
        ("fixed", "fixed"),
        ("{other}-{name}", "other-npm-feed"),
    ],
)
def test_rule_fills_the_template_when_it_names_a_secret(template: str, name: str) -> None:
    rule = replace(RULE, secret_name=template)
    assert rule.make_secret_name(organization="contoso", name="npm.feed", account="build_bot") == name


SPANS = st.integers(120, 365 * 86400).map(lambda seconds: timedelta(seconds=seconds))
THRESHOLDS = st.builds(Threshold, share=st.floats(0.01, 1.0)) | st.builds(Threshold, duration=SPANS)
RULES = st.builds(
    replace,
    st.just(RULE),
    rotate_before=THRESHOLDS,
    lifetime=st.none() | SPANS,
    overlap=SPANS,
    action=st.sampled_from(RuleAction),
)
GUARDRAILS = st.builds(
    Guardrails, max_lifetime=st.none() | SPANS, deny_scopes=st.sampled_from([(), ("vso.code",), ("vso.work",)])
)


@exactly
@given(RULES, GUARDRAILS, SPANS, SPANS, st.none() | SPANS)
def test_decision_keeps_its_promises_when_the_policy_is_any(
    rule: Rule, guardrails: Guardrails, lifetime: timedelta, age: timedelta, longest: timedelta | None
) -> None:
    pat = make_aged_pat(lifetime)
    now = CREATED + age
    decision = decide(rule, pat, now, guardrails=guardrails, longest=longest)
    is_blocked = decision.verdict is Verdict.BLOCKED
    assert is_blocked == (decision.obstacle is not None) == (explain_decision(decision) is not None)
    if rule.action is RuleAction.IGNORE:
        assert decision.verdict is Verdict.IGNORED
        return
    assert decision.lifetime is not None
    assert decision.rotate_after is not None
    assert decision.lifetime <= min(guardrails.max_lifetime or 999 * DAY, longest or 999 * DAY)
    if decision.verdict is not Verdict.BLOCKED:
        due = {Verdict.DUE: RuleAction.ROTATE, Verdict.ALERT: RuleAction.ALERT}.get(decision.verdict)
        assert due is (rule.action if now >= decision.rotate_after else None)
    if decision.verdict is Verdict.DUE:
        assert "vso.code" not in guardrails.deny_scopes
        assert decision.takes_short or rule.overlap < decision.lifetime


@exactly
@given(RULES, SPANS, SPANS, SPANS)
def test_pat_stays_due_when_time_goes_on(rule: Rule, lifetime: timedelta, age: timedelta, later: timedelta) -> None:
    pat = make_aged_pat(lifetime)
    first = decide(rule, pat, CREATED + age)
    second = decide(rule, pat, CREATED + age + later)
    assume(first.verdict is not Verdict.NOT_DUE)
    assert second.verdict is first.verdict or (first.verdict is Verdict.BLOCKED and second.takes_short)
    assert second.rotate_after == first.rotate_after


@exactly
@given(RULES.filter(lambda rule: rule.action is RuleAction.ROTATE), SPANS)
def test_fresh_clone_is_not_due_when_its_original_was(rule: Rule, lifetime: timedelta) -> None:
    pat = make_aged_pat(lifetime)
    decision = decide(rule, pat, pat.valid_to)
    assert decision.lifetime is not None
    assume(check_storm(rule, decision.lifetime, make_offset_range(decision.lifetime)[1] * SECOND) is None)
    assert decision.verdict is Verdict.DUE
    clone = make_aged_pat(decision.lifetime)
    assert decide(rule, clone, CREATED).verdict is Verdict.NOT_DUE


@pytest.mark.parametrize("action", [RuleAction.ROTATE, RuleAction.ALERT])
@pytest.mark.parametrize("age", [DAY, 39 * DAY])
def test_pat_that_is_short_lived_takes_a_short_life_again_whether_it_is_due_or_not(
    action: RuleAction, age: timedelta
) -> None:
    """A person may have it rotated long before it is due."""
    rule = replace(RULE, action=action)
    pat = replace(make_aged_pat(), short_lived=True)
    assert decide(rule, pat, CREATED + age).takes_short is True
    if age == DAY:
        assert decide(rule, replace(pat, short_lived=False), CREATED + age).takes_short is False


def test_what_comes_later_in_a_window_waits_for_that_and_not_for_an_earlier_one() -> None:
    friday = datetime(2026, 11, 27, 12, tzinfo=UTC)
    rule = replace(RULE, overlap=HOUR, timetable=Timetable((Window((5, 6), time(0), time(23), UTC),)))
    pat = replace(make_managed_pat(), valid_from=friday - 5 * DAY, valid_to=friday + 35 * DAY)
    policy, sunday = make_policy(rule), friday + 2 * DAY
    assert policy.find_turn(pat, sunday, friday) == sunday
    assert policy.find_turn(pat, sunday, sunday) == sunday
    assert policy.find_turn(pat, friday - DAY, friday) == datetime(2026, 11, 28, tzinfo=UTC)
