"""Each record knows whether its value signed in, and when that is tried next. All are tried soon after the upgrade."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the columns and their index."""
    op.add_column("managed_pat", sa.Column("probe_id", sa.Text))
    op.add_column("managed_pat", sa.Column("probe_at", moment()))
    op.add_column("managed_pat", sa.Column("probe_works", sa.Boolean))
    op.add_column("managed_pat", sa.Column("probe_failures", sa.Integer, nullable=False, server_default="0"))
    op.create_index("managed_pat_by_probe", "managed_pat", ["probe_at"])
