"""Checks of our own records: the inventory against the policy, the audit log, the work that is done, the clocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from rotator.domain.checkup import Remark, fail, praise, warn
from rotator.domain.clocks import HOST, judge
from rotator.domain.clocks import Verdict as ClockVerdict
from rotator.domain.condition import Condition, ConditionKind
from rotator.domain.job_run import Heartbeat, JobName, JobOutcome, find_colleagues, say_differences
from rotator.domain.limit import find_longest
from rotator.domain.managed_pat import Failure, ManagedPat, ManagedPatState
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.policy import Policy, RuleAction
from rotator.domain.words import say_ago, say_count, say_duration, say_for_several, say_moment
from rotator.engine.alarm import Cause, Tolerance, find_findings, find_max_age
from rotator.engine.anchoring import AnchorSight
from rotator.engine.checkup.patient import Patient
from rotator.engine.clocks import make_skew_error
from rotator.engine.explaining import explain_decision, explain_obstacle
from rotator.engine.listing import make_unknown_account
from rotator.engine.log_checking import verify_log
from rotator.engine.moments import judge_clock
from rotator.engine.run_memory import load_run_times
from rotator.engine.signing_keys import follow_keys
from rotator.engine.verified import load_verified
from rotator.errors import DatabaseError, RotatorError
from rotator.ports.database import Reading

MONTH = timedelta(days=30)
MOST_MAILS = 300
"""A month to one user: about ten a day, among which nobody sees the one that matters."""
_MOST_NAMES = 6
_HEAR = "Fix the service problems above, then run `rotator doctor` again."
_START = "Start the daemon (`systemctl enable --now rotator`), or have a timer or cron run `rotator once`."


def check_inventory(patient: Patient) -> Iterator[Remark]:
    """Each ManagedPat has its account, and the one that it moves to, and a rule, and that can be met."""
    policy, now = patient.open_policy(), patient.clock.now()
    with patient.open_database().read() as reading:
        records, limits = reading.inventory.load_all(), reading.limits.load()
    known = {account.name for account in patient.accounts}
    wrong: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for pat in records:
        if pat.state is ManagedPatState.PAUSED:
            continue
        decision = policy.decide(pat.as_ending(), now=now, longest=find_longest(limits, pat, now))
        obstacle = explain_decision(decision, pat)
        if pat.all_organizations and decision.rule is not None and decision.rule.action is RuleAction.ROTATE:
            obstacle = explain_obstacle(Obstacle(ObstacleKind.ALL_ORGANIZATIONS), pat)
        for account in (pat.next_account, pat.account):
            if account not in known:
                obstacle = Failure.of(make_unknown_account(account))
        if obstacle is not None:
            wrong[obstacle.message, say_for_several(obstacle.fix, pat.name)][pat.name] = obstacle.fix
    for (message, fix), own in wrong.items():
        yield fail(_say_names(list(own)), message, fix if len(own) > 1 else next(iter(own.values())))
    if not wrong:
        said = "each managed PAT has an account and a rule, and fits the limits" if records else "no managed PATs"
        yield praise("", said)


def check_mails(patient: Patient) -> Iterator[Remark]:
    """Microsoft mails the owner of each new PAT: how many come in a month."""
    policy, now = patient.open_policy(), patient.clock.now()
    with patient.open_database().read() as reading:
        records, limits = reading.inventory.load_all(), reading.limits.load()
    for account in patient.accounts:
        mine = [pat for pat in records if pat.account == account.name]
        mails = round(sum(_count_mails(policy, pat, find_longest(limits, pat, now), now) for pat in mine))
        said = f"about {say_count(mails, 'mail')} a month to {account.username}: one for each new PAT"
        if mails > MOST_MAILS:
            yield warn(
                account.name,
                said,
                "Let the PATs live longer (`lifetime` in the policy), or have the mailbox sort these mails.",
            )
        elif mine:
            yield praise(account.name, said)


def _count_mails(policy: Policy, pat: ManagedPat, longest: timedelta | None, now: datetime) -> float:
    """Return how many PATs are made for a ManagedPat in a month: none for one that is never rotated."""
    decision, is_left = policy.decide(pat.as_ending(), now=now, longest=longest), pat.state is ManagedPatState.PAUSED
    rule = decision.rule
    if rule is None or rule.action is not RuleAction.ROTATE or decision.obstacle or is_left or pat.all_organizations:
        return 0.0
    lifetime = policy.clone_lifetime(pat, rule, longest)
    interval = lifetime - rule.find_lead(lifetime)
    return MONTH / interval if interval > timedelta(0) else 0.0


def check_audit(patient: Patient) -> Iterator[Remark]:
    """The audit log is as it was written, by its chain, its checkpoints and their signatures."""
    database, now = patient.open_database(), patient.clock.now()
    trust = follow_keys(database, patient.open_trust())
    summary, _ = verify_log(database, AnchorSight((), {}), trust, now, (), load_verified(database, trust, now))
    signed = f"; {summary.signed} of them are signed" if summary.signed else ""
    new = f" ({summary.since} of them had been verified before)" if summary.since else ""
    yield praise("", f"{say_count(summary.events, 'event')}, the chain is intact{new}{signed}")


def check_work(patient: Patient) -> Iterator[Remark]:
    """The daemon, or a timer, does its work: when it last succeeded."""
    with patient.open_database().read() as reading:
        now, runs = reading.now(), load_run_times(reading)
        conditions, beats = tuple(reading.conditions.load()), reading.job_runs.load_heartbeats()
        is_empty = not reading.inventory.load_page("", 1)
        newest = max(beats, key=lambda beat: beat.beat_at, default=None)
        stopped_at = None if newest is None else _find_stop(reading, newest)
    if runs.started_at is None:
        if is_empty:
            yield praise("", "nothing has run yet, and no PAT is managed yet")
        else:
            yield fail("", "nothing has ever run here: no daemon, and no timer", _START)
        return
    if runs.by_daemon and newest is not None and now - newest.beat_at > newest.lives_for:
        yield _say_silent(newest, stopped_at)
        return
    if differences := say_differences(find_colleagues(beats, now)):
        yield warn(
            "daemons",
            f"those that share the database work with different {differences}",
            "Install the same version, and the same policy at the same place, on every host, and restart the daemons.",
        )
    who = "the daemon" if runs.by_daemon else "a run"
    tolerance = Tolerance(find_max_age(runs, patient.work_every))
    is_stale = any(found.cause is Cause.STALE for found in find_findings((), (), conditions, runs, now, tolerance))
    if runs.succeeded_at is None:
        last = f"runs have begun, the last one {say_ago(runs.started_at, now)}, and none has succeeded"
    else:
        last = f"{who} last succeeded {say_ago(runs.succeeded_at, now)}"
    signed_out = _find_signed_out(patient, conditions) if runs.succeeded_at is None else []
    if signed_out:
        yield (fail if is_stale else warn)(
            "", last, f"{signed_out[0]} is not signed in: run `rotator login {signed_out[0]}`."
        )
    elif is_stale and runs.succeeded_at is None:
        yield fail("", last, f"`rotator once` says what is in the way. If nothing runs: {_START}")
    elif is_stale:
        yield fail("", f"{last}: that is too long", f"`rotator status` says what is wrong. If nothing runs: {_START}")
    else:
        yield praise("", last)


def _say_silent(newest: Heartbeat, stopped_at: datetime | None) -> Remark:
    if stopped_at is not None:
        return fail("", f"the daemon was stopped at {say_moment(stopped_at)}, and nothing has run since", _START)
    return fail(
        "",
        f"the daemon has given no sign of life since {say_moment(newest.beat_at)}",
        "Look at its log (under systemd also `systemctl status rotator`), and start it again.",
    )


def _find_stop(reading: Reading, newest: Heartbeat) -> datetime | None:
    """Return when the daemon that beat last was stopped by a person; None where it was not."""
    life = reading.job_runs.find_last(JobName.HEARTBEAT, newest.began_at)
    is_its = life is not None and life.holder == newest.holder and life.outcome is JobOutcome.STOPPED
    return life.ended_at if life is not None and is_its else None


def _find_signed_out(patient: Patient, conditions: Iterable[Condition]) -> list[str]:
    """Name the accounts that a person must sign in, by our records and by the token cache, if that can be read."""
    known = [found.subject for found in conditions if found.kind is ConditionKind.SIGN_IN_NEEDED]
    try:
        sign_in, now = patient.open_sign_in(), patient.clock.now()
        out = [one.name for one in patient.accounts if not sign_in.status(one.name).is_signed_in(now)]
    except RotatorError:
        out = []
    return sorted({*known, *out})


def check_clock(patient: Patient) -> Iterator[Remark]:
    """This host's clock agrees with those of the services and of PostgreSQL, as the other checks heard them."""
    verdict = _judge_clock(patient)
    if verdict.is_wrong:
        error = make_skew_error(verdict)
        yield fail(HOST, error.message, error.fix)
        return
    for name, span in verdict.dissenting.items():
        side = "ahead of" if span > timedelta(0) else "behind"
        yield warn(
            name,
            f"its clock is {say_duration(abs(span))} {side} all others: rotator does not count it",
            "If it is a server of yours, set its clock; else wait until the service does.",
        )
    if not verdict.heard:
        yield warn(HOST, "no service said what time it is, so nobody knows whether this host's clock is right", _HEAR)
    elif not verdict.dissenting:
        yield praise(HOST, f"agrees with {say_count(len(verdict.agreeing), 'other clock')}")


def _judge_clock(patient: Patient) -> ClockVerdict:
    try:
        with patient.open_database().read() as reading:
            return judge_clock(patient.clock, patient.witnesses, reading)
    except DatabaseError:
        return judge(patient.clock.now(), patient.witnesses.read_witnesses(), None)


def _say_names(names: Iterable[str]) -> str:
    known = list(names)
    more = len(known) - _MOST_NAMES
    return ", ".join(known[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
