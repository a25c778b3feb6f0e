"""What processes of one boot saw of daemons that stay away outlives them."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "sight",
        sa.Column("boot_id", sa.Text, primary_key=True),
        sa.Column("process", sa.Text, primary_key=True),
        sa.Column("since", moment(), nullable=False),
        sa.Column("span", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("timeline", sa.Text, nullable=False),
    )
