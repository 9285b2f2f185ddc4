"""Optimizers by name: of libraries that are not installed here, and of unknown ones."""

import sys
from collections.abc import Iterator

import pytest

from talweg import libraries, rules
from talweg.errors import InvalidSpec
from talweg.execution import submit_run
from talweg.spec import parse_run
from talweg.store import Store
from talweg_core.errors import EngineError, UnknownName
from talweg_core.optimizers.brought import UnusableRule


@pytest.fixture
def without_libraries(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """None of the libraries can be imported, also where they are installed."""
    for module in ("torch", "torch.optim", "pytorch_optimizer", "jax", "optax"):
        monkeypatch.setitem(sys.modules, module, None)
    libraries.kind_of.cache_clear()
    yield
    libraries.kind_of.cache_clear()


@pytest.mark.parametrize(
    ("name", "extra"), [("torch:AdamW", "torch"), ("pytorch_optimizer:Lion", "torch"), ("optax:adamw", "optax")]
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    local: Store, without_libraries: None, name: str, extra: str
) -> None:
    with pytest.raises(InvalidSpec) as refused:
        submit_run(local, parse_run({"problem": "wine-mlp", "optimizer": name}), publish=lambda _: None)
    assert f"optimizer {name}: {name.partition(':')[0]} must be installed where the workers" in str(refused.value)
    assert f"pip install 'talweg[{extra}]'" in str(refused.value)


def test_an_unknown_library_is_named() -> None:
    with pytest.raises(UnknownName, match=r"optimizer: library: there is no 'torche'; did you mean 'torch'?"):
        rules.kind_of("torche:Adam")
    assert rules.kind_or_none("torche:Adam") is None


def test_names_without_a_colon_are_the_engine_s() -> None:
    assert rules.kind_of("adam").name == "adam"
    with pytest.raises(EngineError, match=r"did you mean 'adam'?"):
        rules.kind_of("adm")


def test_a_class_that_is_no_optimizer_is_refused() -> None:
    with pytest.raises(UnusableRule, match="int: must be a subclass of CoordinateOptimizer, Optimizer or torch"):
        libraries.adapted(int, "int@000000")
