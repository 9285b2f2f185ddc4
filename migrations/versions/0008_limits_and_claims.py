"""Which claim a cohort was leased to, and how long a run has trained."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What runs trained before is not counted: it stands in their records."""
    op.add_column("cohorts", sa.Column("claim_id", sa.String(36)))
    op.add_column("runs", sa.Column("trained_seconds", sa.Double, nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    """A lost answer waits for its lease again, and no run ends for its time."""
    op.drop_column("runs", "trained_seconds")
    op.drop_column("cohorts", "claim_id")
