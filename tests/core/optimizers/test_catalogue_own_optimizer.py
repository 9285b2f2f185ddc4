"""examples/own_optimizer, installed as a user does and found by its entry point."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[3] / "examples" / "own_optimizer"

MAIN = """
import json
from talweg_core import Cohort, optimizers, problems
from talweg_core.errors import EngineError

rules = [optimizers.create("signum", learning_rate=rate) for rate in (0.25, 0.125)]
runs = Cohort(problems.create("two-layer-line"), rules, [0, 0])
runs.advance()
try:
    optimizers.create("signum", beta1=1)
except EngineError as error:
    refused = str(error)
described = optimizers.describe("signum")
print(json.dumps({
    "names": optimizers.names(), "parameters": runs.parameters.tolist(), "refused": refused,
    "row": described.row(), "state": list(runs.state),
}))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output of MAIN in an interpreter with the example installed."""
    folder = tmp_path_factory.mktemp("own")
    # A build writes files next to its source.
    source = shutil.copytree(EXAMPLE, folder / "source")
    target = folder / "site"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target"]
    subprocess.run([sys.executable, "-m", "pip", *install, str(target), str(source)], check=True, capture_output=True)
    environment = os.environ | {"PYTHONPATH": str(target)}
    done = subprocess.run([sys.executable, "-c", MAIN], check=True, capture_output=True, text=True, env=environment)
    # As its README says.
    command = [str(Path(sys.executable).with_name("talweg")), "optimizers", "signum"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=folder)
    answer: dict[str, Any] = json.loads(done.stdout) | {"shown": shown.stdout}
    return answer


def test_it_is_listed_with_the_others(found: dict[str, Any]) -> None:
    assert {"signum", "adam"} <= set(found["names"])
    assert found["row"] == ["signum", "per coordinate", "1 P", "1 gradient", "Bernstein et al. 2018"]


def test_it_trains_by_its_rule(found: dict[str, Any]) -> None:
    # All four derivatives at (1, 0, 2, 0) are positive: 3, 2, 1.5 and 1.
    assert found["parameters"] == [[0.75, -0.25, 1.75, -0.25], [0.875, -0.125, 1.875, -0.125]]
    assert found["state"] == ["m"]


def test_the_command_line_shows_it(found: dict[str, Any]) -> None:
    for said in ("Signum (signum), per coordinate", "θ ← θ − η sign(m)", "beta1          [0, 1)  0.9", "Bernstein"):
        assert said in found["shown"]


def test_its_ranges_are_checked(found: dict[str, Any]) -> None:
    assert found["refused"] == "Signum: beta1 must lie in [0, 1), got 1"
