"""Names of libraries' optimizers, such as torch:AdamW, and the classes behind them."""

import inspect
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any, Final

from talweg_core.errors import EngineError, UnknownName
from talweg_core.optimizers import Optimizer
from talweg_core.optimizers.brought import UnusableRule

# The module to import, and the extra of Talweg that installs it.
LIBRARIES: Final = {
    "torch": ("torch.optim", "torch"),
    "pytorch_optimizer": ("pytorch_optimizer", "torch"),
    "optax": ("optax", "optax"),
}


def is_of_library(name: str) -> bool:
    """Whether the name is a library's optimizer, such as optax:adamw."""
    return ":" in name


@cache
def kind_of(name: str) -> type[Optimizer]:
    """The class of that name.

    Raises:
        UnknownName: There is no such library, or no such optimizer in it.
        EngineError: The library is not installed here, or the optimizer cannot be used.
    """
    library, _, entry = name.partition(":")
    if library not in LIBRARIES:
        raise UnknownName("optimizer: library", library, LIBRARIES)
    module_name, extra = LIBRARIES[library]
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise EngineError(
            f"optimizer {name}: {library} must be installed where the workers and the API run: "
            f"pip install 'talweg[{extra}]' ({error})"
        ) from error
    if library == "optax":
        from talweg.libraries import optax_rules

        found = optax_rules.aliases()
        if entry not in found:
            raise UnknownName(f"{library}: optimizer", entry, found)
        return optax_rules.adapt(found[entry], name)
    from talweg.libraries import torch_rules

    classes = torch_rules.classes(module)
    if entry not in classes:
        raise UnknownName(f"{library}: optimizer", entry, classes)
    return torch_rules.adapt(classes[entry], name)


def adapted(found: Any, name: str) -> type[Optimizer]:
    """The optimizer of a user's own: a class of ours as it is, or one of PyTorch, or a function for optax.

    Raises:
        UnusableRule: It is none of the three.
    """
    if isinstance(found, type) and issubclass(found, Optimizer):
        return found
    if isinstance(found, type) and any(base.__module__.startswith("torch.optim") for base in found.__mro__):
        from talweg.libraries import torch_rules

        return torch_rules.adapt(found, name)
    if inspect.isfunction(found):
        from talweg.libraries import optax_rules

        return optax_rules.adapt(found, name)
    raise UnusableRule(
        f"{getattr(found, '__name__', found)}: must be a subclass of CoordinateOptimizer, Optimizer or "
        "torch.optim.Optimizer, or a function that returns an optax GradientTransformation"
    )


def translated(kind: type[Optimizer], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by Talweg's names: a library's own names for them (lr, betas) are accepted."""
    translate = getattr(kind, "translate", None)
    return dict(settings) if translate is None else translate(settings)
