"""`talweg runs`, `studies`, `show`, `explain`: what is recorded."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.output import (
    RANKED,
    AsJson,
    Home,
    RunName,
    Wide,
    WorkName,
    as_json,
    clean,
    data,
    facts,
    find,
    hint,
    laboratory,
    listing,
    prose,
    table,
    view_of,
)
from talweg.cli.watch import watch
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg.client import Run, Table


# Columns of a list of runs where there is no room for all.
_FIRST = ("name", "state", "cost", "step", "optimizer", "seed")

Limit = Annotated[int, typer.Option(min=1, help="At most so many.")]


def largest(run: "Run", step: int, tensor: str) -> tuple[int, ...]:
    """Where the derivative of the step's cost by this tensor is largest in size; raises InvalidSpec, NoSuchStep."""
    import numpy as np

    if tensor not in run.shapes:
        raise InvalidSpec(f"tensor: must be one of {', '.join(run.shapes)}, got {tensor!r}")
    derivatives = run.gradient(step)[tensor]
    return tuple(int(position) for position in np.unravel_index(np.argmax(np.abs(derivatives)), derivatives.shape))


def runs(
    study: Annotated[str | None, typer.Argument(help="Only runs of this study.")] = None,
    state: Annotated[str | None, typer.Option(help="queued, running, finished, failed or cancelled.")] = None,
    limit: Limit = 20,
    home: Home = None,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """Runs, newest first."""
    from talweg.client import Table

    with laboratory(home) as lab:
        found = [view_of(run) for run in lab.runs(study=study, state=state, limit=limit)]
    columns = ("name", "state", "problem", "optimizer", "seed", "step", "steps", "cost")
    rows = tuple(tuple(view[column] for column in columns) for view in found)
    _list(found, Table(columns, rows, first=_FIRST), json, wide)


def studies(limit: Limit = 20, home: Home = None, json: AsJson = False, wide: Wide = False) -> None:
    """Studies, newest first."""
    from talweg.client import Table

    with laboratory(home) as lab:
        found = [view_of(study) for study in lab.studies(limit=limit)]
    columns = ("name", "state", "problem", "optimizers", "runs", "steps")
    rows = tuple(
        (
            view["name"],
            view["state"],
            [own["problem"].get("name") for own in view["spec"].get("problems") or [view["spec"]]],
            [optimizer["name"] for optimizer in view["spec"]["optimizers"]],
            view["runs"],
            f"{view['steps_done']} of {view['steps_total']}",
        )
        for view in found
    )
    _list(found, Table(columns, rows, first=("name", "state", "runs", "steps")), json, wide)


def _list(views: list[dict[str, Any]], value: "Table", json: bool, wide: bool) -> None:
    then = f"talweg show {views[0]['name']}" if views else "talweg compare digits-mlp sgd adam"
    listing(value, json=json, wide=wide, then=then, rows=views)


def show(
    name: WorkName,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end first.")] = False,
    home: Home = None,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """One run, or one study with its ranking."""
    from talweg.client import Study

    with laboratory(home) as lab:
        found = find(lab, name)
        if wait:
            watch(lab, found)
        study = found if isinstance(found, Study) else None
        ranking = None if study is None else study.ranking()
        verdict = "" if study is None else study.verdict
        view = view_of(found.refresh())
    if json:
        as_json(view if ranking is None else {**view, "ranking": list(ranking)})
        return
    spec = view["spec"]
    of = f"suite {spec['suite']}" if spec.get("suite") else spec.get("problems") or spec["problem"]
    common = {"id": view["id"], "state": view["state"], "problem": of}
    if ranking is None:
        shown = {
            "stopped because": view["stop_reason"],
            "optimizer": spec["optimizer"],
            "forked from": view["parent_run_id"],
            "forked at step": view["parent_step"],
            "seed": view["seed"],
            "steps": f"{view['step']} of {view['steps']}",
            "cost": view["cost"],
            "best cost": view["best_cost"],
            "tensors": [f"{tensor['name']} {tuple(tensor['shape'])}" for tensor in view["tensors"]],
            "recorded": view["record"],
            "error": view["error"],
        }
        facts(f"run {view['name']}", common | shown | {"MLflow": view["mlflow_url"]})
        hint(f"talweg explain {view['name']} --step {max(0, min(37, view['step'] - 1))}")
    else:
        steps = f"{view['steps_done']} of {view['steps_total']}"
        facts(f"study {view['name']}", common | {"runs": view["counts"], "steps": steps, "MLflow": view["mlflow_url"]})
        data("")
        table(ranking, wide=wide, rows=RANKED)
        data("")
        prose(clean(verdict))
        hint(f"talweg runs {view['name']}, talweg ui {view['name']}")


def explain(
    run: RunName,
    step: Annotated[int, typer.Option(min=0, help="Which step.")],
    tensor: Annotated[str | None, typer.Option(help="Which tensor.", show_default="the first")] = None,
    index: Annotated[
        str | None, typer.Option(help="Where in the tensor, as in 3,5.", show_default="its largest derivative")
    ] = None,
    nudge: Annotated[float | None, typer.Option(help="How far to move the coordinate, to compare the costs.")] = None,
    home: Home = None,
    json: AsJson = False,
) -> None:
    """What one derivative means, in words."""
    with laboratory(home) as lab:
        found = lab.run(run)
        chosen = tensor if tensor is not None else next(iter(found.shapes))
        where = _positions(index) if index is not None else largest(found, step, chosen)
        answer = found.explain(step, chosen, where, nudge=nudge)
    if json:
        as_json({"text": answer.text, **answer.data})
        return
    prose(answer.text)
    hint(f"talweg explain {found.name} --step {step + 1} --tensor {chosen}")


def _positions(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text.strip() else ()
    except ValueError:
        raise InvalidSpec(f"index: must be integers separated by commas, got {text!r}") from None
