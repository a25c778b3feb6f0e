"""What a person or a program sees when a command fails."""

from __future__ import annotations

import json

import pytest

from rotator.cli.context import CliContext
from rotator.cli.failures import report_error, report_others
from rotator.errors import (
    ConfigError,
    ForeignWriteError,
    NotManagedError,
    RotatorError,
    SignInRequiredError,
    UsageError,
)

REFUSED = SignInRequiredError("nobody is signed in", account="build-bot", fix="Run `rotator login build-bot`.")


def test_error_names_the_account_that_a_person_must_sign_in(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(CliContext(), REFUSED)
    assert capsys.readouterr().err.splitlines() == [
        "error: account build-bot: nobody is signed in [sign_in_required]",
        "fix: Run `rotator login build-bot`.",
        "more: `rotator runbook sign_in_needed`",
    ]


def test_json_names_the_account_that_a_person_must_sign_in(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(CliContext(as_json=True), REFUSED)
    assert json.loads(capsys.readouterr().out)["error"] == {
        "code": "sign_in_required",
        "message": "account build-bot: nobody is signed in",
        "fix": "Run `rotator login build-bot`.",
        "runbook": "docs/runbook.md#sign_in_needed",
    }


def test_error_without_a_fix_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(CliContext(), RotatorError("it is gone", code="gone"))
    assert capsys.readouterr().err == "error: it is gone [gone]\n"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UsageError("--as and --secret go with one PAT"), "error: --as and --secret go with one PAT\n"),
        (RotatorError("it failed"), "error: it failed\n"),
        (
            ConfigError(["policy.yaml:2:3 rules: unknown\n  rules\n  ^", "policy.yaml:4:1 more: unknown"]),
            "error: policy.yaml:2:3 rules: unknown\n  rules\n  ^\nerror: policy.yaml:4:1 more: unknown\n",
        ),
        (
            ConfigError(["database: it is older"], code="database_older"),
            "error: database: it is older [database_older]\n",
        ),
    ],
    ids=["usage", "no code of its own", "problems with a place", "settings with a code of their own"],
)
def test_code_is_shown_where_it_says_something(
    error: RotatorError, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    report_error(CliContext(), error)
    assert capsys.readouterr().err == said


def test_problem_is_within_the_width_of_a_terminal_and_its_caret_stays_below_its_place(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    source = "entra: {authority: http://contoso.example, foo: *}\n" + " " * 43 + "^"
    report_error(CliContext(), ConfigError([f"rotator.yaml:1:44 entra.foo: unknown key, expected authority\n{source}"]))
    assert capsys.readouterr().err.splitlines() == [
        "error: rotator.yaml:1:44 entra.foo:",
        "    unknown key, expected authority",
        *source.splitlines(),
    ]


def test_several_errors_point_to_the_runbook_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    frozen = ForeignWriteError("somebody else wrote it", fix="Find out who.")
    gone = NotManagedError("there is no npm-feed")
    report_others(CliContext(), [("ci-build", frozen), ("npm-feed", gone), ("", REFUSED), ("docs-site", frozen)])
    assert capsys.readouterr().err.splitlines() == [
        "error: ci-build: somebody else wrote it [foreign_write]",
        "fix: Find out who.",
        "error: there is no npm-feed [unknown_name]",
        "error: account build-bot: nobody is signed in [sign_in_required]",
        "fix: Run `rotator login build-bot`.",
        "error: docs-site: somebody else wrote it [foreign_write]",
        "fix: Find out who.",
        "more: `rotator runbook rotation_blocked sign_in_needed`",
    ]


def test_problem_of_a_file_is_folded_and_its_source_lines_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A caret below a folded line would point anywhere."""
    monkeypatch.setenv("COLUMNS", "60")
    source = f"  52 | command: [{'./a-long-one.sh, ' * 6}]"
    problem = f"rotator.yaml:52:15 hooks[0].command: {'the hook cannot be called, ' * 4}and so on\n{source}\n     |  ^"
    report_error(CliContext(), ConfigError([problem]))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: rotator.yaml:52:15 hooks[0].command: ")
    assert source.rstrip() in [line.rstrip() for line in lines]
    assert all(len(line) <= 60 for line in lines if not line.startswith(source[:8]))
