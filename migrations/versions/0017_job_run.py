"""What ran when: each run of a job, and the last heartbeat of each daemon."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def moment() -> sa.types.TypeEngine:
    """A time: text of fixed width on SQLite."""
    return sa.String(27).with_variant(sa.DateTime(timezone=True), "postgresql")


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "job_run",
        sa.Column("job", sa.String(20), primary_key=True),
        sa.Column("period", moment(), primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("began_at", moment(), nullable=False),
        sa.Column("ended_at", moment()),
        sa.Column("outcome", sa.String(20)),
        sa.Column("counts", sa.Text, nullable=False),
        sa.Column("failure_code", sa.Text),
        sa.Column("failure_message", sa.Text),
        sa.Column("failure_fix", sa.Text),
    )
    op.create_index("job_run_by_outcome", "job_run", ["job", "outcome", "period"])
    op.create_table(
        "heartbeat",
        sa.Column("holder", sa.Text, primary_key=True),
        sa.Column("began_at", moment(), nullable=False),
        sa.Column("beat_at", moment(), nullable=False),
        sa.Column("work_began_at", moment()),
        sa.Column("work_succeeded_at", moment()),
    )
