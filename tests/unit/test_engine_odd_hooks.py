"""Hooks that leave the settings while a call of them waits: a person is told what was not done."""

from __future__ import annotations

from datetime import timedelta

from rotator.domain.condition import ConditionKind
from rotator.engine.hooking import HookMemory, call_hooks
from tests.support.engine import NAME, OVERLAP
from tests.support.hooks import ScriptedHook
from tests.unit.test_engine_awaiting import BAD, Stage
from tests.unit.test_engine_hooking import Caller


def test_calls_of_a_hook_that_left_the_settings_are_dropped_and_told() -> None:
    """Once, each; when it is back it is not called about them, and is about what comes."""
    caller = Caller()
    caller.call()
    caller.restart_hook.errors = [BAD]
    caller.happen()
    caller.call()
    hook = caller.restart_hook
    caller.hooks = ()
    for _ in range(2):
        caller.memory.forget_settings()
        caller.call()
    (dropped,) = caller.list_events("hook_call_dropped")
    assert (dropped["about"], dropped["code"]) == (f"rotation_completed of {NAME}", "hook_removed")
    assert len(caller.list_events("hook_removed")) == 1
    assert ConditionKind.HOOK_FAILING not in caller.list_kinds()
    caller.world.advance(hours=1)
    caller.hooks = (hook,)
    caller.memory.forget_settings()
    caller.happen("other")
    caller.call()
    assert [name for _, name in hook.heard] == ["other"]


def test_renamed_hook_that_an_old_pat_waits_for_is_told_when_its_overlap_begins() -> None:
    """Not before: until then it may come back. The one with the new name was not called about that value."""
    stage = Stage()
    stage.hook.fails = lambda _: BAD
    stage.world.run()
    stage.call()
    renamed = ScriptedHook("renamed", required=True)
    stage.set_hooks(renamed)
    stage.memory.forget_settings()
    stage.call()
    assert (stage.awaited, stage.list_events("hook_call_dropped")) == (["restart"], 0)
    stage.go(timedelta(hours=2))
    assert (stage.awaited, stage.list_events("hook_call_dropped")) == ([], 1)
    assert stage.is_old_alive
    stage.go(2 * OVERLAP)
    assert (renamed.done, stage.list_events("hook_call_dropped")) == ([], 1)


def test_hook_that_comes_back_while_an_old_pat_still_waits_is_called() -> None:
    """Whoever took it out by mistake loses nothing."""
    stage = Stage()
    stage.hook.fails = lambda _: BAD
    stage.world.run()
    stage.call()
    call_hooks(stage.world.make_run(), (), HookMemory())
    stage.hook.fails = lambda _: None
    stage.go(timedelta(hours=1))
    assert stage.hook.heard == [("secret_stored", NAME)]
    assert (stage.awaited, stage.list_events("hook_call_dropped")) == ([], 0)


def test_call_that_another_process_is_making_is_not_dropped() -> None:
    """It is dropped when that is over, if it failed."""
    caller = Caller()
    caller.call()
    caller.restart_hook.errors = [BAD]
    found: list[bool] = []

    def look(_: str) -> None:
        memory = HookMemory()
        call_hooks(caller.world.make_run(), (), memory)
        found.append(memory.is_swept)

    caller.restart_hook.meet = look
    caller.happen()
    caller.call()
    assert (found, caller.list_events("hook_call_dropped")) == ([False], [])
