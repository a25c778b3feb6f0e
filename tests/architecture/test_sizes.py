"""Sizes, docstrings, names, and the exact number of waivers."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import pytest

from tests.support.source_tree import Module, load_migrations, load_product

_MOST_LINES = 400
_MOST_STATEMENTS = 30
_FORBIDDEN_NAMES = {
    "base",
    "common",
    "handler",
    "handlers",
    "helper",
    "helpers",
    "manager",
    "misc",
    "util",
    "utils",
}

# One more of these is a decision: change the number in the same commit, with the reason beside the waiver.
_WAIVERS = {"type: ignore": 1, "noqa": 1, "no cover": 0, "broad except": 2}
# The tools read these comments whatever their case and spaces.
_COMMENTS = {
    "type: ignore": re.compile(r"type:\s*ignore|mypy:", re.IGNORECASE),
    "noqa": re.compile(r"noqa|ruff:|flake8:", re.IGNORECASE),
    "no cover": re.compile(r"no\s*(cover|branch)", re.IGNORECASE),
}
_BROAD = re.compile(r"\b(Base)?Exception\b")

_MODULES = load_product()
_INSTALLED = [*_MODULES, *load_migrations()]
_Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(module: Module) -> Iterator[_Function]:
    return (node for node in ast.walk(module.tree) if isinstance(node, _Function))


def _count_statements(function: _Function) -> int:
    """All statements inside, nested ones too, the docstring not."""
    inside = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    return inside - (ast.get_docstring(function) is not None)


def _find_undocumented(module: Module) -> Iterator[str]:
    """The module, public functions and classes, and methods of protocols that say nothing of themselves."""
    if not ast.get_docstring(module.tree):
        yield module.name
    for node in module.tree.body:
        if not isinstance(node, ast.ClassDef | _Function) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield f"{module.name}.{node.name}"
        if isinstance(node, ast.ClassDef) and any(ast.unparse(parent) == "Protocol" for parent in node.bases):
            methods = (method for method in node.body if isinstance(method, _Function))
            yield from (f"{module.name}.{node.name}.{m.name}" for m in methods if not ast.get_docstring(m))


def _count_waivers(text: str) -> dict[str, int]:
    comments = [
        token.string for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT
    ]
    count = {kind: sum(bool(found.search(comment)) for comment in comments) for kind, found in _COMMENTS.items()}
    nodes = list(ast.walk(ast.parse(text)))
    count["type: ignore"] += sum(isinstance(node, ast.alias) and node.name == "no_type_check" for node in nodes)
    # Cleaning up and raising again is no waiver.
    caught = [
        ast.unparse(node.type) if node.type else "Exception"
        for node in nodes
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise"
    ]
    caught += [
        ast.unparse(node) for node in nodes if isinstance(node, ast.Call) and "suppress" in ast.unparse(node.func)
    ]
    return count | {"broad except": sum(bool(_BROAD.search(kinds)) for kinds in caught)}


def test_modules_are_short_enough_to_read() -> None:
    sizes = {module.name: len(module.text.splitlines()) for module in _INSTALLED}
    assert {name: lines for name, lines in sizes.items() if lines > _MOST_LINES} == {}


def test_functions_are_short_enough_to_read() -> None:
    sizes = {
        f"{module.name}.{function.name}": _count_statements(function)
        for module in _INSTALLED
        for function in _functions(module)
    }
    assert {name: statements for name, statements in sizes.items() if statements > _MOST_STATEMENTS} == {}


def test_public_names_say_what_they_are() -> None:
    assert [name for module in _MODULES for name in _find_undocumented(module)] == []


def test_module_names_say_what_is_inside() -> None:
    words = {module.name: set(module.name.split(".")[-1].split("_")) for module in _MODULES}
    assert {name: found for name, parts in words.items() if (found := parts & _FORBIDDEN_NAMES)} == {}


def test_waivers_are_as_many_as_written_here() -> None:
    counts = [_count_waivers(module.text) for module in _INSTALLED]
    assert {kind: sum(count[kind] for count in counts) for kind in _WAIVERS} == _WAIVERS


def test_waivers_are_counted_when_they_are_code_and_not_text() -> None:
    text = (
        "x = 'type" + ": ignore'\n"
        "y = 1  # type" + ": ignore[misc]  # no" + "qa: S101\n"
        "try:\n    pass\nexcept (ValueError, Exception):\n    pass\n"
        "try:\n    pass\nexcept ValueError:\n    pass\n"
        "try:\n    pass\nexcept BaseException:\n    tidy()\n    raise\n"
    )
    assert _count_waivers(text) == {"type: ignore": 1, "noqa": 1, "no cover": 0, "broad except": 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("def f():  # NO" + "QA: C901\n    pass", "noqa"),
        ("# ruff" + ": ignore\n", "noqa"),
        ("x = 1  # type:" + "ignore", "type: ignore"),
        ("# mypy" + ": ignore-errors", "type: ignore"),
        ("from typing import no_type_check\n", "type: ignore"),
        ("x = 1  # pragma: NO" + "COVER", "no cover"),
        ("try:\n    pass\nexcept:\n    pass", "broad except"),
        ("with contextlib.suppress(ValueError, Exception):\n    pass", "broad except"),
    ],
)
def test_waiver_is_counted_however_it_is_written(text: str, kind: str) -> None:
    assert _count_waivers(text) == dict.fromkeys(_WAIVERS, 0) | {kind: 1}


def test_statements_are_counted_when_nested() -> None:
    function = ast.parse(
        'def f():\n    """Text."""\n    if x:\n        for y in z:\n            pass\n    return 1'
    ).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert _count_statements(function) == 4
