"""Give a ManagedPat another display name, other scopes, another lifetime or another account: by a rotation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from rotator.domain.events.event import Event
from rotator.domain.events.inventory import MoveStarted, UpdateDropped, UpdateStarted
from rotator.domain.managed_pat import Hold, ManagedPat, ManagedPatState, make_scopes
from rotator.domain.marker import strip_mark
from rotator.domain.obstacle import Obstacle, ObstacleKind
from rotator.domain.outside import make_harmless
from rotator.domain.plan import Action
from rotator.domain.policy import Decision, Verdict
from rotator.domain.rotation import Rotation, make_kept_lifetime
from rotator.domain.words import say_duration
from rotator.engine.beginning import begin_run
from rotator.engine.claiming import check_asked, check_managed, claimed
from rotator.engine.context import RunContext, RunMode
from rotator.engine.creating import check_display_name, check_lifetime, check_place
from rotator.engine.explaining import explain_obstacle, explain_wish
from rotator.engine.listing import ServerView
from rotator.engine.planning import plan_update
from rotator.engine.preflight import check_history
from rotator.engine.reconciling import Reconciliation
from rotator.engine.report import RunReport
from rotator.engine.run import HUMAN_ERRORS, Run
from rotator.engine.still_overlapping import check_overlap
from rotator.errors import PlanRefusedError, RotationError, UsageError
from rotator.ports.secret_store import SecretLocation

T = TypeVar("T")


@dataclass(frozen=True)
class Change:
    """What a person wants of a ManagedPat's next PAT; None: as it is, or as an earlier update wants it."""

    name: str
    display_name: str | None = None
    scopes: tuple[str, ...] | None = None
    lifetime: timedelta | None = None
    account: str | None = None


def make_change(name: str, *, display_name: str | None, scopes: tuple[str, ...], lifetime: timedelta | None) -> Change:
    """Make a change of what a person gave. UsageError when it is none, or the display name can be none."""
    if display_name is None and not scopes and lifetime is None:
        raise UsageError(f"say what should change about {name}", fix="Use --scope, --display-name or --lifetime.")
    if display_name is not None:
        is_plain = display_name.strip() == display_name and make_harmless(display_name) == display_name
        if not display_name or not is_plain or strip_mark(display_name) != display_name:
            raise UsageError(
                f'"{make_harmless(display_name)}" cannot be a display name',
                fix="Use plain text that does not look like rotator's own mark.",
            )
    return Change(name, display_name, make_scopes(" ".join(scopes)) if scopes else None, lifetime)


@dataclass(frozen=True)
class Preview:
    """What an update would do with a ManagedPat: `wanted` is its record with what its next PAT is to have.

    `action` is the rotation that makes it; None when the PAT is that already. `revokes`: whether the account that the
    old PAT belongs to can revoke it after the overlap; otherwise it is left behind.
    """

    wanted: ManagedPat
    action: Action | None
    revokes: bool = True


def find_earlier_end(run: RunContext, change: Change) -> tuple[datetime, datetime] | None:
    """Return when the PAT in use expires and when the wanted one would, if that is earlier; else None."""
    now = run.services.clock.now()
    with run.services.database.read() as reading:
        pat = check_managed(reading, change.name).as_ending()
    if change.lifetime is None or not pat.has_pat or now + change.lifetime >= pat.valid_to:
        return None
    return pat.valid_to, now + change.lifetime


def preview(run: RunContext, change: Change) -> Preview:
    """Look at everything that can be checked without changing anything. Raise as `update` does, and as a rotation does.

    NotManagedError without a record; ForeignWriteError, DatabaseBehindError for a secret that must not be written over.
    """
    run = replace(run, mode=RunMode.BY_HAND)
    with run.services.database.read() as reading:
        pat = check_managed(reading, change.name)
        rotation = next((item for item in reading.journal.load_for(pat.name) if item.is_open), None)
    _check_has_pat(pat)
    _check_move(run, pat, change)
    wanted = _find_wanted(pat, change)
    if wanted.is_update_wanted or pat.is_update_wanted:
        _check_ready(run, pat.name, rotation)
    if not wanted.is_update_wanted:
        return Preview(wanted, None)
    view = ServerView(run)
    decision = _check_allowed(run, view, wanted)
    versions = run.services.secrets.fetch_versions(SecretLocation.of(wanted))
    check_history(run, pat, versions[0] if versions else None)
    revokes = wanted.wanted_account is None or view.can_work(pat.account, pat.organization)
    return Preview(wanted, plan_update(wanted, decision, run.services.clock.now()), revokes)


def update(run: RunContext, change: Change, asked: ManagedPat | None = None) -> RunReport:
    """Rotate to what is wanted; nothing is done when the PAT is that already.

    The record says what is wanted until the new value was read back, so that a later run finishes what was interrupted.
    What policy, server or vault refuse is dropped, kept in the audit log, and the PAT stays as it is. UsageError or
    RotationError when there is no PAT to be rotated now, PlanRefusedError when the policy forbids what is wanted.
    UsageError also when the name is another record's than when a person was `asked` about it.
    """
    this = Run(replace(run, mode=RunMode.BY_HAND))
    with this.until_stopped():
        begin_run(run)
        if _note_wanted(this.run, this.view, change, asked):
            this.work_on([change.name], Reconciliation())
            this.confirm_revocations([change.name])
    return this.report


def _note_wanted(run: RunContext, view: ServerView, change: Change, asked: ManagedPat | None) -> bool:
    """Write down what is wanted, if that is anything else than what there is. Return whether it is."""
    with claimed(run, change.name) as held:
        check_asked(held, asked)
        _check_has_pat(held.pat)
        _check_move(run, held.pat, change)
        wanted = _find_wanted(held.pat, change)
        if wanted.is_update_wanted or held.pat.is_update_wanted:  # to take it back is too late once it is being made
            _check_ready(run, held.pat.name, held.rotation if held.has_open_rotation else None)
        if wanted.is_update_wanted:
            try:
                _check_allowed(run, view, wanted)
            except HUMAN_ERRORS as error:
                held.save(held.pat, UpdateDropped(code=error.code, message=error.message))
                raise
            held.save(wanted, _make_started(wanted, change))
        elif held.pat.is_update_wanted:
            held.save(wanted, UpdateDropped(code="taken_back", message="a person wants it as it is"))
        return wanted.is_update_wanted


def _make_started(wanted: ManagedPat, change: Change) -> Event:
    if change.account is not None and wanted.wanted_account is not None:
        return MoveStarted(to=wanted.wanted_account)
    lifetime = None if wanted.wanted_lifetime is None else say_duration(wanted.wanted_lifetime)
    return UpdateStarted(display_name=wanted.wanted_display_name, scope=wanted.wanted_scope, lifetime=lifetime)


def _check_move(run: RunContext, pat: ManagedPat, change: Change) -> None:
    """Raise UsageError when a person names an account that it cannot move to, or moves a PAT that is paused."""
    if change.account is None:
        return
    check_place(run, change.account, pat.organization)
    if pat.state is ManagedPatState.PAUSED and pat.hold is not Hold.REVOKED_BY_HAND:
        raise UsageError(
            f"{pat.name} is paused, so it is not moved",
            code="paused",
            fix=f"`rotator inventory resume {pat.name}` first.",
        )


def _check_has_pat(pat: ManagedPat) -> None:
    if not pat.has_pat:
        raise UsageError(
            f"{pat.name} has no PAT yet: the first one is still to be made",
            fix="`rotator once` makes it.",
        )


def _check_ready(run: RunContext, name: str, rotation: Rotation | None) -> None:
    check_overlap(run, [name])
    if rotation is not None:
        raise RotationError(
            f"{name} has a rotation that is not finished ({rotation.state.value})",
            code="rotation_not_finished",
            fix="Run `rotator once` until it has finished, then try again.",
        )


def _find_wanted(pat: ManagedPat, change: Change) -> ManagedPat:
    """Return the record with what differs from the PAT as it is, and nothing else, as wanted.

    What an earlier update wanted, and this one does not name, is still wanted: no run has finished that one.
    """
    scope = None if change.scopes is None else " ".join(change.scopes)
    lifetime = pat.meant_lifetime or make_kept_lifetime(pat.lifetime)
    return replace(
        pat,
        wanted_display_name=_want(change.display_name, pat.wanted_display_name, strip_mark(pat.display_name)),
        wanted_scope=_want(scope, pat.wanted_scope, " ".join(pat.scopes)),
        wanted_lifetime=_want(change.lifetime, pat.wanted_lifetime, lifetime),
        wanted_account=_want(change.account, pat.wanted_account, pat.account),
    )


def _want(asked: T | None, before: T | None, present: T) -> T | None:
    """Return what was asked for, or else was wanted `before`; None where the PAT is so already."""
    wanted = before if asked is None else asked
    return None if wanted == present else wanted


def _check_allowed(run: RunContext, view: ServerView, wanted: ManagedPat) -> Decision:
    """Raise what policy or server have against what is wanted; else return what the policy decides."""
    policy, now = run.policy, run.services.clock.now()
    if wanted.all_organizations:
        told = explain_obstacle(Obstacle(ObstacleKind.ALL_ORGANIZATIONS), wanted)
        raise PlanRefusedError(told.message, code=told.code, fix=told.fix, kind=told.kind)
    if wanted.wanted_lifetime is not None:
        check_lifetime(policy, wanted.wanted_lifetime)
    decision = policy.decide_wanted(wanted, now=now, longest=None)
    failure = explain_wish(decision, names_lifetime=wanted.wanted_lifetime is not None)
    if failure is not None:
        raise PlanRefusedError(failure.message, code=failure.code, fix=failure.fix, kind=failure.kind)
    if decision.verdict is not Verdict.DUE:
        rule = decision.rule.name if decision.rule is not None else ""
        raise PlanRefusedError(
            f"rule {rule} says ignore", code="uncovered", fix="Change the policy so that a rule covers it."
        )
    listing = view.fetch_listing(wanted.next_account, wanted.organization)
    if wanted.wanted_display_name is not None or wanted.wanted_account is not None:
        display_name, moves = strip_mark(wanted.as_wanted().display_name), wanted.wanted_account is not None
        check_display_name(display_name, listing, besides=wanted.authorization_id, moves=wanted.name if moves else "")
    return decision
