"""Explanations, next updates and verification of a run's record, computed when asked for: training pays nothing."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

from talweg.client.live import Live
from talweg.client.table import Table

_NEXT = ("optimizer", "state", "learning_rate", "update_norm", "angle", "cost", "cost_after", "change")


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


@dataclass(frozen=True)
class Verification:
    """Whether a record is true: each kind of thing that was looked at, how many agreed, and what did not.

    Attributes:
        agrees: everything that was looked at did.
        steps: how many steps were recomputed.
        findings: what was looked at, how many agreed, how many did not.
        broken: what did not agree, in words.
        recorded, recomputed: the numerics fingerprints.
    """

    run: str
    agrees: bool
    steps: int
    findings: Table
    broken: tuple[str, ...]
    recorded: dict[str, Any] | None
    recomputed: dict[str, Any]

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "does NOT agree"
        lines = [f"run {self.run}: the record {verdict}; {self.steps} steps recomputed", str(self.findings)]
        if self.recorded != self.recomputed:
            lines.append(f"recorded under {self.recorded}, recomputed under {self.recomputed}")
        return "\n".join([*lines, *self.broken])

    def _repr_html_(self) -> str:
        broken = "".join(f"<p>{html.escape(line)}</p>" for line in self.broken)
        return f"<p>{html.escape(str(self).splitlines()[0])}</p>{self.findings._repr_html_()}{broken}"


class Analysed(Live):
    """The part of a run that asks its record."""

    def next_updates(self, step: SupportsIndex, optimizers: Sequence[str] = ()) -> Table:
        """What each optimizer would do at `step`: the run's own, with its state, then the catalogue by its defaults.

        angle is that between the update and the negative gradient, in degrees; cost_after is on the same batch.

        Args:
            step: which one.
            optimizers: these alone.

        Raises:
            NoSuchStep: that step is not recorded (yet).
            InvalidSpec: there is no such optimizer, or it cannot take the run's batch.
        """
        query: dict[str, Any] = {"step": step.__index__(), "optimizer": list(optimizers) or None}
        answer = self._wire.get(self._path("next-updates"), **query)
        rows = answer["items"]
        while answer["after"] is not None:
            answer = self._wire.get(self._path("next-updates"), after=answer["after"], **query)
            rows += answer["items"]
        for row in rows:
            known = row["cost"] is not None and row["cost_after"] is not None
            row["change"] = row["cost_after"] - row["cost"] if known else None
            row["state"] = "the run's" if row["own"] else "fresh"
        return Table(_NEXT, tuple(tuple(row[name] for name in _NEXT) for row in rows))

    def verify(self, *, sample: int | None = None) -> Verification:
        """Recompute the run, compare bit for bit, and check some derivatives by central differences.

        What does not agree is in the answer, not raised.

        Args:
            sample: so many stretches between checkpoints, drawn at random; None for the whole run.
        """
        found: dict[str, list[Any]] = {}
        steps, start, agrees = 0, 0, True
        while True:
            answer = self._wire.get(self._path("verification"), sample=sample, start=start)
            for row in answer["findings"]:
                seen = found.setdefault(row["what"], [0, []])
                seen[0] += row["agreed"]
                seen[1] += row["broken"]
            steps, agrees = steps + answer["steps"], agrees and answer["agrees"]
            if answer["next"] is None:
                break
            start = answer["next"]
        return Verification(
            run=self.name,
            agrees=agrees,
            steps=steps,
            findings=Table(
                ("looked at", "agreed", "broken"), tuple((what, n, len(broken)) for what, (n, broken) in found.items())
            ),
            broken=tuple(line for _, broken in found.values() for line in broken),
            recorded=answer["recorded"],
            recomputed=answer["recomputed"],
        )

    def mend(self) -> Table:
        """Compute what is damaged or gone again, and put back what agrees bit for bit with what is left of the record.

        Each damaged chunk or checkpoint is a row: what was wrong, and whether it is mended; where it is not, why.
        """
        rows = self._wire.post(self._path("mend"))
        return Table(
            ("damaged", "mended", "problem"),
            tuple((row["what"], row["problem"] is None, row["problem"]) for row in rows),
        )
