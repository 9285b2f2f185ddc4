"""Descriptions of problems: purpose, size, settings."""

import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from talweg_core.description import Entry, Setting, paragraphs
from talweg_core.problems.base import Problem


@dataclass(frozen=True)
class Description(Entry):
    """One problem, read from its maker's docstring; its size at the default settings."""

    name: str
    purpose: str
    details: str
    # P, and the number of training examples (0: a test function).
    parameters: int
    examples: int
    batch_size: int
    metric: str | None
    settings: tuple[Setting, ...]

    def plain(self) -> dict[str, Any]:
        """Everything as plain data, for JSON."""
        changed = {"description": self.purpose, "settings": {one.name: one.default for one in self.settings}}
        return dataclasses.asdict(self) | changed

    def contents(self) -> tuple[str, list[str], str]:
        """Purpose, details and size."""
        return self.name, [self.purpose, self.details, self._facts()], ""

    def _facts(self) -> str:
        counted = f"parameters: {self.parameters:,}"
        if self.examples:
            counted += f"; training examples: {self.examples:,}, {self.batch_size} in each batch by default"
        return f"{counted}; metric: {self.metric}" if self.metric else counted


def purpose(maker: Callable[..., Problem]) -> str:
    """A problem's purpose, in one line."""
    return _text(maker).partition("\n")[0]


def settings(maker: Callable[..., Problem]) -> dict[str, Any]:
    """Its settings with their defaults; None where a value is required, or where the problem computes the default."""
    signature = inspect.signature(maker)
    return {
        name: None if parameter.default is parameter.empty else parameter.default
        for name, parameter in signature.parameters.items()
    }


def describe(name: str, maker: Callable[..., Problem]) -> Description:
    """What `talweg problems <name>` prints; creates the problem to count its parameters."""
    made = maker()
    first, _, details = _text(maker).partition("\n")
    return Description(
        name=name,
        purpose=first,
        details=paragraphs(details),
        parameters=made.layout.size,
        examples=made.examples,
        batch_size=made.default_batch_size,
        metric=made.metric,
        settings=tuple(Setting(key, "", default) for key, default in settings(maker).items()),
    )


def _text(maker: Callable[..., Problem]) -> str:
    """A maker's docstring; for a function named `create`, its module's docstring."""
    return inspect.getdoc(inspect.getmodule(maker) if maker.__name__ == "create" else maker) or ""
