"""Who may import whom, and what the pure parts must not touch."""

import ast
import sys

import pytest

from tests.support.source_tree import ROOT, Module, load_product

_ALLOWED = {
    "__init__": set[str](),
    "__main__": {"cli"},
    "errors": set[str](),
    "domain": {"errors"},
    "ports": {"domain", "errors"},
    "engine": {"ports", "domain", "errors"},
    "documents": {"engine", "ports", "domain", "errors"},
    "report": {"documents", "engine", "ports", "domain", "errors"},
    "daemon": {"documents", "engine", "ports", "domain", "errors"},
    "settings": {"domain", "errors"},
    "adapters": {"ports", "domain", "errors"},
    "wiring": {"report", "daemon", "documents", "engine", "ports", "adapters", "settings", "domain", "errors"},
    "cli": {*("wiring", "report", "daemon", "documents", "engine", "ports", "settings", "domain", "errors"), "sandbox"},
    "sandbox": set[str](),
}
_PURE = {"errors", "domain", "ports"}
_STANDARD_ONLY = {"errors", "domain", "ports", "engine", "documents"}
_SANDBOX_LIBRARIES = {"cryptography", "jwt"}

_OUTSIDE_WORLD = {
    *(
        "asyncio",
        "fcntl",
        "http",
        "importlib",
        "io",
        "mmap",
        "multiprocessing",
        "os",
        "pathlib",
        "select",
        "selectors",
        "shutil",
    ),
    *("signal", "socket", "socketserver", "sqlite3", "ssl", "subprocess", "tempfile", "time", "urllib"),
}
_NOT_PURE = _OUTSIDE_WORLD | {"concurrent", "logging", "random", "secrets", "sys", "threading", "warnings"}
_CLOCK_READERS = {"now", "utcnow", "today"}
_IMPURE_NAMES = {
    *("open", "print", "input", "uuid.uuid1", "uuid.uuid4"),
    *("__import__", "builtins", "eval", "exec", "globals", "sys.modules"),
}
"""Names of what reads or changes the outside world, and of ways to reach such a name unseen."""

_MODULES = load_product()


def _layer(name: str) -> str:
    """The layer of one of our dotted names: the part after `rotator`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def _find_wrong_imports(module: Module) -> list[str]:
    own = _layer(module.name)
    ours = [name for name in module.imported() if name.split(".")[0] == "rotator"]
    allowed = _ALLOWED[own] | {own, "__version__"}
    return [f"{module.name} imports {name}" for name in ours if _layer(name) not in allowed]


def _find_impurities(module: Module) -> list[str]:
    """Uses of the outside world, the clock or chance; the engine may use threads and logs."""
    layer = _layer(module.name)
    denied = _NOT_PURE if layer in _PURE else _OUTSIDE_WORLD
    found = [name for name in module.imported() if name.split(".")[0] in denied]
    found += [name for name in module.named() if "date" in name and name.split(".")[-1] in _CLOCK_READERS]
    return found + [name for name in module.named() if name in _IMPURE_NAMES]


def test_modules_import_only_lower_layers_when_read_whole() -> None:
    assert [wrong for module in _MODULES for wrong in _find_wrong_imports(module)] == []


def test_only_the_table_of_commands_imports_by_a_computed_name() -> None:
    assert [module.name for module in _MODULES if module.imports_by_computed_name()] == ["rotator.cli.main"]


def test_every_module_belongs_to_a_known_layer() -> None:
    assert {_layer(module.name) for module in _MODULES} <= set(_ALLOWED)


def test_inner_layers_stay_off_the_outside_world() -> None:
    inner = [module for module in _MODULES if _layer(module.name) in _STANDARD_ONLY]
    assert {module.name: found for module in inner if (found := _find_impurities(module))} == {}


def test_inner_layers_and_sandbox_import_only_their_libraries() -> None:
    libraries = {layer: sys.stdlib_module_names | {"rotator"} for layer in _STANDARD_ONLY}
    libraries["sandbox"] = sys.stdlib_module_names | {"rotator"} | _SANDBOX_LIBRARIES
    foreign = [
        f"{module.name} imports {name}"
        for module in _MODULES
        for name in module.imported()
        if _layer(module.name) in libraries and name.split(".")[0] not in libraries[_layer(module.name)]
    ]
    assert foreign == []


def test_package_files_hold_nothing_but_a_docstring() -> None:
    packages = [module for module in _MODULES if module.is_package]
    extra = {
        module.name: [ast.unparse(node) for node in module.tree.body[1:] if "__version__ = " not in ast.unparse(node)]
        for module in packages
    }
    assert {name: found for name, found in extra.items() if found} == {}


@pytest.mark.parametrize(
    "text",
    [
        "import rotator.adapters.http",
        "from rotator.adapters import http",
        "from rotator import adapters",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rotator.adapters.http import Client",
        "def load():\n    from rotator.adapters import http\n    return http",
        "from ..adapters import http",
        "import importlib\nimportlib.import_module('rotator.adapters.http')",
        "import importlib as i\ni.import_module(name='rotator.adapters.http')",
        "from importlib import import_module as load\nload('rotator.adapters.http')",
        "from importlib import import_module\nload = import_module\nload('rotator.adapters.http')",
        "load = __import__\nload('rotator.adapters.http')",
    ],
)
def test_import_is_found_when_written_in_any_way(text: str) -> None:
    assert _find_wrong_imports(Module("rotator.engine.planning", text)) != []
    assert _find_wrong_imports(Module("rotator.wiring.installation", text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "import time",
        "from os import environ",
        "from datetime import datetime\nx = datetime.now()",
        "import datetime\nx = datetime.date.today()",
        "open('x')",
        "import uuid\nuuid.uuid4()",
        "from datetime import UTC, datetime as D\nx = D.now(UTC)",
        "from datetime import datetime\nclock = datetime\nx = clock.now()",
        "from datetime import datetime\nx = sorted([], key=datetime.now)",
        "from uuid import uuid4 as make\nmake()",
        "read = open\nread('x')",
        "import builtins\nbuiltins.open('x')",
        "import sys\nsys.modules['time']",
        "from importlib import import_module as load\nname = 'time'\nload(name)",
        "eval('1')",
    ],
)
def test_impurity_is_found_when_written_in_any_way(text: str) -> None:
    assert _find_impurities(Module("rotator.domain.policy", text)) != []


def test_judge_of_the_simulation_knows_nothing_of_the_product() -> None:
    """It must not believe what it judges: not the engine, not the journal, and none of our tests' helpers."""
    oracle = Module("tests.simulation.oracle", (ROOT / "tests/simulation/oracle.py").read_text(encoding="utf-8"))
    foreign = {name.split(".")[0] for name in oracle.imported()} - sys.stdlib_module_names
    assert foreign == set()
