"""A colour and dashes for each optimizer, the same in figures, pages and terminals, safe for colour-blind readers.

The colours are those of Okabe and Ito ("Color Universal Design", 2008) without yellow, which is too light for a line
on white. Dashes distinguish curves in black-and-white print.
"""

import colorsys
import hashlib
from dataclasses import dataclass

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, BLACK)

Dashes = tuple[float, ...]
SOLID: Dashes = ()
DASHED: Dashes = (5.0, 1.6)
DOTTED: Dashes = (1.2, 1.4)
DASH_DOTTED: Dashes = (6.0, 1.6, 1.2, 1.6)
DASHES = (SOLID, DASHED, DASH_DOTTED, DOTTED)


@dataclass(frozen=True)
class Style:
    """A colour as #RRGGBB, and the lengths of dash and gap in line widths (none: a solid line)."""

    colour: str
    dashes: Dashes = SOLID


_FIXED = {
    "sgd": Style(BLUE, DASH_DOTTED),
    "momentum": Style(ORANGE, DASHED),
    "nesterov": Style(SKY, DOTTED),
    "rmsprop": Style(GREEN, DOTTED),
    "adam": Style(VERMILLION),
    "adamw": Style(PURPLE, DASHED),
}


def style(optimizer: str, variant: int = 0) -> Style:
    """The style of an optimizer; `variant` numbers its settings, which share its hue.

    An optimizer without a fixed style gets one derived from its name, the same on every machine.
    """
    base = _FIXED.get(optimizer) or _derived(optimizer)
    if variant == 0:
        return base
    dashes = DASHES[(DASHES.index(base.dashes) + variant) % len(DASHES)]
    return Style(_shade(base.colour, variant), dashes)


def _derived(optimizer: str) -> Style:
    digest = hashlib.sha256(optimizer.encode()).digest()
    return Style(PALETTE[digest[0] % len(PALETTE)], DASHES[1 + digest[1] % (len(DASHES) - 1)])


def _shade(colour: str, variant: int) -> str:
    """The same hue, alternately darker and lighter, within a lightness that is legible on white."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    away = 0.09 * ((variant + 1) // 2) * (-1 if variant % 2 else 1)
    shaded = colorsys.hls_to_rgb(hue, min(max(lightness + away, 0.18), 0.66), saturation)
    return "#" + "".join(f"{round(255 * part):02X}" for part in shaded)
