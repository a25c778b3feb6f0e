"""How every ManagedPat stands, as rows of a table and notes below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from rotator.cli.console import clean
from rotator.cli.output.words import NO_PAT, render_causes, say_all_paused, say_counts, say_expiry, say_pats
from rotator.cli.selection import Facts
from rotator.cli.widths import Column
from rotator.domain.cases import advise_refused_value
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.job_run import RunTimes
from rotator.domain.next_step import BY_HAND
from rotator.domain.runbook import CONDITIONS
from rotator.domain.sign_in import name_refusal
from rotator.domain.words import begin_sentence, say_ago, say_in, say_moment, say_names
from rotator.engine.explaining import say_ends_with_all
from rotator.engine.needs import Need, count_needs, explain_replacement, find_need
from rotator.engine.next_words import NONE_POSTPONED, Postponed, say_next
from rotator.engine.signing_in import AccountStatus
from rotator.engine.status import NeededSignIn, PatState, PatStatus
from rotator.engine.subjects import name_vault_at
from rotator.errors import FailureKind

COLUMNS = (
    Column("name", is_key=True),
    Column("organization", may_go=True, lower=True),
    Column("state", fixed=True, may_go=True),
    Column("expires", fixed=True),
    Column("next", lower=True),
)
WIDE_COLUMNS = (
    *COLUMNS,
    Column("account", may_go=True, lower=True),
    Column("scopes", lower=True),
    Column("vault", may_go=True, lower=True),
    Column("secret", lower=True),
    Column("authorization id", lower=True),
)
_WHOLE = (
    ConditionKind.CLOCK_WRONG,
    ConditionKind.TOKEN_CACHE_DAMAGED,
    ConditionKind.AUDIT_BROKEN,
)
"""What is wrong with no single PAT, and waits for a person, as a sign-in does."""
_DOWN = (ConditionKind.ACCOUNT_DOWN, ConditionKind.ORGANIZATION_DOWN, ConditionKind.VAULT_DOWN)
"""What cannot be used, together with every PAT in it."""
_OTHERS = (
    ConditionKind.PROBE_FAILING,
    ConditionKind.LISTING_DAMAGED,
    ConditionKind.RECEIVER_FAILING,
    ConditionKind.HOOK_FAILING,
    ConditionKind.JOB_STALLED,
    ConditionKind.TOKEN_CACHE_UNSAVED,
    ConditionKind.DAEMONS_MIXED,
)
"""What no row of the table and nothing above it shows."""
_MOST_DOWN = 3
_WHY = {
    ConditionKind.ACCOUNT_DOWN: "`rotator scan` asks again now, and says why.",
    ConditionKind.VAULT_DOWN: "The PATs that wait for it say why, below.",
}


def render_status_head(
    runs: RunTimes,
    conditions: Sequence[Condition],
    now: datetime,
    needed: Mapping[str, NeededSignIn] | None = None,
    rows: Sequence[PatStatus] = (),
    looked_at: datetime | None = None,
    pause_reason: str | None = None,
) -> Iterator[str]:
    """The sentences that matter, each with its fix below it: who must sign in, what is wrong as a whole or down.

    Then when a run last succeeded. `needed`: what is known of the accounts that a person must sign in; `rows`: every
    PAT; `looked_at`: when a daemon last looked at every account and organization. Its runs between ask no service while
    nothing is due. `pause_reason`: why everything is paused, if that is known.
    """
    for name, account in (needed or {}).items():
        yield f"{_say_needed(name, account, rows, now)}."
        yield clean(f"    fix: {account.failure.fix}")
    for found in conditions:
        if found.kind is ConditionKind.ALL_PAUSED:
            yield f"{begin_sentence(say_all_paused(found.since, pause_reason))}."
    yield from _render_kinds((*_WHOLE, *_DOWN), conditions, rows, now)
    said = "No run has succeeded yet"
    if runs.succeeded_at is not None:
        said = f"Last successful run {say_ago(runs.succeeded_at, now)}"
    if runs.by_daemon and looked_at is not None:
        said += f"; all accounts checked {say_ago(looked_at, now)}"
    yield f"{said}."


def render_down(conditions: Sequence[Condition], now: datetime) -> Iterator[str]:
    """Say which accounts, organizations and vaults did not work last, as `status` does: plans take them for well."""
    yield from _render_kinds(_DOWN, conditions, (), now)


def _render_kinds(
    kinds: Iterable[ConditionKind], conditions: Sequence[Condition], rows: Sequence[PatStatus], now: datetime
) -> Iterator[str]:
    for kind in kinds:
        yield from _render_kind(kind, [found for found in conditions if found.kind is kind], rows, now)


def _render_kind(
    kind: ConditionKind, lasting: Sequence[Condition], rows: Sequence[PatStatus], now: datetime
) -> Iterator[str]:
    """Say of all subjects of one kind what is wrong with each, and what a person can do, which is said once."""
    if not lasting:
        return
    advice = CONDITIONS[kind]
    for found in lasting[:_MOST_DOWN]:
        yield clean(f"{advice.say_seen(found.subject)}{_say_seen(found, rows, now) if kind in _DOWN else '.'}")
    if len(lasting) > _MOST_DOWN:
        yield f"And {len(lasting) - _MOST_DOWN} more like that."
    fix = advice.name_in([found.subject for found in lasting]).fix
    vaults = {found.subject for found in lasting}
    waits = any(row.last_error is not None and row.vault and name_vault_at(row.vault) in vaults for row in rows)
    why = _WHY.get(kind, "") if waits or kind is not ConditionKind.VAULT_DOWN else ""
    yield clean(f"    fix: {fix} {why}".rstrip())


def _say_seen(found: Condition, rows: Iterable[PatStatus], now: datetime) -> str:
    """` at 2026-11-28 07:41Z (vault_failed); no run has seen it work since.`: nobody asks a vault that no PAT needs."""
    said = f" at {say_moment(found.since)}{f' ({found.code})' if found.code else ''}; no run has seen it work since."
    if found.kind is not ConditionKind.VAULT_DOWN:
        return said
    asking = (row for row in rows if row.vault and name_vault_at(row.vault) == found.subject)
    turns = [row.next_at for row in asking if row.next_at is not None and row.next_action not in BY_HAND]
    first = min(turns, default=None)
    return said if first is None else f"{said} A run needs it next {say_in(first, now) if first > now else 'now'}."


def render_others(conditions: Iterable[Condition], rows: Iterable[PatStatus] = ()) -> Iterator[str]:
    """Say what else lasts and is not shown with a PAT, and what a person can do about it: for its cause, if known."""
    by_name = {row.name: row for row in rows}
    for found in conditions:
        if found.kind in _OTHERS:
            advice, row = CONDITIONS[found.kind], by_name.get(found.subject)
            if found.kind is ConditionKind.PROBE_FAILING and found.code and row is not None:
                advice = advise_refused_value(row, found.code)
            yield clean(f"{advice.say_one(found.subject)} (since {say_moment(found.since)})")
            yield clean(f"    fix: {advice.name_in([found.subject]).fix}")


def _say_needed(name: str, needed: NeededSignIn, rows: Sequence[PatStatus], now: datetime) -> str:
    """`build-bot must sign in again (AADSTS50173, since 2026-12-01 21:40Z): 10 PATs wait, the first expires ...`."""
    refusal, since = needed.memory.refusal, needed.since
    why = "" if refusal is None else name_refusal(refusal).replace("_", " ")
    known = (why, "" if since is None else f"since {say_moment(since)}")
    said = f"{clean(name)} must sign in{'' if needed.is_first else ' again'}"
    if any(known):
        said += f" ({', '.join(filter(None, known))})"
    waiting = [row.expires_at for row in rows if row.needs_sign_in and row.account == name]
    if waiting:
        first = min(waiting)
        verb, ends = ("waits", "it") if len(waiting) == 1 else ("wait", "the first")
        said += (
            f": {say_pats(len(waiting))} {verb}, {ends} {'expired' if first <= now else 'expires'} {say_in(first, now)}"
        )
    return said


def render_forecasts(accounts: Iterable[AccountStatus], now: datetime) -> Iterator[str]:
    """Which sign-ins end soon, and what falls due before that and after it."""
    for account in accounts:
        sight, forecast = account.sight, account.forecast
        if sight.lapses_at is None or forecast is None or sight.find_warning(now) is None:
            continue
        name = clean(sight.memory.account)
        yield (
            f"The sign-in of {name} ends {say_in(sight.lapses_at, now)} ({say_moment(sight.lapses_at)}): "
            f"{say_pats(forecast.due_before)} fall due before that, {forecast.due_after} after it."
        )
        yield f"    fix: Sign in before then: `rotator login {name}`."


def list_status_rows(
    rows: Iterable[PatStatus], now: datetime, postponed: Postponed = NONE_POSTPONED
) -> Iterator[tuple[str, ...]]:
    """One row of `COLUMNS` per PAT."""
    for row in rows:
        yield (
            clean(row.name),
            clean(row.organization),
            row.state.value,
            say_expiry(row.expires_at, now) if row.authorization_id else NO_PAT,
            clean(say_next(row, now, postponed)) or "-",
        )


def describe_status(row: PatStatus) -> Facts:
    """What a PAT is chosen and sorted by."""
    return Facts(row.name, row.account, row.organization, row.state.value, row.expires_at)


def list_wide_rows(
    rows: Sequence[PatStatus], now: datetime, postponed: Postponed = NONE_POSTPONED
) -> Iterator[tuple[str, ...]]:
    """One row of `WIDE_COLUMNS` per PAT."""
    for row, shown in zip(rows, list_status_rows(rows, now, postponed), strict=True):
        where = (row.vault or "-", row.secret_name or "-")
        yield (*shown, clean(row.account), " ".join(row.scopes), *where, row.authorization_id)


def render_status_notes(rows: Iterable[PatStatus]) -> Iterator[str]:
    """What is wrong with which PAT, each with who must do what. A sign-in that is needed is said once, at the top.

    Last comes why PATs stop working before their own expiry, unless what is wrong with them is just that.
    """
    early, failures = [], []
    for row in rows:
        if row.ends_with_all and (row.last_error is None or row.last_error.kind is not FailureKind.ENDS_WITH_ALL):
            early.append(clean(row.name))
        if find_need(row) is Need.REPLACEMENT and row.last_error is None:
            failures.append((row.name, explain_replacement(row)))
        if row.last_error is not None and not row.signed_out:
            failures.append((row.name, row.last_error))
    yield from render_causes(failures)
    if early:
        yield f"{say_names(early)}: {say_ends_with_all(len(early))}"


def render_status_summary(rows: tuple[PatStatus, ...]) -> str:
    """`4 PATs: 1 due, 2 ok, 1 blocked; 1 waits for a person`, in the order of the states."""
    counts = {state.value: sum(row.state is state for row in rows) for state in PatState}
    due, by_hand = counts[PatState.DUE], sum(row.by_hand and row.state is PatState.DUE for row in rows)
    replaced = f"{by_hand} of them to replace by hand" if due != by_hand else "to replace by hand"
    counts = {f"due ({replaced})" if by_hand and word == PatState.DUE else word: counts[word] for word in counts}
    waiting = sum(count_needs(rows).values())
    ending = f"; {waiting} {'waits' if waiting == 1 else 'wait'} for a person" if waiting else ""
    return f"{say_pats(len(rows))}: {say_counts(counts)}{ending}"
