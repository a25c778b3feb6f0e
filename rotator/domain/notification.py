"""What is sent to a receiver, in words: a headline, and below it all that a person needs to act on it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto

from rotator.domain.advice import NAME, Advice
from rotator.domain.condition import ConditionKind
from rotator.domain.digest import Digest, say_digest, say_title
from rotator.domain.events.event import Severity
from rotator.domain.managed_pat import Failure
from rotator.domain.runbook import CONDITIONS, make_anchor, make_command
from rotator.domain.sign_in import name_refusal
from rotator.domain.telling import SEVERITIES, Notice, Phase
from rotator.domain.words import say_in, say_moment, say_names

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


class Hurt(StrEnum):
    """Whether consumers fail because of it: they do now, they may now, not before a moment, or nobody can tell."""

    NOW = auto()
    PERHAPS = auto()
    LATER = auto()
    UNKNOWN = auto()


@dataclass(frozen=True)
class Affected:
    """What a cause does to ManagedPats, and what is known of it: `failure` says why, and who must do what.

    `about` names the PATs, a line for each. Consumers are `hurt`, where that is `LATER`: from `hurt_at` on, or not at
    all. `advice` is for this very case, where more is known than the runbook says; then it comes before the failure.
    """

    waiting: int = 0
    first_expires_at: datetime | None = None
    failure: Failure | None = None
    about: tuple[str, ...] = ()
    hurt: Hurt = Hurt.LATER
    hurt_at: datetime | None = None
    advice: Advice | None = None


def make_notification(notice: Notice, affected: Affected, now: datetime) -> Notification:
    """Put a notice about a condition into words."""
    cause, is_over = notice.cause, notice.phase is Phase.OVER
    known = CONDITIONS[cause.kind] if is_over or affected.advice is None else affected.advice
    code, advice = _find_code(notice, affected), known.name_in(notice.subjects)
    headline = _say(advice, notice.subjects, _name_reason(notice, affected, code))
    title = _PHASES[notice.phase].format(
        count=len(notice.joined), headline=headline, since="" if notice.since is None else say_moment(notice.since)
    )
    if not is_over:
        title += _say_affected(notice, affected, now)
    lines = [] if is_over else _list_lines(notice, advice, affected, code, now)
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
        command=advice.command,
        fix=_choose_fix(advice, affected),
        runbook=make_anchor(cause.kind.value),
    )


def make_event_notification(
    name: str,
    severity: Severity,
    subject: str,
    meaning: str,
    details: str,
    advice: Advice | None,
    at: datetime,
    pat: str | None = None,
) -> Notification:
    """Put a single event into words; `advice` is what the runbook says about it, if anything.

    `pat` is the name of the ManagedPat that an event about something else names.
    """
    title = f"{subject}: {name.replace('_', ' ')}" if advice is None else advice.say_one(subject)
    lines = [meaning, details, f"At: {say_moment(at)}"]
    if advice is not None:
        advice = advice.name_in((subject,))
        sentences = re.split(r"(?<=\.) ", advice.fix)
        said = [text.replace(NAME, pat or "") for text in sentences if pat is not None or NAME not in text]
        advice = replace(advice, fix=" ".join(said))
        lines += [*_list_help(advice, Affected()), f"Runbook: `{make_command(name)}`"]
    return Notification(
        NotificationKind.EVENT,
        name,
        severity,
        _capitalize(title, (subject,)),
        "\n".join(filter(None, lines)),
        at,
        subjects=(subject,),
        command="" if advice is None else advice.command,
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
    headline = advice.say_one(subjects[0]) if len(subjects) == 1 else advice.say_many(len(subjects))
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
    """Return how many PATs wait, and whether consumers fail: `; 10 PATs wait, the first expires in 2 days`.

    What is broken now has no expiry beside it: that would look like time that is left.
    """
    waiting = 0 if notice.cause.kind in _OF_PATS else affected.waiting
    said = ["consumers may fail now"] if affected.hurt is Hurt.PERHAPS else []
    said += [] if not waiting else ["1 PAT waits" if waiting == 1 else f"{waiting} PATs wait"]
    first = affected.first_expires_at
    if affected.hurt is Hurt.NOW:
        said.append("consumers fail now")
    elif affected.hurt_at is not None:
        said.append(f"no impact until {say_moment(affected.hurt_at)}")
    elif affected.waiting and first is not None:
        which = "it" if affected.waiting == 1 else "the first"
        said.append(f"{which} {'has expired' if first <= now else f'expires {say_in(first, now)}'}")
    return f"; {', '.join(said)}" if said else ""


def _say_hurt(affected: Affected, now: datetime) -> str:
    """Say whether consumers fail now, or from when on."""
    at = affected.hurt_at or affected.first_expires_at
    when = "" if at is None else f"{say_moment(at)} ({say_in(at, now)})"
    match affected.hurt:
        case Hurt.NOW:
            return "Consumers: failing now."
        case Hurt.PERHAPS:
            return "Consumers: they may be failing now" + (f", and will fail from {when} on." if when else ".")
        case Hurt.UNKNOWN:
            return "Consumers: rotator cannot tell whether they fail, or when."
    if at is None:
        return "Consumers: no impact."
    if at <= now:
        return f"Consumers: failing since {when}."
    return f"Consumers: no impact until {when}."


def _list_lines(notice: Notice, advice: Advice, affected: Affected, code: str | None, now: datetime) -> list[str]:
    lines, reason = [_say_hurt(affected, now)], advice.reasons.get(code or "")
    if len(notice.subjects) > 1:
        first = [*notice.joined, *(name for name in notice.subjects if name not in notice.joined)]
        lines.append(f"Which: {say_names(first)}")
    lines += affected.about
    failure = affected.failure
    if failure is not None:
        lines.append(f"Why: {failure.message}")
    elif reason is not None:
        lines.append(f"Why: {reason}")
    if notice.since is not None:
        lines.append(f"Since: {say_moment(notice.since)}")
    if reason is None:
        lines.append(advice.meaning)
    elif failure is not None:
        lines.append(f"{advice.meaning} {reason}")
    return [*lines, *_list_help(advice, affected)]


def _list_help(advice: Advice, affected: Affected) -> list[str]:
    fix = _choose_fix(advice, affected)
    lines = [f"Fix: {advice.command}", fix] if advice.mends else [f"Fix: {fix}", f"Details: {advice.command}"]
    return [*lines, f"If nobody does anything: {advice.otherwise}"]


def _choose_fix(advice: Advice, affected: Affected) -> str:
    """Return what to do: advice for this case, or what the failure itself says, is more to the point."""
    if affected.advice is None and affected.failure is not None and affected.failure.fix:
        return affected.failure.fix
    return advice.fix
