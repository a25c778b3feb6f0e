"""What the product imports is declared in pyproject.toml, and what a user installs is locked."""

import sys
import tomllib
from importlib.metadata import distributions, requires
from pathlib import PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.source_tree import ROOT, load_product

_PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
_OPTIONAL = [name for extra in ("notify", "postgres", "stamps") for name in _PROJECT["optional-dependencies"][extra]]
"""What a user installs if it is needed; `requirements.txt` has all of it."""
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
    declared = _read_names([*_PROJECT["dependencies"], *_OPTIONAL])
    assert {_find_home(name, homes) for name in imported} - declared == set()


def _find_closure(requirements: list[str]) -> set[str]:
    """The names of all that these requirements bring along, on this platform."""
    seen: set[tuple[str, ...]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        wanted = (name, *sorted(requirement.extras))
        if wanted in seen:
            continue
        seen.add(wanted)
        for inner in map(Requirement, requires(name) or []):
            extras = ("", *requirement.extras)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(inner)
    return {name for name, *_ in seen}


def _read_pins(name: str) -> dict[str, str]:
    """Each pinned distribution with its version and hashes."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return {line.partition("==")[0]: line for line in text.splitlines() if "==" in line}


def test_lock_for_users_holds_what_the_product_needs_and_no_more() -> None:
    needed = [*_PROJECT["dependencies"], *_OPTIONAL]
    assert set(_read_pins("requirements.txt")) == _find_closure(needed)


def test_lock_for_users_pins_what_the_tests_ran_with() -> None:
    tested = _read_pins("requirements-dev.txt")
    assert {name: pin for name, pin in _read_pins("requirements.txt").items() if tested.get(name) != pin} == {}
