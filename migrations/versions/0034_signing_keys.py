"""That the key of the audit log was changed stays in the log for ever, also when an archive has the event.

And what was verified of the log is remembered, so that the next check may begin there.
"""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"

ON_SQLITE = """
CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event
WHEN OLD.event IN ('gap_accepted', 'log_anchored', 'log_archived', 'pat_forgotten', 'policy_changed',
    'settings_changed', 'signing_key_changed', 'timeline_changed', 'timeline_reconciled')
  OR OLD.sequence > (SELECT coalesce(max(json_extract(details, '$.last')), 0) FROM audit_event
    WHERE event = 'log_archived')
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
ON_POSTGRESQL = """
CREATE OR REPLACE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF OLD.event NOT IN ('gap_accepted', 'log_anchored', 'log_archived', 'pat_forgotten', 'policy_changed',
    'settings_changed', 'signing_key_changed', 'timeline_changed', 'timeline_reconciled')
      AND OLD.sequence <= (SELECT coalesce(max((details::json ->> 'last')::bigint), 0) FROM audit_event
        WHERE event = 'log_archived')
    THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Keep one more kind of event, and add the table."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_event_no_delete")
        op.execute(ON_SQLITE)
    else:
        op.execute(ON_POSTGRESQL)
    op.create_table(
        "verified_log",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("installation", sa.String(16), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("checkpoints", sa.BigInteger, nullable=False),
        sa.Column("checked_at", moment(), nullable=False),
        sa.Column("key_id", sa.String(16), nullable=False),
        sa.Column("signature", sa.Text, nullable=False),
    )
