"""Hooks: each call that waits to be made, or was set aside."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "hook_call",
        sa.Column("hook", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("made_at", moment(), nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("retry_at", moment()),
        sa.Column("set_aside_at", moment()),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_fix", sa.Text),
    )
