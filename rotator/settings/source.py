"""A YAML file as data, with the place of each key and value, so that problems can point at them.

Stricter than YAML on purpose: duplicate keys, aliases and tags are refused, and everything but `true`, `false`, `null`
and decimal numbers is text, so that `on`, `1:30` and dates stay as they were written.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import yaml

from rotator.errors import ConfigError
from rotator.settings.problem import Location, Place, Problem, render_problem, show_path

_NULLS = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_FILE = 1_000_000

IsSecret = Callable[[Location, object], bool]
"""Whether the value at a place must not be shown; `object` is the value."""


@dataclass
class Source:
    """One file. `problems` are those that its text alone shows; `data` is None when it could not be read as YAML.

    `is_secret` None means that nothing in the file is secret.
    """

    path: Path
    content: bytes
    is_secret: IsSecret | None = None
    data: object = None
    problems: list[Problem] = field(default_factory=list)
    _lines: list[str] = field(default_factory=list)
    _values: dict[Location, Place] = field(default_factory=dict)
    _keys: dict[Location, Place] = field(default_factory=dict)
    _is_composed: bool = False
    _mask_secrets: Callable[[], None] = lambda: None

    def problem_at(self, location: Location, message: str, *, at_key: bool = False) -> Problem:
        """A problem that points at the value at `location` (or its key), or at what is nearest around it."""
        if at_key and location in self._keys:
            return Problem(self._keys[location], location, message)
        near = location
        while near and near not in self._values:
            near = near[:-1]
        return Problem(self._values.get(near, Place(1, 1)), location, message)

    def render(self, problems: list[Problem]) -> list[str]:
        """The problems from top to bottom, each with its source line and a caret, secrets masked."""
        if problems:
            self._mask_secrets()
        file = show_path(self.path)
        unique = sorted(set(problems), key=lambda problem: problem.sort_key)
        return [render_problem(each, file=file, line=self._show_line(each.place.line)) for each in unique]

    def _show_line(self, number: int) -> str:
        line = self._lines[number - 1] if 0 < number <= len(self._lines) else ""
        if self.is_secret is not None and not self._is_composed:
            # Without a structure nobody knows what is secret: show the line's key and the punctuation only.
            key = re.match(r"[\s-]*(?:[\w.-]+\s*:(?=\s|$))?", line)
            shown = key.end() if key else 0
            return line[:shown] + re.sub(r"""[^\s:{}\[\],"'#|>-]""", "*", line[shown:])
        return line


def read_source(path: Path, *, what: str, fix: str, is_secret: IsSecret | None = None, is_list: bool = False) -> Source:
    """The file read and parsed. ConfigError when there is nothing to parse; `what` names it: `settings`, `policy`;
    `is_list`: it must contain a list, not keys, and its values are read as texts, as they were written."""
    text, content = read_text(path, what=what, fix=fix, longest=_LONGEST_FILE)
    source = Source(path, content, is_secret)
    _Parser(source, text, is_list=is_list).parse(what)
    return source


def read_text(path: Path, *, what: str, fix: str, longest: int) -> tuple[str, bytes]:
    """A file's text, and its bytes. ConfigError when it is no file, longer than so many bytes, or no UTF-8 text."""
    shown = show_path(path)
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ConfigError([f"{shown}: the {what} file is no regular file"], fix=fix)
        if path.exists() and path.stat().st_size > longest:  # before it is read: it may not fit into memory
            size = path.stat().st_size
            raise ConfigError([f"{shown}: the {what} file is too large: {size} bytes"], fix=fix)
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError([f"{shown}: the {what} file does not exist"], fix=fix) from None
    except ValueError:  # NUL, or half a surrogate pair
        raise ConfigError([f"{shown}: the {what} file cannot be read: no file can have this name"], fix=fix) from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError([f"{shown}: the {what} file cannot be read: {reason}"], fix=fix) from None
    try:
        return content.decode("utf-8-sig"), content
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - (content.rfind(b"\n", 0, error.start) + 1) + 1
        where = f"{shown}:{line}:{column}"
        raise ConfigError([f"{where} the {what} file is not UTF-8 text"], fix=fix) from None


class _Parser:
    """Fills a Source from its text."""

    def __init__(self, source: Source, text: str, *, is_list: bool) -> None:
        self._source = source
        self._text = text
        self._is_list = is_list
        # Exactly YAML's line breaks: `splitlines` knows more of them and would count differently.
        source._lines = re.split(r"\r\n|[\n\r\x85\u2028\u2029]", text)

    def parse(self, what: str) -> None:
        """Reads the whole text; everything wrong with it becomes a problem of the Source."""
        loader: _NodeLoader | None = None
        try:
            loader = _NodeLoader(self._text)
            node = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
            self._add(place, (), _explain_syntax(error))
            return
        except yaml.reader.ReaderError as error:
            before = self._text[: error.position]
            place = Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)
            self._add(place, (), f"the character U+{ord(self._text[error.position]):04X} is not allowed here")
            return
        except RecursionError:
            self._add(Place(1, 1), (), f"the {what} file is nested too deeply")
            return
        except (ValueError, OverflowError):  # the library's own, for an escape such as \U00110000
            mark = loader.get_mark() if loader is not None else None
            place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
            self._add(place, (), "an escape (\\x, \\u, \\U) names no character")
            return
        self._source._is_composed = True
        if node is None or (isinstance(node, yaml.ScalarNode) and not node.value):
            self._add(Place(1, 1), (), f"the {what} file is empty")
        elif not isinstance(node, yaml.SequenceNode if self._is_list else yaml.MappingNode):
            wanted = "a list" if self._is_list else "keys and values, such as `version: 1`"
            self._add(_place(node), (), f"the {what} file must contain {wanted}")
        else:
            self._source.data = self._read(node, ())
        self._source._mask_secrets = partial(self._mask_secrets, node, ())

    def _add(self, place: Place, location: Location, message: str) -> None:
        self._source.problems.append(Problem(place, location, message))

    def _read(self, node: yaml.Node, location: Location) -> object:
        self._source._values[location] = _place(node)
        if not node.tag.startswith("tag:yaml.org,2002:"):
            self._add(_place(node), location, "tags (`!...`) are not supported: write the plain value")
        if isinstance(node, yaml.MappingNode):
            return self._read_mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self._read(item, (*location, index)) for index, item in enumerate(node.value)]
        self._check_text(node, location)
        return _read_text(node) if self._is_list else _read_scalar(node)

    def _check_text(self, node: yaml.Node, location: Location) -> None:
        """Escapes can write what no name, path or address may hold, and what no file and no database can keep."""
        found = _FORBIDDEN.search(str(node.value))
        if found is not None:
            self._add(_place(node), location, f"the character U+{ord(found[0]):04X} is not allowed here")

    def _read_mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        read: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._add(_place(key_node), location, "a key must be plain text")
                continue
            self._check_text(key_node, location)
            key = str(key_node.value)
            inner = (*location, key)
            if key in read:
                first = self._source._keys[inner].line
                self._add(_place(key_node), inner, f"duplicate key, first used in line {first}: keep one")
                continue
            self._source._keys[inner] = _place(key_node)
            read[key] = self._read(value_node, inner)
        return read

    def _mask_secrets(self, node: yaml.Node | None, location: Location) -> None:
        """Overwrites secret values in the lines that problems show; the columns stay where they are."""
        is_secret = self._source.is_secret
        if is_secret is None or node is None:
            return
        if location and is_secret(location, _read_plain(node)):
            self._overwrite(node)
        elif isinstance(node, yaml.MappingNode):
            for key_node, value_node in node.value:
                if isinstance(key_node, yaml.ScalarNode):
                    self._mask_secrets(value_node, (*location, str(key_node.value)))
                else:
                    self._overwrite(key_node)
                    self._overwrite(value_node)
        elif isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._mask_secrets(item, (*location, index))
        elif not location:
            self._overwrite(node)

    def _overwrite(self, node: yaml.Node) -> None:
        lines, start, end = self._source._lines, node.start_mark, node.end_mark
        for number in range(start.line, min(end.line, len(lines) - 1) + 1):
            line = lines[number]
            first = start.column if number == start.line else len(line) - len(line.lstrip())
            last = end.column if number == end.line else len(line)
            lines[number] = line[:first] + "*" * (last - first) + line[max(first, last) :]


class _NodeLoader(yaml.SafeLoader):
    """Composes nodes and refuses aliases: they can make a document endless."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.current_event.start_mark
            message = "aliases (`*name`) are not supported: write the value again, or put text in quotes"
            raise yaml.composer.ComposerError(None, None, message, mark)
        return super().compose_node(parent, index)


def _place(node: yaml.Node) -> Place:
    return Place(node.start_mark.line + 1, node.start_mark.column + 1)


def _read_plain(node: yaml.Node) -> object:
    """A node's value without places: for a mapping its keys are enough."""
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): None for key, _ in node.value}
    return [] if isinstance(node, yaml.SequenceNode) else _read_scalar(node)


def _read_text(node: yaml.Node) -> str | None:
    """A value as it was written, so that `007` stays what it is."""
    text = str(node.value)
    return None if getattr(node, "style", None) is None and text in _NULLS else text


def _read_scalar(node: yaml.Node) -> str | int | float | bool | None:
    text = str(node.value)
    if getattr(node, "style", None) is not None:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _INTEGER.fullmatch(text) and len(text) < 20:
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _explain_syntax(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "something unexpected"
    if "'\\t'" in problem:
        return "tabs are not allowed here: indent with spaces"
    # The parser quotes names out of the file, and a name may be part of a secret.
    safe = re.sub(
        r"""'([^']*)'|"([^"]*)\"""",
        lambda quoted: quoted.group() if len(quoted.group()) <= 3 or (quoted.group(1) or "")[:1] == "<" else "this",
        problem,
    )
    return f"invalid YAML: {safe}"
