"""What every event has: a name, a severity, a subject, typed fields, and the conditions that it begins and ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, FrozenInstanceError, dataclass
from datetime import datetime
from enum import StrEnum, auto
from typing import Any, ClassVar, Self, dataclass_transform

from rotator.domain.audit_event import Detail, Outcome
from rotator.domain.condition import ConditionKind


class Severity(StrEnum):
    """How much an event matters: the level of its line in the log."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class SubjectKind(StrEnum):
    """What an event is about. An organization is named with its account (`build-bot/contoso`), a PAT by its id."""

    MANAGED_PAT = auto()
    PAT = auto()
    ACCOUNT = auto()
    ORGANIZATION = auto()
    VAULT = auto()
    SECRET = auto()
    POLICY = auto()
    TOKEN_CACHE = auto()
    CLOCK = auto()
    AUDIT_LOG = auto()
    DATABASE = auto()
    JOB = auto()
    CHECK = auto()
    DAEMON = auto()
    CONDITION = auto()
    RECEIVER = auto()
    HOOK = auto()
    SETTING = auto()
    ANCHOR = auto()
    INVENTORY = auto()
    COMMAND = auto()

    @property
    def key(self) -> str:
        """The name of the subject's field in a log line: the one that other fields for the same thing have."""
        return _KEYS.get(self, self.value)


_KEYS = {
    SubjectKind.MANAGED_PAT: "name",
    SubjectKind.PAT: "authorization_id",
    SubjectKind.SECRET: "secret_name",
    SubjectKind.CONDITION: "subject",
    SubjectKind.COMMAND: "subcommand",
}


@dataclass(frozen=True)
class EventType:
    """What all events with one name have in common.

    `needs_person`: nothing ends it unless a person acts. `begins` is the condition that it begins for its subject,
    `ends` are those that it ends.
    """

    name: str
    severity: Severity
    subject: SubjectKind
    outcome: Outcome
    needs_person: bool
    begins: ConditionKind | None
    ends: tuple[ConditionKind, ...]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Event:
    """One thing that happened to one subject. Subclasses are like frozen dataclasses; they are listed in `catalogue`.

    Fields hold text, numbers, booleans and aware times, and never a secret.
    """

    type: ClassVar[EventType]
    fields: ClassVar[Mapping[str, object]]
    """Each field, with its default or MISSING."""

    def __init_subclass__(
        cls,
        *,
        name: str,
        subject: SubjectKind,
        severity: Severity = Severity.INFO,
        outcome: Outcome = Outcome.SUCCEEDED,
        needs_person: bool = False,
        begins: ConditionKind | None = None,
        ends: Iterable[ConditionKind] = (),
    ) -> None:
        super().__init_subclass__()
        cls.type = EventType(name, severity, subject, outcome, needs_person, begins, tuple(ends))
        cls.fields = {field: vars(cls).get(field, MISSING) for field in cls.__annotations__}

    # Most of the many events never happen in a process: all share these, as making some for each takes long.
    def __init__(self, **values: Any) -> None:
        wrong = values.keys() - self.fields.keys()
        said = {**self.fields, **values}
        wrong.update(field for field, value in said.items() if value is MISSING)
        if wrong:
            raise TypeError(f"{type(self).__qualname__}: wrong or missing: {', '.join(sorted(wrong))}")
        vars(self).update(said)

    def __setattr__(self, name: str, value: object) -> None:
        raise FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> None:
        raise FrozenInstanceError(f"cannot delete field {name!r}")

    def __eq__(self, other: object) -> bool:
        return vars(self) == vars(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"{type(self).__qualname__}({said})"

    def changed(self, **values: object) -> Self:
        """Return the same event with other values in these fields."""
        return type(self)(**{**vars(self), **values})

    @property
    def log_severity(self) -> Severity | None:
        """How much its line in a log matters; None where another event tells of the same cause for all it affects."""
        return self.type.severity

    def make_details(self) -> dict[str, Detail]:
        """Return the fields as the audit log keeps them: times as ISO-8601, fields at their default left out."""
        details: dict[str, Detail] = {}
        for field, default in self.fields.items():
            value = getattr(self, field)
            if default is MISSING or value != default:
                details[field] = value.isoformat() if isinstance(value, datetime) else value
        return details

    def make_line(self, subject: str) -> dict[str, Detail]:
        """Return the subject and the fields as a line of the log shows them."""
        return {self.type.subject.key: subject, **self.make_details()}
