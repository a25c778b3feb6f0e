"""The files for a public forge: CI, pre-commit, the release recipe, and what is promised to stay the same."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotator.documents.document import SCHEMA_VERSION
from rotator.domain import exit_code
from rotator.engine.tags import OUR_TAGS
from rotator.errors import RotatorError
from tests.support.source_tree import ROOT, list_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))


def load_workflow() -> dict[str, Any]:
    """What the forge is to do with each change."""
    found: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    return found


def test_forge_tests_each_python_that_the_classifiers_name() -> None:
    assert PYTHONS == ["3.11", "3.12", "3.13", "3.14"]
    job = load_workflow()["jobs"]["test"]
    assert job["strategy"]["matrix"] == {"python": PYTHONS}
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


def test_forge_may_only_read_and_uses_actions_of_one_version() -> None:
    workflow = load_workflow()
    assert workflow["permissions"] == {"contents": "read"}
    assert [name for name, job in workflow["jobs"].items() if "permissions" in job] == []
    used = [step["uses"] for job in workflow["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [name for name in used if not re.fullmatch(r"[\w/-]+@v\d+\.\d+\.\d+", name)] == []
    assert "secrets." not in (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")


def test_forge_measures_what_the_tests_reach_and_fails_when_it_is_less() -> None:
    """Forked commands count too: they end without the end of an interpreter, which would save what was measured."""
    steps = load_workflow()["jobs"]["coverage"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make coverage ARGS=tests/unit"]
    coverage = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]
    assert coverage["report"]["fail_under"] >= 73
    assert set(coverage["run"]["patch"]) == {"_exit", "subprocess"}


def test_commits_are_checked_with_the_tools_that_are_tested() -> None:
    """Those of `.venv`: no hook is fetched from elsewhere, in a version of its own."""
    found = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in found["repos"]] == ["local"]
    for hook in found["repos"][0]["hooks"]:
        program = hook["entry"].split()[0]
        assert program.startswith(".venv/bin/")
        assert Path(sys.executable).with_name(program.removeprefix(".venv/bin/")).exists(), program


def test_public_home_is_named_in_one_place() -> None:
    [host] = {address.split("/")[2] for address in PROJECT["urls"].values()}
    naming = [path for path in list_files() if host.encode() in path.read_bytes()]
    assert naming == [ROOT / "pyproject.toml"]


def test_page_about_compatibility_names_what_there_is() -> None:
    page = (ROOT / "docs/compatibility.md").read_text(encoding="utf-8")
    assert f"`schema_version` {SCHEMA_VERSION} " in page
    assert {tag for tag in OUR_TAGS if f"`{tag}`" not in page} == set()
    codes = re.findall(r"^\| ([\d, ]+) \|", (ROOT / "docs/by-hand.md").read_text(encoding="utf-8"), re.MULTILINE)
    promised = re.search(r"the exit codes \| ([\d, ]+\d) ", page)
    assert promised is not None
    assert promised[1] == ", ".join(code for code in codes if "143" not in code)
    ours = {value for name, value in vars(exit_code).items() if name.isupper()} | {RotatorError.exit_code}
    assert {str(code) for code in ours} <= set(promised[1].split(", "))


@pytest.mark.parametrize("page", ["docs/releasing.md", "CONTRIBUTING.md"])
def test_every_target_that_a_page_names_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(
        r"\bmake ([a-z]+)\b(?= +#|[`\s]*(?:ARGS|RUNS|DAYS|MODULE|`))", (ROOT / page).read_text(encoding="utf-8")
    )
    assert named
    assert set(named) <= targets
