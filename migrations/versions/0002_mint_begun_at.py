"""When each mint was begun, so that those of the last hour can be counted."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column and its index. For older rotations the time of the plan stands in, seconds before the mint."""
    moment = sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")
    op.add_column("rotation", sa.Column("mint_begun_at", moment))
    op.execute("UPDATE rotation SET mint_begun_at = created_at WHERE planned_valid_to IS NOT NULL")
    op.create_index("rotation_by_mint", "rotation", ["mint_begun_at"])
