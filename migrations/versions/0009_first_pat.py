"""A record may have no PAT yet: its first one is still to be made."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Let the id be null. SQLite cannot change a column, so there the table is made anew."""
    with op.batch_alter_table("managed_pat") as table:
        table.alter_column("authorization_id", existing_type=sa.Text, nullable=True)
