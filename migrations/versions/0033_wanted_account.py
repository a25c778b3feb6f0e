"""The account that a person moves a record to, and whose PAT the old one of such a rotation is."""

import sqlalchemy as sa
from alembic import op

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    """Add the columns: nothing has moved yet."""
    op.add_column("managed_pat", sa.Column("wanted_account", sa.Text))
    op.add_column("rotation", sa.Column("predecessor_account", sa.Text))
