"""What to call an optimizer setting: its name, and whatever tells it from its neighbours."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

SEPARATOR = " · "


def varying(optimizers: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The hyperparameters that take more than one value among the settings of one and the same optimizer.

    One that only some of them have, such as what stands around the rule, tells those apart from the others.
    Values of different optimizers are not held against each other: that RMSProp and Adam have other defaults
    for epsilon tells no two runs apart that their names do not.
    """
    alike: dict[str, list[Mapping[str, Any]]] = {}
    for optimizer in optimizers:
        alike.setdefault(str(optimizer["name"]), []).append(optimizer)
    return frozenset(
        key
        for settings in alike.values()
        for key in {key for optimizer in settings for key in optimizer}
        if len({repr(optimizer.get(key)) for optimizer in settings}) > 1
    )


def label(optimizer: Mapping[str, Any], keys: Collection[str]) -> str:
    """`adam · learning_rate 0.003`: the name, then those of `keys` that this optimizer has, in order."""
    settings = [f"{key} {number(value)}" for key, value in optimizer.items() if key in keys and key != "name"]
    return SEPARATOR.join([str(optimizer["name"]), *settings])


def number(value: object) -> str:
    """A setting's value as people write it: 0.003, 1e-8, 1000, yes; what stands around a rule as `sam rho 0.05`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(number, value))
    if isinstance(value, Mapping):
        settings = (f"{key} {number(inner)}" for key, inner in value.items() if key != "name")
        return " ".join([*([str(value["name"])] if "name" in value else []), *settings])
    if not isinstance(value, float):
        return str(value)
    text = f"{value:.6g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text
