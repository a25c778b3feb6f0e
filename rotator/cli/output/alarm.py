"""Why a check is red, in words, and as a Nagios plugin says it: one line, an exit code, and figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.exit_codes import ATTENTION, NAGIOS_CRITICAL, NAGIOS_OK, NAGIOS_UNKNOWN, NAGIOS_WARNING
from rotator.cli.output.words import say_pats
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.exit_code import DONE
from rotator.domain.job_run import RunTimes
from rotator.domain.next_step import NextAction
from rotator.domain.runbook import CONDITIONS, make_command
from rotator.domain.words import say_all, say_in
from rotator.engine.alarm import Alarm, Cause, Finding, Tolerance
from rotator.engine.signing_in import AccountStatus
from rotator.engine.status import PatState, PatStatus
from rotator.errors import ConfigError, RotatorError, SignInRequiredError

_MOST_NAMES = 5
_WORDS = {
    Cause.SIGN_IN: ("{} must sign in", "{} must sign in"),
    Cause.OVERDUE: ("{} is overdue", "{} are overdue"),
    Cause.EXPIRING: ("{} will not be rotated in time", "{} will not be rotated in time"),
    Cause.IN_TROUBLE: ("{} has failed or is blocked", "{} have failed or are blocked"),
    Cause.DOWN: ("{} cannot be used", "{} cannot be used"),
    Cause.UNCONFIRMED: ("the revocation of {} is not confirmed", "the revocations of {} are not confirmed"),
    Cause.FOR_PERSON: ("{} needs a person", "{} need a person"),
    Cause.JOB_STALLED: ("job {} no longer succeeds", "jobs {} no longer succeed"),
    Cause.NOT_RUN: ("nothing has run yet", "nothing has run yet"),
    Cause.STALE: ("no recent run succeeded", "no recent run succeeded"),
}
"""What is said of one subject, and of several."""


_ENTRIES = {
    Cause.SIGN_IN: ConditionKind.SIGN_IN_NEEDED,
    Cause.OVERDUE: ConditionKind.PAT_EXPIRING,
    Cause.EXPIRING: ConditionKind.PAT_EXPIRING,
    Cause.IN_TROUBLE: ConditionKind.ROTATION_BLOCKED,
    Cause.DOWN: ConditionKind.ORGANIZATION_DOWN,
    Cause.UNCONFIRMED: ConditionKind.REVOCATION_PENDING,
    Cause.FOR_PERSON: ConditionKind.ROTATION_BLOCKED,
    Cause.JOB_STALLED: ConditionKind.JOB_STALLED,
    Cause.STALE: ConditionKind.JOB_STALLED,
}
"""The entry of the runbook about each reason."""
_SINGLE = frozenset({Cause.SIGN_IN, Cause.EXPIRING, Cause.UNCONFIRMED, Cause.JOB_STALLED, Cause.STALE})
"""Those that only that entry is about, whatever else lasts for the same subject."""


def find_code_of_alarm(alarm: Alarm) -> int:
    """Find the code of a check."""
    return {Alarm.NONE: DONE, Alarm.SIGN_IN: SignInRequiredError.exit_code, Alarm.ATTENTION: ATTENTION}[alarm]


def render_findings(findings: Iterable[Finding]) -> Iterator[str]:
    """Give a line for each reason: `npm-feed and ci-build are overdue`."""
    for finding in findings:
        names = list(map(clean, finding.subjects[:_MOST_NAMES]))
        if len(finding.subjects) > _MOST_NAMES:
            names.append(f"{len(finding.subjects) - _MOST_NAMES} more")
        listed = say_all(names)
        yield _WORDS[finding.cause][len(finding.subjects) > 1].format(listed)


def render_check(findings: Sequence[Finding], conditions: Iterable[Condition]) -> Iterator[str]:
    """Give a line for each reason, and below it the command that tells more about just that, or that mends it."""
    known = tuple(conditions)
    for finding, line in zip(findings, render_findings(findings), strict=True):
        yield f"check: {line}"
        if finding.cause is Cause.NOT_RUN:
            yield "    fix: Start the daemon with `rotator daemon`, or run `rotator once`."
        else:
            yield f"    more: `{make_command(*_list_entries(finding, known))}`"


def _list_entries(finding: Finding, conditions: tuple[Condition, ...]) -> list[str]:
    """List the entries of the runbook about what lasts there; where nothing does yet, the one about such a reason."""
    about = {found.kind.value for found in conditions if _is_about(finding, found)}
    return sorted(about) or [_ENTRIES[finding.cause].value]


def _is_about(finding: Finding, found: Condition) -> bool:
    if finding.cause in _SINGLE:
        return False
    return found.subject in finding.subjects or f"{found.kind.value} {found.subject}" in finding.subjects


def render_warnings(
    findings: Iterable[Finding],
    rows: Iterable[PatStatus],
    accounts: Iterable[AccountStatus],
    conditions: Iterable[Condition],
    now: datetime,
) -> Iterator[str]:
    """Say what a person has to do by a known day: sign in anew, or replace a PAT by hand; and that daemons differ.

    A problem is no warning.
    """
    problems = {subject for finding in findings for subject in finding.subjects}
    for account in accounts:
        sight = account.sight
        if sight.lapses_at is not None and sight.find_warning(now) is not None:
            yield f"the sign-in of {clean(sight.memory.account)} ends {say_in(sight.lapses_at, now)}"
    for row in rows:
        is_left = row.by_hand and row.next_action is NextAction.REPLACE_BY_HAND and row.expires_at > now
        if is_left and row.name not in problems:
            yield f"{clean(row.name)} must be replaced by hand and expires {say_in(row.expires_at, now)}"
    for found in conditions:
        if found.kind is ConditionKind.DAEMONS_MIXED:
            yield CONDITIONS[found.kind].say_one(found.subject)


def render_plugin(
    findings: Sequence[Finding], warnings: Sequence[str], rows: Sequence[PatStatus], figures: str
) -> tuple[str, int]:
    """Return the line of a plugin, with figures after the bar, and its exit code."""
    if findings:
        word, code, said = "CRITICAL", NAGIOS_CRITICAL, "; ".join(render_findings(findings))
    elif warnings:
        word, code, said = "WARNING", NAGIOS_WARNING, "; ".join(warnings[:_MOST_NAMES])
    else:
        managed = sum(row.state is not PatState.UNTRACKED for row in rows)
        word, code, said = "OK", NAGIOS_OK, f"{say_pats(managed)}, nothing needs attention"
    return f"ROTATOR {word}: {_make_plain(said)} | {figures}", code


def render_unknown(error: RotatorError) -> tuple[str, int]:
    """Return the line of a plugin that cannot tell, and its exit code. Of problems in a file it says the first."""
    message = error.message
    if isinstance(error, ConfigError):
        message, more = error.problems[0].splitlines()[0], len(error.problems) - 1
        message += f"; and {more} more, which `rotator config check` shows" if more else ""
    fix = f" ({error.fix})" if error.fix else ""
    return f"ROTATOR UNKNOWN: {_make_plain(clean(' '.join(message.split()) + fix))}", NAGIOS_UNKNOWN


def make_figures(
    findings: Iterable[Finding],
    warnings: Sequence[str],
    rows: Iterable[PatStatus],
    runs: RunTimes,
    now: datetime,
    tolerance: Tolerance,
) -> str:
    """Return the figures of a plugin: PATs, problems, warnings, the age of the last success, the next expiry."""
    managed = [row.expires_at for row in rows if row.state is not PatState.UNTRACKED]
    figures = [
        f"pats={len(managed)};;;0",
        f"problems={sum(max(1, len(finding.subjects)) for finding in findings)};;0;0",
        f"warnings={len(warnings)};0;;0",
    ]
    if runs.succeeded_at is not None:
        age = max(0, round((now - runs.succeeded_at).total_seconds()))
        figures.append(f"last_success={age}s;;{round(tolerance.max_age.total_seconds())};0")
    if managed:
        figures.append(f"next_expiry={round((min(managed) - now).total_seconds())}s")
    return " ".join(figures)


def _make_plain(text: str) -> str:
    """The text without the bar, which begins the figures."""
    return text.replace("|", "/")
