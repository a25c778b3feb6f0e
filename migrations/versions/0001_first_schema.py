"""The first schema: inventory, journal, audit log, lifetime limits.

Written out, not taken from `schema.py`: a migration must go on doing what it did when the code moves on.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

OPEN = sa.text("state NOT IN ('completed', 'abandoned', 'failed')")
APPEND_ONLY = "the audit log is append-only"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def text(name: str, *, null: bool = False) -> sa.Column:
    """A column of text."""
    return sa.Column(name, sa.Text, nullable=null)


def upgrade() -> None:
    """Create everything."""
    create_managed_pat()
    create_rotation()
    create_audit_event()
    op.create_table(
        "untracked_pat",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("authorization_id", sa.Text, primary_key=True),
        text("display_name"),
        text("scope"),
        text("target_accounts", null=True),
        sa.Column("valid_from", moment(), nullable=False),
        sa.Column("valid_to", moment(), nullable=False),
    )
    op.create_table(
        "lifetime_limit",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("longest", sa.BigInteger, nullable=False),
        sa.Column("learned_at", moment(), nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        refuse_changes_on_postgresql()
    else:
        refuse_changes_on_sqlite()


def create_managed_pat() -> None:
    """The inventory."""
    op.create_table(
        "managed_pat",
        sa.Column("name", sa.Text, primary_key=True),
        text("account"),
        text("organization"),
        text("authorization_id"),
        text("display_name"),
        text("scope"),
        sa.Column("valid_from", moment(), nullable=False),
        sa.Column("valid_to", moment(), nullable=False),
        text("vault"),
        text("secret_name"),
        text("location"),
        sa.Column("state", sa.String(20), nullable=False),
        text("secret_version", null=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", moment()),
        text("failure_code", null=True),
        text("failure_message", null=True),
        text("failure_fix", null=True),
        sa.Column("blocked", sa.Boolean, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        text("claimed_by", null=True),
        sa.Column("claimed_until", moment()),
        sa.UniqueConstraint("organization", "authorization_id", name="managed_pat_one_authorization"),
        sa.UniqueConstraint("location", name="managed_pat_one_location"),
    )


def create_rotation() -> None:
    """The journal, with one open rotation per name at most."""
    op.create_table(
        "rotation",
        sa.Column("id", sa.String(64), primary_key=True),
        text("name"),
        text("account"),
        text("organization"),
        text("display_name"),
        text("scope"),
        text("predecessor_id"),
        sa.Column("predecessor_valid_to", moment(), nullable=False),
        text("rule"),
        text("vault"),
        text("secret_name"),
        sa.Column("overlap", sa.BigInteger, nullable=False),
        sa.Column("disable_previous", sa.Boolean, nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("updated_at", moment(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("planned_valid_to", moment()),
        text("known_ids"),
        sa.Column("sent_at", moment()),
        sa.Column("looked_at", moment()),
        text("new_authorization_id", null=True),
        sa.Column("new_valid_from", moment()),
        sa.Column("new_valid_to", moment()),
        text("secret_version", null=True),
        sa.Column("overlap_until", moment()),
        text("failure_code", null=True),
        text("failure_message", null=True),
        text("failure_fix", null=True),
        sa.Column("tried_store", sa.Boolean, nullable=False),
    )
    op.create_index("rotation_by_name", "rotation", ["name", "created_at"])
    op.create_index("rotation_one_open", "rotation", ["name"], unique=True, sqlite_where=OPEN, postgresql_where=OPEN)


def create_audit_event() -> None:
    """The audit log."""
    op.create_table(
        "audit_event",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("occurred_at", moment(), nullable=False),
        text("event"),
        text("subject"),
        sa.Column("outcome", sa.String(20), nullable=False),
        text("actor"),
        text("run_id"),
        text("details"),
        sa.Column("previous_hash", sa.String(64), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
    )
    op.create_index("audit_event_by_subject", "audit_event", ["subject", "sequence"])


def refuse_changes_on_sqlite() -> None:
    """Events are added, never changed or deleted, whoever asks."""
    for verb in ("update", "delete"):
        op.execute(
            f"CREATE TRIGGER audit_event_no_{verb} BEFORE {verb} ON audit_event "
            f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
        )


def refuse_changes_on_postgresql() -> None:
    """The same; TRUNCATE has to be refused by a trigger of its own."""
    op.execute(
        "CREATE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_event_no_change BEFORE UPDATE OR DELETE ON audit_event "
        "FOR EACH ROW EXECUTE FUNCTION audit_event_refuse()"
    )
    op.execute(
        "CREATE TRIGGER audit_event_no_truncate BEFORE TRUNCATE ON audit_event "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_event_refuse()"
    )
