"""The claim of a leased cohort, and the training time of a run."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | Sequence[str] | None = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add both columns; earlier training time is not counted, and stays in the runs' records."""
    op.add_column("cohorts", sa.Column("claim_id", sa.String(36)))
    op.add_column("runs", sa.Column("trained_seconds", sa.Double, nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    """Drop both columns: a lost claim blocks its cohort until the lease ends, and no run has a time limit."""
    op.drop_column("runs", "trained_seconds")
    op.drop_column("cohorts", "claim_id")
