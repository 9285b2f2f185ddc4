"""Datasets of one's own: add, list."""

from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.options import AsJson, Home, Wide, laboratory
from talweg.cli.output import as_json, clean, data, hint, table
from talweg.errors import InvalidSpec

app = typer.Typer(no_args_is_help=True, help="Datasets of your own: add files, list what is there.")


@app.command()
def add(
    file: Annotated[Path, typer.Argument(help="A .csv, .parquet, .npz (inputs, targets) or .npy file.")],
    name: Annotated[str | None, typer.Option(help="What specs name it by.", show_default="the file's")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.", show_default="the last")] = None,
    kind: Annotated[str, typer.Option(help="What targets are: labels, values or auto.")] = "auto",
    standardise: Annotated[bool, typer.Option(help="Give each input column mean 0 and deviation 1.")] = True,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Upload a file, to be named in specs."""
    if not file.is_file():
        raise InvalidSpec(f"{file}: must be a file that is there")
    with laboratory(home) as lab:
        made = lab.upload(name or file.stem, file, target=target, kind=kind, standardise=standardise)
    as_json(made.view) if json else data(clean(repr(made)))
    hint(
        f'{{"problem": {{"dataset": "{clean(made.name)}", "network": […], "cost": …}}, …}} in SPEC.json, talweg submit'
    )


@app.command("list")
def show(home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every uploaded dataset."""
    with laboratory(home) as lab:
        found = lab.datasets()
    if json:
        as_json(list(found))
        return
    table(found, wide=wide)
    hint("talweg dataset add FILE")
