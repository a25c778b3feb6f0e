"""What a database library reports, turned into our errors: what failed, why, and who must do what.

No password gets through: it is taken out of the library's own words before they are used.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import exc
from sqlalchemy.engine import URL

from rotator.errors import DatabaseError, DatabaseLockedError, DatabaseUnreachableError


class ConstraintError(DatabaseError):
    """A unique index or a trigger refused a write. Callers inside this package say what it means."""

    code = "database_constraint"


class DamagedValueError(DatabaseError):
    """A stored value cannot be read: rotator wrote no such value."""

    code = "database_corrupt"


@dataclass(frozen=True)
class _Kind:
    code: str
    what: str
    fix: str


_LOCKED = _Kind("database_locked", "is locked by another process", "Wait for the other run to end, then try again.")
_FULL = _Kind("database_full", "has no space left", "Free space on the disk that holds the database, then try again.")
_READ_ONLY = _Kind(
    "database_read_only",
    "cannot be written",
    "Let the user that runs rotator write the database and its folder, or point `database` at the primary server "
    "(several hosts may be named: ?host=a&host=b).",
)
_CORRUPT = _Kind(
    "database_corrupt",
    "is damaged, or is not a database",
    "Check the `database` setting; if it is right, restore the newest backup.",
)
_ALTERED = _Kind(
    _CORRUPT.code,
    "lacks something that its schema has",
    "Something other than rotator changed it, or its disk is damaged: restore the newest backup.",
)
_UNREACHABLE = _Kind(
    "database_unreachable",
    "cannot be reached",
    "Check the `database` setting, that the server is running, and that this host may connect to it.",
)
_SLOW = _Kind(
    "database_unreachable",
    "did not answer in time",
    "Find out what keeps the server busy: its load, its disk, and who holds locks (pg_stat_activity).",
)
_FROZEN = _Kind(
    "database_unreachable",
    "ended the session of a process that stood still in a transaction",
    "Find out why this process was not running: a suspended host, or one without memory or processor time.",
)
_UNOPENED = _Kind(
    "database_unreachable",
    "cannot be opened",
    "Check that the user that runs rotator may read and write the file and its folder.",
)
_DISK = _Kind(
    "database_unreachable",
    "cannot be read or written",
    "Look at the disk that holds the file: its free space, its health, and whether it is still mounted.",
)
_DENIED = _Kind(
    "database_denied",
    "refused the user or its password",
    "Check the user and the password in the `database` setting, and the user's rights on the database.",
)
_OPTION = _Kind("database", "cannot be connected to", "Correct the options in the `database` setting.")
UNSUPPORTED = "database_unsupported"
_UNSUPPORTED = _Kind(
    UNSUPPORTED,
    "does not support a statement",
    "Use PostgreSQL itself: a database that is merely like it may lack what rotator needs.",
)
_NO_SCHEMA = _Kind(
    "database_denied",
    "has no schema for rotator's tables",
    "Let search_path of the user in the `database` setting name a schema in which it may create tables.",
)
_CONSTRAINT = _Kind("database_constraint", "refused a write that breaks its rules", "")
_OTHER = _Kind(
    "database", "could not carry out a statement", "Run `rotator db current`; if that works, report this as a bug."
)

_SQLITE = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_CORRUPT: _CORRUPT,
    sqlite3.SQLITE_NOTADB: _CORRUPT,
    sqlite3.SQLITE_CANTOPEN: _UNOPENED,
    sqlite3.SQLITE_PERM: _UNOPENED,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_CONSTRAINT: _CONSTRAINT,
}
_SQLITE_WORDS = (("Could not decode", _CORRUPT), ("no such", _ALTERED))
"""How texts begin that come without a code of their own."""
# Keyed by SQLSTATE, or by its class (the first two characters) where the whole class means one thing.
_POSTGRES = {
    "55P03": _LOCKED,
    "0A": _UNSUPPORTED,
    "42883": _UNSUPPORTED,
    "40P01": _LOCKED,
    "40001": _LOCKED,
    "53100": _FULL,
    "25006": _READ_ONLY,
    "42703": _ALTERED,
    "42P01": _ALTERED,
    "XX001": _CORRUPT,
    "XX002": _CORRUPT,
    "28": _DENIED,
    "42501": _DENIED,
    "08": _UNREACHABLE,
    "53": _UNREACHABLE,
    "57": _UNREACHABLE,
    "57014": _SLOW,
    "25P03": _FROZEN,
    "3D": _UNREACHABLE,
    "3F": _NO_SCHEMA,
    "23": _CONSTRAINT,
}
_DENIED_WORDS = ("authentication failed", "no password supplied", "does not exist")


def _unreachable(fix: str) -> _Kind:
    return _Kind(_UNREACHABLE.code, _UNREACHABLE.what, fix)


_BY_WORDS = (
    (
        "does not match host name",
        _unreachable(
            "Name the server in the `database` setting as its certificate does, or get a certificate for this name."
        ),
    ),
    (
        "certificate verify failed",
        _unreachable(
            "Check that the server's certificate has not expired and that this host's clock is right. If so, point "
            "sslrootcert in the `database` setting at the CA that signed it."
        ),
    ),
    (
        "root certificate file",
        _unreachable(
            "Point sslrootcert in the `database` setting at a file with the CA that signed the server's certificate."
        ),
    ),
    (
        "certificate file",
        _unreachable("Point sslcert in the `database` setting at a file that the user that runs rotator can read."),
    ),
    (
        "private key file",
        _unreachable("Point sslkey in the `database` setting at a file that only the user that runs rotator can read."),
    ),
    (
        "does not support SSL",
        _unreachable("Turn TLS on at the server, or find out what answers in its place."),
    ),
    (
        "no pg_hba.conf entry",
        _Kind(
            "database_denied",
            "does not let this host in",
            "Have this host, user and database entered in the server's pg_hba.conf. If it says `no encryption`, the "
            "server wants sslmode=require in the `database` setting.",
        ),
    ),
    ("invalid sslmode value", _unreachable("Correct sslmode in the `database` setting.")),
    ("session is read-only", _READ_ONLY),
    ("no answer from the server", _SLOW),
)
"""What a connection says that was never made or was given up, where psycopg gives no SQLSTATE: the first that fits."""


def describe(url: URL) -> str:
    """Return the database as people know it, without user and password."""
    if url.get_backend_name() == "sqlite":
        return f"the database {url.database}"
    host = url.query.get("host", url.host) or "the local socket"
    if not isinstance(host, str):
        host = ", ".join(host)
    return f"the PostgreSQL database {url.database} on {host}" + (f":{url.port}" if url.port else "")


def make_locked(url: URL) -> DatabaseLockedError:
    """Make the error for a database that another process holds for longer than we wait."""
    return DatabaseLockedError(f"{describe(url)} {_LOCKED.what}", fix=_LOCKED.fix)


def explain(error: BaseException, url: URL) -> DatabaseError:
    """Return our error for one from sqlite3, psycopg or SQLAlchemy."""
    original = error.orig if isinstance(error, exc.StatementError) and error.orig is not None else error
    kind = _LOCKED if isinstance(original, exc.TimeoutError) else _find_kind(original)
    message = f"{describe(url)} {kind.what}: {_find_reason(original, url)}"
    if kind is _LOCKED:
        return DatabaseLockedError(message, fix=kind.fix)
    if kind.code == DatabaseUnreachableError.code:
        return DatabaseUnreachableError(message, fix=kind.fix)
    if kind is _CONSTRAINT:
        return ConstraintError(message, fix=kind.fix)
    return DatabaseError(message, code=kind.code, fix=kind.fix)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Keep the library's exceptions inside: ours leave without their cause, which holds the connection."""
    try:
        yield
    except DatabaseError as error:
        raise error from None
    except exc.SQLAlchemyError as error:
        raise explain(error, url) from None


def _find_kind(error: BaseException) -> _Kind:
    if isinstance(error, sqlite3.Error):
        # The low byte is the primary code; the rest tells variants apart. Errors of the module itself have none.
        known = _SQLITE.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
        return known or next((kind for words, kind in _SQLITE_WORDS if str(error).startswith(words)), _OTHER)
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return _POSTGRES.get(state) or _POSTGRES.get(state[:2], _OTHER)
    said = str(error)
    if type(error).__name__ == "ProgrammingError" and "connection option" in said:
        return _OPTION
    if type(error).__name__ not in ("OperationalError", "ConnectionTimeout", "InterfaceError"):
        return _OTHER
    # psycopg: no SQLSTATE means that there never was a session, or that it broke.
    known = next((kind for words, kind in _BY_WORDS if words in said), None)
    if known is not None:
        return known
    refused = any(words in said for words in _DENIED_WORDS) and 'database "' not in said
    return _DENIED if refused else _UNREACHABLE


def _find_reason(error: BaseException, url: URL) -> str:
    lines = str(error).strip().splitlines()
    reason = lines[0] if lines else type(error).__name__
    hidden = (url.password, url.query.get("sslpassword"))
    for word in hidden:
        if isinstance(word, str) and word:
            reason = reason.replace(word, "***")
    return reason
