"""What the daemons of one database must know of each other: how long one's claims bind, what it is, and who waits.

A heartbeat says how often the next one comes, and which version and policy the daemon works with. What a service asked
to wait is kept for all.
"""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Daemons that beat before have none of it: their claims keep the lease."""
    op.add_column("heartbeat", sa.Column("binds_for", sa.BigInteger))
    for name in ("actor", "version", "policy"):
        op.add_column("heartbeat", sa.Column(name, sa.Text))
    op.create_table(
        "throttle_hold",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("begun_at", moment(), nullable=False),
        sa.Column("until", moment(), nullable=False),
    )
