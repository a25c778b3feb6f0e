"""What the Markdown pages show is so: the configuration loads, commands and links exist, states and codes agree."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from rotator.cli import exit_codes
from rotator.cli.main import rotator
from rotator.domain.rotation import STEPS, RotationState
from rotator.errors import RotatorError
from rotator.settings.load import check_files, load_policy, load_settings
from tests.support.command_lines import find_problem
from tests.support.documents import Page, load_page
from tests.support.source_tree import ROOT, list_files
from tests.unit.source_map import put_map

README = load_page(ROOT / "README.md")
PROMISE = load_page(ROOT / "docs" / "promise.md")
BY_HAND = load_page(ROOT / "docs" / "by-hand.md")
TYPED = [ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in ("quickstart", "by-hand", "runbook"))]
"""The pages whose commands are typed as they stand."""
PAGES = [load_page(path) for path in list_files() if path.suffix == ".md"]


def _name(page: Page) -> str:
    return page.path.relative_to(ROOT).as_posix()


def _list_codes() -> set[int]:
    """The exit codes that the errors carry, and those that commands return by themselves."""
    kinds, codes = [RotatorError], {code for code in vars(exit_codes).values() if isinstance(code, int)}
    while kinds:
        kind = kinds.pop()
        codes.add(kind.exit_code)
        kinds += kind.__subclasses__()
    return codes


def test_readme_configuration_loads_as_it_stands(tmp_path: Path) -> None:
    blocks = {block.splitlines()[0].removeprefix("# ").split(":")[0]: block for block in README.list_blocks("yaml")}
    assert set(blocks) == {"rotator.yaml", "policy.yaml"}
    for name, block in blocks.items():
        (tmp_path / name).write_text(block, encoding="utf-8")
    assert check_files(tmp_path / "rotator.yaml") == []
    settings = load_settings(tmp_path / "rotator.yaml")
    assert [account.name for account in settings.accounts] == ["build-bot"]
    assert settings.policy == tmp_path / "policy.yaml"
    assert [rule.name for rule in load_policy(settings.policy).rules] == ["ci", "hands-off", "everything-else"]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_shows_only_commands_that_exist(page: Page) -> None:
    """As they are typed, on the pages that people type from; elsewhere arguments may be left out."""
    whole = page.path in TYPED
    commands = [words for words in page.list_commands() if words != ("COMMAND", "--help")]
    assert commands or page.path not in TYPED
    assert {" ".join(words): found for words in commands if (found := find_problem(words, whole=whole))} == {}


def test_readme_stays_under_200_lines() -> None:
    assert len(README.text.splitlines()) < 200


def test_readme_shows_every_step_to_a_real_organization_as_a_command() -> None:
    shown = {words[:2] if words[0] in ("config", "db", "inventory") else words[:1] for words in README.list_commands()}
    assert shown >= {("init",), ("db", "upgrade"), ("login",), ("scan",), ("inventory", "adopt"), ("plan",), ("once",)}


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("no-such",), "No such command 'no-such'."),
        (("audit", "no-such"), "No such command 'no-such'."),
        (("plan", "--no-such"), "No such option '--no-such'."),
        (("audit", "list", "--event", "no_such"), "Invalid value for '--event': "),
        (("db", "current", "npm-feed"), "Got unexpected extra argument (npm-feed)"),
    ],
)
def test_command_is_refused_when_nobody_could_type_it(words: tuple[str, ...], problem: str) -> None:
    assert (find_problem(words, whole=False) or "").startswith(problem)


def test_command_may_leave_out_its_arguments_where_nobody_types_it() -> None:
    for words in (("rotate",), ("audit",), ("init", "--directory")):
        assert find_problem(words, whole=False) is None
        assert find_problem(words)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_links_to_what_is_there(page: Page) -> None:
    broken = []
    for link in page.list_links():
        target, _, anchor = link.partition("#")
        path = page.path.parent / target if target else page.path
        if not path.exists() or (anchor and anchor not in load_page(path).list_anchors()):
            broken.append(link)
    assert broken == []


def test_page_of_the_promise_draws_the_steps_of_a_rotation() -> None:
    (diagram,) = PROMISE.list_blocks("mermaid")
    drawn = set(re.findall(r"^ +(\S+) --> (\S+)$", diagram, re.MULTILINE))
    steps = {(before.value, after.value) for before, following in STEPS.items() for after in following}
    assert drawn == steps | {("[*]", RotationState.PLANNED.value)}
    assert len(diagram.splitlines()) == len(drawn) + 1


def test_page_of_the_promise_writes_out_steps_that_are_possible() -> None:
    chains = [chain.split(" -> ") for chain in re.findall(r"`(\w+(?: -> \w+)+)`", PROMISE.text)]
    assert max(map(len, chains)) == 9
    for chain in chains:
        for before, after in pairwise(chain):
            assert RotationState(after) in STEPS[RotationState(before)]


def test_page_of_the_promise_says_of_every_state_what_follows_when_the_process_dies() -> None:
    _, _, table = PROMISE.text.partition("| interrupted while |")
    first_column = "".join(re.findall(r"^\|([^|]*)\|", table.partition("\n\n")[0], re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", first_column)) == sorted(state.value for state in RotationState)


def test_page_of_commands_by_hand_lists_every_exit_code() -> None:
    _, _, table = BY_HAND.text.partition("## Exit codes")
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", table.partition("\n## ")[0], re.MULTILINE)]
    assert sorted(listed) == sorted(_list_codes())
    assert listed == [int(code) for code in re.findall(r"\b(\d+) [a-z]", rotator.help or "")]


def test_source_map_is_up_to_date() -> None:
    page = load_page(ROOT / "rotator" / "README.md")
    assert page.text == put_map(page.text), "run python -m tests.unit.source_map --write"
