"""Explanations, next updates, verification and instruments, computed from a run's record on request."""

import html
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, SupportsIndex

from talweg.client.run_or_study import RunOrStudy
from talweg.client.table import Table
from talweg.client.vectors import span
from talweg.errors import InvalidSpec, MissingExtra

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped]  # its stubs are a package of their own
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

_NEXT = ("optimizer", "state", "learning_rate", "update_norm", "angle", "cost", "cost_after", "change")
# Default number of steps for instruments; an eigenvalue takes tens of gradients.
STEPS: Final = 50
_INK: Final = "#1a1a1a"
_LINE: Final = "#0072B2"
# Colours of single tensors.
_TENSORS: Final = ("#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
# Reference lines.
_LEVELS: Final = {"alpha": 0.0, "gradient_cosine": 0.0, "gradient_snr": 1.0}
_LOGARITHMIC: Final = {"gradient_norm", "update_ratio", "gradient_snr"}


@dataclass(frozen=True)
class Explanation:
    """An explanation: `text` in sentences, `data` with the numbers in it."""

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
    """The result of verifying a record.

    Attributes:
        agrees: whether every check agreed.
        steps: the number of recomputed steps.
        findings: for each kind of check, how many agreed and how many did not.
        broken: a line for each disagreement.
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


class Analysed(RunOrStudy):
    """Next updates, verification and repair of a run."""

    def next_updates(self, step: SupportsIndex, optimizers: Sequence[str] = ()) -> Table:
        """The update of each optimizer at `step`: the run's own with its state, then the catalogue with defaults.

        angle: between update and negative gradient, in degrees. cost_after: on the same batch.

        Args:
            step: number of the step.
            optimizers: names; empty for all.

        Raises:
            NoSuchStep: that step is not recorded (yet).
            InvalidSpec: an optimizer does not exist, or cannot use the run's batch.
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
        """Recompute the run, compare it bit for bit, and check some derivatives by central differences.

        Disagreements are in the result and raise nothing.

        Args:
            sample: number of intervals between checkpoints, drawn at random; None for the whole run.
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

    def repair(self) -> Table:
        """Compute what is damaged or gone again, and put back what agrees bit for bit with what is left of the record.

        Each damaged chunk or checkpoint is a row: what was wrong, and whether it is repaired; where it is not, why.
        """
        rows = self._wire.post(self._path("repair"))
        return Table(
            ("damaged", "repaired", "problem"),
            tuple((row["what"], row["problem"] is None, row["problem"]) for row in rows),
        )


@dataclass(frozen=True, eq=False)
class Readings:
    """Values of instruments at some steps; `readings["alpha"]` is one instrument over the steps.

    Attributes:
        run: the run's name.
        steps: (n,) numbers of the steps.
        columns: the columns of each instrument: the whole, then its tensors; for a histogram its bins.
        values: (n,) for each column; NaN where there is no finite number.
        edges: the bin edges of each histogram.
        left_out: instruments that do not apply to this run, with the reason; only where all were requested.
    """

    run: str
    steps: "NDArray[np.int64]"
    columns: dict[str, list[str]]
    values: "dict[str, Numbers]"
    edges: dict[str, list[float]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> "Numbers":
        """(n,) for an instrument or one of its columns; (n, bins) for a histogram."""
        import numpy as np

        if name in self.edges:
            return np.stack([self.values[column] for column in self.columns[name]], axis=1)
        if name not in self.values:
            raise InvalidSpec(f"readings: must be one of {', '.join(self._plain())}, got {name!r}")
        return self.values[name]

    def __len__(self) -> int:
        """The number of steps."""
        return len(self.steps)

    def __iter__(self) -> Iterator[str]:
        """The names of the instruments."""
        return iter(self.columns)

    @property
    def table(self) -> Table:
        """A row for each step, a column for each instrument, without tensors and bins."""
        return self._table([names[0] for name, names in self.columns.items() if name not in self.edges])

    def to_pandas(self) -> "pd.DataFrame":
        """A row for each step, a column for each number, tensors and bins included."""
        return self._table(self.values).to_pandas()

    def to_arrow(self) -> "pa.Table":
        """An Arrow table of the same columns."""
        return self._table(self.values).to_arrow()

    def figure(self) -> "Figure":
        """A panel for each instrument over the steps; raises MissingExtra without matplotlib."""
        with MissingExtra.unless_installed("matplotlib", needed_by="figure"):
            return draw(self)

    def __str__(self) -> str:
        return str(self.table)

    def __repr__(self) -> str:
        return f"<Readings of {self.run} at {len(self)} steps: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        try:
            picture = f'<div style="max-width:60em">{svg(draw(self))}</div>'
        except ImportError:
            picture = ""
        reasons = "".join(f"<p>{html.escape(why)}</p>" for why in self.left_out.values())
        return f"{picture}<details><summary>{len(self)} steps</summary>{self.table._repr_html_()}</details>{reasons}"

    def _table(self, names: "Sequence[str] | dict[str, Numbers]") -> Table:
        import numpy as np

        cells = [np.where(np.isnan(self.values[name]), None, self.values[name]).tolist() for name in names]  # type: ignore[call-overload]  # numbers
        return Table(("step", *names), tuple(zip(self.steps.tolist(), *cells, strict=True)))

    def _plain(self) -> list[str]:
        bins = {column for name in self.edges for column in self.columns[name]}
        return [*(name for name in self.values if name not in bins), *self.edges]


class Instrumented(RunOrStudy):
    """Instruments of a run."""

    def instruments(self, *names: str, steps: "SupportsIndex | slice | None" = None) -> Readings:
        """Values of all or the named instruments, computed from the record now.

        Args:
            names: gradient_norm, update_ratio, distance, gradient_cosine, gradient_snr, alpha, hessian_eigenvalue,
                gradient_histogram, parameter_histogram; `talweg instruments` lists them with their formulas.
            steps: a step or a slice; None for about fifty evenly spaced steps.

        Raises:
            InvalidSpec: an instrument does not exist (the nearest is named), or does not apply to this run.
            NoSuchStep: the run has recorded no step yet.
        """
        import numpy as np

        count = int(self.refresh().view["step"])
        chosen = slice(None, None, max(1, -(-count // STEPS))) if steps is None else steps
        start, stop, stride = span(chosen, count)
        if count and start == stop:
            raise InvalidSpec(f"steps: {chosen} selects none of the {count} steps")
        columns: dict[str, list[str]] = {}
        found: list[int] = []
        rows: list[list[float | None]] = []
        at: int | None = start
        while at is not None:
            query: dict[str, Any] = {"name": list(names) or None, "start": at, "stop": stop, "stride": stride}
            answer = self._wire.get(self._path("instruments"), **query)
            columns, at = answer["columns"], answer["next"]
            found += answer["steps"]
            rows += answer["rows"]
        values = np.array(rows, dtype=np.float64).reshape(len(found), -1).T
        flat = [column for own in columns.values() for column in own]
        edges = {one["name"]: one["edges"] for one in self._wire.get("/v1/instruments") if one["edges"] is not None}
        return Readings(
            run=self.name,
            steps=np.array(found, dtype=np.int64),
            columns=columns,
            values=dict(zip(flat, values, strict=True)),
            edges={name: bounds for name, bounds in edges.items() if name in columns},
            left_out=answer["left_out"],
        )

    def instrument(self, name: str, steps: "SupportsIndex | slice | None" = None) -> Readings:
        """One instrument: `run.instrument("alpha", steps=slice(0, 100))["alpha"]`; otherwise as `instruments`."""
        return self.instruments(name, steps=steps)


def listed(entries: Sequence[dict[str, Any]]) -> Table:
    """The instruments with what they show."""
    return Table(("instrument", "shows"), tuple((entry["name"], entry["shows"]) for entry in entries))


def draw(readings: Readings) -> "Figure":
    """A panel for each instrument, in two columns; uses matplotlib without pyplot."""
    from matplotlib.figure import Figure

    names = list(readings)
    rows = -(-len(names) // 2)
    figure = Figure(figsize=(10.0 if len(names) > 1 else 6.0, 2.6 * rows + 0.4), layout="constrained")
    figure.set_facecolor("white")
    panels = figure.subplots(rows, min(2, len(names)), squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        axes.set_title(name, loc="left", color=_INK, fontsize=10)
        axes.set_xlabel("step", color=_INK, fontsize=8)
        axes.tick_params(labelsize=8)
        (_histogram if name in readings.edges else _lines)(axes, readings, name)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.suptitle(readings.run.replace("$", r"\$"), x=0.01, ha="left", color=_INK, fontsize=12)
    return figure


def svg(figure: "Figure") -> str:
    """The figure as SVG for a page, with text as paths; deterministic."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": "talweg"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue().decode()
    # Without the XML declaration and document type, which do not belong into an HTML page.
    return text[text.index("<svg") :]


def _lines(axes: "Axes", readings: Readings, name: str) -> None:
    import numpy as np

    whole, *parts = [column for column in readings.columns[name] if not column.endswith((".error", ".mean"))]
    for number, part in enumerate(parts):
        colour = _TENSORS[number % len(_TENSORS)]
        axes.plot(readings.steps, readings[part], color=colour, linewidth=0.8, alpha=0.8)
    marker = "." if len(readings) < 2 else ""
    values = np.asarray(readings[whole], dtype=np.float64)
    axes.plot(np.asarray(readings.steps), values, color=_LINE, linewidth=1.6, marker=marker)
    if name in _LEVELS:
        axes.axhline(_LEVELS[name], color=_INK, linewidth=0.6, linestyle=":")
    if name in _LOGARITHMIC and (values > 0).any():
        axes.set_yscale("log")


def _histogram(axes: "Axes", readings: Readings, name: str) -> None:
    """Steps on the x axis, bins on the y axis, darker for higher counts; without the unused bins at both ends."""
    import numpy as np

    counts = np.asarray(readings[name], dtype=np.float64).T
    used = np.flatnonzero(counts.any(axis=1))
    low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, len(counts))
    bounds = [-np.inf, *readings.edges[name], np.inf]
    axes.imshow(
        np.log1p(counts[low:high]), aspect="auto", origin="lower", cmap="Blues", interpolation="nearest",
        extent=(float(readings.steps[0]), float(readings.steps[-1]) + 1, low, high),
    )  # fmt: skip
    ticks = np.unique(np.linspace(low, high, 7).round().astype(int))
    axes.set_yticks(ticks, [f"{bounds[tick]:.0e}" for tick in ticks])
