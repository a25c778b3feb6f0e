"""Which version of a secret a person confirmed. PATs that were adopted before have none: nothing was confirmed."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Add the column."""
    op.add_column("managed_pat", sa.Column("confirmed_version", sa.Text))
