"""Every command, by name, in the order in which `talweg --help` shows them."""

from typing import Annotated

import typer

from talweg.cli import (
    analyses,
    branching,
    catalogue,
    configuration,
    datasets,
    demo,
    doctor,
    instruments,
    look,
    mirroring,
    stack,
    steer,
    tokens,
    work,
)

app = typer.Typer(
    name="talweg",
    no_args_is_help=True,
    # A traceback with every variable's value may show a token.
    pretty_exceptions_enable=False,
    # Help in plain text takes half the time.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def _version(asked: bool) -> None:
    if asked:
        configuration.version()
        raise typer.Exit


@app.callback(epilog="First time here? talweg demo")
def talweg(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train with any optimizer, keep every step, compare fairly."""


for command in (
    demo.demo,
    work.compare,
    work.submit,
    look.runs,
    look.studies,
    look.show,
    look.explain,
    instruments.instruments,
    analyses.verify,
    analyses.export,
    branching.fork,
    branching.resume,
    work.cancel,
    steer.pause,
    steer.unpause,
    steer.retry,
    catalogue.problems,
    catalogue.optimizers,
    catalogue.schedules,
    stack.up,
    stack.status,
    doctor.doctor,
    stack.logs,
    stack.ui,
    stack.down,
    stack.migrate,
    mirroring.mirror,
    configuration.version,
):
    app.command()(command)

app.command("next")(analyses.next_updates)

config = typer.Typer(no_args_is_help=True, help="Settings: what they are, and where each comes from.")
config.command()(configuration.show)
app.add_typer(config, name="config")
app.add_typer(datasets.app, name="dataset")
app.add_typer(tokens.app, name="token")
