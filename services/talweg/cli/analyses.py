"""Questions to a record: next, verify, export."""

from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.options import AsJson, Home, Wide, laboratory
from talweg.cli.output import as_json, clean, data, hint, say, table

Name = Annotated[str, typer.Argument(help="A run, by name or id.")]


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
    mend: Annotated[
        bool, typer.Option("--mend", help="Put back what is damaged or gone first, where it agrees.")
    ] = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Recompute a run, and say whether its record is true; exit 1 where it is not."""
    with laboratory(home) as lab:
        found = lab.run(run)
        for chunk in found.mend() if mend else ():
            say(clean(f"{'mended' if chunk['mended'] else 'not mended'}: {chunk['damaged']}"))
        answer = found.verify(sample=sample)
    if json:
        as_json({**vars(answer), "findings": list(answer.findings)})
    else:
        data(clean(str(answer), keep="\n"))
    if not answer.agrees:
        say(f"The record does not agree with what is computed here. Next: talweg verify {found.name} --mend")
        raise typer.Exit(1)
    hint(f"talweg show {found.name}")


def export(
    name: Annotated[str, typer.Argument(help="A run or a study, by name or id.")],
    path: Annotated[Path, typer.Argument(help="A file FILE.parquet.")],
    vectors: Annotated[bool, typer.Option("--vectors", help="Every gradient and parameter too.")] = False,
    home: Home = None,
) -> None:
    """Every step as a Parquet file; prints its path."""
    from talweg.cli.look import find

    with laboratory(home) as lab:
        written = find(lab, name).export(path, vectors=vectors)
    data(str(written))
    hint(f"duckdb -c \"FROM '{written}' LIMIT 5\", or pandas.read_parquet({str(written)!r})")
