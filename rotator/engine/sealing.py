"""Work on a log that is sealed: before it, where a checkpoint is owed, and after it; then the vaults get theirs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

from rotator.domain.checkpoint import AT_MOST_EVERY
from rotator.engine.checkpointing import seal
from rotator.engine.context import RunContext
from rotator.engine.giving_anchors import give_anchors
from rotator.engine.logging_reads import logging_reads
from rotator.engine.report import RunReport
from rotator.errors import StoppedError


def sealed(act: Callable[[RunContext], RunReport], *, looks: bool = False) -> Callable[[RunContext], RunReport]:
    """Return the same act, on a log that is sealed before it, where that is owed, and after it if it did something.

    `looks`: it looks at the services anyway, so what a vault lacks is made up for, too.
    """

    def act_sealed(run: RunContext) -> RunReport:
        made = None
        with suppress(StoppedError):  # the act reports it: after a stop it begins nothing
            made = seal(run)
        with logging_reads(run):
            report = act(run)
        with suppress(StoppedError):  # what was to be done is done, and the next run seals it
            if report.outcomes and not report.is_stopped:
                made = seal(run, AT_MOST_EVERY if made is None else timedelta(0)) or made
            if (made is not None or looks) and not report.is_stopped:
                give_anchors(run)
        return report

    return act_sealed
