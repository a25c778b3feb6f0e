"""Each record knows when a run has next something to do with it. What is stored so far is computed by the next run."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"

_OF_ROTATIONS = (
    ("rotation_open_by_display", "display_name", "state NOT IN ('completed', 'abandoned', 'failed')"),
    ("rotation_leaving", "predecessor_valid_to", "(state = 'failed' OR state = 'completed' AND keeps_predecessor)"),
    ("rotation_late", "updated_at", "(tried_store OR ending = 'clone_lost')"),
)


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the columns and their indexes."""
    op.add_column("managed_pat", sa.Column("next_at", moment()))
    op.add_column("managed_pat", sa.Column("next_basis", sa.Text, nullable=False, server_default=""))
    op.add_column("managed_pat", sa.Column("next_from", moment()))
    op.create_index("managed_pat_by_next", "managed_pat", ["next_at"])
    op.create_index("managed_pat_by_basis", "managed_pat", ["next_basis", "next_from"])
    op.create_index("pending_revocation_by_name", "pending_revocation", ["name"])
    for index, column, where in _OF_ROTATIONS:
        op.create_index(index, "rotation", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
