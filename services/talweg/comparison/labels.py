"""What to call an optimizer setting: its name, and whatever tells it from its neighbours."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

SEPARATOR = " · "


def varying(optimizers: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The hyperparameters that take more than one value among the settings of one and the same optimizer.

    Values of different optimizers are not held against each other: that RMSProp and Adam have other defaults
    for epsilon tells no two runs apart that their names do not.
    """
    seen: dict[tuple[str, str], set[str]] = {}
    for optimizer in optimizers:
        for key, value in optimizer.items():
            seen.setdefault((str(optimizer["name"]), key), set()).add(repr(value))
    return frozenset(key for (_, key), values in seen.items() if len(values) > 1)


def label(optimizer: Mapping[str, Any], keys: Collection[str]) -> str:
    """`adam · learning_rate 0.003`: the name, then those of `keys` that this optimizer has, in order."""
    settings = [f"{key} {number(value)}" for key, value in optimizer.items() if key in keys and key != "name"]
    return SEPARATOR.join([str(optimizer["name"]), *settings])


def number(value: object) -> str:
    """A setting's value as people write it: 0.003, 1e-8, 1000, yes."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.6g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text
