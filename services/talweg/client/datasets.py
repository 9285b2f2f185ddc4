"""Upload datasets, and show what was done with their columns."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

from talweg.client.table import Table, card
from talweg.client.upload_bodies import body_of
from talweg.client.waiting import say
from talweg.client.wire import Wire, path_part
from talweg.errors import InvalidSpec
from talweg.validation import did_you_mean

# Lines of the table that an upload prints.
_SHOWN: Final = 30


class UploadOptions(TypedDict, total=False):
    """How to read data and what to make of it; absent keys have the laboratory's defaults.

    Attributes:
        target: the column to predict; by default the last.
        kind: classification, regression, or auto, where the data decide if they can.
        standardise: scale numbers to mean 0 and standard deviation 1 of the training part (default True).
        columns: {"age": "number", "city": "category", "id": "leave out", "seen": "date, day first", "paid": "yes/no"}.
        categories: how many categories of a text column have an input each (20); the rarer ones share one.
        groups: a column; rows with the same value of it are all in one part.
        order_by: a column; the first 70 % of the rows in its order are for training, the last 15 % for the test.
        split: a column that holds train, validation or test.
        split_seed: of a random split (0); a run's seed never changes it.
        missing: more texts that count as missing.
        missing_target: "refuse" or "leave out": what happens to rows without a target.
        header: whether the first line of a text names the columns.
        decimal: "." or ",".
        encoding: of a text, such as cp1252.
        image_size: (height, width) that images are scaled to.
    """

    target: str | None
    kind: str
    standardise: bool
    columns: Mapping[str, str]
    categories: int
    groups: str
    order_by: str
    split: str
    split_seed: int
    missing: Sequence[str]
    missing_target: Literal["refuse", "leave out"]
    header: bool
    decimal: Literal[".", ","]
    encoding: str
    image_size: Sequence[int]


class Dataset:
    """An uploaded dataset; specs name it as {"dataset": NAME}."""

    def __init__(self, view: dict[str, Any]) -> None:
        """The dataset in `view`, an answer of the API."""
        self._view = view

    @property
    def name(self) -> str:
        """The name to use in specs: mine, or mine@2 for the second version."""
        version = self._view.get("version", 1)
        return str(self._view["name"]) if version == 1 else f"{self._view['name']}@{version}"

    @property
    def digest(self) -> str:
        """sha256 of its data in canonical form; stored in every run that uses it."""
        return str(self._view["digest"])

    @property
    def classes(self) -> list[Any] | None:
        """The label of each class: `classes[k]` for class k; None where targets are numbers."""
        classes: list[Any] | None = self._view["classes"]
        return None if classes is None else list(classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the inputs: rows, then the shape of an example."""
        return tuple(self._view["inputs"])

    @property
    def warnings(self) -> list[str]:
        """What may weaken results, such as a class that is too rare to be in each part."""
        return list(self._view.get("warnings", ()))

    @property
    def view(self) -> dict[str, Any]:
        """The API's answer, as plain data."""
        return dict(self._view)

    def report(self) -> Table:
        """What was made of each column: taken as what, missing values, the inputs that it gives, an example, a note."""
        columns = ("column", "taken_as", "missing", "inputs", "example", "note")
        rows = [tuple(row[key] for key in columns) for row in self._view.get("report", ())]
        if self._view["target"] is not None:
            note = self._view.get("target_note", "")
            rows.append((self._view["target"], "target", 0, 0, "", note))
        return Table(columns, tuple(rows), title=repr(self), first=("taken_as", "note"))

    def baselines(self) -> Table:
        """Cost and accuracy that are reached without a network, on the validation and the test part."""
        columns = ("baseline", "validation_cost", "validation_accuracy", "test_cost", "test_accuracy")
        rows = [
            (one["name"], *(one[part][key] for part in ("validation", "test") for key in ("cost", "accuracy")))
            for one in self._view.get("baselines", ())
        ]
        return Table(columns, tuple(rows))

    def summary(self) -> str:
        """What was done, as text: the report, how the file was read, the parts, the baselines, and warnings."""
        table, left_out = self.report(), []
        if len(table) > _SHOWN:
            # Of a wide table, those that are not plain numbers.
            left_out = [row for row in table.rows if row[1] != "number" or row[2] or row[5]][:_SHOWN]
            table = Table(table.columns, tuple(left_out), f"{table.title}; columns of note:", table.first)
        return "\n".join([str(table), *self._lines()] if len(table) else [repr(self), *self._lines()])

    def _lines(self) -> list[str]:
        view = self._view
        split = view.get("split")
        lines = [f"read: {'; '.join(view['reading'])}"] if view.get("reading") else []
        if split is not None:
            parts = ", ".join(f"{split[part]} {part}" for part in ("train", "validation", "test"))
            lines.append(f"split by {split['by']}: {parts}")
        for one in view.get("baselines", ()):
            found = one["validation"]
            accuracy = "" if found["accuracy"] is None else f", accuracy {found['accuracy']:.3g}"
            lines.append(f"baseline {one['name']}: validation cost {found['cost']:.4g}{accuracy}")
        return [*lines, *(f"warning: {warning}" for warning in self.warnings)]

    def __repr__(self) -> str:
        return f"<Dataset {self.name}: {self._line()}>"

    def _repr_html_(self) -> str:
        facts = {key: self._view[key] for key in ("digest", "target", "target_note", "classes", "standardise")}
        known = {key: value for key, value in facts.items() if value not in (None, "")}
        known |= {line.partition(": ")[0]: line.partition(": ")[2] for line in self._lines()}
        report = self.report()
        return card(f"dataset {self.name}", self._line(), known) + (report._repr_html_() if len(report) else "")

    def _line(self) -> str:
        classes = self.classes
        meaning = "values" if classes is None else f"{len(classes)} classes"
        return f"{self._view['rows']} rows of {'×'.join(map(str, self.shape[1:]))}, {meaning}"


def upload(wire: Wire, name: str, data: object, targets: object, options: Mapping[str, Any], *, show: bool) -> Dataset:
    """Upload a file, a folder, a table or arrays; raises InvalidSpec for anything else."""
    for key in options:
        if key not in UploadOptions.__annotations__:
            hint = did_you_mean(key, UploadOptions.__annotations__)
            raise InvalidSpec(f"upload: {key} is not one of its options{hint}")
    body = body_of(data, targets)
    query: dict[str, Any] = dict(options)
    for key in ("columns",):
        if query.get(key) is not None:
            query[key] = json.dumps(dict(query[key]))
    for key in ("missing", "image_size"):
        if key in query:
            query[key] = [query[key]] if isinstance(query[key], str) else list(query[key])
    sent = {key: str(value).lower() if isinstance(value, bool) else value for key, value in query.items()}
    with body.open() as content:
        made = Dataset(wire.put(f"/v1/datasets/{path_part(name)}", content, format=body.format, **sent))
    if show:
        say(made.summary())
    return made
