"""The sample rules, by the tool that comes with Prometheus."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.monitoring import RULES
from tests.support.programs import need


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "words", [["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_suffix(".test.yaml"))]]
)
def test_rules_are_accepted_and_pass_their_own_tests(words: list[str]) -> None:
    made = subprocess.run([need("promtool", "prometheus"), *words], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stdout + made.stderr
