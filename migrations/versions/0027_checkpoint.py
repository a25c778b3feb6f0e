"""Checkpoints of the audit log, and how each event is spelled to be hashed."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

APPEND_ONLY = "checkpoint is append-only"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the column and the table. Every event that is there already has the first encoding."""
    op.add_column("audit_event", sa.Column("encoding", sa.Integer, nullable=False, server_default="1"))
    op.create_table(
        "checkpoint",
        sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("head", sa.String(64), nullable=False),
        sa.Column("root", sa.String(64), nullable=False),
        sa.Column("installation", sa.String(16), nullable=False),
        sa.Column("made_at", moment(), nullable=False),
        sa.Column("anchors", sa.BigInteger, nullable=False),
        sa.Column("key_id", sa.String(16)),
        sa.Column("signature", sa.Text),
        sa.Column("peaks", sa.Text, nullable=False),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER checkpoint_no_{verb} BEFORE {verb.upper()} ON checkpoint "
                f"BEGIN SELECT RAISE(ABORT, '{APPEND_ONLY}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION checkpoint_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{APPEND_ONLY}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER checkpoint_no_change BEFORE UPDATE OR DELETE ON checkpoint "
        "FOR EACH ROW EXECUTE FUNCTION checkpoint_refuse()"
    )
    op.execute(
        "CREATE TRIGGER checkpoint_no_truncate BEFORE TRUNCATE ON checkpoint "
        "FOR EACH STATEMENT EXECUTE FUNCTION checkpoint_refuse()"
    )
