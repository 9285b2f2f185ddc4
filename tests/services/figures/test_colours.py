"""One style per optimizer, safe for colour-blind readers."""

from itertools import combinations

import pytest

from talweg.figures.colours import PALETTE, SOLID, style

BUILT_IN = ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"]


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_no_two_optimizers_look_alike() -> None:
    assert all(style(a).colour != style(b).colour for a, b in combinations(BUILT_IN, 2))


@pytest.mark.parametrize("name", BUILT_IN)
def test_colours_come_from_the_palette_that_colour_blind_readers_can_tell_apart(name: str) -> None:
    assert style(name).colour in PALETTE


@pytest.mark.parametrize("colour", PALETTE)
def test_every_colour_stands_out_from_white(colour: str) -> None:
    # Okabe and Ito's orange has 2.2; a thin yellow line, at 1.3, would be invisible.
    assert 1.05 / (luminance(colour) + 0.05) > 2.0


def test_settings_of_one_optimizer_differ_in_shade_and_dashes() -> None:
    styles = [style("adam", variant) for variant in range(4)]
    assert len({each.colour for each in styles}) == len({each.dashes for each in styles}) == 4


def test_an_unknown_optimizer_has_the_same_style_every_time_and_never_a_solid_line() -> None:
    assert style("my-own") == style("my-own")
    assert style("my-own").dashes != SOLID
