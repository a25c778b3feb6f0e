"""Mutation testing: the page says of every module that is mutated why it is, and of no other."""

import re
import tomllib

from tests.support.source_tree import ROOT


def test_page_lists_the_modules_that_are_mutated_and_each_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    mutated = project["tool"]["mutmut"]["only_mutate"]
    page = (ROOT / "tests" / "MUTANTS.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `((?:domain|engine)/\w+)` \| (?:id|write|clock)[ ,|]", page, re.MULTILINE)
    assert [f"rotator/{module}.py" for module in listed] == mutated
    assert [path for path in mutated if not (ROOT / path).is_file()] == []
