"""`talweg check` and `talweg new-optimizer`: optimizers of one's own, checked before a laboratory gets them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from talweg.cli.output import AsJson, as_json, clean, data, hint, prose
from talweg.errors import InvalidSpec

if TYPE_CHECKING:
    from talweg_core.optimizers.check import Cost, Finding

COORDINATE = '''"""{title}: an optimizer of my own. Check it with `talweg check {file}:{title}`."""

from talweg_core.optimizers import CoordinateOptimizer


class {title}(CoordinateOptimizer):
    """m ← β m + (1 − β) g, θ ← θ − η m. The first paragraph is the formula that Talweg shows.

    Source: who published it, and when.
    """

    # What each coordinate keeps between steps; it starts at 0.
    state = ("m",)

    # Hyperparameters with their defaults: users set them, searches draw them.
    learning_rate: float = 1e-3
    beta: float = 0.9

    # One coordinate, compiled by Numba: its derivative, its state, the hyperparameters by name (add `parameter` for
    # the value itself). Returns the update, which is added to the parameter, and the new state.
    def rule(gradient, m, learning_rate, beta):
        m = beta * m + (1 - beta) * gradient
        return -learning_rate * m, m
'''
TENSORS = '''"""{title}: an optimizer of my own. Check it with `talweg check {file}:{title}`."""

import numpy as np
from talweg_core.optimizers import Optimizer
from talweg_core.optimizers.base import BoundOptimizer


class {title}(Optimizer):
    """θ ← θ − η g / |g| for each tensor. The first paragraph is the formula that Talweg shows.

    Source: who published it, and when.
    """

    # Hyperparameters with their defaults: users set them, searches draw them.
    learning_rate: float = 1e-3
    beta: float = 0.9

    def bind_rule(self, hyperparameters, layout, dtype):
        return Bound{title}(hyperparameters, layout, dtype)


class Bound{title}(BoundOptimizer):
    """The rule for R runs at once: arrays are (R, P), a row for each run; hyperparameters are (R,)."""

    def __init__(self, h, layout, dtype):
        self.layout = layout
        # Everything that is kept between steps: checkpoints hold it.
        self.state = {{"m": np.zeros((h.runs, layout.size), dtype)}}

    def update(self, situation):
        h, dtype = situation.hyperparameters, situation.gradient.dtype
        rate, beta = (numbers[:, None].astype(dtype) for numbers in (h.learning_rate, h.beta))
        m = self.state["m"]
        m[:] = beta * m + (1 - beta) * situation.gradient
        for name in self.layout.names:
            part = self.layout.slice(name)
            # Row by row, so that a run's bits do not depend on the runs next to it.
            lengths = np.array([[np.linalg.norm(row)] for row in m[:, part]], dtype)
            situation.parameters[:, part] -= rate * m[:, part] / (lengths + dtype.type(1e-8))
'''


def check(
    optimizer: Annotated[str, typer.Argument(help="FILE.py:CLASS, or the name of an optimizer.")],
    json: AsJson = False,
) -> None:
    """Check an optimizer of one's own (state, precision, repeats, sign, minimum and more), and time it against Adam."""
    from talweg_core.optimizers.check import check as all_checks
    from talweg_core.optimizers.check import cost

    kind, path = find_kind(optimizer)
    found = all_checks(kind)
    passed = all(one.passed for one in found)
    times = [cost(kind, runs) for runs in (1, 16)] if found[0].passed and len(found) > 1 else []
    if json:
        as_json(
            {"passed": passed, "checks": [_plain(one, path) for one in found], "cost": [vars(one) for one in times]}
        )
    else:
        _print(kind.__name__, found, times, path)
        if passed:
            hint(f"talweg compare digits-mlp adam {optimizer}")
    if not passed:
        raise typer.Exit(1)


def new_optimizer(
    path: Annotated[Path, typer.Argument(help="The file to write, such as mine.py.")],
    tensors: Annotated[
        bool, typer.Option("--tensors", help="A rule that needs whole tensors, not one coordinate at a time.")
    ] = False,
) -> None:
    """Write an optimizer to start from into a new file."""
    stem = path.stem
    if path.suffix != ".py" or not stem.isidentifier():
        raise InvalidSpec(f"new-optimizer: must be a file such as mine.py, got {path}")
    title = "".join(part[:1].upper() + part[1:] for part in stem.split("_"))
    template = TENSORS if tensors else COORDINATE
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(template.format(title=title, file=path))
    except FileExistsError:
        raise InvalidSpec(f"new-optimizer: {path} exists; choose another name") from None
    except OSError as error:
        raise InvalidSpec(f"new-optimizer: {path} cannot be written: {error.strerror}") from error
    data(clean(f"{path}: {title}"))
    hint(f"talweg check {path}:{title}, then talweg compare digits-mlp adam {path}:{title}")


def find_kind(text: str) -> tuple[Any, Path | None]:
    """The class, and the file that it is in; raises InvalidSpec."""
    from talweg.client.own_rules import file_and_class
    from talweg.libraries import adapted, is_of_library, kind_of
    from talweg_core.errors import EngineError
    from talweg_core.optimizers import catalogue
    from talweg_core.optimizers.brought import load
    from talweg_core.optimizers.source import name_of, source_in_file

    try:
        found = file_and_class(text)
        if found is None:
            return kind_of(text) if is_of_library(text) else catalogue().find(text), None
        source = source_in_file(*found)
        return adapted(load(source, name_of(source)), name_of(source)), found[0]
    except EngineError as error:
        raise InvalidSpec(str(error)) from error


def _where(finding: "Finding", path: Path | None) -> str:
    """`rules.py, line 9: return …` for the line of a finding; empty where it has none."""
    if not finding.line:
        return ""
    lines = [] if path is None else path.read_text(encoding="utf-8").splitlines()
    numbers = [number for number, line in enumerate(lines, 1) if line.strip() == finding.line]
    return f"{path}, line {numbers[0]}: {finding.line}" if numbers else finding.line


def _plain(finding: "Finding", path: Path | None) -> dict[str, Any]:
    return {
        "name": finding.name, "passed": finding.passed, "found": finding.sentence, "line": _where(finding, path),
    }  # fmt: skip


def _print(name: str, found: "list[Finding]", times: "list[Cost]", path: Path | None) -> None:
    width = max(len(one.name) for one in found)
    for one in found:
        data(clean(f"{'ok    ' if one.passed else 'FAILED'}  {one.name.ljust(width)}  {one.sentence}"))
        if not one.passed and (where := _where(one, path)):
            data(clean(f"{'':{width + 10}}{where}"))
    data("")
    for cost in times:
        runs = "1 run" if cost.runs == 1 else f"{cost.runs} runs"
        data(f"A step of digits-mlp, {runs}: {cost.own:.3g} µs a run, Adam {cost.adam:.3g} µs: {cost.ratio:.2f} times.")
    wrong = [one.name for one in found if not one.passed]
    if not wrong:
        prose(clean(f"{name} keeps the contract: all {len(found)} checks passed."))
    else:
        prose(clean(f"{name} breaks the contract: {len(wrong)} of {len(found)} checks failed ({', '.join(wrong)})."))
