"""The runs of a study as a sequence that requests only the runs that are asked for."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import overload

from talweg.client.run import Run
from talweg.client.run_or_study import every
from talweg.client.wire import Wire


class Runs(Sequence[Run]):
    """All runs of a study, by optimizer setting, then by seed: the order of their ids.

    `runs[-1]` and `runs[:10]` request one page, from the nearer end.
    """

    def __init__(self, wire: Wire, study_id: str, count: int) -> None:
        """`count` is their present number."""
        self._wire = wire
        self._study = study_id
        self._count = count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Run: ...

    @overload
    def __getitem__(self, index: slice) -> list[Run]: ...

    def __getitem__(self, index: int | slice) -> "Run | list[Run]":
        if isinstance(index, slice):
            return self._at(range(self._count)[index])
        try:
            (run,) = self._at(range(self._count)[index : index + 1 or None])
        except ValueError:
            raise IndexError(f"runs: must lie in [{-self._count}, {self._count}), got {index}") from None
        return run

    def __iter__(self) -> Iterator[Run]:
        return self._from("oldest")

    def __reversed__(self) -> Iterator[Run]:
        return self._from("newest")

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, self[:3]))
        return f"[{shown}{', …' if self._count > 3 else ''}] ({self._count:,} runs)"

    def _at(self, places: range) -> list[Run]:
        if not places:
            return []
        least, most = min(places[0], places[-1]), max(places[0], places[-1])
        if most < self._count - least:
            found = list(self._from("oldest", most + 1))
        else:
            found = list(self._from("newest", self._count - least))[::-1]
            places = range(places.start - least, places.stop - least, places.step)
        return [found[place] for place in places if place < len(found)]

    def _from(self, order: str, limit: int | None = None) -> Iterator[Run]:
        views = every(self._wire, "/v1/runs", limit=limit, study=self._study, order=order)
        return (Run(self._wire, view) for view in islice(views, self._count))
