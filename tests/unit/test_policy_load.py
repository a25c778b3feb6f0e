"""`policy.yaml`: read into the domain's Policy, and every problem told at once."""

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from rotator.domain.policy import Guardrails, LeakAction, Match, Policy, Rule, RuleAction
from rotator.domain.threshold import Threshold
from rotator.errors import ConfigError
from rotator.settings.effective import show_policy
from rotator.settings.load import load_policy, load_warnings

VAULT = "https://contoso-kv.vault.azure.net"
HEAD = f"version: 1\ndefaults: {{vault: {VAULT}}}\n"
COMPLETE = """\
version: 1
defaults:
  rotate_before: 33%
  lifetime: keep
  overlap: 24h
  vault: https://contoso-kv.vault.azure.net
  secret_name: "{organization}-{name}"
rules:
  - name: ci
    match: {organization: contoso, display_name: "ci-*", scope: vso.build_execute}
    rotate_before: 7d
    lifetime: 30d
    disable_previous: true
    on_leak: rotate
  - name: hands-off
    match: {display_name: "*-manual"}
    action: alert
guardrails:
  max_lifetime: 90d
  deny_scopes: [app_token]
  max_rotations_per_hour: 20
"""


def load(folder: Path, text: str) -> Policy:
    """The policy that the text says."""
    path = folder / "policy.yaml"
    path.write_text(text)
    return load_policy(path)


def problems_of(folder: Path, text: str) -> list[str]:
    """The first line of each problem, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    prefix = f"{folder}/policy.yaml:"
    return [problem.splitlines()[0].removeprefix(prefix) for problem in caught.value.problems]


def test_policy_is_what_the_file_says_when_complete(tmp_path: Path) -> None:
    policy = load(tmp_path, COMPLETE)
    ci, hands_off = policy.rules
    assert ci == Rule(
        name="ci",
        match=Match(organization="contoso", display_name="ci-*", scope="vso.build_execute"),
        action=RuleAction.ROTATE,
        rotate_before=Threshold(duration=timedelta(days=7)),
        lifetime=timedelta(days=30),
        overlap=timedelta(hours=24),
        vault=VAULT,
        secret_name="{organization}-{name}",
        disable_previous=True,
        on_leak=LeakAction.ROTATE,
    )
    assert hands_off.on_leak is LeakAction.ALERT
    assert (hands_off.action, hands_off.lifetime, hands_off.rotate_before) == (RuleAction.ALERT, None, Threshold(0.33))
    assert policy.guardrails == Guardrails(timedelta(days=90), ("app_token",), 20)
    assert policy.digest == hashlib.sha256(COMPLETE.encode()).hexdigest()


@pytest.mark.parametrize("rules", ["", "rules:\n", "rules: []\n"])
def test_policy_has_one_rule_for_everything_when_no_rules_are_given(tmp_path: Path, rules: str) -> None:
    policy = load(tmp_path, HEAD + rules)
    assert policy.rules == (
        Rule("defaults", Match(), RuleAction.ROTATE, Threshold(0.33), None, timedelta(hours=24), VAULT,
             "{organization}-{name}", False),
    )  # fmt: skip
    assert policy.guardrails == Guardrails(None, (), 50)


def test_rule_goes_before_the_defaults_when_both_say_something(tmp_path: Path) -> None:
    text = (
        f"version: 1\ndefaults: {{vault: {VAULT}/, lifetime: 30d, overlap: 2h, action: alert, "
        "disable_previous: true, on_leak: rotate}\n"
        "rules: [{name: a, match: , lifetime: keep, overlap: 0s, action: rotate, disable_previous: false}]\n"
    )
    (rule,) = load(tmp_path, text).rules
    assert (rule.lifetime, rule.overlap, rule.action) == (None, timedelta(0), RuleAction.ROTATE)
    assert (rule.disable_previous, rule.vault, rule.on_leak) == (False, VAULT, LeakAction.ROTATE)


@pytest.mark.parametrize(("overlap", "is_refused"), [("1h", True), ("30m", True), ("61m", False)])
def test_policy_is_refused_when_consumers_cache_as_long_as_the_overlap(
    tmp_path: Path, overlap: str, is_refused: bool
) -> None:
    text = f"version: 1\ndefaults: {{vault: {VAULT}, consumer_cache: 1h, overlap: {overlap}}}\n"
    if not is_refused:
        assert load(tmp_path, text).rules[0].consumer_cache == timedelta(hours=1)
        return
    with pytest.raises(ConfigError, match=r"consumer_cache 1h is not shorter than overlap .*: the old PAT would be"):
        load(tmp_path, text)


def test_rule_needs_no_vault_when_it_rotates_nothing(tmp_path: Path) -> None:
    text = "version: 1\nrules:\n  - {name: a, match: {scope: vso.code}, action: alert}\n  - {name: b, action: ignore}\n"
    assert [rule.vault for rule in load(tmp_path, text).rules] == ["", ""]


def test_policy_is_shown_complete_when_asked_for(tmp_path: Path) -> None:
    shown = show_policy(load(tmp_path, COMPLETE))
    rules = shown["rules"]
    assert isinstance(rules, list)
    assert rules[1] == {
        "name": "hands-off",
        "match": {"display_name": "*-manual"},
        "action": "alert",
        "rotate_before": "33%",
        "lifetime": "keep",
        "overlap": "1d",
        "consumer_cache": None,
        "vault": VAULT,
        "secret_name": "{organization}-{name}",
        "disable_previous": False,
        "on_leak": "alert",
        "hooks": [],
        "windows": [],
        "freezes": [],
    }
    assert shown["guardrails"] == {
        "max_lifetime": "90d",
        "deny_scopes": ["app_token"],
        "max_rotations_per_hour": 20,
    }


def test_policy_problem_shows_line_and_caret_when_a_scope_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, COMPLETE.replace("vso.build_execute", "vso.cod"))
    assert caught.value.problems == [
        f'{tmp_path}/policy.yaml:10:65 rules[0].match.scope: unknown scope "vso.cod", did you mean "vso.code"?\n'
        '    match: {organization: contoso, display_name: "ci-*", scope: vso.cod}\n'
        "                                                                ^"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 2\n" + HEAD.partition("\n")[2], ["1:10 version: unknown version 2, expected 1"]),
        (HEAD.partition("\n")[2], ["1:1 version: is missing, for example version: 1"]),
        (HEAD + "rule: []\n", ['3:1 rule: unknown key, did you mean "rules"?']),
        (HEAD + "rules: {name: a}\n",
         ["3:8 rules: must be a list: [first, second], or one line each that begins with -"]),
        (HEAD + "rules: [a]\n", ["3:9 rules[0]: must be a section with keys and values"]),
        (HEAD + "rules: [{lifetime: 3d}]\n", ["3:9 rules[0].name: is missing, for example name: ci"]),
        (HEAD + "rules: [{name: a, action: rotat}]\n",
         ['3:27 rules[0].action: unknown action "rotat", expected rotate, alert or ignore, did you mean "rotate"?']),
        (HEAD + "rules: [{name: a, overlap: 24}]\n",
         ["3:28 rules[0].overlap: 24 has no unit: write 24d for days, 24h for hours or 24m for minutes"]),
        (HEAD + "rules: [{name: a, match: {scop: vso.code}}]\n",
         ['3:27 rules[0].match.scop: unknown key, did you mean "scope"?']),
        (HEAD + 'rules: [{name: a, match: {scope: "vso.cud*"}}]\n',
         ['3:34 rules[0].match.scope: the pattern "vso.cud*" matches no scope of Azure DevOps']),
        (HEAD + 'rules: [{name: a, match: {display_name: ""}}]\n',
         ["3:41 rules[0].match.display_name: must not be empty"]),
        (HEAD + 'rules: [{name: a, secret_name: "{nam}"}]\n',
         ['3:32 rules[0].secret_name: unknown placeholder "{nam}", did you mean "name"?']),
        (HEAD + 'rules: [{name: a, secret_name: "a_{name}"}]\n',
         ['3:32 rules[0].secret_name: "_" cannot be in a secret\'s name: use letters, digits and hyphens']),
        (HEAD + 'rules: [{name: a, secret_name: "a{"}]\n',
         ['3:32 rules[0].secret_name: "{" cannot be in a secret\'s name: use letters, digits and hyphens']),
        (HEAD + "rules: [{name: a, vault: http://kv}]\n", ['3:26 rules[0].vault: "http://kv" must begin with https://']),
        (HEAD + "rules: [{name: a, vault: https://kv/secrets}]\n",
         ['3:26 rules[0].vault: "https://kv/secrets" must have nothing after the host: write https://kv']),
        (HEAD + "guardrails: {deny_scopes: [app_tokn]}\n",
         ['3:28 guardrails.deny_scopes[0]: unknown scope "app_tokn", did you mean "app_token"?']),
        (HEAD + "guardrails: {max_rotations_per_hour: 0}\n",
         ["3:38 guardrails.max_rotations_per_hour: 0 must be at least 1"]),
        ("version: 1\ndefaults: {disable_previous: no}\n",
         ["2:30 defaults.disable_previous: must be true or false"]),
        (HEAD + "guardrails: {deny_all_organizations: true}\n",
         ["3:14 guardrails.deny_all_organizations: unknown key, expected max_lifetime, deny_scopes or "
          "max_rotations_per_hour"]),
    ],
)  # fmt: skip
def test_policy_problem_says_what_was_expected_when_a_key_is_wrong(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert problems_of(tmp_path, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\n", ["1:1 defaults.vault: is missing: what is rotated must be written to a vault, for example "
                          f"vault: {VAULT} (here or in defaults)"]),
        ("version: 1\nrules:\n- name: a\n",
         ['3:3 rules[0].vault: is missing: what is rotated by rule "a" must be written to a vault, for example '
          f"vault: {VAULT} (here or in defaults)"]),
        (HEAD + "rules:\n- {name: a, adopt: true, action: ignore}\n",
         ["4:20 rules[0].adopt: takes over nothing: the action of this rule is ignore"]),
        (HEAD + "rules:\n- {name: a, match: {scope: vso.code}}\n- {name: a}\n",
         ['5:10 rules[1].name: "a" is already the name of rules[0]']),
        (HEAD + 'rules:\n- {name: a, match: {account: "*"}}\n- {name: b}\n- {name: c}\n',
         ['5:3 rules[1]: is never used: rule "a" above it matches everything',
          '6:3 rules[2]: is never used: rule "a" above it matches everything']),
        (HEAD + "rules: [{name: a, lifetime: 1d, overlap: 24h}]\n",
         ["3:42 rules[0].overlap: overlap 1d is not shorter than the lifetime 1d: the old PAT would outlive the new "
          "one"]),
        (HEAD + "rules: [{name: a, lifetime: 12h}]\n",
         ["3:29 rules[0].lifetime: overlap 1d is not shorter than the lifetime 12h: the old PAT would outlive the new "
          "one"]),
        (HEAD + "rules: [{name: a, lifetime: 7d, rotate_before: 1w}]\n",
         ["3:48 rules[0].rotate_before: rotate_before 7d is not shorter than the lifetime 7d: a new PAT would be due "
          "again immediately"]),
        (HEAD + "rules: [{name: a, rotate_before: 90d}]\nguardrails: {max_lifetime: 90d}\n",
         ["3:34 rules[0].rotate_before: rotate_before 90d is not shorter than guardrails.max_lifetime 90d: a new PAT "
          "would be due again immediately"]),
        (HEAD + "rules: [{name: a, lifetime: 91d}]\nguardrails: {max_lifetime: 90d}\n",
         ["3:29 rules[0].lifetime: 91d is more than guardrails.max_lifetime 90d"]),
        (f"version: 1\ndefaults: {{vault: {VAULT}, lifetime: 1h}}\n",
         ["2:65 defaults.lifetime: overlap 1d is not shorter than the lifetime 1h: the old PAT would outlive the new "
          "one"]),
    ],
)  # fmt: skip
def test_policy_problem_is_told_when_settings_cannot_go_together(
    tmp_path: Path, text: str, expected: list[str]
) -> None:
    assert problems_of(tmp_path, text) == expected


def warnings_of(folder: Path, text: str) -> list[str]:
    """The first line of each warning about a policy that is accepted, without the file's name."""
    load(folder, text)
    path = folder / "policy.yaml"
    return [warning.splitlines()[0].removeprefix(f"{path}:") for warning in load_warnings(path)]


NO_ROOM = ": a new PAT would be due again before its overlap is over"
TOO_LATE = ": the old PAT may expire before its overlap is over"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + "rules: [{name: a, lifetime: 30d, rotate_before: 10d, overlap: 21d}]\n",
         ["3:63 rules[0].overlap: overlap 21d and rotate_before 10d leave no room in the lifetime 30d" + NO_ROOM]),
        (HEAD + "rules: [{name: a, lifetime: 32h}]\n",
         ["3:29 rules[0].lifetime: overlap 1d and rotate_before 33% (10h33m36s) leave no room in the lifetime 1d8h"
          + NO_ROOM]),
        (HEAD + "rules: [{name: a, lifetime: 2d, rotate_before: 1d}]\n",
         ["3:48 rules[0].rotate_before: overlap 1d and rotate_before 1d leave no room in the lifetime 2d" + NO_ROOM]),
        (HEAD + "rules: [{name: a, lifetime: 2d, rotate_before: 23h}]\n",
         ["3:48 rules[0].rotate_before: overlap 1d is longer than rotate_before 23h" + TOO_LATE]),
        (HEAD + "rules: [{name: a, rotate_before: 12h}]\n",
         ["3:34 rules[0].rotate_before: overlap 1d is longer than rotate_before 12h" + TOO_LATE]),
        (HEAD + "guardrails: {max_lifetime: 30h}\n",
         ["2:11 defaults: overlap 1d and rotate_before 33% (9h54m) leave no room in guardrails.max_lifetime 1d6h"
          + NO_ROOM]),
        (f"version: 1\ndefaults: {{vault: {VAULT}, overlap: 25d}}\nrules:\n- {{name: a, match: {{scope: vso.code}}, "
         "lifetime: 30d}\n- {name: b, match: {scope: vso.wiki}, lifetime: 30d}\n- {name: c, lifetime: 90d}\n",
         [f"{where}.lifetime: overlap 25d and rotate_before 33% (9d21h36m) leave no room in the lifetime 30d" + NO_ROOM
          for where in ("4:49 rules[0]", "5:49 rules[1]")]),
        (f"version: 1\ndefaults: {{vault: {VAULT}, lifetime: 30d, overlap: 25d}}\nrules:\n"
         "- {name: a, match: {scope: vso.code}}\n- {name: b}\n",
         ["2:79 defaults.overlap: overlap 25d and rotate_before 33% (9d21h36m) leave no room in the lifetime 30d"
          + NO_ROOM]),
        (HEAD + "rules: [{name: a, overlap: 0s}]\n",
         ["3:28 rules[0].overlap: overlap 0s: the old PAT is revoked at once, and consumers that have not read the "
          "vault again fail"]),
        (HEAD + "rules: [{name: a, overlap: 0s, action: alert}]\n", []),
        (HEAD + "rules: [{name: a, lifetime: 30d, rotate_before: 10d, overlap: 20d, action: alert}]\n", []),
        (HEAD + "rules: [{name: a, lifetime: 49h, rotate_before: 24h}]\n", []),
        (HEAD + "rules: [{name: a, lifetime: 5d}]\n", []),
        (HEAD + "rules: [{name: a, lifetime: 60h}]\n", []),
        (HEAD + "rules: [{name: a, lifetime: 48h}]\n",
         ["3:29 rules[0].lifetime: overlap 1d and rotate_before 33% (15h50m24s) leave no room in the lifetime 2d"
          + NO_ROOM]),
        (HEAD + "rules: [{name: a, overlap: 60d}]\n", []),
        (HEAD, []),
    ],
)  # fmt: skip
def test_policy_is_warned_about_when_its_overlap_has_no_room(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert warnings_of(tmp_path, text) == expected


def test_policy_problem_in_the_defaults_is_told_once_when_many_rules_inherit_it(tmp_path: Path) -> None:
    text = f"version: 1\ndefaults: {{vault: {VAULT}, lifetime: 1d, overlap: 2d}}\nrules:\n"
    text += "".join(f"- {{name: r{number}, match: {{account: a{number}}}}}\n" for number in range(9))
    assert len(problems_of(tmp_path, text)) == 1


def test_policy_reports_conflicts_too_when_other_rules_are_wrong_in_themselves(tmp_path: Path) -> None:
    text = (
        HEAD
        + "rules:\n- {name: a, match: {scope: vso.cod}}\n- {name: b, lifetime: 1h}\n- {name: b, action: alrt}\n"
        + "guardrails: {deny_scopes: [x]}\n"
    )
    assert [problem.partition(": ")[0] for problem in problems_of(tmp_path, text)] == [
        "4:28 rules[0].match.scope",
        "5:23 rules[1].lifetime",
        "6:3 rules[2]",
        "6:10 rules[2].name",
        "6:21 rules[2].action",
        "7:28 guardrails.deny_scopes[0]",
    ]


@pytest.mark.parametrize(
    "pattern", ["app_token", "vso.*", "*", "vso.code_[wm]*", "vso.work_full", "vso.extension.data"]
)
def test_scope_pattern_is_accepted_when_a_known_scope_matches(tmp_path: Path, pattern: str) -> None:
    (rule,) = load(tmp_path, HEAD + f'rules: [{{name: a, match: {{scope: "{pattern}"}}}}]\n').rules
    assert rule.match.scope == pattern


def test_policy_is_refused_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the policy file does not exist") as caught:
        load_policy(tmp_path / "policy.yaml")
    assert "rotator init" in caught.value.fix


@pytest.mark.parametrize(
    ("key", "begins", "ends"),
    [
        ("from", "0001-01-01T00:00+01:00", "2027-01-04T06:00+01:00"),
        ("to", "2026-12-19T00:00+01:00", "9999-12-31T23:59+00:00"),
        ("to", "2026-12-19T00:00+01:00", "9999-12-31T23:59-01:00"),
    ],
)
def test_moment_out_of_all_bounds_is_an_error_in_the_file(tmp_path: Path, key: str, begins: str, ends: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(
        f"version: 1\ndefaults:\n  vault: {VAULT}\n  freezes:\n"
        f"    - {{from: {begins}, to: {ends}, reason: until further notice}}\n"
    )
    with pytest.raises(ConfigError) as raised:
        load_policy(file)
    assert "policy.yaml:5:" in str(raised.value)
    assert f"freezes[0].{key}" in str(raised.value)
    assert "is not between the years 2000 and 2200" in str(raised.value)
