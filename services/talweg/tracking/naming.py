"""What runs, parameters, tags and metrics are called in MLflow."""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from talweg.comparison import label
from talweg.comparison.labels import SEPARATOR

# MLflow cuts or refuses what is longer.
PARAMETER_LENGTH, TAG_LENGTH = 6000, 8000
# The experiment of runs that belong to no study.
SINGLE_RUNS = "single runs"

_STATUS = {
    "queued": "SCHEDULED",
    "running": "RUNNING",
    "finished": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}


def run_name(spec: Mapping[str, Any], keys: Collection[str], *, alone: bool, stop_reason: str | None) -> str:
    """`adam · learning_rate 0.003 · seed 2`: what varies in the study, and always the learning rate.

    A run outside of a study has its problem's name in front. One that diverged says so: in MLflow's table and
    in its charts' legends a status would not be seen.
    """
    parts = [problem_name(spec)] if alone else []
    parts += [label(spec["optimizer"], {*keys, "learning_rate"}), f"seed {spec['seed']}"]
    return SEPARATOR.join([*parts, stop_reason] if stop_reason in ("diverged", "pruned") else parts)


def problem_name(spec: Mapping[str, Any]) -> str:
    """The problem's name, or its dataset's where it was spelled out; all of them, where a study has several."""
    if several := spec.get("problems"):
        return ", ".join(problem_name(own) for own in several)
    problem = spec["problem"]
    return str(problem.get("name") or f"{problem.get('dataset', 'own')}-network")


def status(state: str) -> str:
    """MLflow's word for a run's state."""
    return _STATUS[state]


def parameters(spec: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a run: hyperparameters under their own names, those of problem and schedule after theirs."""
    plain = {key: spec[key] for key in ("batch_size", "steps", "seed", "precision", "evaluate_every", "record")}
    named = {
        "optimizer": spec["optimizer"]["name"],
        "problem": problem_name(spec),
        "schedule": spec["schedule"]["name"],
    }
    settings = {key: value for key, value in spec["optimizer"].items() if key != "name"}
    for part in ("problem", "schedule"):
        settings |= {f"{part}.{key}": value for key, value in spec[part].items() if key != "name"}
    values = {**settings, **named, **plain}
    return {_key(key): _text(value, PARAMETER_LENGTH) for key, value in values.items() if value is not None}


def tags(values: Mapping[str, Any]) -> dict[str, str]:
    """Tags as MLflow takes them; those without a value are left out."""
    return {key: _text(value, TAG_LENGTH) for key, value in values.items() if value is not None}


def metric_key(*parts: str) -> str:
    """`gradient_norm.dense1.weight`: the parts with dots between them, in characters that MLflow takes."""
    return _key(".".join(part for part in parts if part))


def _key(text: str) -> str:
    return re.sub(r"[^\w .:-]", "_", text)[:250]


def _text(value: Any, length: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= length else text[: length - 1] + "…"
