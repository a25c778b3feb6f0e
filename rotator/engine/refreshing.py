"""Keep an account's sign-in fresh, and remember what came of it: one that Entra refused is left alone for a while."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from rotator.domain.condition import ConditionKind
from rotator.domain.events.event import Event
from rotator.domain.events.places import SignInEndForeseen, SignInLapsed, SignInRestored
from rotator.domain.managed_pat import Failure
from rotator.domain.sign_in import SignInMemory
from rotator.engine.auditing import find_lasting, is_news, record
from rotator.engine.context import RunContext
from rotator.engine.moments import read_clocks
from rotator.engine.organizations import save_sign_in
from rotator.engine.waiting import keep_books
from rotator.errors import SignInRequiredError, TransientError
from rotator.ports.database import Reading

Change = Callable[[SignInMemory], SignInMemory]


def refresh_account(run: RunContext, account: str, *, heeds_pause: bool, renews: bool = False) -> bool:
    """Make sure, silently, that an account is signed in; raise what the port SignIn raises.

    Return False where Entra was to be asked and could not be: the token at hand will do, and proves nothing.

    `renews`: Entra is asked also when there is an access token: nothing else shows that a sign-in was ended.
    `heeds_pause`: while Entra would only repeat its refusal, that is raised again and nothing is asked. It is asked
    again once the token cache holds another sign-in, and every six hours.
    """
    services = run.services
    generation = services.sign_in.status(account).generation
    with services.database.read() as reading:
        memory = reading.sign_ins.load(account)
    if heeds_pause and memory.refusal is not None and memory.is_paused(generation, services.clock.now()):
        raise _make_refusal(account, memory.refusal)
    try:
        # After a refusal a token in the cache proves nothing.
        status = services.sign_in.refresh(account, renews=renews or memory.refusal is not None)
    except SignInRequiredError as error:
        note_refusal(run, error)
        raise
    except TransientError:
        _remember(run, account, lambda before: before)
        raise

    if memory.refusal is not None and not status.is_renewed:
        raise _make_refusal(account, memory.refusal)

    def note(before: SignInMemory) -> SignInMemory:
        """A refusal that another job met meanwhile is newer than what this one knows."""
        if before.refused_at != memory.refused_at:
            return before
        return before.refreshed(status.refreshed_at, services.clock.now())

    _remember(run, account, note)
    return status.is_renewed


def _make_refusal(account: str, refusal: Failure) -> SignInRequiredError:
    return SignInRequiredError(refusal.message, account=account, code=refusal.code, fix=refusal.fix)


def note_refusal(run: RunContext, error: SignInRequiredError) -> None:
    """Remember that an account needs a person, and tell it if that is news."""
    services, refusal = run.services, Failure.of(error)
    generation = services.sign_in.status(error.account).generation
    _remember(run, error.account, lambda before: before.refused(refusal, generation, services.clock.now()))


def _remember(run: RunContext, account: str, change: Change) -> None:
    """Remember a change, with the events that it makes. If nothing changes, no writer waits."""
    with run.services.database.read() as reading:
        if _find_changes(run, reading, account, change) == (reading.sign_ins.load(account), []):
            return
    keep_books(run.services, partial(_write, run, account, change))


def _write(run: RunContext, account: str, change: Change) -> None:
    with run.services.database.begin() as work:
        after, events = _find_changes(run, work, account, change)
        save_sign_in(work, after)
        for event in events:
            record(work, run, account, event, run.services.clock.now())


def _find_changes(run: RunContext, reading: Reading, account: str, change: Change) -> tuple[SignInMemory, list[Event]]:
    """Return what is to be remembered, and the events. A wrong clock neither teaches nor unteaches anything."""
    before = reading.sign_ins.load(account)
    after, events = change(before), list[Event]()
    if read_clocks(run, reading).is_wrong:
        after = replace(
            after,
            interactive_at=before.interactive_at,
            refreshed_at=before.refreshed_at,
            lifespan=before.lifespan,
            warned_days=before.warned_days,
        )
        days = after.warned_days
    else:
        days = after.find_warning(run.services.clock.now())
    if days is not None and after.lapses_at is not None and (after.warned_days is None or days < after.warned_days):
        events.append(SignInEndForeseen(days=days, ends_at=after.lapses_at))
    if after.refusal is not None:
        lapsed = SignInLapsed(code=after.refusal.code, message=after.refusal.message)
        events += [lapsed] if is_news(reading, lapsed, account) else []
    elif before.refusal is not None and account in find_lasting(reading, ConditionKind.SIGN_IN_NEEDED):
        events.append(SignInRestored())
    return replace(after, warned_days=days), events
