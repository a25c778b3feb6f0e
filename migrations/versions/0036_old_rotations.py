"""Old rotations move to a table of their own, with what they named and wrote.

A secret's rotations are looked up by what its versions name, no longer all of them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"

OPEN = sa.text("state NOT IN ('completed', 'abandoned', 'failed')")


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table, and the indexes that are asked now."""
    op.create_table(
        "old_rotation",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("predecessor_id", sa.Text, nullable=False),
        sa.Column("vault", sa.Text, nullable=False),
        sa.Column("secret_name", sa.Text, nullable=False),
        sa.Column("created_at", moment(), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("ending", sa.String(20)),
        sa.Column("sent_at", moment()),
        sa.Column("new_authorization_id", sa.Text),
        sa.Column("secret_version", sa.Text),
        sa.Column("tried_store", sa.Boolean, nullable=False),
    )
    for column in ("predecessor_id", "new_authorization_id", "secret_version"):
        op.create_index(f"old_rotation_by_{column}", "old_rotation", [column])
    op.drop_index("rotation_by_location", "rotation")
    op.create_index("rotation_open_by_location", "rotation", ["location"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("rotation_by_secret_version", "rotation", ["secret_version"])
