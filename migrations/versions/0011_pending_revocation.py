"""Revocations that were requested and are not proven yet, a row each until they are."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "pending_revocation",
        sa.Column("authorization_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("organization", sa.Text, nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("valid_to", moment(), nullable=False),
        sa.Column("since", moment(), nullable=False),
        sa.Column("requested_at", moment(), nullable=False),
        sa.Column("requests", sa.Integer, nullable=False),
        sa.Column("rotation_id", sa.String(64)),
        sa.Column("missed_at", moment()),
    )
