"""How many examples stand behind one gradient, decided and checked before anything is written."""

from collections.abc import Sequence

from talweg.errors import InvalidSpec
from talweg_core.optimizers import Optimizer
from talweg_core.problems import Problem


def batch_size_for(problem: Problem, rules: Sequence[Optimizer], asked: int | None) -> int | None:
    """What was asked for, or the problem's own, or all examples where no rule could do with less.

    Raises:
        InvalidSpec: More than there are, any for a problem without examples, or fewer than a rule needs.
    """
    if not problem.examples:
        if asked is not None:
            raise InvalidSpec(f"batch_size: {problem.name} has no examples, so it takes none, got {asked}")
        return None
    usual = problem.examples if all(rule.full_batch for rule in rules) else problem.default_batch_size
    batch_size = asked or usual
    if batch_size > problem.examples:
        raise InvalidSpec(
            f"batch_size: must be at most the {problem.examples} training examples of {problem.name}, got {batch_size}"
        )
    for rule in rules:
        # A cohort would refuse it too, but only once a worker makes one.
        if rule.full_batch and batch_size < problem.examples:
            raise InvalidSpec(
                f"{rule.name}: batch_size must be all {problem.examples} training examples, got {batch_size}"
            )
    return batch_size
