"""The product's source as values, for the tests of its structure."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rotator"
_IMPORTING_CALLS = frozenset({"import_module", "__import__"})
_MOST_RENAMES = 5


@dataclass(frozen=True)
class Module:
    """A Python file: its dotted name, its text and its tree. `is_package` is true for an __init__.py."""

    name: str
    text: str
    is_package: bool = False

    @cached_property
    def tree(self) -> ast.Module:
        """Parse the file."""
        return ast.parse(self.text)

    def imported(self) -> Iterator[str]:
        """Give the dotted names of all that it imports: anywhere in the file, relatively, or by string.

        `from a import b` gives `a.b`, because b may be a module.
        """
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(node)
                yield from (f"{origin}.{alias.name}" for alias in node.names)
            elif isinstance(node, ast.Call) and self._imports(node):
                names = (*node.args[:1], *(keyword.value for keyword in node.keywords))
                yield from (str(value.value) for value in names if isinstance(value, ast.Constant))

    def imports_by_computed_name(self) -> bool:
        """Whether it imports something whose name is not written there."""
        calls = (node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and self._imports(node))
        return any(not (node.args and isinstance(node.args[0], ast.Constant)) for node in calls)

    def called(self) -> Iterator[str]:
        """Give the callees by their full names, for instance `datetime.datetime.now`, whatever the file calls them."""
        return (self._resolve(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call))

    def named(self) -> Iterator[str]:
        """Give the full names of everything that is called, passed on or read."""
        expressions = (node for node in ast.walk(self.tree) if isinstance(node, ast.Name | ast.Attribute))
        return (self._resolve(node) for node in expressions if isinstance(node.ctx, ast.Load))

    def _imports(self, call: ast.Call) -> bool:
        return self._resolve(call.func).split(".")[-1] in _IMPORTING_CALLS

    @cached_property
    def _bindings(self) -> dict[str, str]:
        """What the file's own names stand for: those that it imports, and those that it assigns another name to."""
        found: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.asname: alias.name for alias in node.names if alias.asname}
            elif isinstance(node, ast.ImportFrom):
                found |= {alias.asname or alias.name: f"{self._origin(node)}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.Assign) and (name := _name_of(node.value)):
                found |= {target.id: name for target in node.targets if isinstance(target, ast.Name)}
        return found

    def _resolve(self, expression: ast.expr) -> str:
        """Return a name in full."""
        first, *rest = _name_of(expression).split(".")
        for _ in range(_MOST_RENAMES):
            stands_for = self._bindings.get(first, first)
            if stands_for.split(".")[0] == first:
                return ".".join([stands_for, *rest])
            first, *more = stands_for.split(".")
            rest = [*more, *rest]
        return ".".join([first, *rest])

    def _origin(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        parents = self.name.split(".")
        keep = len(parents) - node.level + self.is_package
        return ".".join([*parents[:keep], *([node.module] if node.module else [])])


def _name_of(expression: ast.expr) -> str:
    if isinstance(expression, ast.Attribute):
        return f"{_name_of(expression.value)}.{expression.attr}"
    return expression.id if isinstance(expression, ast.Name) else ""


def _load(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    return Module(".".join(parts[:-1] if is_package else parts), path.read_text(encoding="utf-8"), is_package)


def load_product() -> list[Module]:
    """Load every module of the package, by name."""
    return [_load(path) for path in sorted(PACKAGE.rglob("*.py"))]


def load_migrations() -> list[Module]:
    """Load every module of the migrations, which are installed with the package."""
    return [_load(path) for path in sorted((ROOT / "migrations").rglob("*.py"))]


def list_files() -> list[Path]:
    """List every file that is or would be committed: git's files, and new ones that it does not ignore."""
    # The folder may belong to another user, as in a container; we may read it anyway.
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    files = (ROOT / name for name in sorted(set(answer.stdout.split("\0"))) if name)
    return [path for path in files if path.is_file()]
