"""Events of the audit log may be deleted once they are in an archive, and only those.

What permits it is in the log itself: the event `log_archived`, whose `last` is the number of the last event that a
file has. What is still needed stays for ever, whatever its number. Anything else is refused as before.
"""

from alembic import op

revision = "0030"
down_revision = "0029"

ON_SQLITE = """
CREATE TRIGGER audit_event_no_delete BEFORE DELETE ON audit_event
WHEN OLD.event IN ('gap_accepted', 'log_anchored', 'log_archived', 'pat_forgotten', 'policy_changed',
    'settings_changed', 'timeline_changed', 'timeline_reconciled')
  OR OLD.sequence > (SELECT coalesce(max(json_extract(details, '$.last')), 0) FROM audit_event
    WHERE event = 'log_archived')
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END
"""
ON_POSTGRESQL = """
CREATE OR REPLACE FUNCTION audit_event_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    IF OLD.event NOT IN ('gap_accepted', 'log_anchored', 'log_archived', 'pat_forgotten', 'policy_changed',
        'settings_changed', 'timeline_changed', 'timeline_reconciled')
      AND OLD.sequence <= (SELECT coalesce(max((details::json ->> 'last')::bigint), 0) FROM audit_event
        WHERE event = 'log_archived')
    THEN
      RETURN OLD;
    END IF;
  END IF;
  RAISE EXCEPTION 'the audit log is append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
"""


def upgrade() -> None:
    """Let what refuses to delete an event ask the log first."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_event_no_delete")
        op.execute(ON_SQLITE)
    else:
        op.execute(ON_POSTGRESQL)
