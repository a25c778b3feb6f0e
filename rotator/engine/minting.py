"""From the plan to a clone that proved itself: preflight, mint, verify."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from rotator.domain.events.rotations import (
    MintStarted,
    MintUnanswered,
    PatMinted,
    PatVerified,
    RotationAbandoned,
    RotationFailed,
    RotationPlanned,
)
from rotator.domain.managed_pat import Failure, Hold, Pat
from rotator.domain.marker import make_marked_name, strip_mark
from rotator.domain.policy import Decision, Rule, check_clonable, check_storm, check_target
from rotator.domain.rotation import Rotation, RotationKind, RotationState, make_offset_range
from rotator.domain.secret_value import SecretValue
from rotator.engine.abandoning import abandon
from rotator.engine.claiming import ClaimedPat
from rotator.engine.listing import Listing, ServerView
from rotator.engine.pace import check_pace
from rotator.engine.provenance import Writer, check_not_behind, find_behind, load_provenance
from rotator.engine.tags import INTENT_TAG
from rotator.engine.waiting import Patience
from rotator.errors import (
    ForeignWriteError,
    LeaseLostError,
    PatGoneError,
    PlanRefusedError,
    PostponedError,
    RotationError,
    RotatorError,
    TransientError,
    UnknownOutcomeError,
    VerificationError,
)
from rotator.ports.pat_service import MintedPat
from rotator.ports.secret_store import SecretVersion

MAX_LOST_PER_DAY = 3
CLOCK_TOLERANCE = timedelta(seconds=2)


@dataclass(frozen=True)
class Source:
    """What a clone is made from: the old PAT as the server describes it now, and the listing it stands in."""

    pat: Pat
    rule: Rule
    lifetime: timedelta
    listing: Listing


def inspect_source(held: ClaimedPat, view: ServerView, decision: Decision, *, by_hand: bool) -> Source:
    """Look at everything that a mint depends on and that can be read without changing anything.

    PlanRefusedError when the old PAT cannot be cloned or was revoked (`by_hand` allows the latter).
    """
    pat, run = held.pat, held.run
    rule, lifetime = decision.rule, decision.lifetime
    if rule is None or lifetime is None:
        said = f"rule {rule.name} says ignore" if rule else "no rule of the policy matches it"
        raise PlanRefusedError(said, code="uncovered", fix="Change the policy so that a rule rotates it.")
    listing = view.fetch_listing(pat.account, pat.organization)
    current = run.services.pats.fetch_pat(pat.account, pat.organization, pat.authorization_id)
    now = run.services.clock.now()
    if current is None or (current.valid_to > now and listing.find(pat.authorization_id) is None):
        if not by_hand:
            check_not_behind(held)
            raise make_gone_error(pat.name)
        current = current or _from_inventory(held, listing)
    obstacle = check_clonable(current, run.policy.guardrails, listing.identity.organization_id)
    if obstacle is not None:
        told = obstacle.explain()
        raise PlanRefusedError(told.message, code=told.code, fix=told.fix)
    return Source(current, rule, lifetime, listing)


def make_gone_error(name: str) -> PatGoneError:
    """What is said of a managed PAT that the server no longer lists as active before its time."""
    return PatGoneError(
        "it was revoked outside rotator: the server no longer lists it as active",
        fix=f"If consumers still need it, `rotator rotate {name}` makes a new one; "
        f"else `rotator inventory forget {name}`.",
    )


def check_attempts(held: ClaimedPat) -> None:
    """RotationError when too many clones were minted and given up within a day: a human has to look."""
    since = held.services.clock.now() - timedelta(days=1)
    with held.services.database.read() as reading:
        rotations = reading.journal.load_for(held.pat.name, since=since)
    lost = [
        rotation
        for rotation in rotations
        if rotation.state is RotationState.ABANDONED
        and rotation.new_authorization_id is not None
        and rotation.kind is RotationKind.ROTATION
    ]
    if len(lost) >= MAX_LOST_PER_DAY:
        raise RotationError(
            f"{len(lost)} clones were minted and given up within a day",
            code="too_many_attempts",
            fix=f"See why with `rotator audit list --name {held.pat.name}`, then `rotator rotate {held.pat.name}`.",
        )


def begin_rotation(held: ClaimedPat, source: Source, *, by_hand: bool) -> None:
    """Journal the intent, then prove that the vault would take the value, before anything is minted."""
    pat, rule, run = held.pat, source.rule, held.run
    now, rotation_id = run.services.clock.now(), run.services.entropy.make_id()
    name, key = strip_mark(source.pat.display_name), run.services.marker_key
    rotation = Rotation(
        id=rotation_id,
        name=pat.name,
        account=pat.account,
        organization=pat.organization,
        display_name=name if key is None else make_marked_name(name, rotation_id, key),
        scope=source.pat.scope,
        predecessor_id=pat.authorization_id,
        predecessor_valid_to=source.pat.valid_to,
        rule=rule.name,
        vault=pat.vault,
        secret_name=pat.secret_name,
        overlap=rule.overlap,
        disable_previous=rule.disable_previous,
        created_at=now,
        updated_at=now,
    )
    held.begin(
        rotation,
        RotationPlanned(
            predecessor_id=rotation.predecessor_id,
            rule=rule.name,
            vault=rotation.vault,
            secret_name=rotation.secret_name,
        ),
    )
    try:
        held.check_claim()
        newest = run.services.secrets.prove_writable(held.location, {INTENT_TAG: rotation.id})
        _check_history(held, newest, by_hand=by_hand)
    except LeaseLostError:
        raise
    except RotatorError as error:
        close_unminted(held, error)
        raise


def _check_history(held: ClaimedPat, newest: SecretVersion | None, *, by_hand: bool) -> None:
    """Refuse to write over a version that our journal cannot explain: a restored database, or another writer.

    A person may overrule another writer, not a database that is behind the vault. Until then a secret that was
    frozen for it stays as it is, also when none of our own writes was ever confirmed.
    """
    pat = held.pat
    behind = find_behind(held, newest)
    if behind is not None:
        raise behind
    is_foreign = load_provenance(held.run, pat).find_writer(newest) is Writer.FOREIGN
    was_frozen = pat.hold is Hold.FOREIGN_WRITE
    if is_foreign and (was_frozen or pat.secret_version is not None) and not by_hand:
        raise ForeignWriteError(
            f"secret {pat.secret_name} in {pat.vault} was written by somebody else since the last "
            "rotation; nothing was minted",
            fix=f"Find out who writes this secret, stop that, then `rotator rotate {pat.name}`.",
        )


def close_unminted(held: ClaimedPat, error: RotatorError) -> None:
    """End a rotation of which certainly nothing exists."""
    held.step(
        RotationState.ABANDONED,
        RotationAbandoned(code=error.code),
        failure=Failure.of(error),
    )


def begin_mint(held: ClaimedPat, source: Source, *, by_hand: bool) -> None:
    """Journal what will be asked for.

    PostponedError when the hour's mints are used up (never for what is done `by_hand`): the rotation is closed again.
    """
    run, rotation = held.run, held.rotation
    now = run.services.clock.now()
    planned = _plan_expiry(held, source, now)
    known = tuple(p.authorization_id for p in source.listing.pats if p.display_name == rotation.display_name)
    try:
        held.step(
            RotationState.MINTING,
            MintStarted(planned_valid_to=planned),
            admit=None if by_hand else partial(check_pace, run.policy.guardrails, now),
            planned_valid_to=planned,
            known_ids=known,
            sent_at=now,
            mint_begun_at=now,
        )
    except PostponedError as error:
        close_unminted(held, error)
        raise


def mint_clone(held: ClaimedPat, source: Source) -> SecretValue:
    """Ask for the clone, once, and journal what came back; the value, which exists in memory only."""
    run, rotation = held.run, held.rotation
    planned = rotation.planned_valid_to
    if planned is None:
        raise RotationError("a mint without its intent", code="internal")
    held.check_claim()
    try:
        minted = run.services.pats.mint(
            rotation.account,
            rotation.organization,
            display_name=rotation.display_name,
            scope=rotation.scope,
            valid_to=planned,
        )
    except UnknownOutcomeError as error:
        held.record(MintUnanswered(code=error.code))
        raise
    except RotatorError as error:
        close_unminted(held, error)
        raise
    _journal_mint(held, minted, rotation.known_ids)
    _accept_or_abandon(held, minted, source)
    if minted.value is None:
        raise _unusable(held, "mint_without_value", "Azure DevOps created the clone and did not show its value")
    return minted.value


def verify_clone(held: ClaimedPat, view: ServerView, value: SecretValue) -> None:
    """Prove that the new PAT authenticates as the account's user; abandon it when it does not in time."""
    run, rotation = held.run, held.rotation
    expected = view.fetch_identity(rotation.account, rotation.organization)
    patience = Patience(run.services.clock, run.services.stop, run.services.timing.probe_patience)
    while True:
        try:
            found = run.services.pats.verify(rotation.organization, value)
            break
        except (VerificationError, TransientError) as error:
            if not patience.wait(getattr(error, "retry_after", None)):
                abandon(held, error)
                raise
        held.learn()
    if found.user_id != expected.user_id:
        raise _unusable(
            held,
            "wrong_identity",
            f"the new PAT authenticates as {found.display_name}, not as {expected.display_name}",
        )
    held.step(RotationState.VERIFIED, PatVerified())


def _from_inventory(held: ClaimedPat, listing: Listing) -> Pat:
    pat = held.pat
    organization_id = listing.identity.organization_id
    targets = (organization_id,) if organization_id else ("",)
    return Pat(pat.authorization_id, pat.display_name, pat.scope, targets, pat.valid_from, pat.valid_to)


def _plan_expiry(held: ClaimedPat, source: Source, now: datetime) -> datetime:
    """A whole second that no PAT of that name has and no other attempt of ours has asked for."""
    rotation, entropy = held.rotation, held.services.entropy
    with held.services.database.read() as reading:
        others = {
            other.planned_valid_to
            for other in (*reading.journal.load_open(), *reading.journal.load_for(rotation.name))
            if other.organization == rotation.organization and other.display_name == rotation.display_name
        }
    taken = others | {pat.valid_to for pat in source.listing.pats if pat.display_name == rotation.display_name}
    latest = (now + source.lifetime).replace(microsecond=0)
    low, high = make_offset_range(source.lifetime)
    planned = latest - timedelta(seconds=entropy.pick(low, high))
    while planned in taken:
        planned -= timedelta(seconds=1)
    return planned


def _journal_mint(held: ClaimedPat, minted: MintedPat, known: tuple[str, ...]) -> None:
    rotation, pat, now = held.rotation, minted.pat, held.services.clock.now()
    if pat.authorization_id in known or pat.authorization_id == rotation.predecessor_id:
        error = RotationError(
            "Azure DevOps answered the mint with a PAT that existed before",
            code="mint_answer_wrong",
            fix="Nothing was revoked. Report this to Microsoft support; rotator tries again later.",
        )
        failure = Failure.of(error)
        held.step(RotationState.FAILED, RotationFailed(code=error.code, message=error.message), failure=failure)
        raise error
    held.step(
        RotationState.MINTED,
        PatMinted(authorization_id=pat.authorization_id, valid_to=pat.valid_to),
        new_authorization_id=pat.authorization_id,
        new_valid_from=pat.valid_from,
        new_valid_to=pat.valid_to,
    )
    planned = rotation.planned_valid_to
    if planned is not None and pat.valid_to < planned - CLOCK_TOLERANCE:
        with held.services.database.begin() as work:
            work.limits.save(rotation.account, rotation.organization, pat.lifetime, learned_at=now)


def _accept_or_abandon(held: ClaimedPat, minted: MintedPat, source: Source) -> None:
    """A clone that reaches more or less than its original, or would be due at once, is revoked again."""
    made, wanted = minted.pat, source.pat
    if made.scopes != wanted.scopes or made.display_name != held.rotation.display_name:
        raise _unusable(
            held, "mint_answer_wrong", f'the clone came back as "{made.display_name}" with scope {made.scope}'
        )
    organization_id = source.listing.identity.organization_id
    if check_target(made, organization_id) is not None:
        raise _unusable(held, "mint_answer_wrong", "the clone came back valid for other organizations")
    storm = check_storm(source.rule, made.lifetime)
    if storm is not None:
        told = storm.explain()
        raise _unusable(held, "lifetime_clamped", told.message, told.fix, PlanRefusedError)


def _unusable(
    held: ClaimedPat,
    code: str,
    message: str,
    fix: str = "The clone was revoked again; rotator tries later.",
    kind: type[RotatorError] = VerificationError,
) -> RotatorError:
    error = kind(message, code=code, fix=fix)
    abandon(held, error)
    return error
