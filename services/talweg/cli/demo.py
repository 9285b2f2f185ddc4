"""`talweg demo`: four optimizers compared on handwritten digits, and what to try next."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.output import Home, clean, data, laboratory, prose, read_settings, say, table
from talweg.cli.show import largest
from talweg.cli.watch import watch
from talweg.errors import Conflict

if TYPE_CHECKING:
    from talweg.client import Lab, Study

# Each rate is near the best of a coarse grid on this problem: at equal rates, the comparison would be of rates.
OPTIMIZERS: list[dict[str, Any]] = [
    {"name": "sgd", "learning_rate": 0.1},
    {"name": "momentum", "learning_rate": 0.03, "momentum": 0.9},
    {"name": "rmsprop", "learning_rate": 0.001},
    {"name": "adam", "learning_rate": 0.002},
]
STEP = 37
TENSOR = "dense1.weight"


def demo(
    home: Home = None,
    out: Annotated[Path, typer.Option(help="Folder for the picture and the report.")] = Path("demo"),
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Seeds per optimizer.")] = 10,
    steps: Annotated[int, typer.Option(min=1, help="Updates a run.")] = 500,
) -> None:
    """Compare four optimizers on handwritten digits.

    Live progress, a table, a picture, and one derivative explained; it may run again at any time.
    """
    settings = read_settings(home=home)
    started = time.monotonic()
    say("Starting the laboratory, or connecting to it …")
    try:
        lab = laboratory(home)
    except KeyboardInterrupt:
        say("\nStopped waiting; the laboratory may still be starting.")
        say("Next: talweg status shows it, talweg demo tries again, talweg down stops it.")
        raise
    with lab:
        study = _submit(lab, seeds, steps)
        runs = len(OPTIMIZERS) * seeds
        say(f"{study.name}: {len(OPTIMIZERS)} optimizers × {seeds} seeds on digits-mlp, {steps} steps each.")
        watch(lab, study)
        try:
            _results(study, out, steps)
        except KeyboardInterrupt:
            say(f"\nStopped; every step is recorded.\nNext: talweg show {study.name} shows the table again.")
            raise
        local = settings.url is None or home is not None
        _suggest(study, runs, settings.home / "talweg.db" if local and settings.database_url is None else None)
    say(f"Done in {time.monotonic() - started:.0f} s. Next: talweg ui {study.name}, or talweg runs {study.name}")


def _submit(lab: "Lab", seeds: int, steps: int) -> "Study":
    """Submit the study under a free name: the demo may run again at any time."""
    stamp = time.strftime("demo-%Y-%m-%d-%H%M%S")
    for name in (stamp, *(f"{stamp}-{number}" for number in range(2, 10))):
        try:
            return lab.compare(
                problem="digits-mlp", optimizers=OPTIMIZERS, seeds=seeds, steps=steps, evaluate_every=50, name=name
            )
        except Conflict:
            continue
    raise Conflict(f"study: the names {stamp} to {stamp}-9 are taken")


def _results(study: "Study", out: Path, steps: int) -> None:
    data("")
    table(study.ranking())
    data("")
    prose(clean(study.verdict))
    data("")
    out.mkdir(parents=True, exist_ok=True)
    data(f"Cost curves: {study.figure(out / 'cost.png')}")
    data(f"Report:      {study.report(out / 'report.html')}")
    run = study.runs[-1]
    step = min(STEP, steps - 1)
    where = largest(run, step, TENSOR)
    data("")
    data(f"One derivative of {run.name}: step {step}, {TENSOR}{list(where)}.")
    data(clean(str(run.explain(step, TENSOR, where)), keep="\n"))


def _suggest(study: "Study", runs: int, database: Path | None) -> None:
    """Print what to try next."""
    run = study.runs[-1]
    data("")
    if database is not None:
        # Nothing is executed here, and the id is the laboratory's own.
        query = f"SELECT name, s.step, s.cost FROM steps s JOIN runs ON id = run_id WHERE study_id = '{study.id}'"  # noqa: S608
        data(f"Every step's cost of the {runs} runs, in SQL:")
        data(f'  sqlite3 {database} "{query}"')
    data("Any gradient and any parameter of any step, in Python:")
    data(f"  from talweg import Lab; Lab().run({run.name!r}).gradient(step={STEP})")
    data("Runs, parameters and charts in MLflow (it starts in the background):")
    data(f"  talweg ui {study.name}")
