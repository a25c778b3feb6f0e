"""What ran when: a row for each run of a job and its period, and one for each daemon, written in place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, delete, func, select

from rotator.adapters.database.engine import make_upsert
from rotator.adapters.database.records import JOB_RUN_COLUMNS, list_job_run, make_job_run
from rotator.adapters.database.schema import heartbeat, job_run
from rotator.domain.job_run import KEPT_FOR, Failures, Heartbeat, JobName, JobOutcome, JobRun

# Made once: building a statement costs the library more than executing it does.
_FIND_LAST = (
    select(*JOB_RUN_COLUMNS)
    .where(job_run.c.job == bindparam("wanted_job"), job_run.c.period <= bindparam("until"))
    .order_by(job_run.c.period.desc())
    .limit(1)
)
_FIND_LAST_ENDED = _FIND_LAST.where(job_run.c.outcome == bindparam("wanted_outcome"))


class SqlJobRunsReader:
    """The port JobRunsReader."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find_last(self, job: JobName, until: datetime, outcome: JobOutcome | None = None) -> JobRun | None:
        """See the port."""
        values = {"wanted_job": job, "until": until}
        if outcome is None:
            row = self._connection.execute(_FIND_LAST, values).first()
        else:
            row = self._connection.execute(_FIND_LAST_ENDED, {**values, "wanted_outcome": outcome}).first()
        return None if row is None else make_job_run(row)

    def count_failures(self, job: JobName, after: datetime | None, until: datetime) -> Failures:
        """See the port."""
        wanted = [job_run.c.job == job, job_run.c.period <= until, job_run.c.outcome == JobOutcome.FAILED]
        if after is not None:
            wanted.append(job_run.c.period > after)
        row = self._connection.execute(select(func.count(), func.min(job_run.c.period)).where(*wanted)).one()
        return Failures(*row)

    def find_first_raised(self, job: JobName, until: datetime) -> datetime | None:
        """See the port."""
        mine, raised = (job_run.c.job == job, job_run.c.period <= until), job_run.c.failure_code.is_not(None)
        quiet = select(func.max(job_run.c.period)).where(*mine, job_run.c.outcome.is_not(None), ~raised)
        first, last = select(func.min(job_run.c.period)).where(*mine, raised), self._connection.scalar(quiet)
        found: datetime | None = self._connection.scalar(
            first if last is None else first.where(job_run.c.period > last)
        )
        return found

    def load_heartbeats(self) -> tuple[Heartbeat, ...]:
        """See the port."""
        rows = self._connection.execute(select(heartbeat).order_by(heartbeat.c.beat_at.desc(), heartbeat.c.holder))
        return tuple(Heartbeat(**row._mapping) for row in rows)


class SqlJobRuns(SqlJobRunsReader):
    """The port JobRuns. `is_gone` says whether the process behind a holder has certainly ended."""

    def __init__(self, connection: Connection, is_gone: Callable[[str], bool]) -> None:
        super().__init__(connection)
        self._is_gone = is_gone

    def begin(self, run: JobRun) -> bool:
        """See the port. The row stays locked to the end of the transaction, so that one process alone is told yes."""
        values = list_job_run(run)
        insert = make_upsert(self._connection, job_run)
        if self._connection.execute(insert.values(values).on_conflict_do_nothing()).rowcount > 0:
            return True
        mine = (job_run.c.job == run.job, job_run.c.period == run.period)
        found = self._connection.execute(select(*JOB_RUN_COLUMNS).where(*mine).with_for_update()).one()
        if not may_begin(make_job_run(found), run, self._is_gone):
            return False
        self._connection.execute(job_run.update().where(*mine).values(values))
        return True

    def end(self, run: JobRun) -> None:
        """See the port."""
        values = list_job_run(run)
        insert = make_upsert(self._connection, job_run)
        keys = [job_run.c.job, job_run.c.period]
        self._connection.execute(insert.values(values).on_conflict_do_update(index_elements=keys, set_=values))
        before = run.period - KEPT_FOR
        succeeded = job_run.c.outcome == JobOutcome.SUCCEEDED
        newest = select(func.coalesce(func.max(job_run.c.period), before)).where(job_run.c.job == run.job, succeeded)
        old = (job_run.c.job == run.job, job_run.c.period < before, job_run.c.period < newest.scalar_subquery())
        self._connection.execute(delete(job_run).where(*old))

    def beat(self, beat: Heartbeat) -> None:
        """See the port."""
        values = vars(beat)
        insert = make_upsert(self._connection, heartbeat)
        keys = [heartbeat.c.holder]
        self._connection.execute(insert.values(values).on_conflict_do_update(index_elements=keys, set_=values))

    def end_silent(self, holders: Collection[str], before: datetime, now: datetime) -> tuple[Heartbeat, ...]:
        """See the port. By the index of what has no outcome; whoever changes a row first has noted it."""
        life = (job_run.c.job == JobName.HEARTBEAT, job_run.c.outcome.is_(None), job_run.c.holder == heartbeat.c.holder)
        query = select(heartbeat).where(*life, job_run.c.period == heartbeat.c.began_at, heartbeat.c.beat_at < before)
        found = [Heartbeat(**row._mapping) for row in self._connection.execute(query.order_by(heartbeat.c.holder))]
        silent = (beat for beat in found if beat.holder in holders and beat.was_over(before))
        return tuple(beat for beat in silent if self._end_life(beat, now))

    def _end_life(self, beat: Heartbeat, now: datetime) -> bool:
        life = (job_run.c.job == JobName.HEARTBEAT, job_run.c.holder == beat.holder, job_run.c.outcome.is_(None))
        ended = job_run.update().where(*life).values(outcome=JobOutcome.FAILED, ended_at=now)
        return self._connection.execute(ended).rowcount > 0

    def forget_heartbeats(self, before: datetime) -> None:
        """See the port."""
        self._connection.execute(delete(heartbeat).where(heartbeat.c.beat_at < before))


def may_begin(found: JobRun, run: JobRun, is_gone: Callable[[str], bool]) -> bool:
    """Whether a period that was begun before may be begun by this run."""
    if found.holder == run.holder:
        return True
    if found.outcome is None:
        return is_gone(found.holder)
    return found.outcome is not JobOutcome.SUCCEEDED
