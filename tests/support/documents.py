"""The project's Markdown pages as values: fenced blocks, commands and links."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# At the start, or after a path, a substitution or another command; never an argument with the same name.
# Its first word is a command or an option; what follows may also be a path, a pattern in quotes, a number.
_COMMAND = re.compile(r"(?:^|[/_(]|&& )rotator( (?=[\w-])[^\s`|&;()]+(?: (?=[\w'/.-])[^\s`|&;()]+)*)")
_SHELLS = frozenset({"sh", "console", "crontab"})


@dataclass(frozen=True)
class Page:
    """One Markdown file."""

    path: Path
    text: str

    def list_blocks(self, language: str) -> list[str]:
        """Return the fenced blocks of one language."""
        return [body for name, body in _FENCE.findall(self.text) if name == language]

    def list_commands(self) -> list[tuple[str, ...]]:
        """Return the words after each `rotator` that a reader may type, in shell blocks and code spans."""
        lines = [line for name, body in _FENCE.findall(self.text) if name in _SHELLS for line in _typed(name, body)]
        spans = [span for span in _SPAN.findall(_FENCE.sub("", self.text)) if span.startswith(("rotator ", "/"))]
        return [tuple(words.split()) for text in lines + spans for words in _COMMAND.findall(text)]

    def list_links(self) -> list[str]:
        """Return the targets of its links within the project."""
        return [target for target in _LINK.findall(_FENCE.sub("", self.text)) if "://" not in target]

    def list_anchors(self) -> set[str]:
        """Return what a link may name after `#`: its headings as anchors."""
        headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", self.text), re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def load_page(path: Path) -> Page:
    """Load the page in a file."""
    return Page(path, path.read_text(encoding="utf-8"))


def _typed(language: str, body: str) -> Iterator[str]:
    """Give the lines that a person types: those after a prompt if the block shows output too, without comments."""
    for line in body.splitlines():
        if language == "console" and not line.startswith("$ "):
            continue
        yield re.split(r"(?:^|\s)#", line.removeprefix("$ "))[0]
