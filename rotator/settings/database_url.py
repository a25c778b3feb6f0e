"""The address of the inventory database."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from rotator.settings.paths import expand_home

_EXPECTED = "write sqlite:///rotator.db or postgresql+psycopg://user@host/database"


def make_database_url(url: str, folder: Path) -> str:
    """The URL with a relative SQLite path made absolute, from `folder`, and with `%` where an address needs it.

    ValueError when no database of ours can have that address; its text never holds the URL's password.
    """
    scheme = url.partition("://")[0].lower()
    if scheme in ("postgres", "postgresql"):
        raise ValueError("the address must name the driver: begin it with postgresql+psycopg://")
    if scheme == "postgresql+psycopg":
        return _check_postgresql(url)
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError(f"this is not a database address: {_EXPECTED}")
    path, question, options = url.partition("://")[2].partition("?")
    if not path.startswith("/"):
        raise ValueError("a SQLite address has three slashes in front of a relative path: sqlite:///rotator.db")
    path = path[1:]
    if path in ("", ":memory:") or "mode=memory" in options:
        raise ValueError("a database in memory forgets every rotation: name a file, sqlite:///rotator.db")
    if question or path.startswith("file:"):
        raise ValueError(
            "a SQLite address is the path of a file, without options: sqlite:///rotator.db (a ? in the path is %3F)"
        )
    return f"sqlite:///{_quote_path(folder / expand_home(_unquote_path(path)))}"


def _unquote_path(path: str) -> str:
    """The path that an address names."""
    try:
        name = unquote(path, errors="strict")
    except ValueError:
        name = "\0"
    if "\0" in name:
        raise ValueError("the path has a % that begins no character: write the sign % itself as %25")
    return name


def _quote_path(path: Path) -> str:
    """The path as an address names it: the folder of the settings may have any name."""
    try:
        return quote(str(path.absolute()), safe="/ ")
    except ValueError:
        raise ValueError("the path is not in UTF-8: choose another name for the folder or the file") from None


def _check_postgresql(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("the host or port in this address cannot be parsed") from None
    if not parts.path.strip("/"):
        raise ValueError("the address has no database name: add it at the end, /rotator")
    return url


def mask_database_url(url: str) -> str:
    """The URL with `***` in place of its password, in the user part and in the options."""
    head, separator, rest = url.partition("://")
    user, at, place = rest.rpartition("@")
    if "?" in user:  # the @ may be in the value of an option: rather too much is masked than too little
        return f"{head}{separator}{re.split('[:?]', user)[0]}***"
    name, colon, _ = user.partition(":")
    place, question, options = place.partition("?")
    kept = [
        f"{part.partition('=')[0]}=***" if "password" in unquote(part.partition("=")[0]).lower() else part
        for part in options.split("&")
    ]
    return f"{head}{separator}{name}{colon}{'***' if colon else ''}{at}{place}{question}{'&'.join(kept)}"
