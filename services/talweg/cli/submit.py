"""Submit and steer work: compare, submit, cancel, pause, unpause, retry.

A problem or an optimizer with its settings is written as `adam:learning_rate=0.01,beta1=0.8`.
"""

import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from talweg.cli.output import (
    RANKED,
    AsJson,
    Home,
    Wait,
    Wide,
    WorkName,
    as_json,
    clean,
    data,
    find,
    hint,
    laboratory,
    prose,
    table,
)
from talweg.cli.watch import watch
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Lab, Run, Study

# A comma separates settings only before another `name=`: lists contain commas too.
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_]\w*\s*=)")
# A file's class and a library's optimizer have a colon in their names: rules.py:Mine, torch:AdamW.
_WITH_COLON = re.compile(r"(?P<name>(?:[^:]+\.py|torch|pytorch_optimizer|optax):\w+)(?::(?P<rest>.*))?$", re.DOTALL)
Steps = Annotated[int | None, typer.Option(help="Updates a run.", show_default="500")]
BatchSize = Annotated[int | None, typer.Option(help="Examples behind one gradient.", show_default="the problem's")]
Schedule = Annotated[str | None, typer.Option(help="Learning-rate schedule.", show_default="constant")]
Precision = Annotated[str | None, typer.Option(help="float32 or float64.", show_default="float32")]
EvaluateEvery = Annotated[int | None, typer.Option(help="Steps between evaluations; 0: at the end only.")]
Record = Annotated[str | None, typer.Option(help="auto, full or replay.", show_default="auto")]
MaxSeconds = Annotated[float | None, typer.Option(help="Seconds that a run may train.", show_default="no limit")]
Name = Annotated[str | None, typer.Option(help="A name to find it by.", show_default="generated")]

_EXAMPLES = {
    "optimizers": "compare digits-mlp sgd adam:learning_rate=0.01",
    "optimizer": "submit digits-mlp adam:learning_rate=0.01",
}


def named(text: str) -> dict[str, Any]:
    """`name` or `name:key=value,…` as a dict; values are JSON, or else words.

    Raises:
        InvalidSpec: A part is not `key=value`, or a key is given twice.
    """
    match = _WITH_COLON.match(text)
    name, rest = (match["name"], match["rest"] or "") if match else (text.partition(":")[0], text.partition(":")[2])
    found: dict[str, Any] = {"name": name.strip()}
    for part in _BETWEEN.split(rest) if rest else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise InvalidSpec(f"{name}: a setting is written key=value, got {part.strip()!r}")
        if key in found:
            raise InvalidSpec(f"{name}: {key} is given twice")
        found[key] = _value(value)
    return found


def seeds(text: str) -> Literal["auto"] | int | list[int]:
    """`auto` is as many as settle; `10` is ten seeds, 0 to 9; `0,7,11` are those; raises InvalidSpec."""
    if text.strip() == "auto":
        return "auto"
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if not numbers:
        raise InvalidSpec(f"seeds: must be auto, how many (10) or which (0,7,11), got {text!r}")
    return numbers if "," in text else numbers[0]


def is_file(text: str) -> bool:
    """Whether the first argument of `submit` or `compare` means a file with a spec."""
    return text == "-" or text.endswith((".json", ".yaml", ".yml"))


def spec_of(text: str) -> Any:
    """The spec in the file, or on standard input for `-`; raises InvalidSpec."""
    from talweg.spec import parse_run, parse_study, read_spec

    if text != "-":
        return read_spec(Path(text))
    try:
        value = json.load(sys.stdin)
    except (ValueError, RecursionError) as error:
        raise InvalidSpec(f"standard input: must be JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidSpec(f"standard input: must hold a JSON object, got {type(value).__name__}")
    return parse_study(value) if "optimizers" in value else parse_run(value)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {"True": True, "False": False, "None": None}.get(text, text)


def compare(
    problem: Annotated[
        str,
        typer.Argument(
            help="A problem, as in `talweg problems`, or a file SPEC.json; left out with --suite and --dataset."
        ),
    ],
    optimizers: Annotated[
        list[str] | None, typer.Argument(help="Optimizers, with settings as in adam:learning_rate=0.01.")
    ] = None,
    suite: Annotated[
        str | None, typer.Option(help="A named list of problems in place of one.", show_default="none")
    ] = None,
    dataset: Annotated[
        str | None, typer.Option(help="An uploaded dataset in place of a problem.", show_default="none")
    ] = None,
    count: Annotated[
        str | None,
        typer.Option("--seeds", help="How many (10), which (0,7,11), or auto: enough.", show_default="auto"),
    ] = None,
    until_settled: Annotated[
        bool, typer.Option("--until-settled", help="Add seeds until the best is told from all others.")
    ] = False,
    at_most: Annotated[int | None, typer.Option(help="With --until-settled: seeds at most.", show_default="60")] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    schedule: Schedule = None,
    precision: Precision = None,
    evaluate_every: EvaluateEvery = None,
    record: Record = None,
    max_seconds: MaxSeconds = None,
    name: Name = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end and show the ranking.")] = True,
    home: Home = None,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """Train optimizers on a problem or on a suite of problems, and rank them."""
    keywords = given(
        schedule=schedule, steps=steps, batch_size=batch_size, precision=precision, evaluate_every=evaluate_every,
        record=record, max_seconds=max_seconds, name=name, seeds=None if count is None else seeds(count), suite=suite,
        dataset=dataset,
    )  # fmt: skip
    if at_most is not None and not until_settled:
        raise InvalidSpec(f"--at-most: belongs to --until-settled, got {at_most} without it")
    if until_settled:
        keywords["until_settled"] = given(at_most=at_most)
    instead = f"--suite {suite}" if suite is not None else f"--dataset {dataset}" if dataset is not None else None
    if instead is not None:
        if suite is not None and dataset is not None:
            raise InvalidSpec(f"--dataset: must not stand beside --suite, got {dataset!r} and {suite!r}")
        _require_optimizer(problem, instead)
        # With a suite or a dataset, which name the problems, every word is an optimizer.
        optimizers = [problem, *(optimizers or [])]
    if optimizers:
        keywords["optimizers"] = [named(optimizer) for optimizer in optimizers]
    spec = None if instead is not None else _spec(problem, keywords, None if optimizers else "optimizers")
    with laboratory(home) as lab:
        study = lab.compare(spec, **keywords)
        if not wait:
            finish(lab, study, wait=False, json=json)
            return
        watch(lab, study)
        ranking, verdict = study.ranking(), study.verdict
    if json:
        as_json(list(ranking))
        return
    table(ranking, wide=wide, rows=RANKED)
    data("")
    prose(clean(verdict))
    hint(f"talweg show {study.name}, talweg runs {study.name}, talweg ui {study.name}")


def submit(
    problem: Annotated[str, typer.Argument(help="A problem, or a file SPEC.json with a run or a study.")],
    optimizer: Annotated[
        str | None, typer.Argument(help="An optimizer, with settings as in adam:learning_rate=0.01.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="For initial parameters, order and noise.", show_default="0")] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    schedule: Schedule = None,
    precision: Precision = None,
    evaluate_every: EvaluateEvery = None,
    record: Record = None,
    max_seconds: MaxSeconds = None,
    name: Name = None,
    wait: Wait = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Submit one run, or a file; prints its name."""
    keywords = given(
        schedule=schedule, steps=steps, batch_size=batch_size, precision=precision, evaluate_every=evaluate_every,
        record=record, max_seconds=max_seconds, name=name,
    )  # fmt: skip
    alone = given(optimizer=optimizer, learning_rate=learning_rate, seed=seed)
    spec = _spec(problem, keywords, "optimizer" if optimizer is None else None)
    with laboratory(home) as lab:
        if is_file(problem) and hasattr(spec, "optimizers"):
            if alone:
                raise InvalidSpec(f"{problem}: holds a study, which takes no {', '.join(alone)}")
            work: Any = lab.compare(spec, **keywords)
        else:
            work = lab.submit(spec, **keywords, **alone)
        finish(lab, work, wait=wait, json=json)


def plan(
    problem: Annotated[str, typer.Argument(help="A problem, as in `talweg problems`, or a file SPEC.json.")],
    optimizers: Annotated[
        list[str] | None, typer.Argument(help="Optimizers, with settings as in adam:learning_rate=0.01.")
    ] = None,
    difference: Annotated[
        str, typer.Option(help="The least difference in the final cost to find, as 10% or 0.1.")
    ] = "10%",
    steps: Steps = None,
    batch_size: BatchSize = None,
    schedule: Schedule = None,
    start: Annotated[bool, typer.Option("--start", help="Start the study with that many seeds.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start it without asking, also where it takes days.")] = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Train 3 pilot seeds, and report how many seeds find a stated difference, and how long that takes."""
    keywords = given(
        schedule=schedule, steps=steps, batch_size=batch_size,
        optimizers=[named(optimizer) for optimizer in optimizers or ()] or None,
    )  # fmt: skip
    spec = _spec(problem, keywords, None if optimizers else "optimizers")
    with laboratory(home) as lab:
        found = lab.plan(spec, difference=difference, **keywords)
        as_json(asdict(found)) if json else prose(clean(found.text))
        if start:
            days = (found.seconds or 0) / 86_400
            if days > 1 and not yes and not typer.confirm(f"This takes about {days:.0f} days. Start it?"):
                raise typer.Abort
            finish(lab, lab.compare(spec, **keywords, seeds=found.seeds), wait=False, json=json)
        else:
            hint(f"talweg plan … --start, or talweg compare … --seeds {found.seeds}")


def given(**options: Any) -> dict[str, Any]:
    """The options that were given, as the client's keywords; `optimizer` and `schedule` are read by `named`."""
    found = {key: value for key, value in options.items() if value is not None}
    return {key: named(value) if key in ("optimizer", "schedule") else value for key, value in found.items()}


def finish(lab: "Lab", work: "Run | Study", *, wait: bool, json: bool) -> None:
    """Wait for the end of what was submitted if `wait`, and print its name."""
    if wait:
        watch(lab, work)
    found = {"id": work.id, "name": work.name, "state": work.state}
    as_json(found) if json else data(clean(work.name))
    hint(f"talweg show {work.name}")


def _spec(problem: str, keywords: dict[str, Any], missing: str | None) -> Any:
    """The spec of a file; or None for a problem's name, which is added to `keywords` in place."""
    if is_file(problem):
        return spec_of(problem)
    keywords["problem"] = named(problem)
    if missing is not None:
        raise InvalidSpec(f"{missing}: must be named after the problem, as in: talweg {_EXAMPLES[missing]}")
    return None


def _require_optimizer(text: str, instead: str) -> None:
    """The first word beside a suite or dataset is an optimizer; raises InvalidSpec where it is a file or a problem."""
    from talweg_core import problems

    if is_file(text) or named(text)["name"] in problems.names():
        raise InvalidSpec(
            f"problem: must not stand beside a {instead.split()[0][2:]}, which names the problems itself, got {text}. "
            f"Name optimizers only: talweg compare {instead} sgd adam"
        )


def cancel(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Stop a run or a study; what is recorded stays."""
    work = steer("cancel", name, home, json)
    hint(f"talweg show {clean(work.name)}")


def pause(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Pause a run or a study: no worker trains it until talweg unpause."""
    work = steer("pause", name, home, json)
    hint(f"talweg unpause {clean(work.name)}")


def unpause(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Continue a paused run or study from where it was paused."""
    work = steer("unpause", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def retry(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Queue a failed run, or the failed runs of a study, again; each continues from its last recorded step."""
    work = steer("retry", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def steer(method: str, name: str, home: Path | None, json: bool) -> "Run | Study":
    """Call that method of the run or study, and print its state."""
    with laboratory(home) as lab:
        work = getattr(find(lab, name), method)()
        found = {"id": work.id, "name": work.name, "state": work.state, "paused": work.view["paused"]}
    words = f"{found['state']}, paused" if found["paused"] else found["state"]
    as_json(found) if json else data(f"{clean(work.name)}: {words}")
    return work  # type: ignore[no-any-return]  # by name: one of two classes with the same methods
