"""The status page of the daemon: what `rotator status` says, for people who look at it in a browser.

It is made beside the requests for it, so its size is bounded: at most `MOST_ROWS` PATs are listed, those that need
attention first, and no text from outside is longer than `_LONGEST`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from rotator.documents.status import PatStatusDocument, StatusDocument, StatusSignInDocument
from rotator.domain.cases import advise_no_sign_in
from rotator.domain.condition import Condition
from rotator.domain.job_run import JobName
from rotator.domain.measurements import JobFigures
from rotator.domain.next_step import BY_HAND
from rotator.domain.runbook import CONDITIONS
from rotator.domain.sign_in import NOT_SIGNED_IN
from rotator.domain.telling import join_causes
from rotator.domain.words import begin_sentence, say_ago, say_count, say_in, say_moment, say_span
from rotator.engine.needs import Need, explain_replacement, find_need
from rotator.engine.next_words import NONE_POSTPONED, Postponed, say_next
from rotator.engine.status import ATTENTION, SIGN_IN_REQUIRED, PatState, PatStatus
from rotator.report.rendering import make_environment, make_policy

MOST_ROWS = 1000
MOST_ACCOUNTS = 20
"""How many accounts can be chosen alone without a script."""
_MOST_SUBJECTS = 10
_LONGEST = 200
_STEPS = 20
_MARKS = {
    PatState.OK: "✓",
    PatState.DUE: "→",
    PatState.OVERLAPPING: "⇄",
    PatState.EXPIRED: "✕",
    PatState.FAILED: "✕",
    PatState.BLOCKED: "!",
    PatState.PAUSED: "‖",
    PatState.UNTRACKED: "?",
}
_ORDER = (
    *(PatState.EXPIRED, PatState.FAILED, PatState.BLOCKED, PatState.UNTRACKED),
    *(PatState.PAUSED, PatState.DUE, PatState.OVERLAPPING, PatState.OK),
)

_ENVIRONMENT = make_environment()
POLICY = make_policy(_ENVIRONMENT, "status_page.js", "status_page.css")
"""The content security policy that the page is to be served with."""


@dataclass(frozen=True)
class StatusPage:
    """What the page shows. `problems` keep the daemon from its work; `document` is as old as it says.

    `rows` are the PATs of `document`, in its order, for what it does not say.
    """

    document: StatusDocument
    rows: Sequence[PatStatus]
    conditions: tuple[Condition, ...]
    jobs: tuple[JobFigures, ...]
    version: str
    problems: tuple[str, ...] = ()
    postponed: Postponed = NONE_POSTPONED


@dataclass(frozen=True)
class _Row:
    name: str
    display_name: str
    account: str
    account_number: int | None
    organization: str
    state: str
    mark: str
    expires: str
    left: str
    bar: int
    next: str
    why: str
    fix: str


def render_status_page(page: StatusPage) -> bytes:
    """Return the page as HTML."""
    document, pats = page.document, page.document["pats"]
    now = _read(document["generated_at"])
    accounts = sorted({pat["account"] for pat in pats})
    numbers = {name: number for number, name in enumerate(accounts[:MOST_ACCOUNTS])}
    numbered = sorted(range(len(pats)), key=lambda number: _needs_attention(pats[number]), reverse=True)
    chosen = [(pats[number], page.rows[number]) for number in numbered[:MOST_ROWS]]
    listed, every = Counter(pat["state"] for pat, _ in chosen), Counter(pat["state"] for pat in pats)
    text = _ENVIRONMENT.get_template("status_page.html").render(
        title=_say_state(pats),
        sentences=list(_say_sentences(document, now)),
        made_at=document["generated_at"],
        made=say_moment(now),
        problems=[begin_sentence(problem) for problem in page.problems],
        conditions=list(_list_conditions(page.conditions)),
        states=[(state.value, _MARKS[state], listed[state], every[state]) for state in _ORDER if listed[state]],
        accounts=[(_clip(name), number) for name, number in numbers.items()] if len(accounts) > 1 else (),
        rows=[
            _make_row(pat, numbers, row, say_next(row, now, page.postponed, pat["name"]), now) for pat, row in chosen
        ],
        total=len(pats),
        sign_ins=[_list_sign_in(account, now) for account in document["accounts"]],
        jobs=[_list_job(job, now) for job in page.jobs],
        version=page.version,
    )
    return text.encode()


def _needs_attention(pat: PatStatusDocument) -> bool:
    """Whether a person should look at it: it is in trouble, has to be replaced by hand, or was left behind."""
    is_left_behind = pat["state"] is PatState.UNTRACKED and pat["last_error"] is not None
    return pat["state"] in ATTENTION or pat["next_action"] in BY_HAND or is_left_behind


def _say_state(pats: Sequence[PatStatusDocument]) -> str:
    """`3 of 50 PATs need attention`, `All 50 PATs are in order`."""
    if not pats:
        return "No PATs are managed yet"
    wrong = sum(map(_needs_attention, pats))
    if wrong:
        return f"{wrong:,} of {_count_pats(len(pats))} need{'s' if wrong == 1 else ''} attention"
    return f"All {_count_pats(len(pats))} are in order" if len(pats) > 1 else "The one PAT is in order"


def _say_sentences(document: StatusDocument, now: datetime) -> Iterator[str]:
    """The sentences at the top."""
    pats, pending = document["pats"], document["pending_revocations"]
    counts = Counter(pat["state"] for pat in pats)
    yield f"{_say_state(pats)}."
    if counts:
        yield f"{', '.join(f'{counts[state]:,} {state}' for state in _ORDER if counts[state])}."
    succeeded = document["runs"]["last_succeeded_at"]
    yield "No run has succeeded yet." if succeeded is None else f"Last successful run {say_ago(_read(succeeded), now)}."
    if pending:
        overdue = sum(item["overdue"] for item in pending)
        told = f", {overdue:,} of them for too long" if overdue else ""
        yield f"{say_count(len(pending), 'revocation')} not confirmed yet{told}."


def _count_pats(count: int) -> str:
    return f"{count:,} PAT{'' if count == 1 else 's'}"


def _list_conditions(conditions: Iterable[Condition]) -> Iterator[dict[str, str]]:
    """What lasts, one entry for each kind: what it is, since when, about what, and what a person can do."""
    kinds: dict[str, list[Condition]] = {}
    for found in join_causes(conditions):
        kinds.setdefault(found.kind, []).append(found)
    for kind in kinds.values():
        is_first = all(found.code == NOT_SIGNED_IN for found in kind)
        advice = advise_no_sign_in() if is_first else CONDITIONS[kind[0].kind]
        subjects = [_clip(found.subject) for found in kind[:_MOST_SUBJECTS]]
        more = len(kind) - len(subjects)
        codes = sorted({_clip(found.code) for found in kind if found.code})
        one, named = advice.say_seen(subjects[0]), advice.name_in([_clip(found.subject) for found in kind])
        since = say_moment(min(found.since for found in kind))
        yield {
            "said": one if len(kind) == 1 else begin_sentence(advice.say_many(len(kind))),
            "subjects": "" if len(kind) == 1 else ", ".join(subjects) + (f" and {more} more" if more else ""),
            "codes": ", ".join(codes[:_MOST_SUBJECTS]),
            "when": f"at {since}; not seen to work since" if advice.was and len(kind) == 1 else f"since {since}",
            "fix": f"Run `{named.command}`. {named.fix}" if advice.mends else named.fix,
        }


def _make_row(
    pat: PatStatusDocument, numbers: Mapping[str, int], row: PatStatus, following: str, now: datetime
) -> _Row:
    began, ends, error = _read(pat["valid_from"]), _read(pat["expires_at"]), pat["last_error"]
    state, name, display_name = PatState(pat["state"]), _clip(pat["name"]), _clip(pat["display_name"])
    if error is not None and error["code"] == SIGN_IN_REQUIRED:
        error = None  # said once, above
    return _Row(
        name=name,
        display_name="" if display_name == name else display_name,
        account=_clip(pat["account"]),
        account_number=numbers.get(pat["account"]),
        organization=_clip(pat["organization"]),
        state=state.value,
        mark=_MARKS[state],
        expires=f"{ends:%Y-%m-%d}",
        left=f"{say_span(ends - now)} {'left' if ends > now else 'ago'}",
        bar=_find_bar(began, ends, now),
        next=_clip(following),
        why="" if error is None else _clip(error["message"]),
        fix=_find_fix(row, pat["name"], "" if error is None else error["fix"]),
    )


def _find_fix(row: PatStatus, name: str, fix: str) -> str:
    """What a person can do, whole or not at all; nothing of a PAT whose name is hidden."""
    if not fix and name == row.name and find_need(row) is Need.REPLACEMENT:
        fix = explain_replacement(row).fix
    return fix if len(fix) <= _LONGEST or row.vault is None else f"`rotator status {_clip(name)}` says what to do."


def _find_bar(began: datetime, ends: datetime, now: datetime) -> int:
    """How much of the lifetime is left, in steps of the bar; what is left at all is at least one."""
    left, whole = ends - now, ends - began
    if left <= timedelta(0) or whole <= timedelta(0):
        return 0
    return min(_STEPS, max(1, round(_STEPS * (left / whole))))


def _list_sign_in(account: StatusSignInDocument, now: datetime) -> dict[str, str]:
    refusal, forecast, ends = account["refusal"], account["forecast"], account["lapses_at"]
    stands = {True: "signed in", False: "a person must sign in", None: "not known"}[account["signed_in"]]
    due = ""
    if forecast is not None:
        fall = "falls" if forecast["due_before"] == 1 else "fall"
        due = f"{_count_pats(forecast['due_before'])} {fall} due before that, {forecast['due_after']} after it"
    return {
        "name": _clip(account["name"]),
        "stands": stands,
        "mark": "✓" if account["signed_in"] else "!",
        "refreshed": _say_ago_or_never(account["last_refresh_at"], now),
        "ends": "not known" if ends is None else f"{say_in(_read(ends), now)} ({say_moment(_read(ends))})",
        "due": due,
        "why": "" if refusal is None else _clip(refusal["message"]),
        "fix": "" if refusal is None else _clip(refusal["fix"]),
    }


def _list_job(job: JobFigures, now: datetime) -> dict[str, str]:
    return {
        "name": JobName(job.job).value.replace("_", " "),
        "succeeded": "never" if job.succeeded_at is None else say_ago(job.succeeded_at, now),
        "lasted": "" if job.lasted is None else say_span(job.lasted),
    }


def _say_ago_or_never(moment: str | None, now: datetime) -> str:
    return "never, or not known" if moment is None else say_ago(_read(moment), now)


def _clip(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _read(moment: str) -> datetime:
    return datetime.fromisoformat(moment)
