"""A file that lists PATs to be adopted: CSV with a header, or YAML; all bad lines are reported together."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rotator.domain.managed_pat import NAME_PATTERN, SECRET_NAME_PATTERN
from rotator.domain.outside import find_id, make_harmless
from rotator.domain.words import say_all
from rotator.errors import ConfigError
from rotator.settings.addresses import parse_vault
from rotator.settings.problem import Place, Problem, show_path
from rotator.settings.source import Source, read_source, read_text

REQUIRED = ("id", "name", "secret")
OPTIONAL = ("account", "organization", "vault", "replace_foreign")
_FIX = (
    "Write a .csv file with the header `id,name,secret`, or a .yaml file with a list of these keys. Also possible: "
    "account, organization, vault, replace_foreign. Nothing was adopted."
)
_LONGEST_CSV = 10_000_000
_WORDS = {"": False, "false": False, "no": False, "true": True, "yes": True}


@dataclass(frozen=True)
class ListedPat:
    """One line: which PAT, by its id, and what was chosen for it. None: not said, so the server or the rule says it."""

    line: int
    authorization_id: str
    name: str
    secret_name: str
    account: str | None = None
    organization: str | None = None
    vault: str | None = None
    replace_foreign: bool = False


@dataclass(frozen=True)
class _Row:
    """The texts of one line, by key."""

    line: int
    values: dict[str, str]


def load_adoption_list(path: Path) -> tuple[ListedPat, ...]:
    """Read the file. ConfigError with every problem, each with its line, when one line is bad."""
    kind = path.suffix.lower()
    problems: list[Problem] = []
    if kind == ".csv":
        rows = _read_csv(path, problems)
    elif kind in (".yaml", ".yml"):
        rows = _read_yaml(path, problems)
    else:
        raise ConfigError([f"{show_path(path)}: its name must end in .csv, .yaml or .yml"], fix=_FIX)
    found = [pat for row in rows if (pat := _check(row, problems)) is not None]
    _find_repeated(found, problems)
    if not found and not problems:
        problems.append(Problem(Place(1, 1), (), "lists no PAT"))
    if problems:
        file = show_path(path)
        lines = sorted({(each.place.line, each.message) for each in problems})
        raise ConfigError([f"{file}:{line}: {make_harmless(message)}" for line, message in lines], fix=_FIX)
    return tuple(found)


def _read_csv(path: Path, problems: list[Problem]) -> list[_Row]:
    text, _ = read_text(path, what="adoption", fix=_FIX, longest=_LONGEST_CSV)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[_Row] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_keys(dict.fromkeys(header, 1), 1, problems)
        for name in sorted({name for name in header if header.count(name) > 1}):
            _add(problems, 1, f'duplicate key "{name}": keep one')
        for fields in reader:
            if len(fields) > len(header):
                _add(problems, reader.line_num, f"has {len(fields)} fields, the header has {len(header)}")
            elif any(field.strip() for field in fields):
                values = dict(zip(header, (field.strip() for field in fields), strict=False))
                rows.append(_Row(reader.line_num, values))
    except csv.Error as error:
        _add(problems, reader.line_num, f"invalid CSV: {error}")
    return [] if any(each.place.line == 1 for each in problems) else rows


def _read_yaml(path: Path, problems: list[Problem]) -> list[_Row]:
    source = read_source(path, what="adoption", fix=_FIX, is_list=True)
    problems.extend(source.problems)
    if not isinstance(source.data, list):
        return []
    return list(_read_entries(source, source.data, problems))


def _read_entries(source: Source, entries: list[object], problems: list[Problem]) -> Iterator[_Row]:
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            problems.append(source.problem_at((index,), "must be keys and values, such as `id: ...`"))
            continue
        line = source.problem_at((index,), "").place.line
        nested = [key for key, value in entry.items() if isinstance(value, dict | list)]
        for key in nested:
            problems.append(source.problem_at((index, key), f"{key} must be plain text"))
        before = len(problems)
        _check_keys({key: source.problem_at((index, key), "", at_key=True).place.line for key in entry}, line, problems)
        if not nested and before == len(problems):
            yield _Row(line, {key: "" if value is None else str(value) for key, value in entry.items()})


def _check_keys(lines: dict[str, int], line: int, problems: list[Problem]) -> None:
    missing = [key for key in REQUIRED if key not in lines]
    if missing:
        _add(problems, line, f"lacks {say_all(missing)}")
    for key, at in lines.items():
        if key not in (*REQUIRED, *OPTIONAL):
            _add(problems, at, f'unknown key "{key}"')


def _check(row: _Row, problems: list[Problem]) -> ListedPat | None:
    """Return the line as a value, or None when it is bad."""
    before, values = len(problems), row.values
    empty = [key for key in REQUIRED if not values.get(key)]
    if empty:
        _add(problems, row.line, f"{say_all(empty)} must not be empty")
    identifier = find_id(values.get("id", ""))
    checks = (
        ("id", identifier is not None, "is not an authorization id; `rotator scan` shows it"),
        (
            "name",
            NAME_PATTERN.fullmatch(values.get("name", "")),
            "is not a name: use a-z, 0-9, . - _",
        ),
        (
            "secret",
            SECRET_NAME_PATTERN.fullmatch(values.get("secret", "")),
            "is no secret's name: use a-z, 0-9, -",
        ),
        ("replace_foreign", values.get("replace_foreign", "").lower() in _WORDS, "must be true or false"),
    )
    for key, is_good, message in checks:
        if values.get(key) and not is_good:
            _add(problems, row.line, f'{key} "{values[key]}" {message}')
    vault = _check_vault(row, problems)
    if identifier is None or len(problems) > before:
        return None
    return ListedPat(
        line=row.line,
        authorization_id=identifier,
        name=values["name"],
        secret_name=values["secret"],
        account=values.get("account") or None,
        organization=values.get("organization") or None,
        vault=vault,
        replace_foreign=_WORDS[values.get("replace_foreign", "").lower()],
    )


def _check_vault(row: _Row, problems: list[Problem]) -> str | None:
    text = row.values.get("vault")
    if not text:
        return None
    try:
        return parse_vault(text)
    except ValueError as error:
        _add(problems, row.line, f"vault {error}")
        return None


def _find_repeated(pats: list[ListedPat], problems: list[Problem]) -> None:
    """No id, name or secret may stand in two lines; each secret of one vault is one place, however it is spelled."""
    seen: dict[tuple[str, ...], int] = {}
    for pat in pats:
        keys = {
            "id": ("id", pat.authorization_id),
            "name": ("name", pat.name),
            "secret": ("secret", (pat.vault or "").lower(), pat.secret_name.lower()),
        }
        for what, key in keys.items():
            first = seen.setdefault(key, pat.line)
            if first != pat.line:
                _add(problems, pat.line, f'{what} "{key[-1]}" is in line {first} already')


def _add(problems: list[Problem], line: int, message: str) -> None:
    problems.append(Problem(Place(line, 1), (), message))
