"""Column types that give the same Python values, and the same order, on SQLite and PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import wraps
from typing import Any, Generic, ParamSpec, TypeVar

from sqlalchemy import BigInteger, DateTime, Dialect, String, Text
from sqlalchemy.types import TypeDecorator, TypeEngine

from rotator.adapters.database.failures import DamagedValueError
from rotator.domain.audit_event import Detail
from rotator.domain.clocks import BootMoment
from rotator.domain.managed_pat import check_aware
from rotator.domain.outside import make_harmless

_DAMAGED = (AttributeError, OverflowError, RecursionError, TypeError, ValueError)
_DECODE = json.JSONDecoder().raw_decode
_MICROSECOND = timedelta(microseconds=1)
_Word = TypeVar("_Word", bound=StrEnum)
_Given = ParamSpec("_Given")
_Read = TypeVar("_Read")


def naming_damage(read: Callable[_Given, _Read]) -> Callable[_Given, _Read]:
    """Make what reads a stored value raise DamagedValueError where it cannot be read."""

    @wraps(read)
    def reading(*given: _Given.args, **named: _Given.kwargs) -> _Read:
        try:
            return read(*given, **named)
        except _DAMAGED as error:
            raise _make_damage(error) from error

    return reading


def _make_damage(error: Exception) -> DamagedValueError:
    return DamagedValueError(
        f"the database holds a value that cannot be read: {make_harmless(str(error))}",
        fix="Something other than rotator changed it, or its disk is damaged: restore the newest backup.",
    )


def _reader(read: Callable[[Any], _Read]) -> Callable[[Any], _Read | None]:
    """Make a reader of a column's values that names damage: without the library's own layers, for speed."""

    def reading(value: Any) -> _Read | None:
        if value is None:
            return None
        try:
            return read(value)
        except _DAMAGED as error:
            raise _make_damage(error) from error

    return reading


class Moment(TypeDecorator[datetime]):
    """An aware time, read back in UTC to the microsecond; a naive one raises ValueError.

    `timestamptz` on PostgreSQL. On SQLite a text of fixed width (`2026-12-03T09:00:00.000000Z`), because SQLite has
    no such type and a text of fixed width sorts as the time does.
    """

    impl = String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[datetime] | TypeEngine[str]:
        """Return the type that the database itself sees."""
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(String(27))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """To the database."""
        if value is None:
            return None
        moment = check_aware(value).astimezone(UTC)
        if dialect.name == "postgresql":
            return moment
        return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """From the database."""
        is_text = dialect.name != "postgresql"
        return _reader(datetime.fromisoformat if is_text else lambda value: value.astimezone(UTC))


class Boot(TypeDecorator[BootMoment]):
    """A moment by the boot clock, as text: the boot's id, and the microseconds since it began."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: BootMoment | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else f"{value.boot_id} {value.elapsed // _MICROSECOND}"

    @naming_damage
    def process_result_value(self, value: str | None, dialect: Dialect) -> BootMoment | None:
        """From the database."""
        if value is None:
            return None
        boot_id, _, microseconds = value.rpartition(" ")
        return BootMoment(boot_id, timedelta(microseconds=int(microseconds)))


class Span(TypeDecorator[timedelta]):
    """A duration, as whole microseconds: exact."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> int | None:
        """To the database."""
        return None if value is None else value // _MICROSECOND

    @naming_damage
    def process_result_value(self, value: int | None, dialect: Dialect) -> timedelta | None:
        """From the database."""
        return None if value is None else timedelta(microseconds=value)


class Word(TypeDecorator[_Word], Generic[_Word]):
    """One word of an enumeration, as its text."""

    impl = String(20)
    cache_ok = True

    def __init__(self, words: type[_Word]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: _Word | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else value.value

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], _Word | None]:
        """From the database."""
        known, words = {word.value: word for word in self.words}, self.words
        return _reader(lambda value: known.get(value) or words(value))


class Texts(TypeDecorator[tuple[str, ...]]):
    """Several texts in order, as a JSON array."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[str, ...] | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else json.dumps(value)

    @naming_damage
    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...] | None:
        """From the database."""
        return None if value is None else tuple(json.loads(value))


class Peaks(Texts):
    """The peaks of a checkpoint's tree; none if they cannot be read, because they follow from the events."""

    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[str, ...]:
        """From the database."""
        try:
            return super().process_result_value(value, dialect) or ()
        except DamagedValueError:
            return ()


class Details(TypeDecorator[Mapping[str, Detail]]):
    """The details of an audit event, as a JSON object with its keys sorted."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Mapping[str, Detail] | None, dialect: Dialect) -> str | None:
        """To the database."""
        return None if value is None else json.dumps(dict(value), sort_keys=True)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Mapping[str, Detail] | None]:
        """From the database."""
        return _reader(_read_details)


def _read_details(text: str) -> Mapping[str, Detail]:
    """Read what `Details` writes; anything else as the library does, which takes longer."""
    details: dict[str, Detail]
    try:
        details, end = _DECODE(text)
    except ValueError:
        end = -1
    return details if end == len(text) else json.loads(text)
