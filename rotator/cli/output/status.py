"""How every ManagedPat stands, as rows of a table and notes below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from rotator.cli.console import Column, clean
from rotator.cli.output.words import say_counts, say_expiry, say_in, say_pats
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.job_run import RunTimes
from rotator.engine.status import NextAction, PatState, PatStatus

COLUMNS = (Column("name", fold=True), Column("organization", fold=True), "state", "expires", "next")


_NEXT = {
    NextAction.ROTATE: "rotate",
    NextAction.RETIRE: "revoke old",
    NextAction.RETRY: "try again",
    NextAction.SETTLE: "settle",
    NextAction.CONFIRM_REVOCATION: "confirm revocation",
    NextAction.REPLACE_BY_HAND: "replace by hand",
    NextAction.SIGN_IN: "sign in",
}
_WHOLE = {
    ConditionKind.SIGN_IN_NEEDED: "{} must sign in again",
    ConditionKind.CLOCK_WRONG: "the clock of {} is wrong",
    ConditionKind.TOKEN_CACHE_DAMAGED: "the token cache {} is damaged",
    ConditionKind.AUDIT_BROKEN: "the audit log was altered",
}
"""What is wrong with no single PAT, and waits for a person."""
_BY_HAND = (NextAction.REPLACE_BY_HAND, NextAction.SIGN_IN)


def render_status_head(runs: RunTimes, conditions: Iterable[Condition], now: datetime) -> str:
    """The sentence that matters: when a run last succeeded, who must sign in again, and what is wrong as a whole."""
    if runs.succeeded_at is None:
        said = "No run has succeeded yet"
    else:
        said = f"Last successful run {_say_ago(runs.succeeded_at, now)}"
    said += "".join(f"; {_WHOLE[c.kind].format(clean(c.subject))}" for c in conditions if c.kind in _WHOLE)
    return f"{said}."


def _say_ago(moment: datetime, now: datetime) -> str:
    return "just now" if (said := say_in(moment, now)) == "now" else said


def list_status_rows(rows: Iterable[PatStatus], now: datetime) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per PAT."""
    for row in rows:
        yield (
            clean(row.name),
            clean(row.organization),
            row.state.value,
            say_expiry(row.expires_at, now),
            _say_next(row, now),
        )


def _say_next(row: PatStatus, now: datetime) -> str:
    """What a run does next with it, and when; `now` is left out where a person has to do it."""
    said = _NEXT.get(row.next_action)
    if said is None:
        return "-"
    if row.next_at is not None and row.next_at > now:
        return f"{said} {say_in(row.next_at, now)}"
    return said if row.next_action in _BY_HAND else f"{said} now"


def render_status_notes(rows: Iterable[PatStatus]) -> Iterator[str]:
    """What is wrong with which PAT, each with who must do what."""
    for row in rows:
        if row.last_error is not None:
            yield clean(f"{row.name}: {row.last_error.message}")
            if row.last_error.fix:
                yield clean(f"    fix: {row.last_error.fix}")


def render_status_summary(rows: tuple[PatStatus, ...]) -> str:
    """`4 PATs: 1 due, 3 ok`, in the order of the states."""
    counts = {state.value: sum(row.state is state for row in rows) for state in PatState}
    return f"{say_pats(len(rows))}: {say_counts(counts)}"
