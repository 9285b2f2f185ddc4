"""The arguments of a library's optimizer as hyperparameters with ranges."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from talweg_core.errors import InvalidHyperparameter
from talweg_core.optimizers import Hyperparameters, Optimizer
from talweg_core.optimizers.base import Interval, Needs
from talweg_core.optimizers.brought import UnusableRule

_NUMBER = Interval(-math.inf, math.inf, "()")
_WHOLE = Interval(-math.inf, math.inf, "()", whole=True)


class AnyValue:
    """The range of a setting that the library itself checks: a word, a number, true, false or null."""

    def __contains__(self, value: object) -> bool:
        """Whether it is such a value."""
        return value is None or isinstance(value, str | int | float | bool)

    def __iter__(self) -> Any:
        return iter(["a word", "a number", "true", "false", "null"])

    def __str__(self) -> str:
        return "checked by the library"


@dataclass(frozen=True)
class LibraryOptimizer(Optimizer):
    """An optimizer of another library; its version is a setting, so that a replay under another one is refused."""

    needs: ClassVar[Needs] = "tensors"
    # The library's class or function, and its arguments: each with the settings that it is made of, in order.
    factory: ClassVar[Callable[..., Any]]
    arguments: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    installed: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check every setting, the library's own rules included; raises InvalidHyperparameter."""
        super().__post_init__()
        version = getattr(self, "version", self.installed)
        if version != self.installed:
            raise InvalidHyperparameter(
                f"{self.name}: was made with version {version}, and {self.installed} is installed here; install that "
                "version, or leave version out"
            )
        try:
            self.try_arguments(self.own_arguments({field.name: getattr(self, field.name) for field in self.ranged()}))
        except InvalidHyperparameter:
            raise
        # A library's rules raise ValueError, TypeError, NotImplementedError and others.
        except Exception as error:
            raise InvalidHyperparameter(f"{self.name}: {error}") from error

    def shared(self) -> dict[str, Any]:
        """Also which numbers are 0: without momentum, for instance, PyTorch keeps no momentum."""
        zeros = [field.name for field in self.ranged() if getattr(self, field.name) == 0.0]
        return super().shared() | {"zeros": zeros}

    @classmethod
    def own_arguments(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The library's arguments from our settings by name."""
        whole = {field.name for field in cls.ranged() if getattr(field.metadata["range"], "whole", False)}
        plain = {name: int(value) if name in whole else value for name, value in values.items()}
        return {
            argument: plain[names[0]] if names == (argument,) or argument == "lr" else tuple(plain[n] for n in names)
            for argument, names in cls.arguments.items()
        }

    @classmethod
    def translate(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Our settings from the library's argument names; raises InvalidHyperparameter for one that is given twice."""
        found: dict[str, Any] = {}
        for key, value in settings.items():
            names = cls.arguments.get(key, (key,))
            values = [value] if len(names) == 1 and not (isinstance(value, list | tuple)) else value
            if not isinstance(values, list | tuple) or len(values) != len(names):
                raise InvalidHyperparameter(f"{cls.name}: {key} must be {len(names)} numbers, got {value!r}")
            for name, one in zip(names, values, strict=True):
                if name in found:
                    raise InvalidHyperparameter(f"{cls.name}: {name} is given twice, as {key} too")
                found[name] = one
        return found

    @classmethod
    def try_arguments(cls, arguments: dict[str, Any]) -> None:
        """Let the library check its arguments."""
        raise NotImplementedError

    @classmethod
    def of_run(cls, h: Hyperparameters, row: int) -> dict[str, Any]:
        """The library's arguments of one run."""
        return cls.own_arguments(h.of_run(row) | {k: v for k, v in h.shared.items() if k != "zeros"})


def make_class(
    base: type[LibraryOptimizer], factory: Callable[..., Any], name: str, version: str, left_out: Collection[str]
) -> type[LibraryOptimizer]:
    """The class of one optimizer of a library, with its arguments as settings; raises UnusableRule.

    Numbers keep their names and defaults; `lr` is learning_rate, and a tuple is numbered: betas are beta1 and beta2.
    """
    title = factory.__name__
    fields: list[tuple[str, Any, Any]] = []
    arguments: dict[str, tuple[str, ...]] = {}
    for parameter in inspect.signature(factory).parameters.values():
        if parameter.name in left_out or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        names = _settings(parameter, fields)
        if names:
            arguments[parameter.name] = names
    if not any(name == "learning_rate" for name, _, _ in fields):
        raise UnusableRule(f"{name}: {title} must have the argument lr or learning_rate")
    fields.append(("version", str, dataclasses.field(default=version, metadata={"range": AnyValue(), "shared": True})))
    text = inspect.cleandoc(factory.__doc__ or title).partition("\n\n")[0]
    space: dict[str, Any] = {name_: value for name_, _, value in fields}
    space["__annotations__"] = {name_: kind for name_, kind, _ in fields}
    space["__doc__"] = f"{text}\n\nSource: {factory.__module__}.{title}, version {version}."
    made: type[LibraryOptimizer] = dataclass(frozen=True)(type(title, (base,), space))
    made.name, made.factory, made.arguments, made.installed = name, factory, arguments, version
    made.__module__ = __name__
    return made


def _settings(parameter: inspect.Parameter, fields: list[tuple[str, Any, Any]]) -> tuple[str, ...]:
    """Add the settings of one argument to `fields`, and return their names; none for an argument without a use here."""
    name, default = parameter.name, parameter.default
    rate = name in ("lr", "learning_rate")
    if rate:
        given = default if isinstance(default, int | float) else 1e-3
        fields.append(("learning_rate", float, _field(float(given), _NUMBER)))
        return ("learning_rate",)
    if isinstance(default, bool):
        fields.append((name, bool, dataclasses.field(default=default, metadata={"range": None, "shared": True})))
    elif isinstance(default, int | float) and not math.isfinite(default):
        # JSON has no infinity: such a limit stays what the library sets.
        return ()
    elif isinstance(default, int | float):
        whole = isinstance(default, int) and parameter.annotation in (int, "int")
        fields.append((name, float, _field(float(default), _WHOLE if whole else _NUMBER)))
    elif isinstance(default, tuple) and default and all(isinstance(one, int | float) for one in default):
        single = name.removesuffix("s")
        names = tuple(f"{single}{position}" for position in range(1, len(default) + 1))
        for own, one in zip(names, default, strict=True):
            fields.append((own, float, _field(float(one), _NUMBER)))
        return names
    elif default is None or isinstance(default, str):
        metadata = {"range": AnyValue(), "shared": True}
        fields.append((name, Any, dataclasses.field(default=default, metadata=metadata)))
    elif default is inspect.Parameter.empty and parameter.annotation in (float, "float"):
        fields.append((name, float, _field(0.0, _NUMBER)))
    else:
        return ()
    return (name,)


def _field(default: float, interval: Interval) -> Any:
    return dataclasses.field(default=default, metadata={"range": interval})
