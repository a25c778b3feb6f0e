"""A pending revocation has its secret, and is detached from a ManagedPat that was forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_pending = sa.table(
    "pending_revocation",
    *map(sa.column, ("name", "account", "organization", "vault", "secret_name", "is_detached")),
)
_managed = sa.table(
    "managed_pat",
    *map(sa.column, ("name", "account", "organization", "vault", "secret_name")),
)


def upgrade() -> None:
    """Add the columns. What is pending takes its secret from its record; where that was forgotten, it is detached."""
    for name in ("vault", "secret_name"):
        op.add_column("pending_revocation", sa.Column(name, sa.Text, nullable=False, server_default=""))
    detached = sa.Column("is_detached", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("pending_revocation", detached)
    same = sa.and_(*(_pending.c[name] == _managed.c[name] for name in ("name", "account", "organization")))
    owned = sa.exists().where(same)
    op.execute(sa.update(_pending).where(~owned).values(is_detached=sa.true()))
    secret = {name: sa.select(_managed.c[name]).where(same).scalar_subquery() for name in ("vault", "secret_name")}
    op.execute(sa.update(_pending).where(owned).values(secret))
