"""What a stored failure means for what may be done next: a column of its own.

Until now the code of the failure said it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

TABLES = ("managed_pat", "rotation", "untracked_pat", "job_run", "sign_in", "receiver", "hook_call")
KINDS = {
    "not_listed": ("not_listed",),
    "forbidden": ("blocked",),
    "unconfirmed": ("secret_unconfirmed",),
    "late_write_kept": ("late_write_kept",),
    "explained_loss": ("value_lost", "lifetime_clamped"),
    "unusable": ("receiver_unusable", "hook_unusable"),
}


def upgrade() -> None:
    """Add the columns and fill them from the codes."""
    for name in TABLES:
        op.add_column(name, sa.Column("failure_kind", sa.String(20)))
        table = sa.table(name, sa.column("failure_kind"), sa.column("failure_code"))
        for kind, codes in KINDS.items():
            op.execute(table.update().where(table.c.failure_code.in_(codes)).values(failure_kind=kind))
