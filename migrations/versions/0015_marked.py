"""The journal says whether a display name carries a mark of ours. What was begun before is proven by its expiry."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add the column."""
    op.add_column("rotation", sa.Column("marked", sa.Boolean, nullable=False, server_default=sa.false()))
