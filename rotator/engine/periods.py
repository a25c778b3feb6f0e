"""A job that is done once in each period, whoever does it: one daemon of several, or `rotator once`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from rotator.domain.job_run import JobName, JobOutcome, JobRun
from rotator.engine.context import RunContext
from rotator.engine.isolating import naming_bugs
from rotator.engine.jobs import JobResult
from rotator.engine.logging_reads import logging_reads
from rotator.engine.run_memory import fail_run, save_end
from rotator.errors import RotatorError, StoppedError


def do_in_period(
    run: RunContext, job: JobName, period: datetime, holder: str, act: Callable[[RunContext], JobResult]
) -> JobResult:
    """Do a job, and leave in the database how it ended. Where another process has done that period, nothing is done."""
    run = replace(run, purpose=job.value)
    began = JobRun(job, period, holder, run.services.clock.now())
    with run.services.database.begin() as work:
        if not work.job_runs.begin(began):
            return JobResult()
    try:
        with naming_bugs("the other jobs go on"), logging_reads(run):
            result = act(run)
    except RotatorError as error:
        save_end(run, fail_run(run, began, error))
        raise
    except StoppedError:
        save_end(run, replace(began, ended_at=run.services.clock.now(), outcome=JobOutcome.STOPPED))
        raise
    ended_at, outcome = run.services.clock.now(), _find_outcome(result)
    save_end(run, replace(began, ended_at=ended_at, outcome=outcome, counts=result.counts))
    return result


def _find_outcome(result: JobResult) -> JobOutcome:
    if result.exit_code is None:
        return JobOutcome.STOPPED
    return JobOutcome.FAILED if result.is_down else JobOutcome.SUCCEEDED
