"""Convert the arguments of `submit`, `compare` and `fork` to the JSON of a spec.

The keys of a spec are known here; the hyperparameters of an optimizer come from the laboratory.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from pydantic import BaseModel

from talweg.client.wire import Wire
from talweg.errors import InvalidSpec
from talweg.spec import ForkSpec, RunSpec, StudySpec
from talweg.validation import did_you_mean

Json = dict[str, Any]
# The hyperparameters of an optimizer by its name; None for an unknown optimizer.
Hyperparameters = Callable[[str], Collection[str] | None]


def hyperparameters_of(wire: Wire) -> dict[str, list[str]]:
    """The hyperparameters of every optimizer in the laboratory's catalogue, by the optimizer's name."""
    return {row["name"]: list(row["settings"]) for row in wire.get("/v1/optimizers")}


def run_spec(spec: object, keywords: Mapping[str, Any], hyperparameters: Hyperparameters) -> Json:
    """The JSON of a run: `spec` (a RunSpec or a dict) with keys replaced by keywords, or keywords only.

    A keyword that is not a key of RunSpec becomes a hyperparameter of the optimizer.

    Raises:
        InvalidSpec: it is not a hyperparameter of that optimizer, or is given in both places.
    """
    known, others = _split(RunSpec, spec, keywords)
    return _with_hyperparameters(RunSpec, known, others, hyperparameters)


def fork_spec(parent: Mapping[str, Any], keywords: Mapping[str, Any], hyperparameters: Hyperparameters) -> Json:
    """The JSON of a fork: keys of ForkSpec, and hyperparameters of the given optimizer or else of the parent's.

    Raises:
        InvalidSpec: a keyword is neither, or is given in both places.
    """
    known, others = _split(ForkSpec, None, keywords)
    if others and known.get("optimizer") is None:
        known["optimizer"] = {key: value for key, value in parent["optimizer"].items() if key not in others}
    return _with_hyperparameters(ForkSpec, known, others, hyperparameters)


def study_spec(spec: object, keywords: Mapping[str, Any]) -> Json:
    """The JSON of a study: `spec` (a StudySpec or a dict) with keys replaced by keywords, or keywords only.

    Raises:
        InvalidSpec: a keyword is not a key of StudySpec.
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
        # An unknown optimizer is reported by the laboratory.
        if valid is not None and key not in valid:
            hint = did_you_mean(key, [*kind.model_fields, *valid])
            raise InvalidSpec(f"{key}: is neither a key of {kind.__name__} nor a hyperparameter of {name}{hint}")
        if key in optimizer:
            raise InvalidSpec(f"{key}: is given twice, got {value!r} and, in the optimizer, {optimizer[key]!r}")
        optimizer[key] = value
    return known | {"optimizer": optimizer}


def _split(kind: type[BaseModel], spec: object, keywords: Mapping[str, Any]) -> tuple[Json, Json]:
    """The keys of a spec of that kind, and the other keywords."""
    if spec is None:
        spec = {}
    elif isinstance(spec, BaseModel):
        spec = spec.model_dump(mode="json")
    if not isinstance(spec, Mapping):
        raise InvalidSpec(f"spec: must be a {kind.__name__} or a dict, got {type(spec).__name__}")
    keywords = _with_dataset(keywords)
    own = {key: value for key, value in keywords.items() if key in kind.model_fields}
    return {**spec, **own}, {key: value for key, value in keywords.items() if key not in own}


def _with_dataset(keywords: Mapping[str, Any]) -> Json:
    """`dataset="mine"`, with `network` and `cost` where they are given, as the problem that they describe."""
    found = dict(keywords)
    dataset = found.pop("dataset", None)
    if dataset is None:
        return found
    if found.get("problem") is not None:
        raise InvalidSpec(f"dataset: must not stand beside a problem, got {dataset!r} and {found['problem']!r}")
    problem: Json = {"dataset": dataset}
    if not isinstance(dataset, str) and hasattr(dataset, "digest"):
        # A name alone means its latest version, which may be another one.
        problem = {"dataset": dataset.name, "digest": dataset.digest}
    problem |= {key: found.pop(key) for key in ("network", "cost") if key in found}
    return found | {"problem": problem}


def _named(optimizer: object) -> Json:
    if isinstance(optimizer, str):
        return {"name": optimizer}
    if isinstance(optimizer, BaseModel):
        return optimizer.model_dump(mode="json")
    return dict(optimizer) if isinstance(optimizer, Mapping) else {}
