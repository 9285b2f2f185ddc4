"""Turn the arguments of `submit`, `compare` and `fork` into the JSON of a spec.

Which settings a spec has is known here; which hyperparameters an optimizer has, the laboratory is asked.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import BaseModel

from talweg.client.wire import Wire
from talweg.errors import InvalidSpec
from talweg.spec import ForkSpec, RunSpec, StudySpec
from talweg.validation import did_you_mean

Json = dict[str, Any]
# The hyperparameters of an optimizer by its name; None where there is no optimizer of that name.
Hyperparameters = Callable[[str], Collection[str] | None]


def hyperparameters_of(wire: Wire) -> dict[str, list[str]]:
    """The hyperparameters of every optimizer in the laboratory's catalogue, by the optimizer's name."""
    return {row["name"]: list(row["settings"]) for row in wire.get("/v1/optimizers")}


def run_spec(spec: object, keywords: Mapping[str, Any], hyperparameters: Hyperparameters) -> Json:
    """The JSON of one run: `spec` (a RunSpec or a dict), its keys replaced by keywords, or keywords alone.

    A keyword that is no key of RunSpec is moved into the optimizer.

    Raises:
        InvalidSpec: it is no hyperparameter of that optimizer either, or was given in both places.
    """
    known, others = _split(RunSpec, spec, keywords)
    return _with_hyperparameters(RunSpec, known, others, hyperparameters)


def fork_spec(parent: Mapping[str, Any], keywords: Mapping[str, Any], hyperparameters: Hyperparameters) -> Json:
    """The JSON of a fork: keys of ForkSpec, and hyperparameters that change the optimizer named, else the parent's.

    Raises:
        InvalidSpec: a keyword is neither, or was given in both places.
    """
    known, others = _split(ForkSpec, None, keywords)
    if others and known.get("optimizer") is None:
        known["optimizer"] = {key: value for key, value in parent["optimizer"].items() if key not in others}
    return _with_hyperparameters(ForkSpec, known, others, hyperparameters)


def study_spec(spec: object, keywords: Mapping[str, Any]) -> Json:
    """The JSON of a study: `spec` (a StudySpec or a dict), its keys replaced by keywords, or keywords alone.

    Raises:
        InvalidSpec: a keyword is no key of StudySpec.
    """
    known, others = _split(StudySpec, spec, keywords)
    for key in others:
        hint = did_you_mean(key, StudySpec.model_fields)
        raise InvalidSpec(
            f"{key}: is not a key of StudySpec{hint}; a hyperparameter goes into its optimizer, "
            f"optimizers=[{{'name': 'adam', {key!r}: …}}, …]"
        )
    return known


def _with_hyperparameters(
    kind: type[BaseModel], known: Json, others: Mapping[str, Any], hyperparameters: Hyperparameters
) -> Json:
    """`known`, with the other keywords moved into its optimizer."""
    if not others:
        return known
    optimizer = _named(known.get("optimizer"))
    name = str(optimizer.get("name", "the optimizer"))
    valid = hyperparameters(name)
    for key, value in others.items():
        # Of an optimizer that the laboratory does not know, the laboratory says so.
        if valid is not None and key not in valid:
            hint = did_you_mean(key, [*kind.model_fields, *valid])
            raise InvalidSpec(f"{key}: is neither a key of {kind.__name__} nor a hyperparameter of {name}{hint}")
        if key in optimizer:
            raise InvalidSpec(f"{key}: is given twice, got {value!r} beside {optimizer[key]!r} in the optimizer")
        optimizer[key] = value
    return known | {"optimizer": optimizer}


def _split(kind: type[BaseModel], spec: object, keywords: Mapping[str, Any]) -> tuple[Json, Json]:
    """The keys of a spec of that kind, and the keywords that are none of them."""
    if spec is None:
        spec = {}
    elif isinstance(spec, BaseModel):
        spec = spec.model_dump(mode="json")
    if not isinstance(spec, Mapping):
        raise InvalidSpec(f"spec: must be a {kind.__name__} or a dict, got {type(spec).__name__}")
    own = {key: value for key, value in keywords.items() if key in kind.model_fields}
    return {**spec, **own}, {key: value for key, value in keywords.items() if key not in own}


def _named(optimizer: object) -> Json:
    if isinstance(optimizer, str):
        return {"name": optimizer}
    if isinstance(optimizer, BaseModel):
        return optimizer.model_dump(mode="json")
    return dict(optimizer) if isinstance(optimizer, Mapping) else {}
