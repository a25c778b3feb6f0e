"""A rule takes PATs over: the record and the rotation know it, and what waits for a person says why."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Add the columns."""
    for table, name in (("managed_pat", "taken_over"), ("rotation", "keeps_predecessor")):
        op.add_column(table, sa.Column(name, sa.Boolean, nullable=False, server_default=sa.false()))
    for name in ("failure_code", "failure_message", "failure_fix"):
        op.add_column("untracked_pat", sa.Column(name, sa.Text))
