"""Validate plain data and YAML with pydantic models; readable error messages."""

import difflib
import re
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from talweg.errors import InvalidSpec, MissingExtra

# Floats of YAML 1.2. PyYAML follows YAML 1.1, where 1e-3 (without a dot) is text.
_YAML_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$")
S = TypeVar("S", bound=BaseModel)

NAME: Final = r"^[^\x00-\x1f\x7f/\\]+$"
DATASET_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._ -]*$"
IDEMPOTENCY_KEY: Final = r"^[\x21-\x7e]+$"
_IN_WORDS: Final = {
    NAME: "must have no slash, no backslash and no control character",
    DATASET_NAME: "must begin with a letter or digit, and have letters, digits, '.', '_', '-' and spaces only (ASCII)",
    IDEMPOTENCY_KEY: "must have visible ASCII characters only, no spaces",
}


def from_yaml(text: str) -> Any:
    """The content of a YAML text; raises ValueError for invalid YAML, MissingExtra without PyYAML."""
    with MissingExtra.unless_installed("PyYAML", needed_by="YAML", otherwise=", or write JSON"):
        import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # it has no stubs
        """SafeLoader with floats of YAML 1.2."""

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _YAML_FLOAT, list("-+.0123456789"))
    try:
        # A subclass of SafeLoader: it creates plain data only.
        loader = Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`; did you mean NAME?` with the nearest valid name; empty where none is near."""
    near = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def rule(problem: Any) -> str:
    """The broken rule as part of a sentence; a regular expression is put into words."""
    if problem["type"] == "string_pattern_mismatch":
        return _IN_WORDS[problem["ctx"]["pattern"]]
    message: str = problem["msg"].removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def parse(kind: type[S], value: object) -> S:
    """The model from plain data; raises InvalidSpec with the key, the rule and the value."""
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise InvalidSpec("; ".join(_rule(kind, problem) for problem in error.errors())) from None
    except RecursionError:
        raise InvalidSpec("spec: is nested too deeply") from None


def _rule(kind: type[BaseModel], problem: Any) -> str:
    """One line for a broken rule: the key, the rule, the value received, the nearest valid key."""
    where = ".".join(str(part) for part in problem["loc"]) or "spec"
    message = rule(problem)
    if problem["type"] == "extra_forbidden":
        return f"{where}: is not a key of {kind.__name__}{did_you_mean(where, kind.model_fields)}"
    if problem["type"] == "missing":
        return f"{where}: is required"
    received = repr(problem["input"])
    received = received if len(received) <= 80 else received[:77] + "..."
    return f"{where}: {message}" + ("" if received in message else f", got {received}")
