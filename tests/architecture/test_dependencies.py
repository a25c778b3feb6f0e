"""What the product imports is declared in pyproject.toml."""

import sys
import tomllib
from importlib.metadata import distributions
from pathlib import PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.source_tree import ROOT, load_product

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_OWN = {*sys.stdlib_module_names, "rotator"}


def _read_names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


def _map_modules() -> dict[str, str]:
    """The distribution behind each module file: `azure.core` is another one than `azure.identity`."""
    homes: dict[str, str] = {}
    for distribution in distributions():
        for file in distribution.files or ():
            path = PurePosixPath(file)
            if path.suffix == ".py":
                parts = path.parent.parts if path.stem == "__init__" else (*path.parent.parts, path.stem)
                homes[".".join(parts)] = canonicalize_name(distribution.metadata["Name"])
    return homes


def _find_home(name: str, homes: dict[str, str]) -> str:
    """The distribution of an imported name, which may be a module or something inside one."""
    parts = name.split(".")
    candidates = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((homes[each] for each in candidates if each in homes), f"nothing that is installed: {name}")


def test_imported_distributions_are_declared_when_the_product_is_read() -> None:
    homes = _map_modules()
    imported = {name for module in load_product() for name in module.imported() if name.split(".")[0] not in _OWN}
    assert "azure.identity" in imported
    assert {_find_home(name, homes) for name in imported} - _read_names(_PROJECT["dependencies"]) == set()
