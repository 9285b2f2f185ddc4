"""A flag for studies: whether their report was sent to MLflow."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the flag; reports of studies that ended before are sent once more, which is harmless."""
    op.add_column("studies", sa.Column("mlflow_told", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Drop the flag."""
    op.drop_column("studies", "mlflow_told")
