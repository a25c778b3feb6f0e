"""A record has an id, and what belongs to it names that: a later record of the same name is another."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

_managed = sa.table("managed_pat", *map(sa.column, ("name", "location", "record_id")))
_rotation = sa.table("rotation", *map(sa.column, ("name", "vault", "secret_name", "state", "location", "record_id")))
_pending = sa.table("pending_revocation", *map(sa.column, ("name", "is_detached", "record_id")))
_CLOSED = ("completed", "abandoned", "failed")


def upgrade() -> None:
    """Add the columns. What is there belongs to the record of its name; what is closed, only if it has its secret."""
    for table in ("managed_pat", "rotation", "pending_revocation"):
        op.add_column(table, sa.Column("record_id", sa.String(64)))
    op.add_column("rotation", sa.Column("location", sa.Text, nullable=False, server_default=""))
    connection = op.get_bind()
    for name in connection.scalars(sa.select(_managed.c.name)).all():
        op.execute(sa.update(_managed).where(_managed.c.name == name).values(record_id=uuid4().hex))
    location = sa.func.lower(sa.func.rtrim(_rotation.c.vault, "/") + "/" + _rotation.c.secret_name)
    op.execute(sa.update(_rotation).values(location=location))
    is_its = sa.or_(_rotation.c.location == _managed.c.location, _rotation.c.state.not_in(_CLOSED))
    mine = sa.select(_managed.c.record_id).where(_managed.c.name == _rotation.c.name, is_its)
    op.execute(sa.update(_rotation).values(record_id=mine.scalar_subquery()))
    owner = sa.select(_managed.c.record_id).where(_managed.c.name == _pending.c.name, ~_pending.c.is_detached)
    op.execute(sa.update(_pending).values(record_id=owner.scalar_subquery()))
    with op.batch_alter_table("managed_pat") as table:
        table.alter_column("record_id", existing_type=sa.String(64), nullable=False)
        table.create_unique_constraint("managed_pat_one_id", ["record_id"])
    op.drop_index("rotation_by_name", "rotation")
    op.create_index("rotation_by_record", "rotation", ["record_id", "created_at"])
    op.create_index("rotation_by_location", "rotation", ["location", "created_at"])
    op.drop_column("pending_revocation", "is_detached")
