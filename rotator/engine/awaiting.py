"""The overlap begins when the hooks that must succeed have succeeded: how they are named, and how the wait ends."""

from __future__ import annotations

from rotator.domain.events.rotations import OverlapReleased
from rotator.domain.hook import HookCall
from rotator.domain.rotation import Rotation, RotationState
from rotator.engine.claiming import ClaimedPat, claimed
from rotator.engine.context import RunContext
from rotator.engine.overlapping import make_overlap
from rotator.errors import ClaimHeldError, NotManagedError, RotationError
from rotator.ports.database import Reading

AWAITED = "hook_awaited"
_MAY_AWAIT = (RotationState.STORED, RotationState.OVERLAPPING)
"""The states in which the old PAT may wait for a hook: it is stored first, and the hook may be the quicker one."""


def find_awaiting(reading: Reading, call: HookCall) -> Rotation | None:
    """Return the open rotation whose old PAT waits, or may come to wait, for this call to succeed."""
    open_rotations = reading.journal.load_open()
    found = next((rotation for rotation in open_rotations if rotation.id == call.event.rotation_id), None)
    return found if found is not None and found.state in _MAY_AWAIT else None


def is_awaited(reading: Reading, call: HookCall) -> bool:
    """Whether the old PAT of a rotation waits for this call, or it is not known yet whether it will."""
    rotation = find_awaiting(reading, call)
    return rotation is not None and (rotation.state is RotationState.STORED or call.hook in rotation.awaited_hooks)


def end_wait(run: RunContext, call: HookCall) -> bool:
    """Note for its rotation that a hook has succeeded; with the last one that it waits for, the overlap begins.

    Return whether that is done: not while another run works on the ManagedPat, nor before the value was read back.
    """
    rotation = _load_awaiting(run, call)
    if rotation is None:
        return True
    try:
        with claimed(run, rotation.name) as held:
            if held.has_open_rotation and held.rotation.id == rotation.id:
                return _end_wait(held, call.hook)
    except ClaimHeldError:
        return False
    except NotManagedError:
        pass  # it was forgotten, or has another name by now
    found = _load_awaiting(run, call)
    return found is None or found.name == rotation.name


def _load_awaiting(run: RunContext, call: HookCall) -> Rotation | None:
    with run.services.database.read() as reading:
        return find_awaiting(reading, call)


def _end_wait(held: ClaimedPat, hook: str) -> bool:
    if held.rotation.state is RotationState.STORED:
        return False
    if hook not in held.rotation.awaited_hooks:
        return True
    left = tuple(name for name in held.rotation.awaited_hooks if name != hook)
    if set(left) & set(held.run.policy.list_required_hooks()):
        held.learn(awaited_hooks=left)
    else:
        until, began = make_overlap(held, held.rotation.overlap)
        held.learn(OverlapReleased(overlap_until=until), awaited_hooks=(), overlap_until=until, overlap_began=began)
    return True


def make_awaiting_error(name: str, hooks: tuple[str, ...]) -> RotationError:
    """Make the error for when an old PAT is to be revoked before the hooks that must succeed have succeeded."""
    said = f"the hook {hooks[0]} has" if len(hooks) == 1 else f"the hooks {', '.join(hooks)} have"
    return RotationError(
        f"the old PAT of {name} stays valid: {said} not succeeded since the new value was stored",
        code=AWAITED,
        fix="Correct what `rotator audit list --event hook_failed` reports. If its consumers have the new value all "
        f"the same: `rotator revoke {name} --previous --without-hook --reason TEXT`.",
    )
