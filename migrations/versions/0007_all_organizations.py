"""Whether a managed PAT is valid for all organizations has a column of its own. A failure's code said it before."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column and fill it from the codes."""
    op.add_column("managed_pat", sa.Column("all_organizations", sa.Boolean, nullable=False, server_default=sa.false()))
    pats = sa.table("managed_pat", sa.column("all_organizations", sa.Boolean), sa.column("failure_code"))
    op.execute(pats.update().where(pats.c.failure_code == "all_organizations").values(all_organizations=True))
