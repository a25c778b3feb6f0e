"""Write into the audit log which values of secrets a pass has read: a run, a job or a command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby

from rotator.domain.events.places import ValuesRead
from rotator.engine.auditing import record_logged
from rotator.engine.context import RunContext
from rotator.engine.read_notes import ReadValue
from rotator.engine.subjects import name_vault_at
from rotator.engine.waiting import keep_books
from rotator.errors import RotatorError, StoppedError

MOST_VALUES = 100
"""How many values one event names."""


@contextmanager
def logging_reads(run: RunContext) -> Iterator[None]:
    """Have the log name what is read inside, also when that fails or is stopped; what went wrong there is raised."""
    try:
        yield
    except (Exception, StoppedError):
        with suppress(RotatorError, StoppedError):
            log_reads(run)
        raise
    with suppress(StoppedError):  # what was done is done: what is still noted is written when all is closed
        log_reads(run)


def log_reads(run: RunContext) -> None:
    """Write which values a pass has read since the last time, in a transaction of its own; nothing if it read none.

    What cannot be written stays noted.
    """
    if not (values := run.reads.take()):
        return
    is_written = False
    try:
        keep_books(run.services, lambda: _write(run, values))
        is_written = True
    finally:
        if not is_written:
            run.reads.give_back(values)


def _write(run: RunContext, values: Sequence[ReadValue]) -> None:
    with run.services.closing_database.begin() as work:
        for vault, found in groupby(values, lambda value: name_vault_at(value.vault)):
            of_vault = list(found)
            for start in range(0, len(of_vault), MOST_VALUES):
                event = ValuesRead(purpose=run.purpose, reads=_list_reads(of_vault[start : start + MOST_VALUES]))
                record_logged(work, run, vault, event, run.services.clock.now())


def _list_reads(values: Sequence[ReadValue]) -> str:
    secrets = groupby(values, lambda value: (value.secret_name, value.name))
    return "; ".join(
        f"{secret}{f' of {name}' if name else ''}: {' '.join(value.version for value in found)}"
        for (secret, name), found in secrets
    )
