"""The outbox: how far each receiver of notifications is, and what it was told or is to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "receiver",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cursor", sa.BigInteger, nullable=False),
        sa.Column("cursor_at", moment(), nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("retry_at", moment()),
        sa.Column("delivered_at", moment()),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_fix", sa.Text),
        sa.Column("claimed_by", sa.Text),
        sa.Column("claimed_until", moment()),
    )
    op.create_table(
        "delivery",
        sa.Column("receiver", sa.Text, primary_key=True),
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("notification", sa.Text, nullable=False),
        sa.Column("made_at", moment(), nullable=False),
        sa.Column("messages", sa.Integer, nullable=False),
        sa.Column("repeats", sa.Integer, nullable=False),
        sa.Column("sequence", sa.BigInteger),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("delivered_at", moment()),
        sa.Column("set_aside_at", moment()),
    )
