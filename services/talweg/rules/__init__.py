"""Optimizers by name: the engine's and installed ones, and users' own from the laboratory's database."""

from talweg.rules.kinds import create, kind_of, kind_or_none
from talweg.rules.sources import with_sources

__all__ = ["create", "kind_of", "kind_or_none", "with_sources"]
