"""`talweg instruments`, `next`, `verify`, `export` read a run's record; `fork` and `resume` go on from it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.output import AsJson, Home, Wide, as_json, catalogue_of, clean, data, hint, laboratory, say, table
from talweg.cli.submit import named
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Lab, Run


Name = Annotated[str, typer.Argument(help="A run, by name or id.")]
Wait = Annotated[bool, typer.Option(help="Wait for the end.")]


def instruments(
    run: Annotated[
        str | None, typer.Argument(help="A run, by name or id.", show_default="lists the instruments")
    ] = None,
    names: Annotated[list[str] | None, typer.Argument(help="These instruments alone.")] = None,
    steps: Annotated[
        str | None, typer.Option(help="One step, or START:STOP:STRIDE as in a slice.", show_default="about fifty")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw them into FILE.svg, .png or .pdf.")] = None,
    home: Home = None,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """Gradient noise, step quality, curvature and more, from the record of a run."""
    from talweg.client.analysis import listed

    if figure is not None and figure.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise InvalidSpec(f"figure: must end in .svg, .png or .pdf, got {str(figure)!r}")
    with laboratory(home) as lab:
        if run is None:
            entries = catalogue_of(lab, "instruments")
            if json:
                as_json(entries)
                return
            table(listed(entries), wide=wide)
            hint("talweg instruments RUN alpha gradient_snr --steps 0:100")
            return
        found = lab.run(run)
        readings = found.instruments(*names or (), steps=None if steps is None else _steps(steps))
    if figure is not None:
        readings.figure().savefig(figure)
    for why in readings.left_out.values():
        say(clean(why))
    if json:
        as_json({"steps": readings.steps.tolist()} | {name: v.tolist() for name, v in readings.values.items()})
        return
    if figure is not None:
        data(str(figure))
    else:
        table(readings.table, wide=wide)
    hint(f"talweg instruments {found.name} --figure {found.name}.svg")


def _steps(text: str) -> int | slice:
    """A step or a slice as Python writes it; raises InvalidSpec."""
    try:
        parts = [int(part) if part.strip() else None for part in text.split(":")]
    except ValueError:
        parts = []
    if parts == [None] or not 1 <= len(parts) <= 3 or (len(parts) == 3 and parts[2] == 0):
        raise InvalidSpec(f"steps: must be a step or START:STOP:STRIDE, got {text!r}")
    return slice(*parts) if len(parts) > 1 else parts[0] or 0


def next_updates(
    run: Name,
    step: Annotated[int, typer.Option(min=0, help="Which step.")],
    optimizers: Annotated[list[str] | None, typer.Argument(help="These optimizers alone.")] = None,
    home: Home = None,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """The update that every optimizer would make at one step."""
    with laboratory(home) as lab:
        found = lab.run(run)
        answer = found.next_updates(step, optimizers or ())
    if json:
        as_json(list(answer))
        return
    table(answer, wide=wide)
    hint(f"talweg fork {found.name} --step {step} --optimizer {answer.column('optimizer')[-1]}")


def verify(
    run: Name,
    sample: Annotated[
        int | None, typer.Option(min=1, help="So many stretches, drawn at random.", show_default="the whole run")
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="First put back damaged or missing parts, where the rest agrees.")
    ] = False,
    mend: Annotated[bool, typer.Option("--mend", hidden=True, help="The name of --repair before 0.2.")] = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Recompute a run, and say whether its record is true; exit 1 where it is not."""
    with laboratory(home) as lab:
        found = lab.run(run)
        for chunk in found.repair() if repair or mend else ():
            say(clean(f"{'repaired' if chunk['repaired'] else 'not repaired'}: {chunk['damaged']}"))
        answer = found.verify(sample=sample)
    if json:
        as_json({**vars(answer), "findings": list(answer.findings)})
    else:
        data(clean(str(answer), keep="\n"))
    if not answer.agrees:
        say(f"The record does not agree with what is computed here. Next: talweg verify {found.name} --repair")
        raise typer.Exit(1)
    hint(f"talweg show {found.name}")


def export(
    name: Annotated[str, typer.Argument(help="A run or a study, by name or id.")],
    path: Annotated[Path, typer.Argument(help="A file FILE.parquet.")],
    vectors: Annotated[bool, typer.Option("--vectors", help="Every gradient and parameter too.")] = False,
    home: Home = None,
) -> None:
    """Every step as a Parquet file; prints its path."""
    from talweg.cli.show import find

    with laboratory(home) as lab:
        written = find(lab, name).export(path, vectors=vectors)
    data(str(written))
    hint(f"duckdb -c \"FROM '{written}' LIMIT 5\", or pandas.read_parquet({str(written)!r})")


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
    """Resume an ended run, as if it had been asked for more from the start."""
    with laboratory(home) as lab:
        _tell(lab, lab.run(run).resume(steps, max_seconds=max_seconds), wait=wait, json=json)


def _tell(lab: "Lab", run: "Run", *, wait: bool, json: bool) -> None:
    if wait:
        from talweg.cli.watch import watch

        watch(lab, run)
    found = {"id": run.id, "name": run.name, "state": run.state}
    as_json(found) if json else data(clean(run.name))
    hint(f"talweg show {run.name}")
