"""Who accounts for a PAT is answered by index: by its id, or by the fingerprint of a mint that was not answered."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the indexes."""
    op.create_index("managed_pat_by_authorization", "managed_pat", ["authorization_id"])
    op.create_index("rotation_by_predecessor", "rotation", ["predecessor_id"])
    op.create_index("rotation_by_clone", "rotation", ["new_authorization_id", "planned_valid_to"])
