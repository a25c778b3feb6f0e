"""Sizes, docstrings, names, and the exact number of waivers."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator

from tests.support.source_tree import Module, load_product

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

_MODULES = load_product()
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
    count = {kind: sum(kind in comment for comment in comments) for kind in _WAIVERS}
    # Cleaning up and raising again is no waiver.
    kept = [
        node.type
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise"
    ]
    broad = [kind for kind in kept if kind is None or re.search(r"\b(Base)?Exception\b", ast.unparse(kind))]
    return count | {"broad except": len(broad)}


def test_modules_are_short_enough_to_read() -> None:
    sizes = {module.name: len(module.text.splitlines()) for module in _MODULES}
    assert {name: lines for name, lines in sizes.items() if lines > _MOST_LINES} == {}


def test_functions_are_short_enough_to_read() -> None:
    sizes = {
        f"{module.name}.{function.name}": _count_statements(function)
        for module in _MODULES
        for function in _functions(module)
    }
    assert {name: statements for name, statements in sizes.items() if statements > _MOST_STATEMENTS} == {}


def test_public_names_say_what_they_are() -> None:
    assert [name for module in _MODULES for name in _find_undocumented(module)] == []


def test_module_names_say_what_is_inside() -> None:
    words = {module.name: set(module.name.split(".")[-1].split("_")) for module in _MODULES}
    assert {name: found for name, parts in words.items() if (found := parts & _FORBIDDEN_NAMES)} == {}


def test_waivers_are_as_many_as_written_here() -> None:
    counts = [_count_waivers(module.text) for module in _MODULES]
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


def test_statements_are_counted_when_nested() -> None:
    function = ast.parse(
        'def f():\n    """Text."""\n    if x:\n        for y in z:\n            pass\n    return 1'
    ).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert _count_statements(function) == 4
