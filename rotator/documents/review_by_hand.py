"""What people had rotator do, in the document of `rotator audit report`."""

from __future__ import annotations

from typing import Annotated, TypedDict

from rotator.documents.document import Moment, write_moment
from rotator.documents.review_parts import FatesDocument, ProofDocument
from rotator.documents.review_sums import count_seconds, make_fates, prove, prove_or_none
from rotator.engine.review.facts import Fate, Findings, HandRun, OrderedRotation


class HandRunDocument(TypedDict):
    """What a person had rotator do."""

    at: Annotated[Moment, "When."]
    event: Annotated[str, "Name of the event that it began with."]
    subject: Annotated[str, "What that was about."]
    actor: Annotated[str, "Who did it: user and host."]
    reason: Annotated[str | None, "Why, as that person said. Null: no reason was given."]
    command: Annotated[str | None, "The command as it was typed. Null: the log does not have it."]
    fates: Annotated[FatesDocument, "What became of the rotations that it began."]
    replaced: Annotated[int, "How many PATs these were to replace: a new PAT replaces none."]
    gone: Annotated[ProofDocument | None, "When the last PAT that they replaced was proven gone. Null: none was."]
    made: Annotated[ProofDocument | None, "When the PAT existed that it began to create. Null: none does."]
    gone_count: Annotated[int, "How many of these PATs were proven gone, by these rotations or by later ones."]
    gone_later: Annotated[int, "How many of these by later ones, because the rotation of the command ended before."]
    events: Annotated[int, "How many events it led to in the period."]
    first: Annotated[int, "Number of the first one."]
    last: Annotated[int, "Number of the last one."]


class OrderedRotationDocument(TypedDict):
    """A rotation that a person ordered."""

    name: Annotated[str, "Name of the PAT in rotator, then."]
    ordered: Annotated[Moment, "When the command began that ordered it."]
    order: Annotated[int, "Number of the first event of that command."]
    actor: Annotated[str, "Who ordered it: user and host."]
    reason: Annotated[str | None, "Why, as that person said. Null: no reason was given."]
    planned: Annotated[ProofDocument, "When the rotation began."]
    in_vault: Annotated[ProofDocument | None, "When the new value was read back from the vault. Null: not yet."]
    old_id: Annotated[str | None, "Id of the PAT that it replaces. Null: it replaces none."]
    gone: Annotated[ProofDocument | None, "When that PAT was proven gone, by this rotation or later. Null: not yet."]
    gone_seconds: Annotated[int | None, "How long after the order that was. Null: it is not proven gone."]
    fate: Annotated[Fate, "What became of the rotation."]
    code: Annotated[str | None, "Stable name of why it was abandoned. Null: it was not."]
    replaced: Annotated[ProofDocument | None, "When another rotation replaced that PAT instead. Null: none did."]


def make_hand_run(run: HandRun, found: Findings) -> HandRunDocument:
    """Give what a person had rotator do."""
    return {
        "at": write_moment(run.at),
        "event": run.event,
        "subject": run.subject,
        "actor": run.actor,
        "reason": run.reason,
        "command": run.command,
        "fates": make_fates([found.fates[rotation] for rotation in run.rotations if rotation in found.fates]),
        "replaced": run.replaced,
        "gone": prove_or_none(run.gone),
        "gone_count": run.gone_count,
        "gone_later": run.gone_later,
        "made": prove_or_none(run.made),
        "events": run.events,
        "first": run.first,
        "last": run.last,
    }


def make_ordered(rotation: OrderedRotation, found: Findings) -> OrderedRotationDocument:
    """Give a rotation that a person ordered."""
    return {
        "name": rotation.name,
        "ordered": write_moment(rotation.run.at),
        "order": rotation.run.first,
        "actor": rotation.run.actor,
        "reason": rotation.run.reason,
        "planned": prove(rotation.planned),
        "in_vault": prove_or_none(rotation.in_vault),
        "old_id": rotation.old_id,
        "gone": prove_or_none(rotation.gone),
        "gone_seconds": None if rotation.gone is None else count_seconds(rotation.gone.happened_at - rotation.run.at),
        "fate": found.fates[rotation.rotation_id],
        "code": rotation.code,
        "replaced": prove_or_none(rotation.replaced),
    }
