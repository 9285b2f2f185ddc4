"""How a file is to be read and prepared: the options of an upload, and the limits of all datasets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from talweg.errors import InvalidSpec

Format = Literal["npz", "npy", "csv", "parquet", "arrow", "images"]
Kind = Literal["auto", "classification", "regression", "labels", "values"]
# What a column is taken as; the two last are dates whose text could be read in two ways.
Taken = Literal["number", "category", "yes/no", "date", "leave out", "date, day first", "date, month first"]
TAKEN: Final[tuple[Taken, ...]] = (
    "number", "category", "yes/no", "date", "leave out", "date, day first", "date, month first"
)  # fmt: skip

# A split of 70 : 15 : 15 needs this many rows to be of use.
MINIMUM_ROWS: Final = 10
MAXIMUM_ROWS: Final = 10_000_000
# Of a table; arrays may have more, since their columns have no names.
MAXIMUM_COLUMNS: Final = 10_000
MAXIMUM_CLASSES: Final = 10_000
MAXIMUM_DIMENSIONS: Final = 8
MAXIMUM_LINE: Final = 1_000_000
LONGEST_LABEL: Final = 200
MAXIMUM_CATEGORIES: Final = 1000
# A run reads inputs as float64, from columns that are stored in one byte at least.
WIDENING: Final = 8


@dataclass(frozen=True)
class Options:
    """How to read a file and what to make of it.

    Attributes:
        target: The column to predict; None for the last (in npz: the member `targets`).
        kind: Whether targets are classes or numbers; with "auto" the data decide where they can.
        standardise: Scale numbers to mean 0 and standard deviation 1, measured on the training part.
        maximum: Bytes that the data may take unpacked.
        columns: What each named column is to be taken as; the others by their values.
        categories: How many categories of a text column get an input of their own; the rarer ones share one.
        groups: A column; all rows with the same value of it are in the same part.
        order_by: A column; the first 70 % of the rows by its order are for training, the last 15 % for the test.
        split: A column that says in which part each row is.
        split_seed: The seed of a random split; a run's seed never changes it.
        missing: Texts that count as missing, beside the usual ones.
        missing_target: What happens to rows without a target.
        header: Whether a text's first line names the columns; None: as it looks.
        decimal: The decimal separator of a text; None: as it looks.
        encoding: Of a text; None: detected.
        text_maximum: Bytes that a text may take unpacked; None for `maximum`.
        image_size: Height and width that images are scaled to; None: all must have one size.
    """

    format: Format
    target: str | None = None
    kind: Kind = "auto"
    standardise: bool = True
    maximum: int = 128_000_000
    columns: Mapping[str, Taken] = field(default_factory=dict)
    categories: int = 20
    groups: str | None = None
    order_by: str | None = None
    split: str | None = None
    split_seed: int = 0
    missing: Sequence[str] = ()
    missing_target: Literal["refuse", "leave out"] = "refuse"
    header: bool | None = None
    decimal: Literal[".", ","] | None = None
    encoding: str | None = None
    text_maximum: int | None = None
    image_size: Sequence[int] | None = None

    def check(self) -> None:
        """Raise InvalidSpec for options that break a rule, or that exclude each other."""
        if sum(option is not None for option in (self.groups, self.order_by, self.split)) > 1:
            raise InvalidSpec("split: only one of groups, order_by and split can say how rows are split, got several")
        if not 1 <= self.categories <= MAXIMUM_CATEGORIES:
            raise InvalidSpec(f"categories: must lie in [1, {MAXIMUM_CATEGORIES}], got {self.categories}")
        for name, taken in self.columns.items():
            if taken not in TAKEN:
                allowed = ", ".join(map(repr, TAKEN))
                raise InvalidSpec(f"columns: {name[:80]!r} must be one of {allowed}, got {str(taken)[:40]!r}")

    @property
    def wants_classes(self) -> bool:
        """Whether classes were asked for."""
        return self.kind in ("classification", "labels")

    @property
    def wants_numbers(self) -> bool:
        """Whether numbers were asked for."""
        return self.kind in ("regression", "values")


Json = dict[str, Any]
