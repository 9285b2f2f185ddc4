"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Home = Annotated[
    Path | None, typer.Option("--home", help="The laboratory's folder.", show_default=".talweg, or TALWEG_HOME")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Wide = Annotated[bool, typer.Option("--wide", help="Every column, however wide.")]
RunName = Annotated[str, typer.Argument(help="A run, by name or id.")]
WorkName = Annotated[str, typer.Argument(help="A run or a study, by name or id.")]
Wait = Annotated[bool, typer.Option(help="Wait for the end.")]
