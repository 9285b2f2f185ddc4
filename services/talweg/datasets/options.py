"""What an upload says of itself, and the limits that hold for every one."""

import json
from dataclasses import asdict, dataclass
from typing import Final, Literal

Format = Literal["npz", "npy", "csv", "parquet"]
Kind = Literal["auto", "labels", "values"]
FORMATS: Final[tuple[Format, ...]] = ("npz", "npy", "csv", "parquet")
KINDS: Final[tuple[Kind, ...]] = ("auto", "labels", "values")

# Below this a split of 70 : 15 : 15 measures nothing.
MINIMUM_ROWS: Final = 10
MAXIMUM_ROWS: Final = 10_000_000
# Of a table; arrays may be wider, since they need no name for each.
MAXIMUM_COLUMNS: Final = 10_000
MAXIMUM_CLASSES: Final = 10_000
MAXIMUM_DIMENSIONS: Final = 8
MAXIMUM_LINE: Final = 1_000_000
LONGEST_LABEL: Final = 200


@dataclass(frozen=True)
class Options:
    """How to read a file.

    Attributes:
        target: The column that is to be predicted; None for the last (in npz: the member `targets`).
        kind: Whether targets are classes or numbers; "auto" takes text, truth values and integers for classes.
        standardise: Give each input column mean 0 and deviation 1, as measured on the training split.
        maximum: Bytes that the data may take unpacked.
    """

    format: Format
    target: str | None = None
    kind: Kind = "auto"
    standardise: bool = True
    maximum: int = 128_000_000

    def to_json(self) -> str:
        """As one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """What `to_json` wrote."""
        return cls(**json.loads(text))
