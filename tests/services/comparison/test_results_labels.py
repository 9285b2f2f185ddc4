"""Labels of settings."""

import pytest

from talweg.comparison import label, number, varying


def test_what_differs_within_one_optimizer_varies() -> None:
    settings = [
        {"name": "adam", "learning_rate": 0.1, "beta1": 0.9},
        {"name": "adam", "learning_rate": 0.2, "beta1": 0.9},
    ]
    assert varying(settings) == {"learning_rate"}


def test_what_differs_between_optimizers_only_does_not_vary() -> None:
    assert varying([{"name": "adam", "epsilon": 1e-8}, {"name": "rmsprop", "epsilon": 1e-6}]) == set()


def test_wrappers_that_only_some_settings_have_vary() -> None:
    plain: dict[str, object] = {"name": "adam", "learning_rate": 0.1}
    around = [{"name": "clip_norm", "limit": 1.0}, {"name": "sam", "rho": 0.05}]
    settings = [plain, plain | {"around": around}]
    keys = varying(settings)
    assert keys == {"around"}
    assert [label(one, keys) for one in settings] == ["adam", "adam · around clip_norm limit 1, sam rho 0.05"]


def test_a_label_shows_the_keys_asked_for_in_the_optimizers_order() -> None:
    adam = {"name": "adam", "learning_rate": 0.003, "beta1": 0.9, "nesterov": True}
    assert label(adam, {"nesterov", "learning_rate", "momentum"}) == "adam · learning_rate 0.003 · nesterov yes"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.003, "0.003"), (1e-8, "1e-8"), (1000, "1000"), (0.1, "0.1"), (True, "yes"), ("constant", "constant")],
)
def test_numbers_are_written_short(value: object, text: str) -> None:
    assert number(value) == text
