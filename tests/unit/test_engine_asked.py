"""What a person was asked about, and what happens between the question and the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from rotator.cli.commands.revoke import _find_revocable, _Result, _revoke, _Wish
from rotator.domain.hook import HookCall, make_hook_event
from rotator.domain.policy import LeakAction
from rotator.domain.refusal import RefusalKind
from rotator.engine.adopting import adopt, propose
from rotator.engine.awaiting import end_wait
from rotator.engine.choices import Choice
from rotator.engine.hooking import HookMemory, call_hooks
from rotator.engine.keeping import forget, rename, revoke_previous
from rotator.engine.updating import Change, preview, update
from rotator.errors import UsageError
from rotator.ports.audit_log import AuditFilter
from rotator.ports.database import Reading, UnitOfWork
from tests.support.engine import ACCOUNT, NAME, make_world
from tests.support.engine_fakes import WatchedDatabase
from tests.support.engine_scenarios import make_overlapping
from tests.support.hooks import ScriptedHook
from tests.support.moves import HEIR
from tests.support.policies import RULE, make_policy


def test_revoke_spares_the_new_pat_when_the_one_that_was_asked_about_was_replaced_before_the_answer() -> None:
    """A PAT leaks. A person runs `rotator revoke`; while he reads the question, Azure DevOps revokes it by itself, and
    the daemon replaces it at once, as its rule says (`on_leak: rotate`). Then he answers `y`."""
    world = make_world(policy=make_policy(replace(RULE, on_leak=LeakAction.ROTATE)))
    run, wish, result = world.make_run(), _Wish((NAME,), False, False), _Result()
    [asked] = _find_revocable(run, [NAME], wish, result)  # Revoke npm-feed ("npm-feed" in contoso)?
    world.pats.pats[asked.authorization_id].revoked = True
    for _ in range(3):
        world.run()
        world.advance(hours=1)
    new = world.record().authorization_id
    assert new != asked.authorization_id
    world.check_rest()
    _revoke(run, asked, wish, result, goes_on=True)  # y
    assert world.revoked_ids() == [], f"asked about {asked.authorization_id}, revoked {world.revoked_ids()}"
    world.check_rest()


def test_revoke_spares_another_pat_that_got_the_name_before_the_answer() -> None:
    world = make_overlapping()
    world.run()
    other = world.add_managed("other", days_left=25)
    run, wish, result = world.make_run(), _Wish((NAME,), False, False), _Result()
    [asked] = _find_revocable(run, [NAME], wish, result)
    rename(world.make_run(), NAME, "npm-feed-old")
    rename(world.make_run(), "other", NAME)
    before = world.revoked_ids()
    _revoke(run, asked, wish, result, goes_on=True)
    assert other.authorization_id not in world.revoked_ids()[len(before) :]


def test_forget_spares_another_record_that_got_the_name_before_the_answer() -> None:
    world = make_world(NAME, "other")
    asked = world.record()
    rename(world.make_run(), NAME, "npm-feed-old")
    rename(world.make_run(), "other", NAME)
    with pytest.raises(UsageError) as caught:
        forget(world.make_run(), NAME, asked)  # Forget npm-feed? y
    assert caught.value.code == "changed_meanwhile"
    assert {world.record(NAME).record_id, world.record("npm-feed-old").record_id} == {"record-1", "record-2"}
    forget(world.make_run(), "npm-feed-old", asked)


def test_move_spares_another_record_that_got_the_name_before_the_answer() -> None:
    world, wanted = make_world(NAME, "other"), Change(NAME, account=HEIR)
    asked = preview(world.make_run(), wanted).wanted
    rename(world.make_run(), NAME, "npm-feed-old")
    rename(world.make_run(), "other", NAME)
    with pytest.raises(UsageError) as caught:
        update(world.make_run(), wanted, asked)  # Move npm-feed from build-bot to release-bot? y
    assert caught.value.code == "changed_meanwhile"
    assert {world.record(name).next_account for name in (NAME, "npm-feed-old")} == {ACCOUNT}
    update(world.make_run(), replace(wanted, name="npm-feed-old"), asked)
    assert world.record("npm-feed-old").account == HEIR


def test_what_a_secret_holds_is_not_confirmed_for_another_record_that_got_the_name_meanwhile() -> None:
    world = make_world(NAME, "other")
    theirs = world.secrets.write_foreign(world.location(), "their connection string")
    run = world.make_run()
    plan = propose(run, [NAME], everything=False, choice=Choice(replace_foreign=True))
    assert [item.confirms for item in plan.managed] == [theirs]
    rename(world.make_run(), NAME, "npm-feed-old")
    rename(world.make_run(), "other", NAME)
    done = adopt(run, plan)
    assert [(refusal.kind, refusal.failure and refusal.failure.code) for refusal in done.refusals] == [
        (RefusalKind.CHANGED, "changed_meanwhile")
    ]
    assert theirs not in {world.record(name).confirmed_version for name in (NAME, "npm-feed-old")}


class _Between:
    """The database of a process in which something happens once, right after its first look."""

    def __init__(self, database: WatchedDatabase, act: Callable[[], object]) -> None:
        self._database, self._acts = database, [act]

    @contextmanager
    def read(self) -> Iterator[Reading]:
        with self._database.read() as reading:
            yield reading
        if self._acts:
            self._acts.pop()()

    @contextmanager
    def begin(self) -> Iterator[UnitOfWork]:
        with self._database.begin() as work:
            yield work


def test_hook_that_succeeded_ends_the_wait_when_its_managed_pat_gets_another_name_meanwhile() -> None:
    world, hook, memory = make_world(), ScriptedHook(required=True), HookMemory()
    world.policy = replace(world.policy, hooks=(hook.terms,))
    call_hooks(world.make_run(), [hook], memory)
    world.run()
    assert world.rotations()[-1].awaited_hooks
    # The call succeeds; a person renames the ManagedPat between a look at its rotation and the claim on it.
    services = world.make_services()
    with world.database.read() as reading:
        [event] = reading.audit.load_newest(1, AuditFilter(event="secret_stored"))
        pat, rotation = reading.inventory.load(NAME), world.rotations()[-1]
    found = make_hook_event(event, pat, rotation)
    assert found is not None
    call = HookCall(hook.terms.name, event.sequence, "call", found, world.clock.now(), done_at=world.clock.now())
    between = _Between(world.database, lambda: rename(world.make_run(), NAME, "npm-publish"))
    run = world.make_run(replace(services, database=between))
    assert not end_wait(run, call) or not world.rotations("npm-publish")[-1].awaited_hooks, (
        "the call is forgotten, and its rotation waits for it for ever"
    )


def test_end_of_an_overlap_spares_the_old_pat_of_a_later_rotation_than_the_one_that_was_asked_about() -> None:
    world = make_overlapping()
    asked = world.record()
    world.finish()
    world.rotate(NAME)
    before = world.revoked_ids()
    with pytest.raises(UsageError) as caught:
        revoke_previous(world.make_run(), NAME, asked)  # Revoke the old PAT of npm-feed? y
    assert caught.value.code == "changed_meanwhile"
    assert world.revoked_ids() == before
