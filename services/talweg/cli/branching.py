"""Going on from what a run recorded: fork, resume."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.arguments import named
from talweg.cli.options import AsJson, Home, laboratory
from talweg.cli.output import as_json, clean, data, hint

if TYPE_CHECKING:
    from talweg.client import Lab, Run

Wait = Annotated[bool, typer.Option(help="Wait for the end.")]


def fork(
    run: Annotated[str, typer.Argument(help="A run, by name or id.")],
    step: Annotated[int, typer.Option(min=0, help="The first step that goes otherwise.")],
    optimizer: Annotated[
        str | None, typer.Option(help="With settings as in adam:learning_rate=0.01.", show_default="the run's")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Learning-rate schedule.", show_default="the run's")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples behind one gradient.", show_default="the run's")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Updates in all, those before the fork too.", show_default="the run's")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(help="The optimizer's: carried or fresh.", show_default="carried where the rule is the same"),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name to find it by.", show_default="made up")] = None,
    wait: Wait = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """A new run that shares another's steps, up to one; prints its name."""
    given = {
        "optimizer": None if optimizer is None else named(optimizer),
        "learning_rate": learning_rate,
        "schedule": None if schedule is None else named(schedule),
        "batch_size": batch_size,
        "steps": steps,
        "state": state,
        "name": name,
    }
    keywords: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    with laboratory(home) as lab:
        _tell(lab, lab.run(run).fork(step, **keywords), wait=wait, json=json)


def resume(
    run: Annotated[str, typer.Argument(help="A run, by name or id.")],
    steps: Annotated[
        int | None, typer.Option(min=1, help="Updates that it is to have in all.", show_default="as asked for at first")
    ] = None,
    max_seconds: Annotated[
        float | None, typer.Option(help="Seconds that it may train in all.", show_default="none where they were up")
    ] = None,
    wait: Wait = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Let an ended run go on, as if it had been asked for more from the start."""
    with laboratory(home) as lab:
        _tell(lab, lab.run(run).resume(steps, max_seconds=max_seconds), wait=wait, json=json)


def _tell(lab: "Lab", run: "Run", *, wait: bool, json: bool) -> None:
    if wait:
        from talweg.cli.watch import watch

        watch(lab, run)
    found = {"id": run.id, "name": run.name, "state": run.state}
    as_json(found) if json else data(clean(run.name))
    hint(f"talweg show {run.name}")
