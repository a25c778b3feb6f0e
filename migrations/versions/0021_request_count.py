"""How many requests were sent to which service, and what came of them."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "request_count",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("outcome", sa.String(20), primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
    )
