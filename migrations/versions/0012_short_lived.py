"""A PAT that was granted less than it was meant to have: whether it was taken all the same, and the lifetime meant."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("managed_pat", sa.Column("short_lived", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("managed_pat", sa.Column("meant_lifetime", sa.BigInteger))
