"""The events of one name have an index: a run asks for the last `policy_changed`."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create it."""
    op.create_index("audit_event_by_event", "audit_event", ["event", "sequence"])
