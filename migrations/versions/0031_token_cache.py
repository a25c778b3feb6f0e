"""The token cache may be kept in the database, one row for each sign-in, encrypted with a key that is never here."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Add the table. What a file holds stays there: whoever changes the setting signs in again."""
    op.create_table(
        "token_cache",
        sa.Column("sign_in", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
