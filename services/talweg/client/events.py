"""Server-sent events of a run, as the API gives them: lines in, what they tell out."""

import json
from collections.abc import Iterable, Iterator
from typing import Any


class Events:
    """What lines told so far; a reader that comes again goes on with the same."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.over = False
        self._name = ""
        self._last: dict[str, Any] | None = None

    def take(self, line: str) -> dict[str, Any] | None:
        """The progress that this line tells, where it is another than was told before."""
        if line.startswith("event:"):
            self._name = line.removeprefix("event:").strip()
        elif line.startswith("data:") and self._name in ("progress", "end"):
            told = json.loads(line.removeprefix("data:"))
            self.over = self.over or self._name == "end"
            if told != self._last:
                self._last = told
                return dict(told)
        return None

    def through(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """What these lines tell."""
        for line in lines:
            told = self.take(line)
            if told is not None:
                yield told
