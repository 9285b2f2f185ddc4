"""What instruments show of a run."""

from pathlib import Path
from typing import Annotated

import typer

from talweg.cli.options import AsJson, Home, Wide, laboratory
from talweg.cli.output import as_json, clean, data, hint, say, table
from talweg.cli.views import catalogue_of
from talweg.errors import InvalidSpec


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
    from talweg.client.instruments import listed

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
