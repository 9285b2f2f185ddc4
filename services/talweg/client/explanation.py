"""What one derivative means, in words and as data."""

import html
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Explanation:
    """`text` says it as a person would; `data` holds the numbers it says."""

    text: str
    data: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    def __str__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return "".join(f"<p>{html.escape(paragraph)}</p>" for paragraph in self.text.splitlines() if paragraph)
