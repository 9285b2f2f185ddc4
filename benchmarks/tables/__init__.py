"""Print rows of measurements: one line of JSON for each when it is measured, then a Markdown table of all."""

import json
from collections.abc import Iterable
from typing import Any


def print_rows(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print the rows and return them. The table has a column for each key; where a row has no value, it is empty."""
    table = []
    for row in rows:
        print(json.dumps(row), flush=True)
        table.append(row)
    columns = list(dict.fromkeys(key for row in table for key in row))
    print("\n| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    for row in table:
        print("| " + " | ".join("" if row.get(key) is None else str(row[key]) for key in columns) + " |")
    return table
