"""Going on from what a run recorded: forks under other settings, and more steps under its own."""

from typing import Any, Self

from talweg.client.keywords import fork_spec
from talweg.client.live import Live


class Branching(Live):
    """What a run can do beside being looked at."""

    @property
    def parent(self) -> Self | None:
        """The run that this one was forked from; it shares the steps before `parent_step` with it."""
        parent = self._view["parent_run_id"]
        return None if parent is None else type(self)(self._wire, self._wire.get(f"/v1/{self.noun}/{parent}"))

    @property
    def parent_step(self) -> int | None:
        """The first step of its own, where it is a fork."""
        step = self._view["parent_step"]
        return None if step is None else int(step)

    def fork(self, step: int, **keywords: Any) -> Self:
        """A new run that shares the steps before `step` and goes on otherwise: `fork(37, optimizer="sgd")`.

        Batches keep their order, and the schedule goes on at `step`. The optimizer's state is carried where the rule
        is the same, else it begins anew; `state="fresh"` or `state="carried"` says which it must be.

        Args:
            step: the first step of its own.
            keywords: optimizer, schedule, batch_size, steps (in all, those before `step` counted), evaluate_every,
                record, state, name; any other is a hyperparameter of the optimizer.

        Raises:
            NoSuchStep: the run has not got so far.
            InvalidSpec: something breaks a rule, or the run diverged by then.
            Conflict: the name is taken.
        """
        body = fork_spec(self._view["spec"], {"step": step, **keywords}, self._hyperparameters_of)
        return type(self)(self._wire, self._wire.post(self._path("fork"), body))

    def resume(self, steps: int | None = None, *, max_seconds: float | None = None) -> Self:
        """Go on until there are `steps` steps, as if so many had been asked for from the start: with the same bits.

        Without `steps` a cancelled or failed run goes on to those it was asked for. The schedule is what its own
        settings say: one that came to its end stays there. To change it, fork. Where its time was up, the limit is
        lifted, or is from here on `max_seconds`, of all that it trains.

        Raises:
            InvalidSpec: it has made more steps, diverged, belongs to a study, or has trained for longer already.
            Conflict: it has not ended.
        """
        asked = {"steps": steps, "max_seconds": max_seconds}
        given = {name: value for name, value in asked.items() if value is not None}
        self._view = self._wire.post(self._path("resume"), given)
        return self

    def _hyperparameters_of(self, optimizer: str) -> list[str] | None:
        known = {row["name"]: list(row["settings"]) for row in self._wire.get("/v1/optimizers")}
        return known.get(optimizer)
