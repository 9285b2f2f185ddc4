"""Steps and derivatives without a foreign key to runs, which was checked for each of their rows."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | Sequence[str] | None = "0005"
branch_labels = None
depends_on = None

_TABLES = ("steps", "derivatives")


def upgrade() -> None:
    """Drop the foreign keys; SQLite copies both tables."""
    for table in _TABLES:
        if op.get_bind().dialect.name == "postgresql":
            op.drop_constraint(f"fk_{table}_run_id", table, type_="foreignkey")
        else:
            _remake(table)


def downgrade() -> None:
    """Add the foreign keys; fails where a row has no run."""
    for table in _TABLES:
        if op.get_bind().dialect.name == "postgresql":
            op.create_foreign_key(f"fk_{table}_run_id", table, "runs", ["run_id"], ["id"])
        else:
            _remake(table, sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=f"fk_{table}_run_id"))


def _remake(table: str, *constraints: sa.ForeignKeyConstraint) -> None:
    """Copy the table with these foreign keys alone; still in key order and without row ids."""
    made = sa.inspect(op.get_bind())
    names = [column["name"] for column in made.get_columns(table)]
    keys = made.get_pk_constraint(table)["constrained_columns"]
    columns = [
        sa.Column(column["name"], column["type"], nullable=column["nullable"]) for column in made.get_columns(table)
    ]
    op.create_table(
        f"{table}_new",
        *columns,
        sa.PrimaryKeyConstraint(*keys, name=f"pk_{table}"),
        *constraints,
        sqlite_with_rowid=False,
    )
    listed = ", ".join(f'"{name}"' for name in names)
    # Names are those of our own schema.
    op.execute(f"INSERT INTO {table}_new ({listed}) SELECT {listed} FROM {table}")  # noqa: S608
    op.drop_table(table)
    op.rename_table(f"{table}_new", table)
