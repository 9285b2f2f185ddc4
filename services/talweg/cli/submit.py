"""Submit work, steer it and stop it: compare, submit, cancel, pause, unpause, retry.

A problem or an optimizer with its settings is written as `adam:learning_rate=0.01,beta1=0.8`.
"""

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.output import AsJson, Home, Wide, as_json, clean, data, hint, laboratory, prose, table
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Run, Study

# A comma separates settings only before another `name=`: a list keeps its own.
_BETWEEN = re.compile(r",(?=\s*[A-Za-z_]\w*\s*=)")
Steps = Annotated[int | None, typer.Option(help="Updates a run.", show_default="500")]
BatchSize = Annotated[int | None, typer.Option(help="Examples behind one gradient.", show_default="the problem's")]
Schedule = Annotated[str | None, typer.Option(help="Learning-rate schedule.", show_default="constant")]
Precision = Annotated[str | None, typer.Option(help="float32 or float64.", show_default="float32")]
EvaluateEvery = Annotated[int | None, typer.Option(help="Steps between evaluations; 0: at the end only.")]
Record = Annotated[str | None, typer.Option(help="auto, full or replay.", show_default="auto")]
MaxSeconds = Annotated[float | None, typer.Option(help="Seconds that a run may train.", show_default="no limit")]
Name = Annotated[str | None, typer.Option(help="A name to find it by.", show_default="made up")]

_EXAMPLES = {
    "optimizers": "compare digits-mlp sgd adam:learning_rate=0.01",
    "optimizer": "submit digits-mlp adam:learning_rate=0.01",
}
WorkName = Annotated[str, typer.Argument(help="A run or a study, by name or id.")]


def named(text: str) -> dict[str, Any]:
    """`name` or `name:key=value,…` as a dict; values are JSON, or else words.

    Raises:
        InvalidSpec: A part is not `key=value`, or a key is given twice.
    """
    name, _, rest = text.partition(":")
    found: dict[str, Any] = {"name": name.strip()}
    for part in _BETWEEN.split(rest) if rest else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise InvalidSpec(f"{name}: a setting is written key=value, got {part.strip()!r}")
        if key in found:
            raise InvalidSpec(f"{name}: {key} is given twice")
        found[key] = _value(value)
    return found


def seeds(text: str) -> int | list[int]:
    """`5` is five seeds, 0 to 4; `0,7,11` are those; raises InvalidSpec."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        numbers = [int(part) for part in parts]
    except ValueError:
        numbers = []
    if not numbers:
        raise InvalidSpec(f"seeds: must be how many (5) or which (0,7,11), got {text!r}")
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
    problem: Annotated[str, typer.Argument(help="A problem, as in `talweg problems`, or a file SPEC.json.")],
    optimizers: Annotated[
        list[str] | None, typer.Argument(help="Optimizers, with settings as in adam:learning_rate=0.01.")
    ] = None,
    count: Annotated[
        str | None, typer.Option("--seeds", help="How many seeds (5), or which (0,7,11).", show_default="5")
    ] = None,
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
    """Train optimizers on a problem, and rank them."""
    keywords = _given(
        seeds=None if count is None else seeds(count),
        schedule=None if schedule is None else named(schedule),
        steps=steps,
        batch_size=batch_size,
        precision=precision,
        evaluate_every=evaluate_every,
        record=record,
        max_seconds=max_seconds,
        name=name,
    )
    if optimizers:
        keywords["optimizers"] = [named(optimizer) for optimizer in optimizers]
    spec = _spec(problem, keywords, None if optimizers else "optimizers")
    with laboratory(home) as lab:
        study = lab.compare(spec, **keywords)
        if not wait:
            as_json({"id": study.id, "name": study.name}) if json else data(clean(study.name))
            hint(f"talweg show {study.name}")
            return
        from talweg.cli.watch import watch

        watch(lab, study)
        ranking, verdict = study.ranking(), study.verdict
    if json:
        as_json(list(ranking))
        return
    table(ranking, wide=wide)
    data("")
    prose(clean(verdict))
    hint(f"talweg show {study.name}, talweg runs {study.name}, talweg ui {study.name}")


def submit(
    problem: Annotated[str, typer.Argument(help="A problem, or a file SPEC.json with a run or a study.")],
    optimizer: Annotated[
        str | None, typer.Argument(help="An optimizer, with settings as in adam:learning_rate=0.01.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The optimizer's.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of initial parameters, order and noise.", show_default="0")] = None,
    steps: Steps = None,
    batch_size: BatchSize = None,
    schedule: Schedule = None,
    precision: Precision = None,
    evaluate_every: EvaluateEvery = None,
    record: Record = None,
    max_seconds: MaxSeconds = None,
    name: Name = None,
    wait: Annotated[bool, typer.Option(help="Wait for the end.")] = False,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Submit one run, or a file; prints its name."""
    keywords = _given(
        schedule=None if schedule is None else named(schedule),
        steps=steps,
        batch_size=batch_size,
        precision=precision,
        evaluate_every=evaluate_every,
        record=record,
        max_seconds=max_seconds,
        name=name,
    )
    alone = _given(optimizer=None if optimizer is None else named(optimizer), learning_rate=learning_rate, seed=seed)
    spec = _spec(problem, keywords, "optimizer" if optimizer is None else None)
    with laboratory(home) as lab:
        if is_file(problem) and hasattr(spec, "optimizers"):
            if alone:
                raise InvalidSpec(f"{problem}: holds a study, which takes no {', '.join(alone)}")
            work: Any = lab.compare(spec, **keywords)
        else:
            work = lab.submit(spec, **keywords, **alone)
        if wait:
            from talweg.cli.watch import watch

            watch(lab, work)
        found = {"id": work.id, "name": work.name, "state": work.state}
    as_json(found) if json else data(clean(work.name))
    hint(f"talweg show {work.name}")


def cancel(
    name: Annotated[str, typer.Argument(help="A run or a study, by name or id.")],
    home: Home = None,
    json: AsJson = False,
) -> None:
    """Stop a run or a study; what is recorded stays."""
    from talweg.cli.show import find

    with laboratory(home) as lab:
        work = find(lab, name).cancel()
        found = {"id": work.id, "name": work.name, "state": work.state}
    as_json(found) if json else data(f"{clean(work.name)}: {found['state']}")
    hint(f"talweg show {work.name}")


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _spec(problem: str, keywords: dict[str, Any], missing: str | None) -> Any:
    """The spec of a file, whose keys the keywords replace; or None, and the problem joins `keywords` in place."""
    if is_file(problem):
        return spec_of(problem)
    keywords["problem"] = named(problem)
    if missing is not None:
        raise InvalidSpec(f"{missing}: must be named after the problem, as in: talweg {_EXAMPLES[missing]}")
    return None


def pause(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Pause a run or a study; it takes no worker until talweg unpause."""
    work = steer("pause", name, home, json)
    hint(f"talweg unpause {clean(work.name)}")


def unpause(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Unpause a run or a study: it goes on from where it was paused."""
    work = steer("unpause", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def retry(name: WorkName, home: Home = None, json: AsJson = False) -> None:
    """Queue a failed run, or the failed runs of a study, again; each goes on from its last recorded step."""
    work = steer("retry", name, home, json)
    hint(f"talweg show {clean(work.name)} --wait")


def steer(what: str, name: str, home: Path | None, json: bool) -> "Run | Study":
    """Call the method of that name on the run or study, and print how it stands."""
    from talweg.cli.show import find

    with laboratory(home) as lab:
        work = getattr(find(lab, name), what)()
        found = {"id": work.id, "name": work.name, "state": work.state, "paused": work.view["paused"]}
    words = f"{found['state']}, paused" if found["paused"] else found["state"]
    as_json(found) if json else data(f"{clean(work.name)}: {words}")
    return work  # type: ignore[no-any-return]  # by name: one of two classes with the same methods
