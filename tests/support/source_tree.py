"""The product's source as values, for the tests of its structure."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "rotator"
_IMPORTING_CALLS = frozenset({"import_module", "__import__"})


@dataclass(frozen=True)
class Module:
    """A Python file: its dotted name, its text and its tree. `is_package` is true for an __init__.py."""

    name: str
    text: str
    is_package: bool = False

    @property
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
            elif isinstance(node, ast.Call) and _name_of(node.func).split(".")[-1] in _IMPORTING_CALLS:
                yield from (str(value.value) for value in node.args[:1] if isinstance(value, ast.Constant))

    def called(self) -> Iterator[str]:
        """Give the callees as written, for instance `datetime.now`."""
        return (_name_of(node.func) for node in ast.walk(self.tree) if isinstance(node, ast.Call))

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
