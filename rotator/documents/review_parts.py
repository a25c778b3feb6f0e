"""What the document of `rotator audit report` is made of."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from rotator.documents.audit import AuditEventDocument, AuditFaultDocument, LateSealDocument, UnreadAnchorsDocument
from rotator.documents.document import Moment
from rotator.documents.pat import PatFacts
from rotator.documents.revocation import PendingRevocationDocument
from rotator.domain.condition import ConditionKind
from rotator.domain.policy import RuleAction
from rotator.engine.left_behind import LeftBehindKind
from rotator.engine.review.facts import PolicyState
from rotator.engine.review.judging import AgeVerdict, TimeLeft
from rotator.engine.status import PatState


class PeriodDocument(TypedDict):
    """The period of a review."""

    name: Annotated[str, "As it was asked for."]
    since: Annotated[Moment, "Its first moment."]
    until: Annotated[Moment, "The first moment after it."]


class ProofDocument(TypedDict):
    """The event that proves something."""

    event: Annotated[int, "Number of the event."]
    at: Annotated[Moment, "When it happened, as the event says."]
    placed: Annotated[Moment | None, "When it happened by the log, where its clock was wrong. Null: it was not."]
    guessed: Annotated[bool, "Whether that is only as near as its place in the log allows: nothing says how wrong."]


class ReachDocument(TypedDict):
    """What an event says that a PAT reaches. Events that an earlier version wrote say less."""

    scopes: Annotated[list[str] | None, "The scopes. Null: the event does not say."]
    organization: Annotated[str | None, "The organization. Null: the event does not say."]
    all_organizations: Annotated[bool | None, "Whether it is valid for all of them. Null: the event does not say."]
    fits: Annotated[bool, "Whether the inventory says the same, as far as the event says anything."]


class ReviewedPatDocument(PatFacts):
    """A managed PAT as it is now, and what the log says of it."""

    owner: Annotated[str | None, "The user whose PAT it is. Null: the settings do not have the account any more."]
    state: Annotated[PatState, "Its state, in one word."]
    needs_sign_in: Annotated[bool, "Whether it waits for a person to sign its account in, and for nothing else."]
    all_organizations: Annotated[bool, "Whether it is valid for every organization that its owner can reach."]
    managed: Annotated[ProofDocument | None, "Since when it is managed. Null: the log does not say."]
    brought_by: Annotated[str | None, "Who brought it under management: user and host. Null: the log does not say."]
    vault: Annotated[str, "The vault in which its consumers find its value."]
    secret_name: Annotated[str, "The secret in that vault."]
    reach: Annotated[ProofDocument | None, "Since when its scopes are known to be these. Null: the log does not say."]
    told: Annotated[ReachDocument, "What that event says that it reaches."]
    rotated: Annotated[ProofDocument | None, "When consumers last got a new value. Null: never."]
    rotate_after: Annotated[Moment | None, "When the policy has it replaced. Null: no rule does."]
    age_days: Annotated[int, "Its age in days, rounded as on the page."]
    age_limit_days: Annotated[int | None, "The age that the policy allows, in days, rounded. Null: no rule rotates it."]
    rule: Annotated[str | None, "The rule of the current policy that applies to it. Null: none does."]
    age_verdict: Annotated[AgeVerdict, "Its age against the policy."]
    days_left: Annotated[int, "Whole days until it expires; below 0: it has expired."]


class UnmanagedPatDocument(PatFacts):
    """A PAT that the last look at the server found, and that rotator does not manage."""

    last_error: Annotated[str | None, "Why it is left alone, in words. Null: nobody asked for it to be managed."]
    too_long: Annotated[bool, "Whether it lives longer than the guardrails of the current policy allow."]


class SpanDocument(TypedDict):
    """Something wrong that lasted."""

    kind: Annotated[ConditionKind, "What was wrong."]
    subject: Annotated[str, "What it was about."]
    code: Annotated[str | None, "Stable name of the cause. Null: the event names none."]
    begun: Annotated[ProofDocument, "When rotator noticed it."]
    pat: Annotated[str | None, "The managed PAT, if the subject is the id of one of its PATs. Null: it is not."]
    ended: Annotated[ProofDocument | None, "When it ended. Null: it lasts."]
    seconds: Annotated[int | None, "How long it lasted, or has lasted by now. Null: a wrong clock, nobody knows how."]


class SpanSumDocument(TypedDict):
    """All times that something of one kind and cause was wrong, those that are not listed one by one included."""

    kind: Annotated[ConditionKind, "What was wrong."]
    code: Annotated[str | None, "Stable name of the cause. Null: the events name none."]
    count: Annotated[int, "How often."]
    first: Annotated[ProofDocument, "When the first one began."]
    last: Annotated[ProofDocument, "When the last one began."]
    seconds: Annotated[int, "How long they lasted together, or have lasted by now."]
    unmeasured: Annotated[int, "How many more lasted for a time that is not known: a wrong clock dated them."]
    longest: Annotated[ProofDocument, "When the longest one began."]
    longest_seconds: Annotated[int, "How long that one lasted."]


class TallyDocument(TypedDict):
    """How often something happened in the period."""

    name: Annotated[str, "What: the name of an event, or of a reason."]
    subject: Annotated[str | None, "What it was about. Null: that is not told apart."]
    count: Annotated[int, "How often."]
    first: Annotated[ProofDocument, "The first time."]
    last: Annotated[ProofDocument, "The last time."]


class FatesDocument(TypedDict):
    """Rotations that began in the period, by what became of them until the page was made."""

    begun: Annotated[int, "How many began: the sum of the others."]
    completed: Annotated[int, "Those that were completed."]
    abandoned: Annotated[int, "Those that were abandoned."]
    undone: Annotated[int, "Those whose new PAT was revoked again, because its value was lost."]
    open: Annotated[int, "Those that go on."]


class EventTallyDocument(TypedDict):
    """How often something happened."""

    event: Annotated[str, "Name of the event."]
    count: Annotated[int, "How often."]
    first: Annotated[int, "Number of the first such event."]
    last: Annotated[int, "Number of the last one."]


class BucketDocument(TypedDict):
    """A part of the period."""

    begins: Annotated[Moment, "Its first moment."]
    ends: Annotated[Moment, "The first moment after it."]
    begun: Annotated[int, "Rotations that began."]
    completed: Annotated[int, "Rotations that were completed."]
    failed: Annotated[int, "Events that say that a rotation failed, was blocked, frozen or abandoned."]
    revoked: Annotated[int, "PATs that were confirmed revoked."]
    first: Annotated[int | None, "Number of the first of these events. Null: there is none."]
    last: Annotated[int | None, "Number of the last one."]


class TimeLeftDocument(TypedDict):
    """How many managed PATs have so much time left."""

    left: Annotated[TimeLeft, "How much time is left."]
    pats: Annotated[int, "How many PATs."]


class RevocationTallyDocument(TypedDict):
    """The revocations of one managed PAT's predecessors and clones."""

    name: Annotated[str, "Name of the PAT in rotator, then."]
    requested: Annotated[int, "Revocations that Azure DevOps accepted."]
    proven: Annotated[int, "Revocations that its lists proved."]
    slowest_seconds: Annotated[int | None, "The longest time from the first request to the proof. Null: none is known."]
    slowest: Annotated[ProofDocument | None, "The proof that took so long. Null: none is known."]
    first: Annotated[ProofDocument | None, "The first proof. Null: there is none."]
    last: Annotated[ProofDocument | None, "The last proof. Null: there is none."]
    events: Annotated[list[int], "Numbers of the newest events that tell of a proof."]


class LivingPatDocument(TypedDict):
    """A PAT that is still valid although its record has another one."""

    name: Annotated[str, "Name in rotator of the PAT that it belonged to."]
    authorization_id: Annotated[str, "Id of the PAT at Azure DevOps."]
    kind: Annotated[LeftBehindKind | Literal["overlap"], "Why it lives; `overlap`: its consumers get time to switch."]
    until: Annotated[Moment | None, "When its overlap ends. Null: that is not known, or it is in none."]
    event: Annotated[ProofDocument | None, "The event that tells of it. Null: the log has none."]


class UnseenDocument(TypedDict):
    """A PAT whose value nobody ever got, because the answer to its request was lost."""

    name: Annotated[str, "Name in rotator of the PAT that it was to replace, or to be."]
    authorization_id: Annotated[str, "Id of the PAT at Azure DevOps."]
    late: Annotated[bool, "Whether Azure DevOps made it after rotator had gone on without it."]
    asked: Annotated[ProofDocument | None, "The request for it; of a late one the oldest possible. Null: not known."]
    noticed: Annotated[ProofDocument, "When rotator began to revoke it."]
    gone: Annotated[ProofDocument | None, "When it was proven gone. Null: it is not yet."]
    most_seconds: Annotated[int | None, "How long it was valid at most, or is by now. Null: that is not known."]


class RevocationsDocument(TypedDict):
    """What was revoked, and what is still valid."""

    requested: Annotated[int, "Revocations in the period that Azure DevOps accepted."]
    proven: Annotated[int, "Revocations in the period that its lists proved."]
    unanswered: Annotated[int, "How many of these had requests, and no answer that one was accepted."]
    pats: Annotated[list[RevocationTallyDocument], "The same for each PAT."]
    why: Annotated[list[TallyDocument], "The proofs by the reason of the revocation."]
    gone: Annotated[list[AuditEventDocument], "The proofs, the newest."]
    unseen: Annotated[list[UnseenDocument], "PATs whose value nobody ever got, the newest."]
    unseen_found: Annotated[int, "How many there were."]
    pending: Annotated[list[PendingRevocationDocument], "What is not proven to be gone now."]
    living: Annotated[list[LivingPatDocument], "What is still valid now: left behind, or in its overlap."]


class SilenceDocument(TypedDict):
    """The longest time in the period without any event."""

    begins: Annotated[Moment, "When it began."]
    ends: Annotated[Moment, "When it ended."]
    seconds: Annotated[int, "How long it was."]
    after: Annotated[int | None, "Number of the event before. Null: it began with the period, or with the log."]
    before: Annotated[int | None, "Number of the event after. Null: it lasts, or ended with the period."]


class RuleDocument(TypedDict):
    """A rule of the current policy. Spans are in words: `7d`, `1d 6h`."""

    name: Annotated[str, "Its name."]
    match: Annotated[dict[str, str], "Which PATs it is for: patterns by field. Empty: all."]
    action: Annotated[RuleAction, "What it wants done with them."]
    rotate_before: Annotated[str, "How long before its expiry a PAT is due: a share of its lifetime, or a span."]
    lifetime: Annotated[str | None, "How long a new PAT is to live. Null: as long as the one before."]
    overlap: Annotated[str, "How long the old PAT stays valid beside the new one."]


class GuardrailsDocument(TypedDict):
    """What no rule may exceed."""

    max_lifetime: Annotated[str | None, "The longest lifetime. Null: no limit."]
    deny_scopes: Annotated[list[str], "Scopes that no PAT may have to be rotated."]
    max_rotations_per_hour: Annotated[int, "How many rotations may begin in an hour."]


class PolicyTextDocument(TypedDict):
    """A policy of the period, or the current one."""

    sha256: Annotated[str, "The SHA-256 of its file."]
    text: Annotated[str | None, "The file. Null: the log does not have it, as from an earlier version, or too long."]
    event: Annotated[ProofDocument | None, "The event that has the text. Null: none does."]


class PolicyReviewDocument(TypedDict):
    """Which policy was in force."""

    sha256: Annotated[str, "The current policy: the SHA-256 of its file."]
    state: Annotated[PolicyState, "Whether the log names it last: `logged`, `changed` since, or `never_logged`."]
    rules: Annotated[list[RuleDocument], "Its rules; the first that matches applies."]
    guardrails: Annotated[GuardrailsDocument, "What no rule may exceed."]
    before: Annotated[AuditEventDocument | None, "The policy at the beginning of the period. Null: the log names none."]
    changes: Annotated[list[AuditEventDocument], "Its changes in the period, the newest."]
    changed: Annotated[int, "How many changes there were."]
    texts: Annotated[list[PolicyTextDocument], "The text of each, in the order of their first use."]
    silence: Annotated[SilenceDocument | None, "The longest time without any event. Null: the log is empty."]


class MisdatedDocument(TypedDict):
    """Events, one after the other, whose clock was wrong: their time contradicts their place in the log."""

    events: Annotated[int, "How many they are."]
    first: Annotated[int, "Number of the first one."]
    last: Annotated[int, "Number of the last one."]
    ahead_seconds: Annotated[int | None, "How far that clock was ahead; below 0: behind. Null: the log does not say."]
    dated: Annotated[Moment, "When the first one says that it happened."]
    dated_last: Annotated[Moment, "When the last one says that it happened."]
    placed: Annotated[
        Moment, "When the first one happened, by the log; where it does not say how wrong, as near as its order allows."
    ]
    placed_last: Annotated[Moment, "The same for the last one."]


class CheckpointDocument(TypedDict):
    """What a checkpoint says of the log."""

    size: Annotated[int, "How many events it covers."]
    head: Annotated[str, "The hash of the last of them."]
    root: Annotated[str, "The root of the Merkle tree (RFC 6962) over all of them."]
    key: Annotated[str | None, "Id of the key that signed it. Null: it is not signed."]


class HeldAnchorsDocument(TypedDict):
    """The anchors that a place holds now, of all time."""

    name: Annotated[str, "The vault, file or other place; the tags of all managed PATs' secrets are one."]
    held: Annotated[int, "How many."]
    newest: Annotated[int, "The greatest number of an event that they name."]


class LogReviewDocument(TypedDict):
    """Whether the log is whole, and by what that is known."""

    valid: Annotated[bool, "Whether it is whole."]
    error: Annotated[AuditFaultDocument | None, "The first thing that is wrong. Null: nothing is."]
    events: Annotated[int, "How many events the whole log has that can be read."]
    archived: Annotated[int, "Number of the last event that is in an archive of old events; 0 if there is none."]
    began: Annotated[ProofDocument | None, "Its first event. Null: it has none."]
    in_period: Annotated[int, "How many of them are of the period."]
    first: Annotated[int | None, "Number of the first event of the period. Null: it has none."]
    last: Annotated[int | None, "Number of the last one."]
    unreadable: Annotated[list[int], "Events that cannot be read, because somebody altered them."]
    misdated: Annotated[
        list[MisdatedDocument], "Events that a wrong clock dated, of the period or into it, the newest."
    ]
    installation: Annotated[str | None, "Whose log it is. Null: it has no checkpoint."]
    has_key: Annotated[bool, "Whether there is a key that signatures can be checked with."]
    public_keys: Annotated[list[str], "The keys that signatures were checked with (Ed25519, hex), the newest first."]
    key_problem: Annotated[str | None, "Why the key of the settings cannot be used. Null: it can, or there is none."]
    checkpoints: Annotated[int, "How many checkpoints there are."]
    checkpoints_in_period: Annotated[int, "How many of them were made in the period."]
    sealed: Annotated[int, "How many events the newest checkpoint covers."]
    signed: Annotated[int, "How many events are covered by a checkpoint with a signature that holds."]
    sealed_at: Annotated[Moment | None, "When the newest checkpoint was made. Null: there is none."]
    newest_checkpoint: Annotated[CheckpointDocument | None, "The newest checkpoint. Null: there is none."]
    late_seal: Annotated[
        LateSealDocument | None, "The signed checkpoint that was made the latest. Null: none was late."
    ]
    anchored: Annotated[
        list[AuditEventDocument], "New anchors that vaults and other places were given in the period, the newest."
    ]
    anchors_given: Annotated[int, "How many that were."]
    anchor_sums: Annotated[list[TallyDocument], "The same by place, all of them."]
    anchor_places: Annotated[list[HeldAnchorsDocument], "What each place holds, as far as it was asked."]
    vaults_asked: Annotated[bool, "Whether the vaults were asked for their anchors."]
    anchors_held: Annotated[int, "How many anchors the vaults hold, as far as they were asked."]
    unread: Annotated[list[UnreadAnchorsDocument], "Secrets and vaults that could not be asked."]
    accepted: Annotated[int, "How many anchors the log lacks, as a person has accepted."]
    gaps: Annotated[list[AuditEventDocument], "What a person accepted to be missing, at any time."]
