"""Why a record waits for a person, what a rotation was for and how it ended: columns of their own.

Until now the code of a failure said it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

HOLDS = ("foreign_write", "revoked_by_hand", "revoked_elsewhere", "database_behind")


def upgrade() -> None:
    """Add the columns and fill them from the codes."""
    op.add_column("managed_pat", sa.Column("hold", sa.String(20)))
    op.add_column("rotation", sa.Column("kind", sa.String(20), nullable=False, server_default="rotation"))
    op.add_column("rotation", sa.Column("ending", sa.String(20)))
    pats = sa.table("managed_pat", sa.column("hold"), sa.column("failure_code"))
    op.execute(pats.update().where(pats.c.failure_code.in_(HOLDS)).values(hold=pats.c.failure_code))
    rotations = sa.table("rotation", sa.column("kind"), sa.column("ending"), sa.column("failure_code"))
    code = rotations.c.failure_code
    op.execute(rotations.update().where(code == "stray").values(kind="revocation", failure_code="left_behind"))
    op.execute(rotations.update().where(code == "mint_ambiguous").values(ending="mint_ambiguous"))
    op.execute(rotations.update().where(code == "clone_revoked_elsewhere").values(ending="clone_lost"))
