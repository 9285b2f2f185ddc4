"""Which run holds which steps: a fork's own begin where it left its parent, those before are its ancestors'."""

from dataclasses import dataclass

from talweg.store import RunRow, Store


@dataclass(frozen=True)
class Piece:
    """Steps start … stop − 1, as `run` itself recorded them."""

    run: RunRow
    start: int
    stop: int


def pieces(store: Store, run: RunRow, start: int, stop: int) -> list[Piece]:
    """The steps start … stop − 1 of a run, by who recorded them, oldest first."""
    found: list[Piece] = []
    while run.parent_run_id is not None and run.parent_step is not None and start < run.parent_step:
        if stop > run.parent_step:
            found.append(Piece(run, run.parent_step, stop))
            stop = run.parent_step
        run = store.run(run.parent_run_id)
    return [Piece(run, start, stop), *reversed(found)]


def owner(store: Store, run: RunRow, step: int) -> RunRow:
    """The run that recorded `step`, or will: `run` itself, or the ancestor that it shares the step with."""
    return pieces(store, run, step, step + 1)[0].run
