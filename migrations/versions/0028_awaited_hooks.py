"""Each rotation knows which hooks must have succeeded before its overlap begins."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the columns."""
    op.add_column("rotation", sa.Column("awaited_hooks", sa.Text, nullable=False, server_default="[]"))
    op.add_column("hook_call", sa.Column("done_at", moment()))
