"""`rotation.looked_at` goes: nothing ever read it."""

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Drop the column."""
    op.drop_column("rotation", "looked_at")
