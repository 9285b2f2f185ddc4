"""Which claim a cohort was leased to: one whose answer was lost is found again by whoever made it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006_faults"
down_revision: str | Sequence[str] | None = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A column."""
    op.add_column("cohorts", sa.Column("claim_id", sa.String(36)))


def downgrade() -> None:
    """A lost answer waits for its lease again."""
    op.drop_column("cohorts", "claim_id")
