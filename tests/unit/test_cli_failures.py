"""What a person or a program sees when a command fails."""

from __future__ import annotations

import json

import pytest

from rotator.cli.context import CliContext
from rotator.cli.failures import report_error
from rotator.errors import RotatorError, SignInRequiredError

REFUSED = SignInRequiredError("nobody is signed in", account="build-bot", fix="Run `rotator login build-bot`.")


def test_error_names_the_account_that_a_person_must_sign_in(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(CliContext(), REFUSED)
    assert capsys.readouterr().err.splitlines() == [
        "error: account build-bot: nobody is signed in",
        "fix: Run `rotator login build-bot`.",
    ]


def test_json_names_the_account_that_a_person_must_sign_in(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(CliContext(as_json=True), REFUSED)
    assert json.loads(capsys.readouterr().out)["error"]["message"] == "account build-bot: nobody is signed in"


def test_error_without_a_fix_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    report_error(CliContext(), RotatorError("it is gone", code="gone"))
    assert capsys.readouterr().err == "error: it is gone\n"
