"""A page of HTML as a test reads it: its tables, its texts, and whether its elements are closed in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


@dataclass
class Element:
    """One element: its name, attributes, children and texts in order."""

    name: str
    attributes: dict[str, str]
    children: list[Element | str] = field(default_factory=list)

    def text(self) -> str:
        """All text inside, with single spaces."""
        return " ".join("".join(self._texts()).split())

    def _texts(self) -> list[str]:
        parts: list[str] = []
        for child in self.children:
            parts += [child] if isinstance(child, str) else child._texts()
        return parts

    def find_all(self, name: str) -> list[Element]:
        """Every element of that name inside, in order."""
        found: list[Element] = []
        for child in self.children:
            if isinstance(child, Element):
                found += [child] if child.name == name else []
                found += child.find_all(name)
        return found

    def find_id(self, name: str) -> Element:
        """The one element with that id."""
        [found] = [each for each in self.walk() if each.attributes.get("id") == name]
        return found

    def walk(self) -> list[Element]:
        """Every element inside, and this one."""
        found = [self]
        for child in self.children:
            if isinstance(child, Element):
                found += child.walk()
        return found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self._open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, {name: value or "" for name, value in attrs})
        self._open[-1].children.append(made)
        if tag not in _VOID:
            self._open.append(made)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        closed = self._open.pop()
        assert closed.name == tag, f"{tag} closes {closed.name}"

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)

    def close(self) -> None:
        super().close()
        assert len(self._open) == 1, [each.name for each in self._open]


def read_page(text: str) -> Element:
    """Read a page; fails unless each element is closed, the last one opened first."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.root


def read_table(page: Element, name: str) -> list[tuple[str, ...]]:
    """The rows of a table's body, each as the texts of its cells; none if the page does not have the table."""
    tables = [table for table in page.find_all("table") if table.attributes["id"] == name]
    if not tables:
        return []
    [table] = tables
    [body] = table.find_all("tbody")
    rows = []
    for row in body.find_all("tr"):
        cells = [cell for cell in row.children if isinstance(cell, Element)]
        assert cells[0].name == "th"
        assert cells[0].attributes == {"scope": "row"}
        rows.append(tuple(cell.text() for cell in cells))
    return rows
