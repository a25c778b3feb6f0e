"""The map of the source: one line for each module, from the first line of its docstring.

`test_readme.py` says when it is out of date; `python -m tests.unit.source_map --write` puts it into rotator/README.md.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.source_tree import PACKAGE

README = PACKAGE / "README.md"
ROOMS = ("domain", "ports", "engine", "documents", "report", "daemon", "settings", "adapters", "wiring", "cli")
"""In the order of reading. The sandbox has a page of its own."""

_MAP = re.compile(r"(<!-- map: begin -->\n).*?(<!-- map: end -->)", re.DOTALL)


def render_map() -> str:
    """A section for each room, each module with what it says of itself."""
    sections = []
    for room in ROOMS:
        lines = [f"### {room}\n", _summary(PACKAGE / room / "__init__.py") + "\n"]
        lines += [f"- `{name}` {_summary(path)}" for name, path in _modules(PACKAGE / room)]
        sections.append("\n".join(lines))
    return "\n\n".join(sections) + "\n"


def put_map(page: str) -> str:
    """The page with the map as the source is now."""
    return _MAP.sub(lambda found: f"{found[1]}{render_map()}{found[2]}", page)


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*.py")):
        if path.name != "__init__.py":
            yield path.relative_to(folder).with_suffix("").as_posix(), path


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(put_map(README.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        print(render_map(), end="")
