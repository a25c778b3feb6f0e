"""Each account's organizations are remembered: when one last worked, and why it does not since."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table. The next look everywhere fills it."""
    op.create_table(
        "organization",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("organization", sa.Text, primary_key=True),
        sa.Column("worked_at", moment()),
        sa.Column("failed_at", moment()),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_fix", sa.Text),
        sa.Column("failure_kind", sa.String(20)),
    )
