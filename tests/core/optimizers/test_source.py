"""What the source of a class includes, and what is refused with its name."""

import linecache
import math as mathematics
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from talweg_core.optimizers.source import UnusableSource, digest_of, entry_of, name_of, source_in, source_of

RULE = """
class MyRule(Base):
    learning_rate: float = RATE

    def rule(gradient, learning_rate):
        return -learning_rate * half(gradient),
"""
FILE = f"""
import math, os as system
from collections.abc import (
    Mapping,
    Sequence as Base,
)
RATE = 2 * UNIT
UNIT = 0.5
data = open("nothing")

def half(x):
    return other(x) / math.sqrt(4)

def other(x):
    return half(x) if x < 0 else x

{RULE}
print("not included")
"""


def test_a_source_includes_what_the_class_uses_and_nothing_else() -> None:
    source = source_in(FILE, "MyRule", "rules.py")
    for part in ("import math\n", "from collections.abc import Sequence as Base", "UNIT = 0.5", "def other(x)", RULE):
        assert part.strip() in source
    for part in ("system", "Mapping", "data", "print"):
        assert part not in source
    assert source.index("UNIT = 0.5") < source.index("RATE = 2 * UNIT") < source.index("class MyRule")
    assert entry_of(source) == "MyRule"
    # It is Python by itself.
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102  # the text above
    assert space["MyRule"].rule(8.0, 1.0) == (-4.0,)


def test_a_name_has_the_class_and_the_start_of_the_digest() -> None:
    source = source_in(FILE, "MyRule", "rules.py")
    assert name_of(source) == f"my_rule@{digest_of(source)[:6]}"
    named = source.replace("    learning_rate", '    name = "signum"\n    learning_rate')
    assert name_of(named) == f"signum@{digest_of(named)[:6]}"


def test_another_line_of_the_class_is_another_name_and_another_line_of_the_file_is_not() -> None:
    before = name_of(source_in(FILE, "MyRule", "rules.py"))
    assert name_of(source_in(FILE.replace("not included", "other"), "MyRule", "rules.py")) == before
    assert name_of(source_in(FILE.replace("UNIT = 0.5", "UNIT = 0.25"), "MyRule", "rules.py")) != before


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (("RATE = 2 * UNIT", "RATE = len(data)"), "MyRule: uses RATE, a computed value, and a worker"),
        (("RATE = 2 * UNIT", "if True:\n    RATE = 2"), "MyRule: uses RATE, which a block there sets"),
        (("RATE = 2 * UNIT", ""), "rules.py: MyRule uses RATE, which is not defined there"),
        (("from collections.abc import", "from .base import"), "MyRule must import Base by its whole name"),
        (("class MyRule", "class MyRuler"), "there is no 'MyRule'; did you mean 'MyRuler'?"),
        (("UNIT = 0.5", "UNIT = "), "rules.py, line 8: is not Python"),
    ],
)
def test_what_cannot_be_stored_is_named(changed: tuple[str, str], message: str) -> None:
    with pytest.raises(UnusableSource, match=r"MyRule|Python") as refused:
        source_in(FILE.replace(*changed), "MyRule", "rules.py")
    assert message in str(refused.value)


class Notebook:
    """Cells that run one after another in one module, as in a notebook: each has a file name, and its text is kept."""

    def __init__(self) -> None:
        self.module = ModuleType("talweg_test_notebook")
        self.cells = 0

    def run(self, text: str) -> None:
        """Run a cell."""
        self.cells += 1
        filename = f"<cell {self.cells}>"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        exec(compile(text, filename, "exec"), vars(self.module))  # noqa: S102  # the test's text


@pytest.fixture
def notebook() -> Iterator[Notebook]:
    """A notebook without cells."""
    made = Notebook()
    sys.modules[made.module.__name__] = made.module
    yield made
    del sys.modules[made.module.__name__]


def test_a_cell_s_class_includes_imports_and_functions_of_other_cells(notebook: Notebook) -> None:
    notebook.run("import math as m\nfrom pathlib import Path as P\ndef half(x):\n    return m.floor(x) / 2\n")
    notebook.run("class Mine:\n    where = P\n    def rule(gradient):\n        return half(gradient), m.pi\n")
    source = source_of(notebook.module.Mine)
    assert {"import math as m", "def half(x):", "class Mine:"} <= set(source.splitlines())
    assert "import Path as P" in source
    space: dict[str, Any] = {}
    exec(source, space)  # noqa: S102  # the text above
    assert space["Mine"].rule(5.0) == (2.5, mathematics.pi)
    assert space["Mine"].where is Path


def test_the_last_definition_of_a_cell_s_class_counts(notebook: Notebook) -> None:
    for number in (1, 2):
        notebook.run(f"class Mine:\n    def rule(gradient):\n        return {number}\n")
    assert "return 2" in source_of(notebook.module.Mine)


def test_a_notebook_s_variable_is_refused_by_name(notebook: Notebook) -> None:
    notebook.run("scale = 3.0")
    notebook.run("class Mine:\n    def rule(gradient):\n        return scale * gradient\n")
    with pytest.raises(
        UnusableSource, match=r"Mine: uses scale, a variable of the notebook or script, .*\(scale: float = "
    ):
        source_of(notebook.module.Mine)


def test_a_variable_of_the_function_around_a_class_is_refused_by_name() -> None:
    scale = 2.0

    class Mine:
        def rule(self) -> float:
            return scale

    with pytest.raises(UnusableSource, match="Mine: uses scale, a variable of the function around it"):
        source_of(Mine)


def test_a_class_without_source_is_refused() -> None:
    kind = type("Mine", (), {"rule": len})
    with pytest.raises(UnusableSource, match="Mine: its source must be in a file or a notebook cell"):
        source_of(kind)
