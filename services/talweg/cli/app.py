"""Every command, by name, in the order in which `talweg --help` shows them."""

from typing import Annotated

import typer

from talweg.cli import administration, catalogue, demo, doctor, own_optimizer, records, show, stack, submit

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
        doctor.version()
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
    submit.compare,
    submit.plan,
    submit.submit,
    show.runs,
    show.studies,
    show.show,
    show.explain,
    records.instruments,
    records.verify,
    records.export,
    records.fork,
    records.resume,
    submit.cancel,
    submit.pause,
    submit.unpause,
    submit.retry,
    catalogue.problems,
    catalogue.optimizers,
    catalogue.schedules,
    catalogue.suites,
    own_optimizer.check,
    own_optimizer.new_optimizer,
    stack.up,
    stack.status,
    doctor.doctor,
    stack.logs,
    stack.ui,
    stack.down,
    stack.migrate,
    administration.mirror,
    administration.archive,
    administration.restore,
    administration.forget,
    doctor.version,
):
    app.command()(command)

app.command("next")(records.next_updates)

config = typer.Typer(no_args_is_help=True, help="Settings: what they are, and where each comes from.")
config.command()(doctor.show)
app.add_typer(config, name="config")
app.add_typer(administration.datasets_app, name="dataset")
app.add_typer(administration.tokens_app, name="token")
