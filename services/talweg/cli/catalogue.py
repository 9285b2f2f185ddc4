"""What there is to choose from."""

from typing import TYPE_CHECKING

from talweg.cli.options import AsJson, Home, laboratory
from talweg.cli.output import as_json, hint, table

if TYPE_CHECKING:
    from talweg.client import Table


def problems(home: Home = None, json: AsJson = False) -> None:
    """Every problem, with its settings."""
    with laboratory(home) as lab:
        found = lab.problems()
    _print(found, json, "talweg compare PROBLEM OPTIMIZER …")


def optimizers(home: Home = None, json: AsJson = False) -> None:
    """Every optimizer, with its hyperparameters."""
    with laboratory(home) as lab:
        found = lab.optimizers()
    _print(found, json, "talweg compare PROBLEM OPTIMIZER:learning_rate=0.01 …")


def _print(found: "Table", json: bool, then: str) -> None:
    if json:
        as_json(list(found))
        return
    table(found)
    hint(then)
