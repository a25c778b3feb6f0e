"""What is wrong and lasts, a row each while it does."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "condition",
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("since", moment(), nullable=False),
        sa.Column("told_at", moment()),
    )
