"""`talweg instruments`, `next`, `verify`, `export` read a run's record; `fork` and `resume` continue it."""

from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.output import (
    AsJson,
    Home,
    RunName,
    Wait,
    Wide,
    WorkName,
    as_json,
    catalogue_of,
    clean,
    data,
    find,
    hint,
    laboratory,
    listing,
    say,
    table,
)
from talweg.cli.submit import finish, given
from talweg.errors import InvalidSpec


def instruments(
    run: Annotated[
        str | None, typer.Argument(help="A run, by name or id.", show_default="lists the instruments")
    ] = None,
    names: Annotated[list[str] | None, typer.Argument(help="Only these instruments.")] = None,
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
            then = "talweg instruments RUN alpha gradient_snr --steps 0:100"
            listing(listed(entries), json=json, wide=wide, then=then, rows=entries)
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
    run: RunName,
    step: Annotated[int, typer.Option(min=0, help="Which step.")],
    optimizers: Annotated[list[str] | None, typer.Argument(help="Only these optimizers.")] = None,
    home: Home = None,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """The update that every optimizer would make at one step."""
    with laboratory(home) as lab:
        found = lab.run(run)
        answer = found.next_updates(step, optimizers or ())
    then = f"talweg fork {found.name} --step {step} --optimizer {answer.column('optimizer')[-1]}"
    listing(answer, json=json, wide=wide, then=then)


def verify(
    run: RunName,
    sample: Annotated[
        int | None,
        typer.Option(min=1, help="How many stretches of steps, drawn at random.", show_default="the whole run"),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="First put back damaged or missing parts, where the rest agrees.")
    ] = False,
    mend: Annotated[bool, typer.Option("--mend", hidden=True, help="The name of --repair before 0.2.")] = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Recompute a run and compare it with its record; exit 1 if they do not agree."""
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
    name: WorkName,
    path: Annotated[Path, typer.Argument(help="A file FILE.parquet.")],
    vectors: Annotated[bool, typer.Option("--vectors", help="Every gradient and parameter too.")] = False,
    home: Home = None,
) -> None:
    """Every step as a Parquet file; prints its path."""
    with laboratory(home) as lab:
        written = find(lab, name).export(path, vectors=vectors)
    data(str(written))
    hint(f"duckdb -c \"FROM '{written}' LIMIT 5\", or pandas.read_parquet({str(written)!r})")


def fork(
    run: RunName,
    step: Annotated[int, typer.Option(min=0, help="The first step of its own.")],
    optimizer: Annotated[
        str | None, typer.Option(help="With settings as in adam:learning_rate=0.01.", show_default="the run's")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's learning rate.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Learning-rate schedule.", show_default="the run's")] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Examples behind one gradient.", show_default="the run's")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Updates in all, including those before the fork.", show_default="the run's")
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="The optimizer's state: carried or fresh.", show_default="carried where the rule is the same"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="A name to find it by.", show_default="generated")] = None,
    wait: Wait = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Make a run that shares another's steps before --step; prints its name."""
    keywords = given(
        optimizer=optimizer, learning_rate=learning_rate, schedule=schedule, batch_size=batch_size, steps=steps,
        state=state, name=name,
    )  # fmt: skip
    with laboratory(home) as lab:
        finish(lab, lab.run(run).fork(step, **keywords), wait=wait, json=json)


def resume(
    run: RunName,
    steps: Annotated[int | None, typer.Option(min=1, help="Updates in all.", show_default="as first submitted")] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(help="Seconds that it may train in all.", show_default="the run's, or none if it was reached"),
    ] = None,
    wait: Wait = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Continue an ended run, as if it had been submitted with more steps."""
    with laboratory(home) as lab:
        finish(lab, lab.run(run).resume(steps, max_seconds=max_seconds), wait=wait, json=json)
