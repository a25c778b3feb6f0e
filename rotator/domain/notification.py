"""What is sent to a receiver, in words: a headline, and below it all that a person needs to act on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.condition import ConditionKind
from rotator.domain.digest import Digest, say_digest, say_title
from rotator.domain.events.event import Severity
from rotator.domain.managed_pat import Failure
from rotator.domain.runbook import CONDITIONS, Advice, make_anchor, make_command
from rotator.domain.sign_in import name_refusal
from rotator.domain.telling import SEVERITIES, Notice, Phase
from rotator.domain.words import say_in, say_moment

_MOST_NAMES = 10
_FRESH_FOR = timedelta(minutes=15)
"""One that is sent later says when it was made: a receiver was down, and `expires in 2 days` may be long past."""
_OF_PATS = frozenset(
    {
        ConditionKind.ROTATION_FAILING,
        ConditionKind.ROTATION_BLOCKED,
        ConditionKind.PAT_VANISHED,
        ConditionKind.CLONES_ABANDONED,
        ConditionKind.LIFETIME_SHORTENED,
        ConditionKind.PAT_EXPIRING,
        ConditionKind.PROBE_FAILING,
    }
)
"""The conditions whose subjects are themselves the ManagedPats that wait."""


class NotificationKind(StrEnum):
    """Why somebody is told: a condition, a single event, the week, or a person wants to see whether it works."""

    CONDITION = auto()
    EVENT = auto()
    DIGEST = auto()
    TEST = auto()


@dataclass(frozen=True)
class Notification:
    """What a receiver is told. `name` is the condition's or the event's; `phase` is None unless it is a condition.

    `waiting` is how many ManagedPats are affected, and `first_expires_at` when the first of them expires. `text` has
    all of it in words, below the `title`. There is no secret in it.
    """

    kind: NotificationKind
    name: str
    severity: Severity
    title: str
    text: str
    made_at: datetime
    phase: Phase | None = None
    subjects: tuple[str, ...] = ()
    code: str | None = None
    since: datetime | None = None
    waiting: int = 0
    first_expires_at: datetime | None = None
    command: str = ""
    fix: str = ""
    runbook: str = ""
    digest: Digest | None = None

    def as_sent(self, now: datetime) -> Notification:
        """Return it as it is sent now: one that had to wait says when its words were true."""
        if now - self.made_at < _FRESH_FOR:
            return self
        return replace(self, title=f"{self.title} (as of {say_moment(self.made_at)})")


@dataclass(frozen=True)
class Affected:
    """What a cause does to ManagedPats, and what is known of it: `failure` says why, and who must do what."""

    waiting: int = 0
    first_expires_at: datetime | None = None
    failure: Failure | None = None


def make_notification(notice: Notice, affected: Affected, now: datetime) -> Notification:
    """Put a notice about a condition into words."""
    cause, advice = notice.cause, CONDITIONS[notice.cause.kind]
    is_over = notice.phase is Phase.OVER
    code = _find_code(notice, affected)
    headline = _say(advice, notice.subjects, _name_reason(notice, affected, code))
    title = _PHASES[notice.phase].format(
        count=len(notice.joined), headline=headline, since="" if notice.since is None else say_moment(notice.since)
    )
    if not is_over:
        title += _say_affected(notice, affected, now)
    command = _fill_command(advice, notice.subjects)
    runbook = make_anchor(cause.kind.value)
    lines = [] if is_over else _list_lines(notice, advice, affected, code)
    lines += [] if is_over else _list_help(advice, command, affected)
    return Notification(
        NotificationKind.CONDITION,
        cause.kind.value,
        SEVERITIES[cause.kind],
        _capitalize(title, notice.subjects),
        "\n".join([*lines, f"Runbook: `{make_command(cause.kind.value)}`"]),
        now,
        phase=notice.phase,
        subjects=notice.subjects,
        code=code,
        since=notice.since,
        waiting=0 if is_over else affected.waiting,
        first_expires_at=None if is_over else affected.first_expires_at,
        command=command,
        fix=_choose_fix(advice, affected),
        runbook=runbook,
    )


def make_event_notification(
    name: str, severity: Severity, subject: str, meaning: str, details: str, advice: Advice | None, at: datetime
) -> Notification:
    """Put a single event into words; `advice` is what the runbook says about it, if anything."""
    title = f"{subject}: {name.replace('_', ' ')}" if advice is None else advice.say_one(subject)
    command = "" if advice is None else _fill_command(advice, (subject,))
    lines = [meaning, details, f"At: {say_moment(at)}"]
    if advice is not None:
        lines += [*_list_help(advice, command, Affected()), f"Runbook: `{make_command(name)}`"]
    return Notification(
        NotificationKind.EVENT,
        name,
        severity,
        _capitalize(title, (subject,)),
        "\n".join(filter(None, lines)),
        at,
        subjects=(subject,),
        command=command,
        fix="" if advice is None else advice.fix,
        runbook="" if advice is None else make_anchor(name),
    )


def make_digest_notification(digest: Digest, now: datetime) -> Notification:
    """Put a digest into words."""
    return Notification(
        NotificationKind.DIGEST,
        NotificationKind.DIGEST.value,
        Severity.INFO,
        say_title(digest),
        say_digest(digest),
        now,
        waiting=digest.waits,
        first_expires_at=min((wait.first_expires_at for wait in digest.waiting), default=None),
        command="rotator status",
        digest=digest,
    )


def make_test(receiver: str, host: str, now: datetime) -> Notification:
    """Make what `rotator notify test` sends."""
    text = f"This is a test of the receiver {receiver}, sent by {host}. Nothing is wrong."
    return Notification(NotificationKind.TEST, "test", Severity.INFO, "Test of rotator", text, now)


_PHASES = {
    Phase.BEGAN: "{headline}",
    Phase.JOINED: "{count} more: {headline}",
    Phase.LASTS: "still, since {since}: {headline}",
    Phase.OVER: "over: {headline}",
}


def _capitalize(title: str, subjects: tuple[str, ...]) -> str:
    """Return it with a capital, unless it begins with a name, which stays as it is typed."""
    return title if title.startswith(subjects) else title[:1].upper() + title[1:]


def _say(advice: Advice, subjects: tuple[str, ...], code: str | None) -> str:
    headline = advice.say_one(subjects[0]) if len(subjects) == 1 else advice.many.format(count=len(subjects))
    return f"{headline} ({code})" if code else headline


def _find_code(notice: Notice, affected: Affected) -> str | None:
    return notice.cause.code or notice.code or (None if affected.failure is None else affected.failure.code)


def _name_reason(notice: Notice, affected: Affected, code: str | None) -> str | None:
    """Return what the title calls the reason: of a sign-in, Entra's own number, which can be looked up.

    When that is over, Entra's number is no longer known, and our code would look like another reason.
    """
    if notice.cause.kind is not ConditionKind.SIGN_IN_NEEDED:
        return code
    if affected.failure is not None:
        return name_refusal(affected.failure)
    return None if notice.phase is Phase.OVER else code


def _say_affected(notice: Notice, affected: Affected, now: datetime) -> str:
    """Return how many PATs wait, and how much time there is: `; 10 PATs wait, the first expires in 2 days`."""
    first = affected.first_expires_at
    when = "" if first is None else ("has expired" if first <= now else f"expires {say_in(first, now)}")
    if not affected.waiting:
        return ""
    if notice.cause.kind in _OF_PATS:
        which = "it" if affected.waiting == 1 else "the first"
        return f"; {which} {when}" if when else ""
    count = "1 PAT waits" if affected.waiting == 1 else f"{affected.waiting} PATs wait"
    which = "it" if affected.waiting == 1 else "the first"
    return f"; {count}, {which} {when}" if when else f"; {count}"


def _list_lines(notice: Notice, advice: Advice, affected: Affected, code: str | None) -> list[str]:
    lines, reason = [], advice.reasons.get(code or "")
    if len(notice.subjects) > 1:
        first = [*notice.joined, *(name for name in notice.subjects if name not in notice.joined)]
        lines.append(f"Which: {_say_names(tuple(first))}")
    if affected.failure is not None:
        lines.append(f"Why: {affected.failure.message}")
    elif reason is not None:
        lines.append(f"Why: {reason}")
    if notice.since is not None:
        lines.append(f"Since: {say_moment(notice.since)}")
    if affected.first_expires_at is not None:
        lines.append(
            f"{'Expiry' if affected.waiting == 1 else 'First expiry'}: {say_moment(affected.first_expires_at)}"
        )
    if reason is None:
        return [*lines, advice.meaning]
    return lines if affected.failure is None else [*lines, f"{advice.meaning} {reason}"]


def _list_help(advice: Advice, command: str, affected: Affected) -> list[str]:
    fix = _choose_fix(advice, affected)
    lines = [f"Fix: {command}", fix] if advice.mends else [f"Shows more: {command}", f"Fix: {fix}"]
    return [f"If nobody does anything: {advice.otherwise}", *lines]


def _choose_fix(advice: Advice, affected: Affected) -> str:
    """Return what to do: what the failure itself says is more to the point."""
    return affected.failure.fix if affected.failure is not None and affected.failure.fix else advice.fix


def _fill_command(advice: Advice, subjects: tuple[str, ...]) -> str:
    """Return the command for the first subject; an organization or vault has no command of its own."""
    return advice.command.format(subject=subjects[0] if subjects else "")


def _say_names(names: tuple[str, ...]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
