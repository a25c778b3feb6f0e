"""A condition says why it lasts, so that only a new cause is told again."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Add the column; the next look fills it."""
    op.add_column("condition", sa.Column("code", sa.Text))
