"""What a person wants of a record's next PAT."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("managed_pat", sa.Column("wanted_display_name", sa.Text))
    op.add_column("managed_pat", sa.Column("wanted_scope", sa.Text))
    op.add_column("managed_pat", sa.Column("wanted_lifetime", sa.BigInteger))
