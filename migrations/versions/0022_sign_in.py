"""Each account's sign-in is remembered: when a person made it, what Entra refused, when it is to end."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the table. When a person last signed in is in the audit log."""
    op.create_table(
        "sign_in",
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("interactive_at", moment()),
        sa.Column("refreshed_at", moment()),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_fix", sa.Text),
        sa.Column("refused_at", moment()),
        sa.Column("asked_at", moment()),
        sa.Column("generation", sa.Text),
        sa.Column("lifespan", sa.BigInteger),
        sa.Column("warned_days", sa.Integer),
    )
    op.execute(
        "INSERT INTO sign_in (account, interactive_at) SELECT subject, max(occurred_at) FROM audit_event "
        "WHERE event = 'sign_in_completed' GROUP BY subject"
    )
