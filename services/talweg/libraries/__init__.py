"""Optimizers of PyTorch, pytorch_optimizer and optax as Talweg's; each library is imported where a run asks for it."""

from talweg.libraries.names import adapted, is_of_library, kind_of, translated

__all__ = ["adapted", "is_of_library", "kind_of", "translated"]
