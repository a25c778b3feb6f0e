"""What a run writes down before it does anything: the policy in force, and where the log ends for new hooks."""

from __future__ import annotations

from rotator.domain.delivery import Receiver
from rotator.engine.auditing import record_policy
from rotator.engine.context import RunContext
from rotator.engine.lives import give_back
from rotator.engine.waiting import keep_books
from rotator.ports.database import UnitOfWork


def begin_run(run: RunContext) -> None:
    """Write `policy_changed` if it is another one, and register the hooks that are new; else nothing is written.

    What work that is over left claimed, is given back first.
    """
    give_back(run)
    record_policy(run)
    if run.policy.hooks:
        _register_hooks(run, {terms.name for terms in run.policy.hooks})


def _register_hooks(run: RunContext, names: set[str]) -> None:
    """See to it that each hook is called about what this run does, although nothing has been called before."""

    def find_new() -> set[str]:
        with run.services.database.read() as reading:
            return names - {found.name for found in reading.outbox.load_receivers()}

    def write() -> None:
        with run.services.database.begin() as work:
            for name in sorted(names - {found.name for found in work.outbox.load_receivers()}):
                _register(work, run, name)

    if keep_books(run.services, find_new):
        keep_books(run.services, write)


def _register(work: UnitOfWork, run: RunContext, name: str) -> None:
    work.outbox.save_receiver(Receiver(name, work.audit.load_newest_number(), run.services.clock.now()))
