"""`talweg problems`, `optimizers`, `schedules`, `suites`: of the engine here, or of the laboratory of TALWEG_URL.

It starts nothing: the local stack's workers run the engine that is installed here.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.output import (
    AsJson,
    Wide,
    as_json,
    catalogue_of,
    clean,
    data,
    facts,
    hint,
    laboratory,
    listing,
    read_settings,
)
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg_core.optimizers import Description as OptimizerDescription
    from talweg_core.schedules import Description as ScheduleDescription

Name = Annotated[str | None, typer.Argument(help="Show this one in full.")]


def problems(name: Name = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every problem, with its settings; or one in full."""
    from talweg.client import Table
    from talweg_core import problems as engine
    from talweg_core.problems.description import purpose, settings

    entries = _from_laboratory("problems") or [
        {"name": key, "description": purpose(maker), "settings": settings(maker)}
        for key, maker in sorted(engine.catalogue().items())
    ]
    if name is None:
        columns = ("name", "description", "settings")
        shown = Table(columns, tuple(tuple(entry[column] for column in columns) for entry in entries))
        listing(shown, json=json, wide=wide, then="talweg compare PROBLEM OPTIMIZER …", rows=entries)
        return
    entry = _entry("problem", name, entries)
    described = engine.describe(name) if name in engine.names() else None
    if json:
        as_json(described.plain() if described else entry)
        return
    if described:
        data(clean(str(described), keep="\n"))
    else:
        facts(name, entry | entry["settings"])
    hint(f"talweg compare {name} sgd adam")


def optimizers(
    name: Name = None,
    around: Annotated[
        bool, typer.Option("--around", help="List clipping, averaging and others that any optimizer takes.")
    ] = False,
    json: AsJson = False,
    wide: Wide = False,
) -> None:
    """Every optimizer: family, state, evaluations a step, paper; or one in full: formula, ranges, defaults."""
    from talweg_core.optimizers import Description

    if around:
        _print_surroundings(name, json, wide)
        return
    found: list[OptimizerDescription] = [Description.read(entry) for entry in _optimizers()]
    found += _of_library(name)
    _print(
        "optimizer", name, found, Description.COLUMNS, json, wide,
        then=("talweg optimizers adam", "talweg compare digits-mlp {}:learning_rate=0.01 …"),
    )  # fmt: skip


def schedules(name: Name = None, json: AsJson = False, wide: Wide = False) -> None:
    """Every schedule of the learning rate; or one in full."""
    from talweg_core import schedules as engine

    entries = _from_laboratory("schedules")
    found: list[ScheduleDescription] = (
        [engine.Description.read(entry) for entry in entries] if entries else engine.catalogue().descriptions()
    )
    _print(
        "schedule", name, found, engine.Description.COLUMNS, json, wide,
        then=("talweg schedules cosine", "talweg submit digits-mlp adam --schedule {}:…"),
    )  # fmt: skip


def suites(json: AsJson = False, wide: Wide = False) -> None:
    """Every suite: its problems, each with steps, batch size, target, and who reaches it."""
    from talweg.client import Table
    from talweg_core.problems import suites as engine

    columns = ("suite", "problem", "settings", "steps", "batch_size", "target", "reached_by")
    rows = [
        (suite, entry.problem, entry.settings or None, entry.steps, entry.batch_size, entry.target,
         "{} {:g}".format(*entry.reached_by))
        for suite in engine.names()
        for entry in engine.suite(suite)
    ]  # fmt: skip
    shown = Table(columns, tuple(rows), first=("suite", "problem", "steps", "target", "reached_by"))
    listing(shown, json=json, wide=wide, then=f"talweg compare --suite {engine.names()[-1]} sgd:learning_rate=0.1 adam")


def _optimizers() -> list[dict[str, Any]]:
    from talweg_core.optimizers import catalogue

    return _from_laboratory("optimizers") or [described.plain() for described in catalogue().descriptions()]


def _of_library(name: str | None) -> "list[OptimizerDescription]":
    """The optimizer of a library of that name, such as torch:AdamW; none for other names. Raises InvalidSpec."""
    from talweg.libraries import is_of_library, kind_of
    from talweg_core.errors import EngineError
    from talweg_core.optimizers.description import describe

    if name is None or not is_of_library(name):
        return []
    try:
        return [describe(kind_of(name))]
    except EngineError as error:
        raise InvalidSpec(str(error)) from error


def _print_surroundings(name: str | None, json: bool, wide: bool) -> None:
    from talweg_core.optimizers import WrapperDescription, describe_wrappers

    then = """talweg submit digits-mlp 'adam:around=[{{"name":"{}"}}]'"""
    found = describe_wrappers()
    _print("around", name, found, WrapperDescription.COLUMNS, json, wide, then=(then.format("clip_norm"), then))


def _from_laboratory(noun: str) -> list[dict[str, Any]]:
    """The entries of the laboratory of TALWEG_URL; none if that is not set."""
    if read_settings().url is None:
        return []
    with laboratory(None) as lab:
        return catalogue_of(lab, noun)


def _print(
    kind: str,
    name: str | None,
    found: Sequence[Any],
    columns: Sequence[str],
    json: bool,
    wide: bool,
    *,
    then: tuple[str, str],
) -> None:
    """All of `found` as a table, or the one of that name in full; `then`: what to type next in either case."""
    from talweg.client import Table

    if name is None:
        shown = Table(tuple(columns), tuple(described.row() for described in found))
        listing(shown, json=json, wide=wide, then=then[0], rows=[described.plain() for described in found])
        return
    described = _entry(kind, name, found)
    if json:
        as_json(described.plain())
        return
    data(clean(str(described), keep="\n"))
    hint(then[1].format(name))


def _entry(kind: str, name: str, found: Sequence[Any]) -> Any:
    """The entry of that name; raises InvalidSpec that names the nearest."""
    from talweg_core.errors import UnknownName

    by_name = {entry["name"] if isinstance(entry, dict) else entry.name: entry for entry in found}
    if name not in by_name:
        raise InvalidSpec(str(UnknownName(kind, name, by_name)))
    return by_name[name]
