"""The review of a period of an installation, and what an archive of it holds."""

from __future__ import annotations

from datetime import datetime, timedelta

from rotator.documents.inventory import make_inventory_document
from rotator.documents.review import ReviewDocument
from rotator.domain.period import Period
from rotator.engine.anchoring import fetch_anchors, list_stamps
from rotator.engine.checkpointing import check_begun, seal
from rotator.engine.context import Trust
from rotator.engine.gaps import load_accepted
from rotator.engine.review.evidence import gather_evidence, spell_cited, spell_events
from rotator.engine.review.facts import Review
from rotator.engine.review.reviewing import look_at_log, make_review
from rotator.engine.signing_keys import follow_keys
from rotator.errors import AuditChainError, ConfigError, DatabaseError
from rotator.ports.signing import Signer
from rotator.report.archive import Contents
from rotator.wiring.installation import Installation
from rotator.wiring.sealing import make_signer


def seal_log(installation: Installation) -> str | None:
    """Make a signed checkpoint of all that the log has, if there is a key. Return why it could not be made, if so.

    Who may only read the database, or not the keys, still gets their archive.
    """
    if installation.settings.audit.signing_key is None:
        return None
    try:
        run = installation.make_run()
        check_begun(run)
        seal(run, timedelta(0), counts_reads=True)
    except (AuditChainError, ConfigError, DatabaseError) as error:
        return error.message
    return None


def find_signer(installation: Installation, review: Review) -> tuple[Signer | None, str | None]:
    """Return what signs the archive of a review, or None; and why it cannot be had although the settings name it."""
    if review.log.key_problem is not None:
        return None, review.log.key_problem
    try:
        return make_signer(installation), None
    except ConfigError as error:
        return None, error.message


def review_period(
    installation: Installation, period: Period, now: datetime, trust: Trust, problem: str | None, *, anchors: bool
) -> Review:
    """Return what there is to say of a period; `trust` and `problem` as of `find_trust`. `anchors`: ask the vaults."""
    sight = None
    if anchors:
        try:
            sight = fetch_anchors(installation.make_run())
        except AuditChainError:
            sight = None  # the check of the log names what is wrong with it
    log = look_at_log(installation.database, sight, trust, problem, now)
    rotation = installation.settings.rotation
    return make_review(
        installation.database,
        installation.policy,
        installation.accounts,
        rotation.settle,
        rotation.lease,
        log,
        period,
        now,
    )


def gather_contents(
    installation: Installation, review: Review, document: ReviewDocument, page: str, trust: Trust
) -> Contents:
    """Return what an archive of a review holds."""
    database = installation.database
    believed = trust if review.log.fault else follow_keys(database, trust)
    evidence = gather_evidence(database, review)
    sight, sizes = review.log.sight, {found.size for found in evidence.checkpoints}
    stamped = [] if sight is None else [found.sequence for found in sight.anchors if found.stamped_at is not None]
    return Contents(
        review=review,
        document=document,
        page=page,
        evidence=evidence,
        events=spell_events(database, evidence.first, evidence.last),
        cited=spell_cited(database, evidence.cited),
        key_changes=spell_cited(database, sorted(believed.changes)),
        inventory=make_inventory_document(standing.record for standing in review.pats),
        policy=installation.settings.policy.read_bytes(),
        public_keys=believed.public_keys,
        accepted=frozenset() if review.log.fault else load_accepted(database, trust),
        stamps=tuple(list_stamps(installation.services.anchor_places, sizes | {max(stamped)})) if stamped else (),
    )
