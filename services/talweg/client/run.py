"""Run: costs, derivatives and parameters of its steps; fork, resume, export."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, SupportsIndex

from talweg.client.analysis import Analysed, Explanation, Instrumented
from talweg.client.keywords import fork_spec, hyperparameters_of
from talweg.client.own_rules import hyperparameters_of_own, replaced
from talweg.client.run_or_study import RunOrStudy
from talweg.client.table import Table, text
from talweg.client.vectors import Recorded, split, write_parquet
from talweg.client.waiting import Events, Progress
from talweg.errors import InvalidSpec, Unreachable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]


# Evaluations in one answer; a long run may have a million.
_EVALUATIONS: Final = 10_000


class Branching(RunOrStudy):
    """Fork and resume a run."""

    @property
    def parent(self) -> Self | None:
        """The run that this one was forked from; both share the steps before `parent_step`."""
        parent = self._view["parent_run_id"]
        return None if parent is None else type(self)(self._wire, self._wire.get(f"/v1/{self.noun}/{parent}"))

    @property
    def parent_step(self) -> int | None:
        """The first step of its own; None where it is not a fork."""
        step = self._view["parent_step"]
        return None if step is None else int(step)

    def fork(self, step: int, **keywords: Any) -> Self:
        """A new run that shares the steps before `step` and has other settings from there: `fork(37, optimizer="sgd")`.

        Batches keep their order, and the schedule continues at `step`. The optimizer's state is the parent's where the
        rule is the same, else the initial one; `state="carried"` or `state="fresh"` demands one of them.

        Args:
            step: the first step of its own.
            keywords: optimizer, schedule, batch_size, steps (in all, those before `step` counted), evaluate_every,
                record, state, name; any other is a hyperparameter of the optimizer.

        Raises:
            NoSuchStep: the run has not recorded that step.
            InvalidSpec: a keyword breaks a rule, or the run diverged before `step`.
            Conflict: the name is taken.
        """
        changed = replaced(self._wire, {"step": step, **keywords})
        body = fork_spec(self._view["spec"], changed, self._hyperparameters_of)
        return type(self)(self._wire, self._wire.post(self._path("fork"), body))

    def resume(self, steps: int | None = None, *, max_seconds: float | None = None) -> Self:
        """Continue an ended run to `steps` steps, with the same bits as a run submitted with so many steps.

        Without `steps` a cancelled or failed run continues to the steps of its spec. The schedule follows its own
        settings: one that has reached its end stays there. To change it, fork. A time limit that the run has reached is
        removed, or replaced by `max_seconds`, a limit of the whole training time.

        Raises:
            InvalidSpec: it has more steps, diverged, belongs to a study, or has already trained longer.
            Conflict: it has not ended.
        """
        asked = {"steps": steps, "max_seconds": max_seconds}
        given = {name: value for name, value in asked.items() if value is not None}
        self._view = self._wire.post(self._path("resume"), given)
        return self

    def _hyperparameters_of(self, optimizer: str) -> list[str] | None:
        own = hyperparameters_of_own(optimizer)
        return own if own is not None else hyperparameters_of(self._wire).get(optimizer)


class Run(Branching, Recorded, Analysed, Instrumented):
    """One problem, one optimizer setting, one seed. Arrays are fetched on access, exactly as recorded."""

    kind: ClassVar[str] = "run"
    noun: ClassVar[str] = "runs"

    @property
    def stop_reason(self) -> str | None:
        """finished, diverged, pruned, cancelled or failed; None while it has not ended."""
        reason = self._now()["stop_reason"]
        return None if reason is None else str(reason)

    @property
    def error(self) -> str | None:
        """The traceback of the worker; None where it did not fail."""
        error = self._now()["error"]
        return None if error is None else str(error)

    @property
    def step(self) -> int:
        """The number of recorded updates."""
        return int(self._now()["step"])

    @property
    def cost(self) -> float | None:
        """The cost of the last recorded step."""
        cost = self._now()["cost"]
        return None if cost is None else float(cost)

    @property
    def costs(self) -> "Array":
        """(steps,) float64: the cost of each recorded step, before its update."""
        return self._all("steps", "cost")

    @property
    def learning_rates(self) -> "Array":
        """(steps,) float64: the learning rate of each recorded step."""
        return self._all("steps", "learning_rate")

    @property
    def norms(self) -> "dict[str, Array]":
        """`gradient`, `parameters`, `update`: (steps,) float64, the Euclidean norm of each step's vector."""
        columns = {"gradient": "gradient_norm", "parameters": "parameter_norm", "update": "update_norm"}
        return {name: self._all("steps", column) for name, column in columns.items()}

    @property
    def evaluations(self) -> Table:
        """step, split, cost and metric of each evaluation on held-out data."""
        rows: list[dict[str, Any]] = []
        start, full = 0, True
        while full:
            page = self._wire.get(self._path("evaluations"), start=start, limit=_EVALUATIONS)
            if not page or page[0]["step"] < start:
                # An older laboratory ignores `start` and sends everything in one answer.
                break
            rows += page
            # A page holds whole steps, each with a few splits: it may be a little shorter than the limit.
            start, full = page[-1]["step"] + 1, len(page) > _EVALUATIONS // 2
        columns = ("step", "split", "cost", "metric")
        return Table(columns, tuple(tuple(row[column] for column in columns) for row in rows))

    def events(self) -> Iterator[dict[str, Any]]:
        """Its progress (`state`, `step`, `steps`, `cost`, `best_cost`) whenever it changes, until the run is over.

        A lost connection is opened again; raises Unreachable where the laboratory stays unreachable.
        """
        events = Events()
        while not events.over:
            with suppress(Unreachable):
                # The laboratory ends the stream after ten minutes, so that a revoked token cannot read on.
                yield from events.parse_all(self._wire.lines(self._path("events")))
            self.refresh()

    def gradient(self, step: SupportsIndex) -> "dict[str, Array]":
        """The derivatives of the step's cost, by tensor, bit for bit as the engine computed them.

        Raises:
            NoSuchStep: that step is not recorded (yet).
        """
        return self._tensors("gradient", step)

    def parameters(self, step: SupportsIndex) -> "dict[str, Array]":
        """The parameters before the step's update, by tensor; `step = run.step` gives the last ones.

        Raises:
            NoSuchStep: that step is not recorded (yet).
        """
        return self._tensors("parameters", step)

    def explain(
        self,
        step: SupportsIndex,
        tensor: str | None = None,
        index: int | Sequence[int] = (),
        *,
        nudge: float | None = None,
    ) -> Explanation:
        """What the derivative by one coordinate means, the optimizer's update, and its reason.

        Without a tensor: the effect of the step on its cost, and the tensors and coordinates with the largest effect.

        Args:
            step: number of the step.
            tensor: its name, a key of `shapes`.
            index: position in the tensor; () for a scalar.
            nudge: the change of the coordinate for which the change of cost is computed.

        Raises:
            NoSuchStep, InvalidSpec: the step, tensor or coordinate does not exist.
        """
        if tensor is None:
            whole = self._wire.get(self._path("contributions"), step=_whole(step))
            return Explanation(text=whole.pop("text"), data=whole)
        where = ",".join(str(int(position)) for position in ([index] if isinstance(index, int) else index))
        query: dict[str, Any] = {"step": _whole(step), "tensor": tensor, "index": where, "nudge": nudge}
        answer = self._wire.get(self._path("explain"), **query)
        return Explanation(text=answer.pop("text"), data=answer)

    def export(self, path: str | os.PathLike[str], *, vectors: bool = False) -> Path:
        """Write a Parquet file with a row for each step; with `vectors` also every gradient and parameter."""
        return write_parquet([self], path, vectors=vectors)

    def _tensors(self, quantity: str, step: SupportsIndex) -> "dict[str, Array]":
        start = _whole(step)
        row = self._wire.array(self._path("records", quantity), start=start, stop=start + 1)[0]
        return split(row, self.shapes)

    def _column(self, name: str) -> "Array":
        return self._all("steps", name)

    def _all(self, *place: str) -> "Array":
        """All rows of a column, in pages."""
        import numpy as np

        pages = [self._wire.array(self._path(*place), start=0)]
        end, got = int(self._view["step"]), len(pages[0])
        while got < end and len(pages[-1]):
            pages.append(self._wire.array(self._path(*place), start=got))
            got += len(pages[-1])
        return pages[0] if len(pages) == 1 else np.concatenate(pages)

    def _progress(self) -> Progress:
        view = self._view
        words = f"{view['state']}, step {view['step']} of {view['steps']}"
        if view.get("paused"):
            words += ", paused"
        if view["stop_reason"] not in (None, view["state"]):
            words += f", {view['stop_reason']}"
        if view["cost"] is not None:
            words += f", cost {text(view['cost'])}"
        return Progress(view["step"], view["steps"], words, self._is_over())

    def _failure(self) -> str | None:
        if self._view["state"] != "failed":
            return None
        return f"run {self.name} failed at step {self._view['step']}: {reason(self._view)}; run.error has the traceback"

    def _facts(self) -> dict[str, Any]:
        view = self._view
        return {
            "problem": view["problem"],
            "optimizer": view["spec"]["optimizer"],
            "seed": view["seed"],
            "steps": f"{view['step']} of {view['steps']}",
            "cost": view["cost"],
            "best cost": view["best_cost"],
            "id": self.id,
        }


def reason(view: dict[str, Any]) -> str:
    """The last line of a failed run's traceback, with the exception."""
    lines = [line for line in (view["error"] or "").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "no reason was recorded"


def _whole(step: object) -> int:
    """A step as an int; accepts NumPy integers, refuses 3.7 and True."""
    if isinstance(step, bool) or not hasattr(step, "__index__"):
        raise InvalidSpec(f"step: must be an integer, got {step!r}")
    return int(step.__index__())
