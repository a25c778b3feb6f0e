"""The mint: asked for once, journaled, checked; and what is done when its answer was lost (`minting`, `minted`)."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

from rotator.domain.clocks import MOST_SKEW
from rotator.domain.events.rotations import (
    MintStarted,
    MintUnanswered,
    PatMinted,
    RotationFailed,
    UnprovenMintFound,
)
from rotator.domain.limit import LifetimeLimit
from rotator.domain.managed_pat import Failure, Pat
from rotator.domain.obstacle import check_target
from rotator.domain.policy import Guardrails, check_storm
from rotator.domain.rotation import (
    Likeness,
    RotationEnding,
    RotationState,
    compare_mint,
)
from rotator.domain.secret_value import SecretValue
from rotator.engine.abandoning import LOST_ANSWER, abandon, abandon_unusable, explain_failure
from rotator.engine.accounting import load_namers
from rotator.engine.claiming import ClaimedPat
from rotator.engine.clocks import check_clocks
from rotator.engine.context import RunMode
from rotator.engine.explaining import explain_obstacle
from rotator.engine.in_force import check_not_paused
from rotator.engine.listing import Listing, ServerView
from rotator.engine.pace import check_pace
from rotator.engine.preflight import Source, close_unminted
from rotator.engine.proving import prove_answer
from rotator.engine.settling import is_settled
from rotator.errors import (
    ClockSkewError,
    DatabaseError,
    FailureKind,
    PlanRefusedError,
    PostponedError,
    RotationError,
    RotatorError,
    UnknownOutcomeError,
)
from rotator.ports.database import UnitOfWork

CLOCK_TOLERANCE = timedelta(seconds=2)


def begin_mint(held: ClaimedPat, source: Source) -> None:
    """Journal what will be asked for. ClockSkewError when the host's clock is wrong: the rotation is closed again.

    PostponedError when the hour's mints are used up, AllPausedError when a person paused everything meanwhile (neither
    in a run by hand): the rotation is closed again.
    """
    run, now = held.run, held.services.clock.now()
    try:
        check_clocks(run, revokes=False)
        _check_not_moved(held, now)
    except ClockSkewError as error:
        close_unminted(held, error)
        raise
    try:
        held.step(
            RotationState.MINTING,
            MintStarted(planned_valid_to=_get_planned(held)),
            admit=None if run.mode is RunMode.BY_HAND else partial(_admit, run.policy.guardrails, now),
            known_ids=source.listing.ids,
            sent_at=now,
            mint_begun_at=now,
        )
    except PostponedError as error:
        close_unminted(held, error)
        raise


def _admit(guardrails: Guardrails, now: datetime, work: UnitOfWork) -> None:
    check_not_paused(work)
    check_pace(guardrails, now, work)


def _check_not_moved(held: ClaimedPat, now: datetime) -> None:
    """Raise ClockSkewError when the clock was set since the expiry was planned: that may be far from what is meant."""
    if not -MOST_SKEW <= now - held.rotation.created_at <= held.services.timing.lease:
        raise ClockSkewError(
            "this host's clock was set while a mint was prepared; nothing was minted",
            fix="Nothing to do: a later run rotates it if it is still due.",
        )


def _get_planned(held: ClaimedPat) -> datetime:
    planned = held.rotation.planned_valid_to
    if planned is None:
        raise RotationError("a mint without its intent", code="internal")
    return planned


def mint_clone(held: ClaimedPat, source: Source) -> SecretValue:
    """Ask for the clone once, and journal the answer. Return its value, which exists only in memory."""
    run, rotation = held.run, held.rotation
    try:
        minted = run.services.pats.mint(
            rotation.account,
            rotation.organization,
            display_name=rotation.display_name,
            scope=rotation.scope,
            valid_to=_get_planned(held),
            permit=held.check_claim,
        )
    except DatabaseError:
        raise  # the claim was lost, or could not be renewed: nothing was sent, and a later run finds that out
    except UnknownOutcomeError as error:
        held.note_answer(error.answer_ids)
        held.record(MintUnanswered(code=error.code))
        raise
    except RotatorError as error:
        run.services.stop.end_finishing()  # nothing was minted: after a stop the next run finds that out
        alike = (pat for pat in source.listing.pats if pat.display_name == rotation.display_name)
        close_unminted(held, error, known_ids=tuple(pat.authorization_id.lower() for pat in alike))
        raise
    held.note_answer(minted.answer_ids)
    made = prove_answer(held, minted.pat, source.listing.identity.organization_id)
    _journal_mint(held, made, source)
    _accept_or_abandon(held, minted.pat, made, source)
    if minted.value is None:
        raise abandon_unusable(held, "mint_without_value", "Azure DevOps created the clone and did not show its value")
    return minted.value


def recover_mint(held: ClaimedPat, view: ServerView) -> None:
    """Find out whether the POST was carried out: only two complete listings prove that it was not."""
    rotation, run = held.rotation, held.run
    listing = view.fetch_again(rotation.account, rotation.organization)
    found = find_mints(held, listing, Likeness.OURS)
    if not found and is_settled(held):
        run.services.stop.wait(run.services.timing.second_look.total_seconds())
        listing = view.fetch_again(rotation.account, rotation.organization)
        found = find_mints(held, listing, Likeness.OURS)
    if len(found) == 1:
        _adopt_mint(held, listing, found[0])
    elif found:
        error = RotationError(
            f"{len(found)} PATs look like our lost mint: {', '.join(found)}; none was revoked",
            code=RotationEnding.MINT_AMBIGUOUS,
            fix="Revoke those that nobody uses in Azure DevOps.",
        )
        held.step(
            RotationState.FAILED,
            RotationFailed(code=error.code, message=error.message),
            failure=Failure.of(error),
            ending=RotationEnding.MINT_AMBIGUOUS,
        )
        raise error
    elif is_settled(held):
        _close_as_not_created(held, listing)


def _journal_mint(held: ClaimedPat, pat: Pat, source: Source) -> None:
    """Journal the clone, which is known by its id from now on: what was listed before it is not needed any more.

    What its lifetime says of the server's maximum is learned. Of a clone that lives shorter than the rule asks for,
    the overlap takes at most half, so that it ends before the clone is due.
    """
    rotation, now = held.rotation, held.services.clock.now()
    planned = rotation.planned_valid_to
    is_clamped = planned is not None and pat.valid_to < planned - CLOCK_TOLERANCE
    is_short = check_storm(source.rule, pat.lifetime) is not None

    def learn_limit(work: UnitOfWork) -> None:
        place = (rotation.account, rotation.organization)
        if is_clamped:
            work.limits.save(*place, LifetimeLimit(pat.lifetime, now))
        elif (known := work.limits.load().get(place)) is not None and known.longest < pat.lifetime:
            work.limits.forget(*place)

    held.step(
        RotationState.MINTED,
        PatMinted(
            authorization_id=pat.authorization_id,
            valid_to=pat.valid_to,
            scope=pat.scope,
            all_organizations=pat.all_organizations,
        ),
        admit=learn_limit,
        new_authorization_id=pat.authorization_id,
        new_valid_from=pat.valid_from,
        new_valid_to=pat.valid_to,
        known_ids=(),
        overlap=min(rotation.overlap, pat.lifetime / 2) if is_short else rotation.overlap,
    )


def _accept_or_abandon(held: ClaimedPat, answered: Pat, made: Pat, source: Source) -> None:
    """Revoke a clone that is ours if its answer said something else, or if it would be due again immediately.

    Such a short one is taken near the expiry, and by hand if it outlives the old PAT.
    """
    if answered.scopes != made.scopes or answered.display_name != made.display_name:
        raise abandon_unusable(
            held, "mint_answer_wrong", f'the clone came back as "{answered.display_name}" with scope {answered.scope}'
        )
    if check_target(answered, source.listing.identity.organization_id) is not None:
        raise abandon_unusable(held, "mint_answer_wrong", "the clone came back valid for other organizations")
    if answered.valid_to != made.valid_to:
        raise abandon_unusable(held, "mint_answer_wrong", "the clone came back with another expiry")
    storm = check_storm(source.rule, made.lifetime)
    outlives = held.run.mode is RunMode.BY_HAND and made.valid_to > source.pat.valid_to
    if storm is not None and not source.takes_short and not outlives:
        told = explain_obstacle(storm, held.pat)
        error = PlanRefusedError(told.message, code="lifetime_clamped", fix=told.fix, kind=FailureKind.EXPLAINED_LOSS)
        abandon(held, error)
        raise error


def find_mints(held: ClaimedPat, listing: Listing, likeness: Likeness) -> list[str]:
    """Return the listed ids that are as much like this rotation's mint as asked, and that nobody accounts for."""
    organization_id = listing.identity.organization_id
    alike = [
        pat.authorization_id
        for pat in listing.pats
        if compare_mint(pat, held.rotation, organization_id, held.services.marker_key) is likeness
    ]
    with held.services.database.read() as reading:
        keepers = load_namers(reading, alike)
    return [found for found in alike if found not in keepers.minted_ids and keepers.find_by_id(found) is None]


def _adopt_mint(held: ClaimedPat, listing: Listing, authorization_id: str) -> None:
    pat = listing.find(authorization_id)
    if pat is None:
        raise RotationError("a PAT left the listing it was found in", code="internal")
    abandon(
        held,
        LOST_ANSWER,
        {
            "new_authorization_id": authorization_id,
            "new_valid_from": pat.valid_from,
            "new_valid_to": pat.valid_to,
            "known_ids": (),
        },
    )


def _close_as_not_created(held: ClaimedPat, listing: Listing) -> None:
    near = find_mints(held, listing, Likeness.NEAR)
    if near:
        held.record(UnprovenMintFound(authorization_ids=", ".join(near)))
    error = RotationError(
        "the mint was not answered and the server does not list its PAT",
        code="mint_not_created",
        fix="A later run makes a new one if it is due; if it is not, a person who ordered it runs `rotator rotate` "
        "again.",
    )
    close_unminted(held, error, pat=explain_failure(held, Failure.of(error)))
