"""Claims and overlaps are measured by the boot clock too, which nobody sets."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Add the columns: when a claim was made or renewed, and when an overlap began."""
    op.add_column("managed_pat", sa.Column("claimed_at", sa.Text))
    op.add_column("rotation", sa.Column("overlap_began", sa.Text))
