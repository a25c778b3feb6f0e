"""The plan's lines: what happens to whom, why, and the sum."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rotator.cli.output.plan import render_action, render_plan, say_no_pats
from rotator.documents.plan import make_plan_document
from rotator.domain.managed_pat import Failure, ManagedPat, ManagedPatState
from rotator.domain.plan import Action, ActionKind, Plan
from rotator.domain.policy import Guardrails, Match, Policy, Rule, RuleAction
from rotator.domain.rotation import Rotation, RotationState
from rotator.domain.sign_in import SignInMemory
from rotator.domain.threshold import Threshold
from rotator.engine.planning import plan_one
from rotator.engine.signing_in import hold_for_sign_ins
from rotator.engine.status import NeededSignIn

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOW = datetime(2026, 12, 2, 9, 0, tzinfo=UTC)
RULE = Rule("ci", Match(), RuleAction.ROTATE, Threshold(share=0.33), None, timedelta(days=1), "https://v", "{name}")
POLICY = Policy((RULE,), Guardrails(deny_scopes=("app_token",)), "0" * 64)


def _make_pat(name: str, *, left: int, scope: str = "vso.packaging") -> ManagedPat:
    end = NOW + timedelta(days=left)
    start = end - timedelta(days=30)
    return ManagedPat(name, "build-bot", "contoso", f"id-{name}", name, scope, start, end, "https://v", name)


def _make_rotation(pat: ManagedPat, state: RotationState, overlap_until: datetime | None = None) -> Rotation:
    return Rotation(
        "a" * 32, pat.name, pat.account, pat.organization, pat.display_name, pat.scope,
        "id-old", NOW + timedelta(days=5), "ci", pat.vault, pat.secret_name, timedelta(days=1),
        False, NOW, NOW, state, overlap_until=overlap_until,
    )  # fmt: skip


def _plan_for(*pairs: tuple[ManagedPat, Rotation | None], postponed: tuple[str, ...] = ()) -> Plan:
    actions: tuple[Action, ...] = tuple(plan_one(pat, rotation, POLICY, None, NOW) for pat, rotation in pairs)
    return Plan(NOW, actions, postponed)


def test_plan_line_says_what_and_why_when_due() -> None:
    lines = list(render_plan(_plan_for((_make_pat("npm-feed", left=5), None))))
    assert lines == [
        "~ npm-feed  contoso  vso.packaging  5d left -> 30d  old PAT valid for another 24 h  "
        "(rule ci: under 33% of 30d)",
        "Plan: 1 to rotate. No changes were made.",
    ]


def test_plan_line_says_expired_when_its_time_is_over() -> None:
    [line, _] = render_plan(_plan_for((_make_pat("late", left=-2), None)))
    assert "  expired 2d ago -> 30d  " in line


@pytest.mark.parametrize(
    ("threshold", "left", "what", "reason"),
    [
        (Threshold(share=0.25), 11 * DAY, "11d left", "rule ci: due at 25% of 40d, on 2026-12-03 09:00Z"),
        (Threshold(share=0.25), 9 * DAY, "9d left -> 40d", "rule ci: under 25% of 40d"),
        (Threshold(duration=7 * DAY), 8 * DAY, "8d left", "rule ci: due at 7d, on 2026-12-03 09:00Z"),
        (Threshold(duration=7 * DAY), 26 * HOUR, "26h left -> 40d", "rule ci: under 7d"),
        (Threshold(share=0.01), DAY, "24h left -> 40d", "rule ci: under 1d 6h, for its overlap"),
        (Threshold(share=0.01), 2 * DAY, "2d left", "rule ci: due at 1d 6h, for its overlap, on 2026-12-03 03:00Z"),
        (Threshold(share=0.25), timedelta(0), "expired 0s ago -> 40d", "rule ci: expired 2026-12-02 09:00Z"),
        (Threshold(share=0.25), -DAY, "expired 24h ago -> 40d", "rule ci: expired 2026-12-01 09:00Z"),
    ],
)
def test_plan_line_says_why_when_decided(threshold: Threshold, left: timedelta, what: str, reason: str) -> None:
    pat = replace(_make_pat("feed", left=0), valid_from=NOW + left - 40 * DAY, valid_to=NOW + left)
    policy = Policy((replace(RULE, rotate_before=threshold),), Guardrails(), "0" * 64)
    line = render_action(plan_one(pat, None, policy, None, NOW), NOW)
    assert f"  {what}  " in line
    assert line.endswith(f"  ({reason})")


@pytest.mark.parametrize(
    ("action", "line"),
    [
        (RuleAction.ALERT, "! feed  contoso  vso.packaging  5d left, replace it by hand  (rule ci: under 33% of 30d)"),
        (RuleAction.IGNORE, "= feed  contoso  vso.packaging  5d left  (rule ci: ignore)"),
    ],
)
def test_plan_line_follows_the_rule_when_it_does_not_rotate(action: RuleAction, line: str) -> None:
    policy = Policy((replace(RULE, action=action),), Guardrails(), "0" * 64)
    assert render_action(plan_one(_make_pat("feed", left=5), None, policy, None, NOW), NOW) == line


def test_plan_names_reason_and_fix_when_blocked() -> None:
    lines = list(render_plan(_plan_for((_make_pat("old-admin", left=5, scope="app_token"), None))))
    assert lines[0].startswith("x old-admin  contoso  app_token  5d left, blocked  (")
    assert "full access" in lines[0]
    assert lines[1].startswith("    fix: Create a PAT with only the scopes")
    assert lines[2] == "Plan: nothing to rotate, 1 blocked. No changes were made."


def test_plan_says_as_status_does_that_a_pat_which_is_tried_later_waits_for_a_sign_in() -> None:
    failed = replace(
        _make_pat("npm-feed", left=5),
        last_failure=Failure("throttled", "Azure DevOps asked to wait", "Wait."),
        failures=1,
        retry_at=NOW + HOUR,
    )
    plan = _plan_for((failed, None))
    assert plan.actions[0].kind is ActionKind.WAIT
    held = hold_for_sign_ins(
        plan, {"build-bot": NeededSignIn(NOW, SignInMemory("build-bot"))}, {"npm-feed": "build-bot"}
    )
    assert next(line for line in render_plan(held) if "npm-feed" in line).endswith("blocked  (build-bot must sign in)")


def test_plan_repeats_no_failure_as_change_when_waiting_for_another_try() -> None:
    failed = replace(
        _make_pat("npm-feed", left=5),
        last_failure=Failure("transient", "the vault did not answer", "Wait."),
        failures=1,
        retry_at=NOW + timedelta(minutes=5),
    )
    lines = list(render_plan(_plan_for((failed, None))))
    assert "wait  (the vault did not answer; next try after 2026-12-02 09:05Z)" in lines[0]
    assert lines[-1] == "Plan: nothing to rotate, 1 waiting. No changes were made."


@pytest.mark.parametrize(
    ("state", "until", "what", "reason"),
    [
        (RotationState.MINTING, None, "finish what was interrupted", "a rotation was interrupted while minting"),
        (
            RotationState.OVERLAPPING,
            NOW,
            "revoke the old PAT",
            "the overlap of 1d is over, the old PAT can be revoked",
        ),
        (
            RotationState.OVERLAPPING,
            NOW + HOUR,
            "20d left, wait",
            "rotated; the old PAT stays valid until 2026-12-02 10:00Z",
        ),
    ],
)
def test_plan_line_follows_the_rotation_when_one_is_open(
    state: RotationState, until: datetime | None, what: str, reason: str
) -> None:
    pat = _make_pat("feed", left=20)
    [line, _] = render_plan(_plan_for((pat, _make_rotation(pat, state, until))))
    assert line[1:] == f" feed  contoso  vso.packaging  {what}  ({reason})"


def test_first_step_is_the_sign_in_when_nobody_is_signed_in() -> None:
    assert "Next: `rotator scan` shows" in say_no_pats()
    assert "Next: run `rotator login build-bot`. Then `rotator scan` shows" in say_no_pats(["build-bot"])


def test_plan_counts_unchanged_when_not_asked_for_everything() -> None:
    paused = replace(_make_pat("hold", left=1), state=ManagedPatState.PAUSED)
    plan = _plan_for((_make_pat("fresh", left=29), None), (paused, None))
    assert list(render_plan(plan)) == ["Plan: nothing to rotate, 1 paused, 1 with nothing to do. No changes were made."]
    fresh, hold, _ = render_plan(plan, everything=True)
    assert fresh.startswith("= fresh  contoso  vso.packaging  29d left  (rule ci: due at 33% of 30d, on 2026-12-2")
    assert hold.endswith("(paused by hand)")


def test_plan_counts_postponed_apart_when_over_the_cap() -> None:
    pairs = [(_make_pat(name, left=2), None) for name in ("a", "b", "c")]
    lines = list(render_plan(_plan_for(*pairs, postponed=("c",))))
    assert "postponed by max_rotations_per_hour" in lines[2]
    assert lines[-1] == "Plan: 2 to rotate, 1 postponed. No changes were made."


def test_plan_says_in_one_line_what_one_cause_keeps_many_from() -> None:
    """What a run does has a line each; with everything asked for, so has the rest."""
    denied = [_make_pat(f"denied{number:02}", left=5, scope="app_token") for number in range(11)]
    late = [_make_pat(f"late{number:02}", left=6) for number in range(12)]
    pairs = [(pat, None) for pat in (_make_pat("npm-feed", left=5), *denied, *late)]
    plan = _plan_for(*pairs, postponed=tuple(pat.name for pat in late))
    rotate, blocked, fix, postponed, total = render_plan(plan)
    assert rotate.startswith("~ npm-feed  ")
    assert blocked == (
        "x 11 PATs  blocked  (its scope app_token (full access) is denied by guardrails.deny_scopes): "
        "denied00, denied01, denied02, denied03, denied04, denied05, denied06, denied07, denied08, denied09 and 1 more"
    )
    assert fix.startswith("    fix: Create a PAT with only the scopes")
    assert postponed.startswith("~ 12 PATs  postponed by max_rotations_per_hour: late00, late01, ")
    assert total == "Plan: 1 to rotate, 12 postponed, 11 blocked. No changes were made."
    assert len(list(render_plan(plan, everything=True))) == 24 + 11 + 1


def test_plan_says_in_one_line_that_very_many_are_in_their_overlap() -> None:
    """Each has an end of its own; `status` says which."""
    pats = [_make_pat(f"team{number:02}", left=20) for number in range(11)]
    ends = [NOW + number * HOUR for number in range(1, 12)]
    plan = _plan_for(
        *((pat, _make_rotation(pat, RotationState.OVERLAPPING, end)) for pat, end in zip(pats, ends, strict=True))
    )
    said = "wait  (rotated; the old PATs stay valid until the end of their overlap): team00, team01, "
    assert [line.startswith(f". 11 PATs  {said}") for line in render_plan(plan)] == [True, False]


def test_plan_line_stays_one_line_when_names_are_odd() -> None:
    odd = replace(_make_pat("odd", left=1), organization="con\x1b[31mtoso\n\u202eevil")
    [line, _] = render_plan(_plan_for((odd, None)))
    assert line.isprintable()
    assert r"con\x1b[31mtoso\n\u202eevil" in line


def test_plan_says_that_nothing_is_done_for_an_account_before_it_is_signed_in() -> None:
    """Said once for the account, also when none of its PATs is due."""
    due, idle, other = (_make_pat("due", left=5), _make_pat("idle", left=25), _make_pat("other", left=5))
    plan = _plan_for((due, None), (replace(other, account="other-bot"), None), (idle, None), postponed=("due",))
    needed = {"build-bot": NeededSignIn(NOW, SignInMemory("build-bot"))}
    held = hold_for_sign_ins(plan, needed, dict.fromkeys(("due", "idle"), "build-bot"))
    assert (held.has_changes, held.postponed) == (True, ())
    lines = list(render_plan(held))
    assert lines[0] == "build-bot must sign in: 2 PATs wait until somebody runs `rotator login build-bot`."
    assert lines[1:] == [
        "x due  contoso  vso.packaging  5d left, blocked  (build-bot must sign in)",
        "~ other  contoso  vso.packaging  5d left -> 30d  old PAT valid for another 24 h  (rule ci: under 33% of 30d)",
        "x idle  contoso  vso.packaging  25d left, blocked  (build-bot must sign in)",
        "Plan: 1 to rotate, 2 blocked. No changes were made.",
    ]
    alone = hold_for_sign_ins(_plan_for((idle, None)), needed, {})
    assert "`rotator login build-bot`" in next(iter(render_plan(alone)))
    assert make_plan_document(held)["signed_out"] == ["build-bot"]


def test_rotations_of_very_many_that_a_person_names_are_a_line_for_each_rule() -> None:
    """With the vault that their values would go to. With `-v` each is shown, as the plan of a run does."""
    plan = _plan_for(*((_make_pat(f"team{number:02}", left=5), None) for number in range(12)))
    together, last = render_plan(plan, secrets=True)
    assert together.startswith("~ 12 PATs  rotate  (rule ci, secrets in https://")
    assert together.endswith(
        "): team00, team01, team02, team03, team04, team05, team06, team07, team08, team09 and 2 more"
    )
    assert last == "Plan: 12 to rotate. No changes were made."
    for lines in (render_plan(plan, secrets=True, everything=True), render_plan(plan)):
        assert sum(line.startswith("~ team") for line in lines) == 12
