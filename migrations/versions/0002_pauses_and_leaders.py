"""Paused runs and cohorts, and the leader of each role that one process at a time performs."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | Sequence[str] | None = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add a column to runs and cohorts, and a table."""
    for table in ("runs", "cohorts"):
        op.add_column(table, sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "leaders",
        sa.Column("role", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(300), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("role", name="pk_leaders"),
    )


def downgrade() -> None:
    """Drop both; paused runs are queued again."""
    op.drop_table("leaders")
    for table in ("cohorts", "runs"):
        op.drop_column(table, "paused")
