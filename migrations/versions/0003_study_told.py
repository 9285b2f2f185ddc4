"""Studies know whether MLflow was told how they ended."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | Sequence[str] | None = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A mark for each study; those that ended before are told once more, which harms nothing."""
    op.add_column("studies", sa.Column("mlflow_told", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    """Without the mark."""
    op.drop_column("studies", "mlflow_told")
