"""The tables. `migrations/` builds them; a test proves that both are equal.

No column holds a secret in clear: the value of a PAT lives in the vault alone, and a token cache is encrypted with a
key that is never here.

`rotation.record_id` and `pending_revocation.record_id` say which record a row belongs to: a name would not, as another
record may get it. Forgetting a ManagedPat empties them and keeps the rows, the proof of which PATs we minted and of
what may still be an orphan.

A rotation that is long over moves to `old_rotation`: what it named and wrote is asked for ever, the rest is not.

`location` is the secret's place made comparable. Key Vault's host and secret names ignore case, so two
records that differ in case only would overwrite each other's secret.

`managed_pat.next_at` is when a run next has work to do on it; null: never, as things are. `next_basis` says by
what that was computed, and `next_from` from when on it holds. `probe_at` is when its value is tried next, null: at
once; `probe_id` is the PAT whose value was tried last.

`managed_pat.authorization_id` is null while the first PAT is still to be made: any number of records may lack one.
"""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from rotator.adapters.database.columns import Boot, Details, Moment, Peaks, Span, Texts, Word
from rotator.domain.audit_event import Outcome
from rotator.domain.condition import ConditionKind
from rotator.domain.job_run import JobName, JobOutcome
from rotator.domain.managed_pat import Hold, ManagedPatState
from rotator.domain.pending_revocation import RevocationKind
from rotator.domain.request_count import RequestOutcome
from rotator.domain.rotation import RotationEnding, RotationKind, RotationState, Trace
from rotator.errors import FailureKind

REVISIONS = tuple(f"{number:04}" for number in range(1, 38))
"""Every revision in `migrations/versions`, the oldest first. Kept here so that starting does not load Alembic."""

OPEN = text("state NOT IN ('completed', 'abandoned', 'failed')")
"""Which rotations are open, as the partial indexes put it."""

LEAVING = text("(state = 'failed' OR state = 'completed' AND keeps_predecessor)")
"""Which rotations may have left PATs, as the partial index puts it."""

MAY_WRITE_LATE = text("(tried_store OR ending = 'clone_lost')")
"""Which writes may take effect late, as the partial index puts it."""

metadata = MetaData()


def _list_failure() -> list[Column[str]]:
    return [Column(f"failure_{name}", Text) for name in ("code", "message", "fix")]


managed_pat = Table(
    "managed_pat",
    metadata,
    Column("name", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("authorization_id", Text),
    Column("display_name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("valid_from", Moment, nullable=False),
    Column("valid_to", Moment, nullable=False),
    Column("vault", Text, nullable=False),
    Column("secret_name", Text, nullable=False),
    Column("location", Text, nullable=False),
    Column("state", Word(ManagedPatState), nullable=False),
    Column("secret_version", Text),
    Column("failures", Integer, nullable=False),
    Column("retry_at", Moment),
    *_list_failure(),
    Column("blocked", Boolean, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("claimed_by", Text),
    Column("claimed_until", Moment),
    Column("hold", Word(Hold)),
    Column("all_organizations", Boolean, nullable=False, server_default=false()),
    Column("confirmed_version", Text),
    Column("short_lived", Boolean, nullable=False, server_default=false()),
    Column("meant_lifetime", Span),
    Column("wanted_display_name", Text),
    Column("wanted_scope", Text),
    Column("wanted_lifetime", Span),
    Column("claimed_at", Boot),
    Column("taken_over", Boolean, nullable=False, server_default=false()),
    Column("record_id", String(64), nullable=False),
    UniqueConstraint("record_id", name="managed_pat_one_id"),
    Column("next_at", Moment),
    Column("next_basis", Text, nullable=False, server_default=""),
    Column("next_from", Moment),
    Column("probe_id", Text),
    Column("probe_at", Moment),
    Column("probe_works", Boolean),
    Column("probe_failures", Integer, nullable=False, server_default="0"),
    Column("failure_kind", Word(FailureKind)),
    Column("wanted_account", Text),
    UniqueConstraint("organization", "authorization_id", name="managed_pat_one_authorization"),
    UniqueConstraint("location", name="managed_pat_one_location"),
    Index("managed_pat_by_authorization", "authorization_id"),
    Index("managed_pat_by_next", "next_at"),
    Index("managed_pat_by_basis", "next_basis", "next_from"),
    Index("managed_pat_by_probe", "probe_at"),
)

rotation = Table(
    "rotation",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("predecessor_id", Text, nullable=False),
    Column("predecessor_valid_to", Moment, nullable=False),
    Column("rule", Text, nullable=False),
    Column("vault", Text, nullable=False),
    Column("secret_name", Text, nullable=False),
    Column("overlap", Span, nullable=False),
    Column("disable_previous", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("state", Word(RotationState), nullable=False),
    Column("planned_valid_to", Moment),
    Column("known_ids", Texts, nullable=False),
    Column("sent_at", Moment),
    Column("new_authorization_id", Text),
    Column("new_valid_from", Moment),
    Column("new_valid_to", Moment),
    Column("secret_version", Text),
    Column("overlap_until", Moment),
    *_list_failure(),
    Column("tried_store", Boolean, nullable=False),
    Column("mint_begun_at", Moment),
    Column("kind", Word(RotationKind), nullable=False, server_default="rotation"),
    Column("ending", Word(RotationEnding)),
    Column("overlap_began", Boot),
    Column("marked", Boolean, nullable=False, server_default=false()),
    Column("keeps_predecessor", Boolean, nullable=False, server_default=false()),
    Column("record_id", String(64)),
    Column("location", Text, nullable=False, server_default=""),
    Column("awaited_hooks", Texts, nullable=False, server_default="[]"),
    Column("failure_kind", Word(FailureKind)),
    Column("predecessor_account", Text),
    Index("rotation_by_record", "record_id", "created_at"),
    Index("rotation_by_secret_version", "secret_version"),
    Index("rotation_by_mint", "mint_begun_at"),
    Index("rotation_by_predecessor", "predecessor_id"),
    Index("rotation_by_clone", "new_authorization_id", "planned_valid_to"),
)

old_rotation = Table(
    "old_rotation",
    metadata,
    *(
        Column(kept.name, kept.type, primary_key=kept.primary_key, nullable=kept.nullable)
        for kept in (rotation.c[field.name] for field in fields(Trace))
    ),
    *(Index(f"old_rotation_by_{name}", name) for name in ("predecessor_id", "new_authorization_id", "secret_version")),
)

untracked_pat = Table(
    "untracked_pat",
    metadata,
    Column("account", Text, primary_key=True),
    Column("organization", Text, primary_key=True),
    Column("authorization_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("target_accounts", Texts),
    Column("valid_from", Moment, nullable=False),
    Column("valid_to", Moment, nullable=False),
    *_list_failure(),
    Column("failure_kind", Word(FailureKind)),
)

audit_event = Table(
    "audit_event",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("occurred_at", Moment, nullable=False),
    Column("event", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("outcome", Word(Outcome), nullable=False),
    Column("actor", Text, nullable=False),
    Column("run_id", Text, nullable=False),
    Column("details", Details, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("encoding", Integer, nullable=False, server_default="1"),
    Index("audit_event_by_subject", "subject", "sequence"),
    Index("audit_event_by_event", "event", "sequence"),
)

checkpoint = Table(
    "checkpoint",
    metadata,
    Column("size", BigInteger, primary_key=True, autoincrement=False),
    Column("head", String(64), nullable=False),
    Column("root", String(64), nullable=False),
    Column("installation", String(16), nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("anchors", BigInteger, nullable=False),
    Column("key_id", String(16)),
    Column("signature", Text),
    Column("peaks", Peaks, nullable=False),
)

verified_log = Table(
    "verified_log",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("installation", String(16), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("head", String(64), nullable=False),
    Column("checkpoints", BigInteger, nullable=False),
    Column("checked_at", Moment, nullable=False),
    Column("key_id", String(16), nullable=False),
    Column("signature", Text, nullable=False),
)

condition = Table(
    "condition",
    metadata,
    Column("kind", Word(ConditionKind), primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("since", Moment, nullable=False),
    Column("told_at", Moment),
    Column("code", Text),
)

pending_revocation = Table(
    "pending_revocation",
    metadata,
    Column("authorization_id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("account", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("vault", Text, nullable=False, server_default=""),
    Column("secret_name", Text, nullable=False, server_default=""),
    Column("kind", Word(RevocationKind), nullable=False),
    Column("valid_to", Moment, nullable=False),
    Column("since", Moment, nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column("requests", Integer, nullable=False),
    Column("rotation_id", String(64)),
    Column("missed_at", Moment),
    Column("record_id", String(64)),
    Index("pending_revocation_by_name", "name"),
)

job_run = Table(
    "job_run",
    metadata,
    Column("job", Word(JobName), primary_key=True),
    Column("period", Moment, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("outcome", Word(JobOutcome)),
    Column("counts", Details, nullable=False),
    *_list_failure(),
    Column("failure_kind", Word(FailureKind)),
    Index("job_run_by_outcome", "job", "outcome", "period"),
)

heartbeat = Table(
    "heartbeat",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("began_at", Moment, nullable=False),
    Column("beat_at", Moment, nullable=False),
    Column("work_began_at", Moment),
    Column("work_succeeded_at", Moment),
    Column("binds_for", Span),
    *(Column(name, Text) for name in ("actor", "version", "policy")),
)

throttle_hold = Table(
    "throttle_hold",
    metadata,
    Column("account", Text, primary_key=True),
    Column("begun_at", Moment, nullable=False),
    Column("until", Moment, nullable=False),
)

request_count = Table(
    "request_count",
    metadata,
    Column("service", Text, primary_key=True),
    Column("outcome", Word(RequestOutcome), primary_key=True),
    Column("requests", BigInteger, nullable=False),
)

sign_in = Table(
    "sign_in",
    metadata,
    Column("account", Text, primary_key=True),
    Column("interactive_at", Moment),
    Column("refreshed_at", Moment),
    *_list_failure(),
    Column("refused_at", Moment),
    Column("asked_at", Moment),
    Column("generation", Text),
    Column("lifespan", Span),
    Column("warned_days", Integer),
    Column("failure_kind", Word(FailureKind)),
)

organization = Table(
    "organization",
    metadata,
    Column("account", Text, primary_key=True),
    Column("organization", Text, primary_key=True),
    Column("worked_at", Moment),
    Column("failed_at", Moment),
    *_list_failure(),
    Column("failure_kind", Word(FailureKind)),
)

receiver = Table(
    "receiver",
    metadata,
    Column("name", Text, primary_key=True),
    Column("cursor", BigInteger, nullable=False),
    Column("cursor_at", Moment, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("retry_at", Moment),
    Column("delivered_at", Moment),
    *_list_failure(),
    Column("claimed_by", Text),
    Column("claimed_until", Moment),
    Column("failure_kind", Word(FailureKind)),
)

delivery = Table(
    "delivery",
    metadata,
    Column("receiver", Text, primary_key=True),
    Column("topic", Text, primary_key=True),
    Column("id", String(64), nullable=False),
    Column("notification", Details, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("messages", Integer, nullable=False),
    Column("repeats", Integer, nullable=False),
    Column("sequence", BigInteger),
    Column("tries", Integer, nullable=False),
    Column("delivered_at", Moment),
    Column("set_aside_at", Moment),
)

hook_call = Table(
    "hook_call",
    metadata,
    Column("hook", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("id", String(64), nullable=False),
    Column("event", Details, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("retry_at", Moment),
    Column("set_aside_at", Moment),
    *_list_failure(),
    Column("done_at", Moment),
    Column("failure_kind", Word(FailureKind)),
)

lifetime_limit = Table(
    "lifetime_limit",
    metadata,
    Column("account", Text, primary_key=True),
    Column("organization", Text, primary_key=True),
    Column("longest", Span, nullable=False),
    Column("learned_at", Moment, nullable=False),
)

token_cache = Table(
    "token_cache",
    metadata,
    Column("sign_in", Text, primary_key=True),
    Column("content", Text, nullable=False),
)
